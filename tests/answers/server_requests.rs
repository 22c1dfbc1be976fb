//! What a server asks of the client is judged like a call; what is denied reaches nobody, and neither side waits for it.

use std::collections::BTreeSet;
use std::time::Duration;

use holdpoint_tests::client::{HttpCall, tools_call, tools_call_modern};
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::probe;
use holdpoint_tests::upstream::Answer;

use crate::call::{answers_json, stack};

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}"#;

fn policy() -> anyhow::Result<String> {
    Ok(quickstart_policy()?
        + "- id: ask-by-https\n  match: {topics: job.mcp.elicitation, arguments: {/url: {prefix: \"https://tracker.example/\"}}}\n  \
           decision: allow\n  reason: \"The tracker may send people to its own pages\"\n")
}

#[tokio::test]
async fn denied_request_on_a_stream_is_taken_out_and_its_server_is_answered() -> anyhow::Result<()> {
    let stack = stack().policy(&policy()?).start().await?;
    let token = stack.agent("agent-7")?;
    stack.upstream.answer_with(|message| {
        match message.json()["method"].as_str() {
            Some("initialize") => {
                let body = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
                let answer = Box::new(Answer::Json { status: 200, body: body.to_owned() });
                return (Duration::ZERO, Answer::With { headers: vec![("mcp-session-id", "session-1".to_owned())], answer });
            }
            Some("tools/call") => {}
            _ => return (Duration::ZERO, Answer::Json { status: 202, body: String::new() }),
        }
        let events = [
            r#"{"jsonrpc":"2.0","id":"s-1","method":"sampling/createMessage","params":{"messages":[]}}"#,
            r#"{"jsonrpc":"2.0","id":"s-2","method":"elicitation/create","params":{"mode":"url","url":"https://tracker.example/login"}}"#,
            r#"{"jsonrpc":"2.0","id":"s-3","method":"elicitation/create","params":{"mode":"url","url":"https://evil.example/"}}"#,
            RESULT,
        ];
        let events = events.iter().map(|event| (Duration::ZERO, format!("data: {event}\n\n"))).collect();
        (Duration::ZERO, Answer::Sse { events })
    });
    let opened = HttpCall::post(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"1"}}}"#,
    );
    assert_eq!(opened.bearer(&token).send(stack.port()).await?.status, 200);
    let call = tools_call("list_issues", "{}", &token).header("mcp-session-id", "session-1");
    let answer = call.send(stack.port()).await?;
    assert!(!answer.text().contains("sampling") && !answer.text().contains("evil"), "{}", answer.text());
    assert!(answer.text().contains("tracker.example/login"));
    assert_eq!(answer.json()["result"]["isError"], false);
    let answered = probe::until("the server is answered", probe::PATIENCE, async || {
        let received = stack.upstream.received();
        let errors: Vec<_> = received.into_iter().filter(|message| message.json()["error"].is_object()).collect();
        (errors.len() == 2).then_some(errors)
    });
    // Each on a connection of its own: they may arrive in either order.
    let answered = answered.await?;
    let ids: BTreeSet<String> = answered.iter().map(|message| message.json()["id"].to_string()).collect();
    assert_eq!(ids, BTreeSet::from([r#""s-1""#.to_owned(), r#""s-3""#.to_owned()]));
    assert!(answered.iter().all(|message| message.header("mcp-session-id") == Some("session-1")));
    Ok(())
}

#[tokio::test]
async fn denied_input_request_of_the_modern_era_is_refused_instead_of_delivered() -> anyhow::Result<()> {
    let stack = stack().policy(&policy()?).start().await?;
    let token = stack.agent("agent-7")?;
    let asks = |method: &str, url: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","inputRequests":{{"a":{{"method":"{method}","params":{{"mode":"url","url":"{url}"}}}}}},"requestState":"s"}}}}"#
        )
    };
    let allowed = asks("elicitation/create", "https://tracker.example/x");
    answers_json(&stack, allowed.clone());
    let answer = tools_call_modern("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.text(), allowed);
    for denied in [asks("sampling/createMessage", "x"), asks("elicitation/create", "https://evil.example/")] {
        answers_json(&stack, denied);
        let answer = tools_call_modern("list_issues", "{}", &token).send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
        assert!(!answer.text().contains("inputRequests"), "{}", answer.text());
    }
    Ok(())
}
