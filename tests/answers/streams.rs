//! Streams stay streams: an event is with the client before its server has thought of the next one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::upstream::Answer;
use tokio::sync::Notify;

use crate::call::{answers_stream, stack};

#[tokio::test]
async fn event_reaches_the_client_before_the_server_sends_the_next_one() -> anyhow::Result<()> {
    let stack = stack().start().await?;
    let token = stack.agent("agent-7")?;
    let gate = Arc::new(Notify::new());
    let progress = |n: u32| {
        format!(
            "event: message\r\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":1,\"progress\":{n}}}}}\r\n\r\n"
        )
    };
    let last = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[],\"isError\":false}}\n\n".to_owned();
    let events = vec![progress(1), progress(2), last];
    let script = (events.clone(), Arc::clone(&gate));
    stack.upstream.answer_with(move |_| {
        let (events, gate) = script.clone();
        (Duration::ZERO, Answer::Gated { events, gate })
    });
    let mut answer = reqwest::Client::new()
        .post(stack.envoy.mcp_url())
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .bearer_auth(&token)
        .body(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","arguments":{}}}"#)
        .send()
        .await?;
    let mut seen = String::new();
    for event in &events {
        let whole = seen.clone() + event;
        while seen.len() < whole.len() {
            let more = tokio::time::timeout(holdpoint_tests::probe::PATIENCE, answer.chunk()).await??;
            seen.push_str(std::str::from_utf8(&more.context("the stream ended early")?)?);
        }
        assert_eq!(seen, whole);
        gate.notify_one();
    }
    Ok(())
}

#[tokio::test]
async fn stream_passes_byte_for_byte_however_it_is_written() -> anyhow::Result<()> {
    let stack = stack().start().await?;
    let token = stack.agent("agent-7")?;
    let result =
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\ud83d\ude00"}],"isError":false}}"#;
    for stream in [
        format!("\u{feff}: hi\r\rid: 1\rdata: {{\rdata:}}\r\rretry: 5\r\ndata: {result}\r\n\r\n"),
        format!("id: 0\ndata: \n\ndata: {result}\n\n: bye\n\n"),
    ] {
        answers_stream(&stack, stream.clone());
        let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
        assert_eq!(answer.text(), stream);
    }
    Ok(())
}
