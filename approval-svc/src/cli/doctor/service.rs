//! Whether the approval service is there, can work, and knows the token.

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::{Finding, Findings, Wanted};
use crate::cli::client::{Server, root_cause};

pub(super) async fn look(http: &Client, server: &Server, wanted: &mut Wanted) -> anyhow::Result<Vec<Finding>> {
    let token = server.token()?;
    let mut seen = Findings::new(format!("service {}", server.url().as_str().trim_end_matches('/')));
    let get = async |path: &str, token: Option<&str>| -> Result<Response, String> {
        let url = server.url().join(path).map_err(|error| error.to_string())?;
        let request = http.get(url);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        request.send().await.map_err(|error| root_cause(&error))
    };
    match get("/readyz", None).await {
        Err(why) => {
            let mend = "start it with `holdpoint serve`, or say where it is with `--server`";
            seen.failed("reachable", why, mend);
            return Ok(seen.all);
        }
        Ok(answer) => ready(answer, &mut seen).await,
    }
    let Some(token) = token else {
        let mend = "give one with `--token-file`: then role and key are checked too";
        seen.skipped("token", "no token was given", mend);
        return Ok(seen.all);
    };
    match get("/v1/service", Some(&token)).await {
        Err(why) => seen.failed("token", why, "try again"),
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
            let mend = "make one with `holdpoint token create` on this service's data directory";
            seen.failed("token", "the token is unknown here, or revoked", mend);
        }
        Ok(answer) => {
            let about: Value = answer.json().await.unwrap_or_default();
            match (about["service_key"].as_str(), about["caller"]["role"].as_str()) {
                (Some(key), Some(role)) => {
                    let subject = about["caller"]["subject"].as_str().unwrap_or_default();
                    seen.ok("token", format!("role {role}, {subject}"));
                    seen.ok("key", key);
                    wanted.service_key = Some(key.to_owned());
                }
                _ => seen.failed(
                    "token",
                    "the answer is not from a holdpoint service of this version",
                    "update the older of the two",
                ),
            }
        }
    }
    if let Some(id) = wanted.snapshot_id {
        match get(&format!("/v1/policies/{id}"), Some(&token)).await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => seen.ok("policy", format!("{id} is registered")),
            Ok(StatusCode::NOT_FOUND) => seen.warning(
                "policy",
                format!("{id} is not registered"),
                "no gateway has held a call under it yet; if one should have, it runs another policy",
            ),
            Ok(status) => seen.warning("policy", format!("the service answered {status}"), "try again"),
            Err(why) => seen.warning("policy", why, "try again"),
        }
    }
    Ok(seen.all)
}

async fn ready(answer: Response, seen: &mut Findings) {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    let Some(is_ready) = body["ready"].as_bool() else {
        let found = format!("something else answers there (status {status})");
        seen.failed("reachable", found, "say where the approval service is with `--server`");
        return;
    };
    seen.ok("reachable", "it answers");
    let degraded: Vec<&str> = body["degraded"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (is_ready, degraded.is_empty()) {
        (true, true) => seen.ok("ready", "it can write"),
        (true, false) => seen.warning("ready", degraded.join("; "), "see what it says; calls are still decided"),
        (false, _) => {
            seen.failed("ready", degraded.join("; "), "calls that need an approval are refused until this is mended")
        }
    }
}
