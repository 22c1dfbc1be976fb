//! Windows and slots run on a clock that nobody sets: a step of the wall clock opens none of them and closes none for long.

use std::sync::Arc;
use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use holdpoint_tests::upstream::Answer;
use holdpoint_tests::wall_clock::WallClock;
use tokio::sync::Notify;

use crate::policy::{refusal, stack};

const RULES: &str = "- {id: few, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
                     constraints: {budgets: {max_calls: 1, per_ms: 600000}}}\n\
                     - {id: brief, match: {mcp: {allow_tools: [read_b]}}, decision: allow_with_constraints, \
                     constraints: {budgets: {max_calls: 1, per_ms: 1500}}}\n\
                     - {id: one, match: {mcp: {allow_tools: [read_slow]}}, decision: allow_with_constraints, \
                     constraints: {budgets: {max_concurrent_jobs: 1}}}";

/// Less than a token lives, and longer than any window or slot here.
const STEP_S: i64 = 3_000;

#[tokio::test]
async fn step_of_the_wall_clock_moves_neither_windows_nor_slots() -> anyhow::Result<()> {
    let clock = Arc::new(WallClock::new()?);
    let ruled = Arc::clone(&clock);
    let stack = stack(RULES).envoy(move |config| ruled.rule(config).expect("a clock")).start().await?;
    let token = stack.agent("agent-7")?;
    let auditor = Person::auditor(&stack.service)?;
    let call = |tool: &str, n: u32| tools_call(tool, &format!("{{\"n\":{n}}}"), &token).send(stack.port());

    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    stack.upstream.answer_with(move |message| match message.json()["params"]["name"] == "read_slow" {
        true => {
            let events = vec![": working\n\n".to_owned(), "data: {\"id\":1,\"result\":{}}\n\n".to_owned()];
            (Duration::ZERO, Answer::Gated { events, gate: Arc::clone(&opened) })
        }
        false => (Duration::ZERO, Answer::tool_result(message, "done")),
    });
    assert_eq!(refusal(&call("read_a", 0).await?), "");
    let before = stack.upstream.count();
    let running = tools_call("read_slow", "{}", &token).begin(stack.port()).await?;
    stack.upstream.wait_for(before + 1).await?;

    let began = auditor.entry("the first call", |entry| entry["rule_ids"].to_string().contains("few")).await?;
    let began_at_ms = began["at_ms"].as_i64().expect("a time");
    for (number, ahead_s) in [(1, STEP_S), (2, -STEP_S)] {
        let brief = || {
            probe::until("the brief window has room", probe::PATIENCE, async || {
                refusal(&call("read_b", number).await.ok()?).is_empty().then_some(())
            })
        };
        brief().await?;
        clock.set_ahead_s(ahead_s)?;
        // The record follows the wall clock: so it is known that the filter has seen the step.
        probe::until("the filter sees the wall clock", probe::PATIENCE, async || {
            call("read_c", number).await.ok()?;
            let times = auditor.record().await.ok()?.into_iter().filter_map(|entry| entry["at_ms"].as_i64());
            let has_moved = |at_ms: i64| (at_ms - began_at_ms) / 1_000 / (ahead_s / 2) >= 1;
            times.into_iter().any(has_moved).then_some(())
        })
        .await?;
        for tool in ["read_a", "read_slow"].repeat(4) {
            let said = refusal(&call(tool, 10).await?);
            assert!(said.contains("lets no more calls run right now"), "{tool} {ahead_s} s: {said}");
        }
        brief().await?;
    }
    gate.notify_one();
    running.answer().await?;
    Ok(())
}
