//! The approval service is away, comes back, or is not the service at all: nothing runs that was not approved.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Upstream};
use serde_json::{Value, json};

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
    let stack = Stack::builder().document(|document| document.outage_ms_max = Some(500)).start().await?;
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

/// Answers like the service would, approves at once, and signs with a key of its own: zeros.
fn impostor(message: &holdpoint_tests::upstream::Received) -> (Duration, Answer) {
    let asked = message.json();
    let body = if message.path.ends_with("/claim") {
        let claim = json!({
            "approval_id": "appr-1", "hold_id": asked["hold_id"], "nonce": asked["nonce"],
            "call_digest": asked["call_digest"], "basis": asked["basis"], "snapshot_id": asked["snapshot_id"],
            "constraints": {}, "approved_by": ["local mallory"], "expires_at_ms": 9_999_999_999_999_u64,
        });
        json!({"claim": claim.to_string(), "signature": "00".repeat(64)})
    } else {
        json!({
            "schema": "holdpoint/approval/v1", "id": "appr-1", "status": "approved", "version": 1,
            "call_digest": asked["call_digest"], "expires_at_ms": 9_999_999_999_999_u64,
        })
    };
    (Duration::ZERO, Answer::Json { status: 200, body: body.to_string() })
}

#[tokio::test]
async fn answer_that_the_service_did_not_sign_runs_nothing() -> anyhow::Result<()> {
    let mallory = Upstream::start().await?;
    mallory.answer_with(impostor);
    let port = mallory.port();
    let stack =
        Stack::builder().envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster")).start().await?;
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
            .document(|document| document.outage_ms_max = Some(300))
            .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster"))
            .start()
            .await?;
        let answer = tools_call("create_issue", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], Value::Bool(true), "{body}: {}", answer.text());
        assert_eq!(stack.upstream.count(), 0, "{body}");
    }
    Ok(())
}
