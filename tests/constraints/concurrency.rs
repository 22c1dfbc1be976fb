//! `max_concurrent_jobs`: slots are free again on every ending, and ten approved writes run one at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::envoy::PolicyUpdate;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use serde_json::json;
use tokio::sync::Notify;

use crate::policy::{refusal, stack, with_rules};

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
    let said = refusal(&call().send(stack.port()).await?);
    assert!(said.contains("The server broke off"), "{said}");
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

#[tokio::test]
async fn slot_outlives_a_new_configuration_and_is_free_when_its_call_ends_after_it() -> anyhow::Result<()> {
    let mut stack = stack(ONE_READ).policy_by_discovery().start().await?;
    let token = stack.agent("agent-7")?;
    let gate = Arc::new(Notify::new());
    let (opened, events) =
        (Arc::clone(&gate), vec![": working\n\n".to_owned(), "data: {\"id\":1,\"result\":{}}\n\n".to_owned()]);
    stack
        .upstream
        .answer_with(move |_| (Duration::ZERO, Answer::Gated { events: events.clone(), gate: Arc::clone(&opened) }));
    let running = tools_call("read_slow", "{}", &token).begin(stack.port()).await?;
    stack.upstream.wait_for(1).await?;
    stack.document.policy =
        with_rules(&format!("{ONE_READ}\n- {{id: later, match: {{mcp: {{allow_tools: [x]}}}}, decision: deny}}"));
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    for _ in 0..8 {
        let said = refusal(&tools_call("read_slow", "{}", &token).send(stack.port()).await?);
        assert!(said.contains("rule `one` lets no more calls run right now"), "{said}");
    }
    gate.notify_one();
    running.answer().await?;
    is_free(&stack, &token).await
}

#[tokio::test]
async fn slot_is_free_when_the_filter_ended_the_call_for_its_time() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: one, match: {mcp: {allow_tools: [read_slow]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_concurrent_jobs: 1, max_runtime_ms: 500}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    stack.upstream.answer_with(|message| (Duration::from_secs(30), Answer::tool_result(message, "late")));
    let said = refusal(&tools_call("read_slow", "{}", &token).send(stack.port()).await?);
    assert!(said.starts_with("Ended after 500 ms"), "{said}");
    is_free(&stack, &token).await
}

#[tokio::test]
async fn task_keeps_the_slot_of_its_call_until_its_client_sees_it_end() -> anyhow::Result<()> {
    let stack = stack(&format!("- {{id: tasks, match: {{topics: job.mcp.task}}, decision: allow}}\n{ONE_READ}"))
        .start()
        .await?;
    let token = stack.agent("agent-7")?;
    let status = Arc::new(Mutex::new("working"));
    let now = Arc::clone(&status);
    stack.upstream.answer_with(move |message| {
        let message = message.json();
        let task = json!({"taskId": "t-1", "status": *now.lock().expect("no panic"), "ttl": 600_000});
        let result = if message["method"] == "tools/call" { json!({ "task": task }) } else { task };
        let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
        (Duration::ZERO, Answer::Json { status: 200, body })
    });
    let post = |method: &str, params: serde_json::Value| {
        HttpCall::post(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
            .header("mcp-protocol-version", "2025-11-25")
            .bearer(&token)
    };
    let begin = || post("tools/call", json!({"name": "read_slow", "arguments": {}, "task": {"ttl": 600_000}}));
    assert_eq!(begin().send(stack.port()).await?.json()["result"]["task"]["status"], "working");
    for _ in 0..8 {
        let said = begin().send(stack.port()).await?;
        assert!(said.text().contains("lets no more calls run right now"), "{}", said.text());
        post("tasks/get", json!({"taskId": "t-1"})).send(stack.port()).await?;
    }
    *status.lock().expect("no panic") = "completed";
    assert_eq!(
        post("tasks/get", json!({"taskId": "t-1"})).send(stack.port()).await?.json()["result"]["status"],
        "completed"
    );
    is_free(&stack, &token).await
}
