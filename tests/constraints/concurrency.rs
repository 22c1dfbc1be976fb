//! `max_concurrent_jobs`: slots are free again on every ending, and ten approved writes run one at a time.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;

use crate::policy::{refusal, stack};

const ONE_READ: &str = "- {id: one, match: {mcp: {allow_tools: [read_slow]}}, decision: allow_with_constraints, \
                        constraints: {budgets: {max_concurrent_jobs: 1}}}";

/// Whether the one slot is free: a call that finds it taken is refused at once.
async fn is_free(stack: &Stack, token: &str) -> anyhow::Result<()> {
    stack.upstream.answer_with(|message| (Duration::ZERO, Answer::tool_result(message, "done")));
    probe::until("the slot is free", probe::PATIENCE, async || {
        let answer = tools_call("read_slow", r#"{"probe":true}"#, token).send(stack.port()).await.ok()?;
        refusal(&answer).is_empty().then_some(())
    })
    .await
}

#[tokio::test]
async fn ten_approved_writes_run_one_at_a_time() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: one, match: {labels: {mcp.action: write}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_concurrent_jobs: 1}}}",
    )
    .start()
    .await?;
    stack.upstream.answer_with(|message| (Duration::from_millis(150), Answer::tool_result(message, "done")));
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for number in 0..10 {
        held.push(tools_call("write_a", &format!(r#"{{"n":{number}}}"#), &token).begin(stack.port()).await?);
    }
    for id in bob.wait_for("pending", 10).await? {
        bob.approve(&bob.show(&id).await?).await?;
    }
    for call in held {
        assert_eq!(refusal(&call.answer().await?), "");
    }
    assert_eq!((stack.upstream.count(), stack.upstream.at_once_max()), (10, 1));
    Ok(())
}

#[tokio::test]
async fn slot_is_free_again_however_the_call_ended() -> anyhow::Result<()> {
    let stack = stack(ONE_READ).start().await?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("read_slow", "{}", &token);

    // The server answers.
    assert_eq!(refusal(&call().send(stack.port()).await?), "");
    is_free(&stack, &token).await?;

    // The server breaks off.
    stack.upstream.answer_with(|_| (Duration::ZERO, Answer::Drop));
    assert_ne!(call().send(stack.port()).await?.status, 200);
    is_free(&stack, &token).await?;

    // The client leaves while the server still works; meanwhile the slot is taken for everybody.
    stack.upstream.answer_with(|message| (Duration::from_secs(15), Answer::tool_result(message, "late")));
    let before = stack.upstream.count();
    let left = call().begin(stack.port()).await?;
    stack.upstream.wait_for(before + 1).await?;
    let said = refusal(&call().send(stack.port()).await?);
    assert!(said.contains("rule `one` lets no more calls run right now"), "{said}");
    left.abandon();
    is_free(&stack, &token).await
}
