//! The approval service is away, comes back, or is not the service at all: nothing runs that was not approved.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::impostor;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Upstream};
use serde_json::Value;

#[tokio::test]
async fn service_killed_mid_hold_and_restarted_resumes_the_hold_and_keeps_the_request() -> anyhow::Result<()> {
    let mut stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let before = bob.pending().await?;
    stack.service.kill();
    stack.service.restart().await?;
    let after = bob.show(before["id"].as_str().expect("id")).await?;
    assert_eq!(after["status"], "pending");
    assert_eq!(stack.upstream.count(), 0);
    bob.approve(&after).await?;
    let answer = held.answer().await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn service_that_stays_away_has_gated_calls_refused_and_reads_still_run() -> anyhow::Result<()> {
    let stack = Stack::builder().document(|document| document.outage_ms_max = 500).start().await?;
    stack.service.kill();
    let token = stack.agent("agent-7")?;
    let answer = tools_call("create_issue", r#"{"title":"x"}"#, &token).send(stack.port()).await?;
    let text = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(text.contains("approval service is unavailable"), "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false);
    Ok(())
}

#[tokio::test]
async fn answer_that_the_service_did_not_sign_runs_nothing() -> anyhow::Result<()> {
    let mallory = Upstream::start().await?;
    mallory.answer_with(impostor::approve_everything);
    let port = mallory.port();
    let stack = Stack::builder()
        .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster"))
        .start()
        .await?;
    let answer = tools_call("create_issue", r#"{"title":"x"}"#, &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
    assert!(mallory.received().iter().any(|message| message.path.ends_with("/claim")), "it got as far as the claim");
    assert_eq!(stack.upstream.count(), 0);
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.claims_refused_total").await?, 1);
    Ok(())
}

#[tokio::test]
async fn garbage_in_the_services_place_runs_nothing() -> anyhow::Result<()> {
    for body in ["approved", "{}", r#"{"status":"approved"}"#, "null"] {
        let garbage = Upstream::start().await?;
        let text = body.to_owned();
        garbage.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: text.clone() }));
        let port = garbage.port();
        let stack = Stack::builder()
            .document(|document| document.outage_ms_max = 300)
            .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster"))
            .start()
            .await?;
        let answer = tools_call("create_issue", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], Value::Bool(true), "{body}: {}", answer.text());
        assert_eq!(stack.upstream.count(), 0, "{body}");
    }
    Ok(())
}
