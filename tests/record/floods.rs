//! Rubbish and strangers without end: aggregated under a quota of their own, and never in the way of gated calls.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;

/// Entries of refusals that one worker writes in a minute; the filter's own limit.
const PER_MINUTE_MAX: usize = 60;
const FLOOD: usize = 1_500;

#[tokio::test]
async fn a_flood_of_rubbish_is_counted_with_samples_and_gated_calls_are_recorded_meanwhile() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let port = stack.port();
    let flood = tokio::spawn(async move {
        for at in 0..FLOOD {
            let rubbish = HttpCall::post(r#"{"jsonrpc":"2.0","id":1,"id":2}"#);
            let rubbish = if at % 2 == 0 { rubbish.bearer(&token) } else { rubbish };
            rubbish.send(port).await?;
        }
        anyhow::Ok(())
    });
    let agent = stack.agent("agent-8")?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &agent).begin(port).await?;
    bob.approve(&bob.pending().await?).await?;
    assert_eq!(held.answer().await?.json()["result"]["isError"], false);
    flood.await??;
    let auditor = Person::auditor(&stack.service)?;
    for kind in ["approval_opened", "review", "claim", "outcome"] {
        auditor.entry(kind, |entry| entry["kind"] == kind).await?;
    }
    // The minute ends, and what exceeded its quota is one entry: how many there were, and the last of them.
    let folded = probe::until("the flood is counted", probe::PATIENCE * 3, async || {
        let record = auditor.record().await.ok()?;
        record
            .into_iter()
            .find(|entry| entry["detail"].as_str().is_some_and(|detail| detail.contains("more of this kind")))
    })
    .await?;
    assert_eq!(folded["kind"], "refusal");
    let refusals = auditor.record().await?.iter().filter(|entry| entry["kind"] == "refusal").count();
    // The flood may have lasted into further minutes; each of them has its quota and its count.
    assert!((PER_MINUTE_MAX..FLOOD / 2).contains(&refusals), "{refusals} entries for {FLOOD} refusals");
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.audit_lost_total").await?, 0);
    Ok(())
}
