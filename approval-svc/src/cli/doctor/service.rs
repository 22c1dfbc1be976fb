//! Whether the approval service is there, can work, and knows the token.

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::{Finding, Findings, Wanted};
use crate::cli::client::{Server, root_cause};
use crate::oidc::keys::clock_ahead_s;

/// Seconds between two clocks that are nobody's trouble.
const SKEW_S_FINE: u64 = 5;
/// Beyond, tokens are refused.
const SKEW_S_MAX: u64 = 60;

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
        Ok(answer) => {
            clock(&answer, &mut seen);
            ready(answer, &mut seen).await
        }
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
                    match about["database"].as_str() {
                        Some(database) => seen.ok("database", database),
                        None => seen.failed("database", "it does not answer", "see `/readyz`, and the service's log"),
                    }
                    wanted.service_key = Some(key.to_owned());
                    wanted.previous_key = about["previous_key"].as_str().map(str::to_owned);
                    for issuer in about["issuers"].as_array().into_iter().flatten() {
                        provider(issuer, &mut seen);
                    }
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

/// Whether the clocks here and there agree: tokens of identity providers and all deadlines depend on it.
fn clock(answer: &Response, seen: &mut Findings) {
    let date = answer.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
    match date.and_then(clock_ahead_s) {
        Some(ahead) => skew("clock", ahead, "the service's clock", seen),
        None => seen.warning("clock", "the answer has no date", "ask the service itself, not what stands in front"),
    }
}

fn skew(check: &'static str, ahead_s: i64, whose: &str, seen: &mut Findings) {
    let found = format!("{whose} is {ahead_s} s ahead");
    match ahead_s.unsigned_abs() {
        0..=SKEW_S_FINE => seen.ok(check, format!("{whose} agrees")),
        off if off <= SKEW_S_MAX => seen.warning(check, found, "set both clocks by NTP before they are a minute apart"),
        _ => seen.failed(check, found, "set both clocks by NTP: tokens are refused as expired, or as not valid yet"),
    }
}

/// Whether an identity provider's keys are there and its clock is right, as the service sees it.
fn provider(standing: &Value, seen: &mut Findings) {
    let issuer = standing["issuer"].as_str().unwrap_or_default();
    let keys = standing["keys"].as_u64().unwrap_or(0);
    match (standing["problem"].as_str(), keys) {
        (None, 0) => seen.warning("oidc", format!("{issuer}: its keys are being fetched"), "look again in a moment"),
        (None, _) => seen.ok("oidc", format!("{issuer}: {keys} keys")),
        (Some(why), 0) => {
            let mend = "mend `jwks` in the file of `holdpoint serve --oidc`: nobody of this issuer can sign in";
            seen.failed("oidc", format!("{issuer}: {why}"), mend);
        }
        (Some(why), _) => {
            let age = standing["age_s"].as_u64().unwrap_or(0) / 60;
            let found = format!("{issuer}: {why}; its {keys} keys are {age} min old");
            seen.warning("oidc", found, "they are believed for a day: mend it before");
        }
    }
    if let Some(ahead) = standing["clock_ahead_s"].as_i64() {
        skew("oidc clock", ahead, &format!("the clock of {issuer}"), seen);
    }
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
