//! `output.max_bytes`, `output.redact` and `redaction_level`: on JSON and on events, after approval too.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::upstream::Answer;
use serde_json::json;

use crate::policy::{refusal, stack};

fn result(text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "result": {
        "content": [
            {"type": "text", "text": text},
            {"type": "resource", "resource": {"uri": "tracker://a", "text": text}},
        ],
        "structuredContent": {"rows": [{"note": text, "n": 1.5}]},
        "isError": false,
    }})
    .to_string()
}

#[tokio::test]
async fn configured_patterns_leave_no_string_of_any_answer() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: clean, match: {mcp: {allow_tools: [\"*_a\"]}}, decision: allow_with_constraints, \
         constraints: {output: {redact: [\"sk-live-*\", \"###-##-####\"]}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let leak = "key sk-live-abc123 of 123-45-6789";
    let clean = "key [redacted] of [redacted]";

    stack.upstream.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: result(leak) }));
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.text(), result(clean), "everything else byte for byte, types as they were");
    let held = tools_call("write_a", "{}", &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    assert_eq!(view["constraints"]["output"]["redact"][1], "sk-live-*", "{view}");
    bob.approve(&view).await?;
    assert_eq!(held.answer().await?.text(), result(clean), "under what the approver was shown");

    stack.upstream.answer_with(move |_| {
        let messages = [
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "message": leak}}),
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": {"line": leak}}}),
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 5, "message": leak, "data": [leak]}}),
        ];
        let events = messages.iter().map(|message| (Duration::ZERO, format!("data: {message}\n\n"))).collect();
        (Duration::ZERO, Answer::Sse { events })
    });
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert!(!answer.text().contains("sk-live") && !answer.text().contains("6789"), "{}", answer.text());
    assert_eq!(answer.text().matches("[redacted]").count(), 8, "{}", answer.text());
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("what was redacted", |entry| entry["detail"] == "4 texts redacted").await?;
    Ok(())
}

#[tokio::test]
async fn answer_over_its_limit_is_not_delivered_and_not_cut_short() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: short, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {output: {max_bytes: 1000}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let long = result(&"x".repeat(2_000));
    for with_length in [true, false] {
        let long = long.clone();
        stack.upstream.answer_with(move |_| {
            let events = vec![(Duration::ZERO, format!("data: {long}\n\n"))];
            let answer = match with_length {
                true => Answer::Json { status: 200, body: long.clone() },
                false => Answer::Sse { events },
            };
            (Duration::ZERO, answer)
        });
        let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
        let said = refusal(&answer);
        assert!(said.contains("more than 1000 bytes"), "{said}");
        assert!(!answer.text().contains("xxx"));
    }
    stack.upstream.answer_with(|_| (Duration::ZERO, Answer::Json { status: 200, body: result("short") }));
    assert_eq!(refusal(&tools_call("read_a", "{}", &token).send(stack.port()).await?), "");
    Ok(())
}

#[tokio::test]
async fn full_redaction_leaves_the_shape_and_takes_every_text() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: blind, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {redaction_level: full}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    stack.upstream.answer_with(|_| (Duration::ZERO, Answer::Json { status: 200, body: result("anything") }));
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.text(), result("[redacted]"));
    Ok(())
}
