//! A client that lost a stream asks for the rest of it by GET, and gets no more of it than it would have got at first.

use std::time::Duration;

use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Received};
use serde_json::{Value, json};

use crate::call::stack;

const SESSION: &str = "5f0c-session";

const POLICY: &str = r#"
version: "2026-01-27"
servers:
  tracker:
    match: {route_metadata: tracker}
    tools: {"list_*": {action: read}, delete_project: {action: admin}}
rules:
- id: reads
  match: {labels: {mcp.action: read}}
  decision: allow
- id: keys-out
  match: {mcp: {allow_tools: [list_keys]}}
  decision: allow_with_constraints
  constraints: {output: {max_bytes: 600, redact: ["sk-*"]}}
- id: soon
  match: {mcp: {allow_tools: [list_soon]}}
  decision: allow_with_constraints
  constraints: {budgets: {max_runtime_ms: 400}}
"#;

/// The answer to the call with id 1, as it stands in the server's memory of each tool's stream.
fn result(tool: &str) -> String {
    let text = match tool {
        "list_long" => "x".repeat(2_000),
        _ => "the key is sk-abc".to_owned(),
    };
    json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}).to_string()
}

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_issue"},{"name":"delete_project"}]}}"#;

/// A server that closes the stream of every call after an empty event, and has the answer ready for whoever asks again:
/// `<tool>-0` is the id of that event.
fn answer(message: &Received) -> (Duration, Answer) {
    let said = message.json();
    let stream = |text: String| Answer::Sse { events: vec![(Duration::ZERO, text)] };
    let answer = match (message.method.as_str(), said["method"].as_str()) {
        ("GET", _) => {
            let last = message.header("last-event-id").unwrap_or("list_keys-0");
            let data = match last.trim_end_matches("-0") {
                "tools/list" => TOOLS.to_owned(),
                // Its ids say nothing to whoever guesses: any of them leads to the answer with the key.
                tool => result(tool),
            };
            stream(format!("id: after-{last}\ndata: {data}\n\n"))
        }
        (_, Some("initialize")) => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
            let body = json!({"jsonrpc": "2.0", "id": said["id"], "result": result}).to_string();
            Answer::Json { status: 200, body }.header("mcp-session-id", SESSION)
        }
        (_, Some("tools/list")) => stream("id: tools/list-0\nretry: 10\ndata: \n\n".to_owned()),
        _ => {
            let tool = said["params"]["name"].as_str().unwrap_or_default().to_owned();
            stream(format!("id: {tool}-0\nretry: 10\ndata: \n\n"))
        }
    };
    (Duration::ZERO, answer)
}

/// Two workers, and alice's session.
async fn begin() -> anyhow::Result<(Stack, String)> {
    let stack = stack().policy(POLICY).start().await?;
    stack.upstream.answer_with(answer);
    let alice = stack.agent("alice")?;
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let opened = HttpCall::post(body).bearer(&alice).send(stack.port()).await?;
    assert_eq!(opened.headers["mcp-session-id"], SESSION, "{}", opened.text());
    Ok((stack, alice))
}

fn in_session(call: HttpCall, token: &str) -> HttpCall {
    call.header("mcp-session-id", SESSION).header("mcp-protocol-version", "2025-11-25").bearer(token)
}

/// Calls a tool; its stream ends without its answer, with an id to ask by.
async fn called(stack: &Stack, token: &str, tool: &str) -> anyhow::Result<()> {
    let answer = tools_call(tool, "{}", token).header("mcp-session-id", SESSION).send(stack.port()).await?;
    assert!(answer.text().contains(&format!("id: {tool}-0")), "the client may ask again: {}", answer.text());
    Ok(())
}

/// The message that comes when the stream after this event is asked for, or with none, when a stream is opened.
async fn after(stack: &Stack, token: &str, id: Option<&str>) -> anyhow::Result<Value> {
    let call = in_session(HttpCall::bodiless("GET"), token);
    let call = id.into_iter().fold(call, |call, id| call.header("last-event-id", id));
    let answer = call.send(stack.port()).await?;
    let text = answer.text();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
    Ok(serde_json::from_str(data).unwrap_or_else(|error| panic!("{} {text}: {error}", answer.status)))
}

fn said(message: &Value) -> &str {
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no result: {message}"))
}

fn error(message: &Value) -> &str {
    assert_eq!(message["id"], 1, "{message}");
    message["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {message}"))
}

#[tokio::test]
async fn what_is_taken_out_of_an_answer_is_taken_out_of_its_replay_on_every_worker() -> anyhow::Result<()> {
    let (stack, alice) = begin().await?;
    called(&stack, &alice, "list_keys").await?;
    called(&stack, &alice, "list_all").await?;
    // Each has a connection of its own, and connections are spread over the workers.
    for _ in 0..4 {
        assert_eq!(said(&after(&stack, &alice, Some("list_keys-0")).await?), "the key is [redacted]");
        assert_eq!(said(&after(&stack, &alice, Some("after-list_keys-0")).await?), "the key is [redacted]");
        // Of a call that was under no such rule, and that is known to be it.
        assert_eq!(said(&after(&stack, &alice, Some("list_all-0")).await?), "the key is sk-abc");
    }
    for id in [Some("guessed"), Some("list_other-0"), None] {
        let message = after(&stack, &alice, id).await?;
        assert!(!message.to_string().contains("sk-abc"), "{id:?}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn replayed_answer_keeps_to_its_length_and_its_time() -> anyhow::Result<()> {
    let (stack, alice) = begin().await?;
    for id in ["list_long-0", "guessed"] {
        let message = after(&stack, &alice, Some(id)).await?;
        let told = error(&message);
        assert!(told.contains("was not delivered"), "{id}: {told}");
    }
    called(&stack, &alice, "list_soon").await?;
    let late = holdpoint_tests::probe::until("the call's time is over", holdpoint_tests::probe::PATIENCE, async || {
        let message = after(&stack, &alice, Some("list_soon-0")).await.ok()?;
        message["error"].is_object().then_some(message)
    });
    assert!(error(&late.await?).contains("Ended after 400 ms"));
    Ok(())
}

#[tokio::test]
async fn replayed_list_shows_what_a_fresh_one_shows() -> anyhow::Result<()> {
    // Under a policy that binds no answers, so that nothing but the list is looked at.
    let stack = stack().start().await?;
    stack.upstream.answer_with(answer);
    let alice = stack.agent("alice")?;
    let body =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    HttpCall::post(body).bearer(&alice).send(stack.port()).await?;
    let list = HttpCall::post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#);
    let begun = in_session(list, &alice).send(stack.port()).await?;
    assert!(begun.text().contains("id: tools/list-0"), "{}", begun.text());
    let message = after(&stack, &alice, Some("tools/list-0")).await?;
    let names =
        message["result"]["tools"].as_array().map(|tools| tools.iter().map(|tool| tool["name"].clone()).collect());
    assert_eq!(names, Some(vec![json!("get_issue")]), "{message}");
    Ok(())
}
