//! Whoever merely answers in the service's place gets nothing run: forged, replayed and borrowed claims.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Received, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, number};

/// A time far enough away not to matter, in Unix milliseconds.
const FAR_MS: u64 = 9_999_999_999_999;

/// Answers opens and polls with "approved", and every claim with what `signed` makes of it.
fn impostor(signed: impl Fn(&Value) -> Value + Send + Sync + 'static) -> impl Fn(&Received) -> (Duration, Answer) {
    move |message| {
        let asked = message.json();
        let body = if message.path.ends_with("/claim") {
            signed(&asked)
        } else {
            json!({"schema": "holdpoint/approval/v1", "id": "appr-1", "status": "approved", "version": 1,
                   "call_digest": asked["call_digest"], "expires_at_ms": FAR_MS})
        };
        (Duration::ZERO, Answer::Json { status: 200, body: body.to_string() })
    }
}

/// The stack with somebody else behind the approval cluster, who first listens.
async fn stack_of(mallory: &Upstream) -> anyhow::Result<Stack> {
    let port = mallory.port();
    Stack::builder()
        .document(|document| document.outage_ms_max = 500)
        .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster"))
        .start()
        .await
}

#[tokio::test]
async fn genuine_claim_of_another_hold_for_the_very_same_call_runs_nothing() -> anyhow::Result<()> {
    let heard: Arc<Mutex<Option<Value>>> = Arc::default();
    let mallory = Upstream::start().await?;
    let ears = Arc::clone(&heard);
    mallory.answer_with(move |message| {
        if message.path.ends_with("/v1/approvals")
            && let Ok(mut heard) = ears.lock()
        {
            *heard = Some(message.json());
        }
        (Duration::ZERO, Answer::Json { status: 503, body: "{}".to_owned() })
    });
    let stack = stack_of(&mallory).await?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    call().send(stack.port()).await?;
    let mut asked = heard.lock().ok().and_then(|heard| heard.clone()).context("the filter asked for nothing")?;

    // The real service signs a claim for exactly this call, held elsewhere.
    let gateway = Gateway::new(&stack.service).await?;
    let hold = 0xabc;
    asked["hold_id"] = json!(number(hold));
    asked["snapshot_id"] = Gateway::asked(hold, "x")["snapshot_id"].clone();
    let opened = gateway.open(&asked).await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    bob.approve(&bob.pending().await?).await?;
    let claim = json!({"hold_id": number(hold), "nonce": number(9), "call_digest": asked["call_digest"],
                       "basis": asked["basis"], "snapshot_id": asked["snapshot_id"]});
    let path = format!("/v1/approvals/{}/claim", opened["id"].as_str().context("an id")?);
    let (status, signed) = gateway.post(&path, &claim).await?;
    assert!(status.is_success(), "{signed}");

    mallory.answer_with(impostor(move |_| signed.clone()));
    let answer = call().send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0, "a claim is good for the hold and the nonce it was signed for");
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.claims_refused_total").await?, 1);
    Ok(())
}

#[tokio::test]
async fn genuine_signature_over_an_altered_claim_runs_nothing() -> anyhow::Result<()> {
    let mallory = Upstream::start().await?;
    // What a signature of the service looks like that was made for something else it signs.
    mallory.answer_with(impostor(|asked| {
        let claim = json!({"approval_id": "appr-1", "hold_id": asked["hold_id"], "nonce": asked["nonce"],
            "call_digest": asked["call_digest"], "basis": asked["basis"], "snapshot_id": asked["snapshot_id"],
            "constraints": {}, "approved_by": ["local mallory"], "expires_at_ms": FAR_MS});
        json!({"claim": claim.to_string(), "signature": "5b".repeat(64)})
    }));
    let stack = stack_of(&mallory).await?;
    let answer = tools_call("create_issue", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}
