//! `after`: what a caller read before makes what it sends wait, whichever worker saw it, and nobody else's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::PolicyUpdate;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;

use crate::policy::refusal;

const POLICY: &str = r#"version: "2026-01-27"
servers:
  tracker:
    match: {route_metadata: tracker}
    tools:
      read_customer: {action: read, risk_tags: [confidential]}
      read_brief: {action: read, risk_tags: [brief]}
      list_issues: {action: read}
      send: {action: write, risk_tags: [egress]}
rules:
- {id: open, match: {mcp: {allow_servers: [tracker], deny_actions: admin}}, decision: allow}
- id: after-confidential
  match: {risk_tags: [egress], after: {risk_tags: [confidential], within_ms: 600000, scope: process, before_start: START}}
  decision: require_approval
  reason: What was read must not leave unseen
  approval: {approvers: {all_of: [{group: sre, min: 1}]}}
- id: after-brief
  match: {risk_tags: [egress], after: {risk_tags: [brief], within_ms: 5000, scope: process, before_start: clean}}
  decision: require_approval
  reason: For a moment
  approval: {approvers: {all_of: [{group: sre, min: 1}]}}
"#;

fn policy(before_start: &str) -> String {
    POLICY.replace("START", before_start)
}

async fn stack(before_start: &str) -> anyhow::Result<Stack> {
    Stack::builder().policy(&policy(before_start)).hold_ms_max(100).policy_by_discovery().workers(2).start().await
}

/// Whether a send of `token`'s owner runs at once; otherwise it waits for people. Each is a call of its own on a connection of its own.
async fn sends(stack: &Stack, token: &str, number: u32) -> anyhow::Result<bool> {
    let answer = tools_call("send", &format!(r#"{{"n":{number}}}"#), token).send(stack.port()).await?;
    let said = refusal(&answer);
    assert!(said.is_empty() || said.contains("waiting for human approval"), "{said}");
    Ok(said.is_empty())
}

#[tokio::test]
async fn reading_what_is_confidential_makes_what_the_reader_sends_wait_on_every_worker() -> anyhow::Result<()> {
    let mut stack = stack("clean").await?;
    let (ann, ben) = (stack.agent("ann")?, stack.agent("ben")?);
    for number in 0..8 {
        assert!(sends(&stack, &ann, number).await?);
    }
    // The answer has not even begun: what it brings must not overtake the mark.
    stack.upstream.answer_with(|message| match message.json()["params"]["name"] == "read_customer" {
        true => (Duration::from_secs(20), Answer::tool_result(message, "late")),
        false => (Duration::ZERO, Answer::tool_result(message, "done")),
    });
    let before = stack.upstream.count();
    let reading = tools_call("read_customer", "{}", &ann).begin(stack.port()).await?;
    stack.upstream.wait_for(before + 1).await?;
    for number in 10..26 {
        assert!(!sends(&stack, &ann, number).await?, "call {number}");
        assert!(sends(&stack, &ben, number).await?, "somebody else's call {number}");
    }
    assert_eq!(refusal(&tools_call("list_issues", "{}", &ann).send(stack.port()).await?), "", "reading goes on");
    reading.abandon();

    // A new policy, and with it new VM contexts, does not forget.
    stack.document.policy = policy("clean").replace("must not leave unseen", "must still not leave unseen");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    for number in 30..38 {
        assert!(!sends(&stack, &ann, number).await?, "call {number}");
    }

    // People may let it go, and then it runs.
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let body = r#"{"n":99}"#;
    let waiting = refusal(&tools_call("send", body, &ann).send(stack.port()).await?);
    let newest = bob.ids("pending").await?;
    for id in newest {
        bob.approve(&bob.show(&id).await?).await?;
    }
    assert!(waiting.contains("What was read must still not leave unseen"), "{waiting}");
    let before = stack.upstream.count();
    probe::until("the approved send runs", probe::PATIENCE, async || {
        let answer = tools_call("send", body, &ann).send(stack.port()).await.ok()?;
        refusal(&answer).is_empty().then_some(())
    })
    .await?;
    assert_eq!(stack.upstream.count(), before + 1);
    Ok(())
}

#[tokio::test]
async fn past_is_over_when_its_time_is() -> anyhow::Result<()> {
    let stack = stack("clean").await?;
    let ann = stack.agent("ann")?;
    assert_eq!(refusal(&tools_call("read_brief", "{}", &ann).send(stack.port()).await?), "");
    assert!(!sends(&stack, &ann, 0).await?);
    let number = AtomicU32::new(1);
    probe::until("the send runs by itself again", probe::PATIENCE, async || {
        sends(&stack, &ann, number.fetch_add(1, Ordering::Relaxed)).await.ok()?.then_some(())
    })
    .await
}

#[tokio::test]
async fn envoy_that_has_just_started_knows_nobody_for_innocent_unless_the_policy_says_so() -> anyhow::Result<()> {
    let stack = stack("unknown").await?;
    let ann = stack.agent("ann")?;
    assert!(!sends(&stack, &ann, 0).await?, "nobody knows what ran before the start");
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the rule that could not be judged", |entry| entry["rule_ids"][0] == "after-confidential").await?;
    Ok(())
}
