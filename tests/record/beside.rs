//! What stands beside the record: as much of arguments and results as the policy says, shown, exported and erased.

use std::process::Command;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::service::Service;
use holdpoint_tests::service_binary;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use serde_json::{Value, json};

use super::desk;

const POLICY: &str = r#"
  version: "2026-01-27"
  servers:
    tracker:
      match: {route_metadata: tracker}
      tools:
        list_full: {action: read, audit: full}
        list_redacted: {action: read, audit: redacted}
        list_nothing: {action: read, audit: metadata}
        list_plain: {action: read}
  rules:
  - id: reads
    match: {labels: {mcp.action: read}}
    decision: allow
    reason: Reads are fine
"#;

const SECRET: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";

/// The entry of a call of this tool, with what stands beside it.
async fn shown(stack: &Stack, auditor: &Person, tool: &str) -> anyhow::Result<Value> {
    auditor.entry(tool, |entry| entry["target"] == tool && entry["result"].is_object()).await?;
    let record = auditor.record().await?;
    let at = record.iter().position(|entry| entry["target"] == tool).expect("the entry");
    said(&stack.service, &["audit", "show", &at.to_string(), "--output", "json"])
}

/// What a command on the data directory prints as JSON.
fn said(service: &Service, words: &[&str]) -> anyhow::Result<Value> {
    let data_dir = service.data_dir().display().to_string();
    let all: Vec<&str> = words.iter().copied().chain(["--data-dir", &data_dir]).collect();
    Ok(serde_json::from_str(&service.cli(&all)?)?)
}

#[tokio::test]
async fn each_level_keeps_what_it_says_and_secrets_never_leave_envoy() -> anyhow::Result<()> {
    let stack = Stack::builder().policy(POLICY).start().await?;
    stack.upstream.answer_with(|call| {
        let text = format!("for {}", call.json()["params"]["name"]);
        (std::time::Duration::ZERO, Answer::tool_result(call, &format!("{text} with {SECRET}")))
    });
    let token = stack.agent("agent-7")?;
    let arguments = format!(r#"{{"note":"use {SECRET} for it","title":"one"}}"#);
    for tool in ["list_full", "list_redacted", "list_nothing", "list_plain"] {
        let answer = tools_call(tool, &arguments, &token).send(stack.port()).await?;
        assert!(answer.text().contains(SECRET), "the caller gets what the server said: {}", answer.text());
    }
    let auditor = Person::auditor(&stack.service)?;

    let full = shown(&stack, &auditor, "list_full").await?;
    assert_eq!(full["payload"]["arguments"], arguments);
    assert!(full["payload"]["result"].as_str().expect("a result").contains(SECRET), "{full}");
    assert_eq!(full["entry"]["arguments"]["level"], "full");

    let redacted = shown(&stack, &auditor, "list_redacted").await?;
    assert_eq!(redacted["payload"]["arguments"], r#"{"note":"use [redacted] for it","title":"one"}"#);
    let result = redacted["payload"]["result"].as_str().expect("a result");
    assert!(result.contains("[redacted]") && !result.contains(SECRET), "{result}");

    let plain = shown(&stack, &auditor, "list_plain").await?;
    assert_eq!((&plain["payload"]["arguments"], &plain["payload"]["result"]), (&Value::Null, &Value::Null));
    let salt: holdpoint_core::audit::payload::Salt = serde_json::from_value(plain["payload"]["salt"].clone())?;
    let digest = salt.digest(holdpoint_core::audit::payload::Part::Arguments, &arguments);
    assert_eq!(plain["entry"]["arguments"]["digest"], json!(digest), "whoever has the text can show that it was this");

    let record = auditor.record().await?;
    let nothing = record.iter().find(|entry| entry["target"] == "list_nothing").expect("its entry");
    assert!(nothing.get("arguments").is_none() && nothing.get("result").is_none(), "{nothing}");
    assert!(!json!(record).to_string().contains(SECRET), "no leaf holds it");
    assert!(!stack.envoy.log().contains(SECRET));

    // A gateway's own token and an administrator's read no arguments, whatever the level.
    let seq = full["seq"].as_u64().expect("a number");
    let http = reqwest::Client::new();
    for (role, sees) in [("auditor", true), ("break-glass", true), ("admin", false)] {
        let token = stack.service.token(role, &format!("some-{role}"), &[])?;
        let url = stack.service.url(&format!("/v1/audit/{seq}"));
        let answer: Value = http.get(url).bearer_auth(&token).send().await?.json().await?;
        assert_eq!(answer["entry"]["target"], "list_full", "{role}: {answer}");
        assert_eq!(answer["payload"]["arguments"] == arguments, sees, "{role}: {answer}");
        assert_eq!(answer["withheld"].is_string(), !sees, "{role}: {answer}");
    }
    let verified = desk::verify(&stack.service.data_dir(), &[])?;
    assert_eq!(verified.findings, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn erased_by_a_person_proofs_stay_and_exports_are_verified_with_and_without() -> anyhow::Result<()> {
    let desk = desk::Desk::open().await?;
    desk.append("edge/boot", 0, 8).await?;
    desk.checkpoint().await?;
    let proof = desk.bytes("/v1/audit/3/proof").await?;
    let service = &desk.service;
    let key = service.service_key()?;
    let folder = tempfile::tempdir()?;
    let export = |name: &str, more: &[&str]| -> anyhow::Result<String> {
        let file = folder.path().join(name).display().to_string();
        let data_dir = service.data_dir().display().to_string();
        let words = [&["audit", "export", "--data-dir", &data_dir, "--out", &file], more].concat();
        service.cli(&words)?;
        Ok(file)
    };
    let verify = |file: &str| -> anyhow::Result<(bool, Value)> {
        let words = ["audit", "verify", "--file", file, "--key", &key, "--output", "json"];
        let output = Command::new(service_binary::holdpoint()?).args(words).output()?;
        Ok((output.status.success(), serde_json::from_slice(&output.stdout)?))
    };
    let (is_whole, bare) = verify(&export("bare", &[])?)?;
    assert!(is_whole && bare["payloads_not_looked_at"] == 1 && bare["payloads"] == 0, "{bare}");
    let with = export("with", &["--payloads"])?;
    let (is_whole, beside) = verify(&with)?;
    assert!(is_whole && beside["payloads_not_looked_at"] == 0 && beside["payloads"] == 1, "{beside}");
    let text = std::fs::read_to_string(&with)?;
    assert!(text.contains(r#"{\"amount\":10}"#), "{text}");
    let edited = folder.path().join("edited");
    std::fs::write(&edited, text.replace(r#"{\"amount\":10}"#, r#"{\"amount\":99}"#))?;
    let (is_whole, found) = verify(&edited.display().to_string())?;
    assert!(!is_whole && found["findings"][0].as_str().expect("one").contains("entry 3 were edited"), "{found}");
    for format in ["ocsf", "otlp"] {
        let told = std::fs::read_to_string(export(format, &["--payloads", "--format", format])?)?;
        assert!(told.contains(r#"{\"amount\":10}"#), "{format}: {told}");
        let bare = std::fs::read_to_string(export(&format!("{format}-bare"), &["--format", format])?)?;
        assert!(!bare.contains("amount") && bare.contains("digest"), "{format}: {bare}");
    }

    let erase = |seq: &str| {
        said(service, &["audit", "erase", seq, "--by", "dana", "--reason", "ticket 88", "--output", "json"])
    };
    assert_eq!(erase("3")?["erased"], 1);
    assert_eq!(erase("3")?["erased"], 0, "nothing is left");
    let shown = said(service, &["audit", "show", "3", "--output", "json"])?;
    assert!(shown["withheld"].as_str().expect("why").starts_with("erased "), "{shown}");
    assert!(shown["entry"]["arguments"]["digest"].is_string(), "the leaf stays");
    let told = desk.auditor.entry("the erasure", |entry| entry["kind"] == "payloads_erased").await?;
    assert_eq!((&told["by"], &told["erased"]), (&json!("command line: dana"), &json!([[3, 3]])));
    assert!(told["detail"].as_str().expect("why").contains("ticket 88"), "{told}");
    let data_dir = service.data_dir().display().to_string();
    let report = service.cli(&["audit", "report", "--data-dir", &data_dir])?;
    assert!(report.contains("What was erased") && report.contains("ticket 88"), "{report}");

    // What was proven before is proven still.
    let kept = folder.path().join("proof");
    std::fs::write(&kept, proof)?;
    service.cli(&["audit", "verify-proof", &kept.display().to_string(), "--key", &key])?;
    let (is_whole, after) = verify(&export("after", &["--payloads"])?)?;
    assert!(is_whole && after["payloads_erased"] == 1, "{after}");
    let copy = desk.copy()?;
    assert_eq!(desk::verify(copy.path(), &[])?.findings, [""; 0]);
    Ok(())
}
