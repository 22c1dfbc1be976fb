//! A VM that dies takes its calls along, not their slots: those end by themselves, neither at once nor never.
//!
//! It is killed as an operator might kill one: with a limit set so high that answers fill the gibibyte of memory that V8
//! gives a VM, so that it aborts. Nothing in the filter helps.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use holdpoint_tests::upstream::Answer;
use tokio::sync::Notify;

use crate::policy::{refusal, stack};

const ONE: &str = "- {id: one, match: {mcp: {allow_tools: [read_slow]}}, decision: allow_with_constraints, \
                   constraints: {budgets: {max_concurrent_jobs: 1}}}";

/// The largest event that the filter may be told to wait for, in bytes; a little less of it is sent.
const EVENT_BYTES_MAX: usize = 16_777_216;

/// More unfinished events of that size than fit.
const ANSWERS_MAX: usize = 140;

/// A slot lives for 60 s after it was last renewed.
const EXPIRY: Duration = Duration::from_secs(150);

const RELOADS: &str = "wasm.holdpoint.vm_reload_success";

#[tokio::test]
async fn slot_of_a_call_whose_vm_died_ends_by_expiry() -> anyhow::Result<()> {
    let stack =
        stack(ONE).workers(1).document(|document| document.answer_bytes_max = EVENT_BYTES_MAX as u64).start().await?;
    let token = stack.agent("agent-7")?;
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let unfinished = format!("data: {}", "x".repeat(EVENT_BYTES_MAX - 1024));
    stack.upstream.answer_with(move |message| {
        let first = match message.json()["params"]["name"] == "read_long" {
            true => unfinished.clone(),
            false => ": working\n\n".to_owned(),
        };
        let events = vec![first, "\n\n".to_owned()];
        (Duration::ZERO, Answer::Gated { events, gate: Arc::clone(&closed) })
    });
    let running = tools_call("read_slow", "{}", &token).begin(stack.port()).await?;
    stack.upstream.wait_for(1).await?;
    let mut long = Vec::new();
    while stack.envoy.stat(RELOADS).await? == 0 {
        ensure!(long.len() < ANSWERS_MAX, "the VM outlives {ANSWERS_MAX} answers");
        long.push(tools_call("read_long", "{}", &token).begin(stack.port()).await?);
        stack.upstream.wait_for(1 + long.len()).await?;
    }
    long.into_iter().for_each(|call| call.abandon());

    // The new VM knows nothing of the call, and yet its slot is taken.
    stack.upstream.answer_with(|message| (Duration::ZERO, Answer::tool_result(message, "done")));
    let said = refusal(&tools_call("read_slow", "{}", &token).send(stack.port()).await?);
    assert!(said.contains("rule `one` lets no more calls run right now"), "{said}");
    probe::until("the slot of the dead VM has expired", EXPIRY, async || {
        let answer = tools_call("read_slow", "{}", &token).send(stack.port()).await.ok()?;
        refusal(&answer).is_empty().then_some(())
    })
    .await?;
    running.abandon();
    Ok(())
}
