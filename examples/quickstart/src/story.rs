//! `cargo demo -- --once`: both sides played, every step checked, one line a step.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call_modern};
use holdpoint_tests::impostor;
use holdpoint_tests::upstream::Upstream;
use quickstart::mcp_client::{Era, McpClient, text};
use serde_json::{Value, json};

use crate::house::{AGENT, APPROVER, House};

/// Spelled so that another spelling of the same values would be noticed.
const ARGUMENTS: &str = r#"{ "project":"site", "title" : "Fix \u00fcber build" }"#;

/// Plays the story. Fails with the first step that was not seen.
pub(crate) async fn play(mut house: House) -> anyhow::Result<()> {
    println!();
    let began = Instant::now();
    step("a read runs at once", read_runs(&house).await)?;
    step("a write waits, is approved, and runs once, byte for byte, under its constraints", write_waits(&house).await)?;
    step("a denied write tells the agent why", denial_has_a_reason(&house).await)?;
    step("a forbidden call explains itself", forbidden_call(&house).await)?;
    step("a caller without an identity is refused", no_identity(&house).await)?;
    step("a body with a duplicate key is refused", duplicate_key(&house).await)?;
    step("an approval that the service did not sign runs nothing", unsigned_approval(&house).await)?;
    step(
        "the service is killed during a hold: nothing runs unapproved, nothing is lost",
        service_killed(&mut house).await,
    )?;
    step("the record holds all of it and verifies", record_verifies(&house).await)?;
    println!("\nEvery step was seen, in {:.1} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// Prints how a step went; `seen` says what was seen.
fn step(what: &str, seen: anyhow::Result<String>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match seen {
        Ok(seen) => {
            writeln!(out, "  ✓ {what}\n      {seen}")?;
            Ok(())
        }
        Err(error) => {
            writeln!(out, "  ✗ {what}")?;
            Err(error.context(format!("step not seen: {what}")))
        }
    }
}

async fn read_runs(house: &House) -> anyhow::Result<String> {
    let client = McpClient::connect(&house.envoy.mcp_url(), Some(&house.agent_token()?), Era::Legacy).await?;
    let read = client.call("list_issues", json!({"project": "site"})).await?;
    client.close().await?;
    ensure!(read.is_error != Some(true), "the server said: {}", text(&read));
    Ok(format!("{AGENT} called list_issues with a stock MCP client; rule `reads-run` let it through"))
}

async fn write_waits(house: &House) -> anyhow::Result<String> {
    let call = tools_call_modern("create_issue", ARGUMENTS, &house.agent_token()?);
    let sent = call.body_bytes();
    let held = call.begin(house.envoy.port()).await?;
    let view = house.approver.pending().await?;
    ensure!(house.server.recorder().calls_of("create_issue").is_empty(), "it ran before anybody approved");
    ensure!(!held.is_answered(), "it was answered before anybody approved");
    let shown: Value = serde_json::from_str(view["call_text"].as_str().context("no call text")?)?;
    let arguments = &shown["params"]["arguments"];
    ensure!(arguments["title"] == "Fix über build", "the reviewer was shown {arguments}");
    house.approver.approve(&view).await?;
    let answer = held.answer().await?;
    ensure!(answer.json()["result"]["isError"] != true && answer.status == 200, "answered: {}", answer.text());
    let ran = house.server.recorder().calls_of("create_issue");
    ensure!(ran.len() == 1, "it ran {} times", ran.len());
    ensure!(ran[0].body == sent, "the server saw other bytes than the agent sent");
    let bound =
        ran[0].headers.get("x-envoy-expected-rq-timeout-ms").context("no runtime limit reached Envoy's router")?;
    // Envoy's router waits a second longer than the filter, which can tell the agent why.
    ensure!(bound == "31000", "the runtime limit is {bound:?} ms");
    Ok(format!("{APPROVER} saw {arguments}; the server saw the same {} bytes, once, bounded to 30000 ms", sent.len()))
}

async fn denial_has_a_reason(house: &House) -> anyhow::Result<String> {
    let call = tools_call_modern("close_issue", r#"{"number":1}"#, &house.agent_token()?);
    let held = call.begin(house.envoy.port()).await?;
    house.approver.deny(&house.approver.pending().await?, "not during the freeze").await?;
    let said = tool_error(&held.answer().await?)?;
    ensure!(said.contains("not during the freeze"), "the agent was told: {said}");
    ensure!(house.server.recorder().calls_of("close_issue").is_empty(), "it ran");
    Ok(said)
}

async fn forbidden_call(house: &House) -> anyhow::Result<String> {
    let call = tools_call_modern("delete_project", r#"{"project":"site"}"#, &house.agent_token()?);
    let said = tool_error(&call.send(house.envoy.port()).await?)?;
    ensure!(house.server.recorder().calls_of("delete_project").is_empty(), "it ran");
    Ok(said)
}

async fn no_identity(house: &House) -> anyhow::Result<String> {
    let reached = house.server.recorder().recorded().len();
    let answer =
        tools_call_modern("list_issues", "{}", "").without_header("authorization").send(house.envoy.port()).await?;
    ensure!(answer.status == 401, "answered {}: {}", answer.status, answer.text());
    ensure!(house.server.recorder().recorded().len() == reached, "it reached the server");
    Ok(format!("{}: {}", answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default()))
}

async fn duplicate_key(house: &House) -> anyhow::Result<String> {
    let reached = house.server.recorder().recorded().len();
    let body =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","name":"delete_project"}}"#;
    let answer = HttpCall::post(body).bearer(&house.agent_token()?).send(house.envoy.port()).await?;
    ensure!(answer.status == 400, "answered {}: {}", answer.status, answer.text());
    ensure!(house.server.recorder().recorded().len() == reached, "it reached the server");
    Ok(format!("{}: {}", answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default()))
}

async fn unsigned_approval(house: &House) -> anyhow::Result<String> {
    let mallory = Upstream::start().await?;
    mallory.answer_with(impostor::approve_everything);
    let envoy = house.gateway_with_other_approvals(mallory.port()).await?;
    let before = house.server.recorder().calls_of("create_issue").len();
    let call = tools_call_modern("create_issue", ARGUMENTS, &house.agent_token()?);
    let said = tool_error(&call.send(envoy.port()).await?)?;
    ensure!(house.server.recorder().calls_of("create_issue").len() == before, "it ran");
    let refused = envoy.stat("wasmcustom.holdpoint.claims_refused_total").await?;
    ensure!(refused == 1, "{refused} claims were refused");
    Ok(format!("somebody else answered \"approved\" in the service's place; {said}"))
}

async fn service_killed(house: &mut House) -> anyhow::Result<String> {
    let before = house.server.recorder().calls_of("create_issue").len();
    let call =
        tools_call_modern("create_issue", r#"{"project":"site","title":"after the crash"}"#, &house.agent_token()?);
    let held = call.begin(house.envoy.port()).await?;
    let view = house.approver.pending().await?;
    house.service.kill();
    ensure!(!held.is_answered(), "the hold ended when the service was killed");
    ensure!(house.server.recorder().calls_of("create_issue").len() == before, "it ran unapproved");
    house.service.restart().await?;
    let id = view["id"].as_str().context("no id")?;
    let survived = house.approver.show(id).await?;
    ensure!(survived["status"] == "pending", "after the restart it is {}", survived["status"]);
    house.approver.approve(&survived).await?;
    let answer = held.answer().await?;
    ensure!(answer.json()["result"]["isError"] != true && answer.status == 200, "answered: {}", answer.text());
    ensure!(house.server.recorder().calls_of("create_issue").len() == before + 1, "it did not run exactly once");
    Ok(format!("SIGKILL, restart: approval {id} was still pending, the held call resumed and ran once"))
}

async fn record_verifies(house: &House) -> anyhow::Result<String> {
    type Matches = fn(&Value) -> bool;
    let wanted: [(&str, Matches); 8] = [
        ("the allowed read", |entry| entry["kind"] == "decision" && entry["verdict"] == "allow"),
        ("the forbidden call", |entry| entry["kind"] == "decision" && entry["rule_ids"][0] == "admin-never"),
        ("the refused bodies and callers", |entry| entry["kind"] == "refusal"),
        ("the opened approval", |entry| entry["kind"] == "approval_opened"),
        ("the approving review", |entry| entry["kind"] == "review" && entry["status"] == "approve"),
        ("the denying review", |entry| entry["kind"] == "review" && entry["status"] == "deny"),
        ("the claim", |entry| entry["kind"] == "claim"),
        ("the outcome", |entry| entry["kind"] == "outcome" && entry["outcome"] == "committed"),
    ];
    for (what, matches) in wanted {
        house.auditor.entry(what, matches).await?;
    }
    let data_dir = house.service.data_dir();
    let words = ["audit".as_ref(), "verify".as_ref(), "--data-dir".as_ref(), data_dir.as_os_str()];
    let said = house.service.cli(&words)?;
    Ok(format!("holdpoint audit verify: {}", said.trim().replace('\n', "\n      ")))
}

/// The sentence of a tool error; anything else is not the expected answer.
fn tool_error(answer: &HttpAnswer) -> anyhow::Result<String> {
    let json = answer.json();
    if answer.status != 200 || json["result"]["isError"] != true {
        bail!("expected a tool error, got {}: {}", answer.status, answer.text());
    }
    json["result"]["content"][0]["text"].as_str().map(str::to_owned).context("the tool error has no text")
}
