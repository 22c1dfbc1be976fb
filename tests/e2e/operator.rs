//! What an operator can see: one line for each decision, and metrics that nobody can blow up.

use std::collections::BTreeSet;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::envoy::{Envoy, PolicyUpdate};
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::json;

/// The names of all series of the filter.
async fn series(envoy: &Envoy) -> anyhow::Result<BTreeSet<String>> {
    let stats = envoy.admin_text("/stats?filter=holdpoint").await?;
    let names = stats.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned());
    Ok(names.filter(|name| name.starts_with("wasmcustom.")).collect())
}

#[tokio::test]
async fn every_decision_is_one_line_of_names_without_arguments_or_secrets() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let arguments = r#"{"title":"marker-argument"}"#;
    tools_call("list_issues", arguments, &token).send(stack.port()).await?;
    tools_call("delete_project", arguments, &token).send(stack.port()).await?;
    let held = tools_call("create_issue", arguments, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    bob.approve(&view).await?;
    held.answer().await?;
    HttpCall::post("{").bearer(&token).send(stack.port()).await?;
    HttpCall::post("{}").send(stack.port()).await?;

    let envoy = &stack.envoy;
    let denied = envoy.filter_line("decision", |line| line["target"] == "delete_project").await?;
    let snapshot = denied["snapshot"].as_str().expect("a snapshot").to_owned();
    for (field, value) in [
        ("verdict", "deny"),
        ("rule", "admin-never"),
        ("server", "tracker"),
        ("method", "tools/call"),
        ("issuer", "https://idp.example"),
        ("subject", "agent-7"),
    ] {
        assert_eq!(denied[field], value, "{denied}");
    }
    assert!(denied["decision_us"].is_u64() && snapshot.len() == 12, "{denied}");
    let asked = envoy.filter_line("decision", |line| line["verdict"] == "require_approval").await?;
    let ended = envoy.filter_line("hold", |line| line["approval"] == view["id"]).await?;
    assert_eq!((&ended["end"], &ended["call"]), (&json!("released"), &asked["call"]), "{ended}");
    let malformed = envoy.filter_line("refusal", |line| line["kind"] == "malformed").await?;
    assert_eq!(malformed["subject"], "agent-7", "{malformed}");
    envoy.filter_line("refusal", |line| line["kind"] == "unidentified").await?;
    assert_eq!(envoy.filter_lines("decision").len(), 2, "one line for each that was not simply allowed");
    let log = envoy.log();
    assert!(!log.contains("marker-argument") && !log.contains(&token));

    let metrics = envoy.prometheus().await?;
    for line in [
        "holdpoint_decisions_total{verdict=\"deny\"} 1".to_owned(),
        "holdpoint_decisions_total{verdict=\"require_approval\"} 1".to_owned(),
        "holdpoint_holds_ended_total{end=\"released\"} 1".to_owned(),
        "holdpoint_malformed_total{} 1".to_owned(),
        "holdpoint_unidentified_total{} 1".to_owned(),
        format!("holdpoint_policy_in_force{{snapshot=\"{snapshot}\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn caller_can_neither_forge_a_line_nor_make_metrics() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    // One call of each kind first: series are made when something is first counted.
    for tool in ["list_issues", "delete_project", "two\nlines"] {
        tools_call(tool, "{}", &token).send(stack.port()).await?;
    }
    let before = series(&stack.envoy).await?;
    for number in 0..300 {
        let name = format!("tool_{number}{}", "y".repeat(number % 200));
        tools_call(&name, "{}", &token).send(stack.port()).await?;
    }
    let forged = "x [info][wasm] holdpoint: {\"event\":\"decision\",\"verdict\":\"forged\"}\\é";
    tools_call(forged, "{}", &token).send(stack.port()).await?;
    let last = stack.envoy.filter_line("decision", |line| line["target"] == forged).await?;
    assert_eq!(last["verdict"], "deny");
    let lines = stack.envoy.filter_lines("decision");
    assert!(lines.iter().all(|line| line["verdict"] != "forged"));
    assert!(lines.iter().all(|line| line.to_string().len() < 1_000), "every line is bounded");
    assert!(stack.envoy.log().is_ascii(), "nothing reaches a terminal that is not plain");
    assert_eq!(series(&stack.envoy).await?, before);
    Ok(())
}

#[tokio::test]
async fn lines_end_when_envoys_log_level_drops_them() -> anyhow::Result<()> {
    let stack = Stack::builder().workers(1).start().await?;
    let token = stack.agent("agent-7")?;
    let call = async |tool| tools_call(tool, "{}", &token).send(stack.port()).await;
    let lines_of = |tool| stack.envoy.filter_lines("decision").iter().filter(|line| line["target"] == tool).count();
    call("list_issues").await?;
    call("delete_project").await?;
    stack.envoy.filter_line("decision", |line| line["verdict"] == "deny").await?;
    assert_eq!(lines_of("list_issues"), 0, "an allowed call has a line at level debug only");
    stack.envoy.admin_post("/logging?wasm=debug").await?;
    probe::until("an allowed call leaves a line", probe::PATIENCE, async || {
        call("list_issues").await.ok()?;
        (lines_of("list_issues") > 0).then_some(())
    })
    .await?;
    stack.envoy.admin_post("/logging?wasm=warning").await?;
    let silent = async || {
        let before = stack.envoy.filter_lines("decision").len();
        call("delete_project").await.ok()?;
        (stack.envoy.filter_lines("decision").len() == before).then_some(())
    };
    probe::until("decisions leave no line", probe::PATIENCE, silent).await?;
    stack.envoy.admin_post("/logging?wasm=info").await?;
    let loud = async || {
        let before = lines_of("delete_project");
        call("delete_project").await.ok()?;
        (lines_of("delete_project") > before).then_some(())
    };
    probe::until("decisions leave lines again", probe::PATIENCE, loud).await?;
    Ok(())
}

#[tokio::test]
async fn metrics_say_which_policy_is_in_force_and_a_refused_one_never_is() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let in_force = async |envoy: &Envoy| -> anyhow::Result<Vec<String>> {
        let metrics = envoy.prometheus().await?;
        let lines = metrics.lines().filter(|line| line.starts_with("holdpoint_policy_in_force{"));
        Ok(lines.filter(|line| line.ends_with(" 1")).map(str::to_owned).collect())
    };
    let first = in_force(&stack.envoy).await?;
    assert_eq!(first.len(), 1, "{first:?}");
    let good = stack.document.policy.clone();
    stack.document.policy = good.replace("decision: deny", "decision: nay");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Rejected);
    assert_eq!(in_force(&stack.envoy).await?, first);
    stack.document.policy = good.replace("id: reads-run", "id: reads-still-run");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    let changed = async || in_force(&stack.envoy).await.ok().filter(|now| now.len() == 1 && *now != first);
    probe::until("the new policy is the one in force", probe::PATIENCE, changed).await?;
    let token = stack.agent("agent-7")?;
    let after = changed().await.expect("the new policy");
    // A worker takes it up a moment after the main thread.
    probe::until("a decision names the policy in force", probe::PATIENCE, async || {
        tools_call("delete_project", "{}", &token).send(stack.port()).await.ok()?;
        let lines = stack.envoy.filter_lines("decision");
        lines.last()?["snapshot"].as_str().filter(|snapshot| after[0].contains(snapshot)).map(drop)
    })
    .await?;
    Ok(())
}
