//! The API is what its description says: schemathesis sends what the description allows, and what it does not, and reads
//! every answer against it. Step 8.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use holdpoint_tests::asker::Asker;
use holdpoint_tests::service::Service;
use holdpoint_tests::{installed, ports, python};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::Command;

const PACKAGE: &str = "schemathesis==4.32.5";
/// Cases per operation beside those that cover its parameters one by one; the same ones each time.
const CASES: &str = "15";
/// A busy machine gets through fewer cases in this time; what is left out is left out by all of them alike.
const SECONDS_MAX: &str = "90";
/// Rules between fields are beyond what a schema can say (a digest must be that of the text beside it), so that not all
/// which fits the schema is taken.
const NOT_CHECKED: &str = "positive_data_acceptance";
/// Never ends by itself; its answers are tested in the service.
const STREAM: &str = "/v1/events";
const ROLES: [&str; 4] = ["enforcer", "approver", "auditor", "admin"];

/// Runs schemathesis on these operations; how it ended, and what it said.
async fn run(
    programs: &Path,
    description: &str,
    url: &str,
    token: Option<&str>,
    operations: &[String],
) -> anyhow::Result<(bool, String)> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(programs.join("schemathesis"));
    command.args(["run", description, "--url", url, "--exclude-checks", NOT_CHECKED, "-n", CASES]);
    command.args(["--generation-deterministic", "--phases", "examples,coverage,fuzzing", "--max-time", SECONDS_MAX]);
    command.args(["--suppress-health-check", "all", "--no-color", "--warnings", "off", "--request-timeout", "70"]);
    for operation in operations {
        command.args(["--include-operation-id", operation]);
    }
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.current_dir(dir.path()).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said))
}

fn programs() -> anyhow::Result<Option<PathBuf>> {
    installed::or_skip("the description of the API", python::programs("schemathesis", &[PACKAGE]))
}

/// Operations by a role that may ask them; `None` for those that need no credential.
fn by_role(api: &Value) -> BTreeMap<Option<&'static str>, Vec<String>> {
    let mut groups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (path, methods) in api["paths"].as_object().into_iter().flatten() {
        for operation in methods.as_object().into_iter().flatten().map(|(_, operation)| operation) {
            let may = |role: &&str| operation["x-roles"].as_array().is_some_and(|all| all.contains(&json!(role)));
            if path != STREAM {
                let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                groups.entry(ROLES.into_iter().find(may)).or_default().push(id);
            }
        }
    }
    groups
}

#[tokio::test]
async fn api_answers_as_its_description_says() -> anyhow::Result<()> {
    let Some(programs) = programs()? else { return Ok(()) };
    let rooms = ["--person-requests-per-s-max", "100000", "--stranger-requests-per-s-max", "100000"];
    let service = Service::start_with(ports::free()?, &rooms).await?;
    // Lists that are empty would show nothing of what stands in them.
    let asker = Asker::new(&service).await?;
    let (ran, _waits) = (asker.hold("create_issue", json!({"n": 1})).await?, asker.hold("b", json!({"n": 2})).await?);
    let http = Client::new();
    let post = async |role: &str, path: &str, body: Value| -> anyhow::Result<()> {
        let request = http.post(service.url(path)).bearer_auth(service.token(role, role, &["sre"])?).json(&body);
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.text().await?);
        Ok(())
    };
    let state: Value = {
        let request =
            http.get(service.url(&format!("/v1/approvals/{ran}"))).bearer_auth(service.token("auditor", "x", &[])?);
        request.send().await?.json().await?
    };
    let approve = json!({"verdict": "approve", "call_digest": state["call_digest"]});
    post("approver", &format!("/v1/approvals/{ran}/reviews"), approve).await?;
    asker.run(&ran, 1, "committed").await?;
    post("admin", "/v1/freezes", json!({"scope": {"tool": "drop_table"}, "reason": "incident 7"})).await?;
    let lend =
        json!({"to": {"issuer": "local", "subject": "carol"}, "until_ms": state["expires_at_ms"], "reason": "away"});
    post("approver", "/v1/delegations", lend).await?;

    let description = service.url("/openapi.json");
    let api: Value = http.get(&description).send().await?.json().await?;
    let groups = by_role(&api);
    ensure!(groups.len() == 5 && groups.values().map(Vec::len).sum::<usize>() > 30, "{groups:?}");
    let mut running = Vec::new();
    for (role, operations) in groups {
        let token = role.map(|role| service.token(role, "fuzzer", &["sre"])).transpose()?;
        let (programs, description, url) = (programs.clone(), description.clone(), service.url(""));
        running.push(tokio::spawn(async move {
            (role, run(&programs, &description, &url, token.as_deref(), &operations).await)
        }));
    }
    for group in running {
        let (role, ended) = group.await?;
        let (is_clean, said) = ended?;
        ensure!(is_clean, "as {role:?}:\n{said}");
        ensure!(said.contains("No issues found"), "as {role:?}:\n{said}");
    }
    Ok(())
}

#[tokio::test]
async fn description_that_is_wrong_is_noticed() -> anyhow::Result<()> {
    let Some(programs) = programs()? else { return Ok(()) };
    let service = Service::start().await?;
    let mut api: Value = Client::new().get(service.url("/openapi.json")).send().await?.json().await?;
    let operation = &mut api["paths"]["/v1/service"]["get"];
    let id = operation["operationId"].as_str().context("an operation")?.to_owned();
    // What the service answers is not what this asks for.
    operation["responses"]["200"]["content"]["application/json"]["schema"] = json!({"type": "array"});
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("openapi.json");
    std::fs::write(&file, api.to_string())?;
    let token = service.token("auditor", "fuzzer", &[])?;
    let description = file.to_str().context("a path")?;
    let (is_clean, said) = run(&programs, description, &service.url(""), Some(&token), &[id]).await?;
    ensure!(!is_clean && said.contains("Response violates schema"), "{said}");
    Ok(())
}
