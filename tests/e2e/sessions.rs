//! Sessions of the eras that have them: their stream, its resumption and their end are their own principal's alone.

use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Received};
use serde_json::json;
use std::time::Duration;

const SESSION: &str = "b9e2f5d0-session";

/// A server with one session, whose stream says one thing.
fn answer(message: &Received) -> (Duration, Answer) {
    let answer = match message.method.as_str() {
        "GET" => {
            let note = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"tracker://1"}}"#;
            let event = format!("id: 8\nevent: message\ndata: {note}\n\n");
            Answer::Sse { events: vec![(Duration::ZERO, event)] }
        }
        "DELETE" => Answer::Json { status: 200, body: String::new() },
        _ if message.json()["method"] == "initialize" => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
            let body = json!({"jsonrpc": "2.0", "id": message.json()["id"], "result": result}).to_string();
            Answer::Json { status: 200, body }.header("mcp-session-id", SESSION)
        }
        _ => Answer::tool_result(message, "done"),
    };
    (Duration::ZERO, answer)
}

fn in_session(call: HttpCall) -> HttpCall {
    call.header("mcp-session-id", SESSION)
}

/// Two workers, and alice's session.
async fn begin() -> anyhow::Result<(Stack, String, String)> {
    let stack = Stack::builder().start().await?;
    stack.upstream.answer_with(answer);
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let opened = HttpCall::post(body).bearer(&alice).send(stack.port()).await?;
    assert_eq!(opened.headers["mcp-session-id"], SESSION, "{}", opened.text());
    Ok((stack, alice, mallory))
}

fn is_dead(answer: &HttpAnswer) -> bool {
    answer.status == 404 && answer.text().contains("initialize again")
}

#[tokio::test]
async fn session_is_its_principals_on_every_worker_and_nobody_elses() -> anyhow::Result<()> {
    let (stack, alice, mallory) = begin().await?;
    let get =
        |token: &str| in_session(HttpCall::bodiless("GET")).header("mcp-protocol-version", "2025-11-25").bearer(token);
    // Each call has a connection of its own, and connections are spread over the workers.
    for _ in 0..6 {
        let stream = get(&alice).send(stack.port()).await?;
        assert!(stream.status == 200 && stream.text().contains("notifications/resources/updated"), "{}", stream.text());
        let call = in_session(tools_call("list_issues", "{}", &alice)).send(stack.port()).await?;
        assert_eq!(call.json()["result"]["isError"], false, "{}", call.text());
    }
    let reached = stack.upstream.count();
    assert!(is_dead(&get(&mallory).send(stack.port()).await?));
    assert!(is_dead(&get(&mallory).header("last-event-id", "7").send(stack.port()).await?));
    assert!(is_dead(&in_session(tools_call("list_issues", "{}", &mallory)).send(stack.port()).await?));
    assert!(is_dead(&in_session(HttpCall::bodiless("DELETE")).bearer(&mallory).send(stack.port()).await?));
    let unknown = tools_call("list_issues", "{}", &alice).header("mcp-session-id", "guessed");
    assert!(is_dead(&unknown.send(stack.port()).await?));
    assert_eq!(stack.upstream.count(), reached, "nothing of it reached the server");
    Ok(())
}

#[tokio::test]
async fn broken_stream_is_resumed_and_a_session_ended_by_whose_it_is() -> anyhow::Result<()> {
    let (stack, alice, _) = begin().await?;
    let resumed = in_session(HttpCall::bodiless("GET"))
        .header("mcp-protocol-version", "2026-07-28")
        .header("last-event-id", "7")
        // What clients send along that reconnect in the newest version.
        .header("mcp-method", "server/discover")
        .bearer(&alice);
    assert_eq!(resumed.send(stack.port()).await?.status, 200);
    let ended = in_session(HttpCall::bodiless("DELETE")).bearer(&alice).send(stack.port()).await?;
    assert_eq!(ended.status, 200);
    let received = stack.upstream.received();
    let [_, stream, end] = &received[..] else { panic!("{received:?}") };
    assert_eq!((stream.header("last-event-id"), stream.header("mcp-method")), (Some("7"), None));
    assert_eq!((end.method.as_str(), end.header("mcp-session-id")), ("DELETE", Some(SESSION)));
    assert_eq!(end.header("authorization"), stream.header("authorization"));
    let line = stack.envoy.access_log_line(|line| line["method"] == "DELETE").await?;
    assert_eq!((&line["verdict"], &line["status"]), (&json!("allow"), &json!(200)));
    Ok(())
}

#[tokio::test]
async fn stream_may_be_silent_for_longer_than_any_call_may_wait() -> anyhow::Result<()> {
    let stack = Stack::builder()
        .document(|document| document.hold_ms_max = 100)
        .envoy(|config| {
            config.idle_ms_max(1_000).expect("the base's timeouts");
            config.route().expect("the route")["route"]["timeout"] = json!("1s");
            config.routes().expect("the routes")[0]["route"]["timeout"] = json!("1s");
        })
        .start()
        .await?;
    stack.upstream.answer_with(|message| {
        let (pause, answered) = answer(message);
        match answered {
            Answer::Sse { events } => {
                let late = events.into_iter().map(|(_, event)| (Duration::from_secs(3), event)).collect();
                (pause, Answer::Sse { events: late })
            }
            other => (pause, other),
        }
    });
    let alice = stack.agent("alice")?;
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    HttpCall::post(body).bearer(&alice).send(stack.port()).await?;
    let stream = in_session(HttpCall::bodiless("GET")).bearer(&alice).send(stack.port()).await?;
    assert!(stream.text().contains("notifications/resources/updated"), "{}", stream.text());
    Ok(())
}

#[tokio::test]
async fn what_has_no_session_has_no_stream() -> anyhow::Result<()> {
    let (stack, alice, _) = begin().await?;
    let reached = stack.upstream.count();
    for (more, said) in [
        (&[][..], "HTTP+SSE transport of 2024-11-05 is not governed here"),
        (&[("mcp-protocol-version", "2026-07-28")], "2026-07-28 has no GET"),
        (&[("mcp-protocol-version", "2025-11-25")], "`mcp-session-id`"),
        (&[("last-event-id", "7")], "`mcp-session-id`"),
    ] {
        let call = more.iter().fold(HttpCall::bodiless("GET"), |call, (name, value)| call.header(name, value));
        let answer = call.bearer(&alice).send(stack.port()).await?;
        assert!(answer.status == 405 && answer.text().contains(said), "{}: {}", answer.status, answer.text());
        assert_eq!(answer.headers["allow"], "POST");
    }
    let nobody = in_session(HttpCall::bodiless("GET")).send(stack.port()).await?;
    assert_eq!(nobody.status, 401);
    assert_eq!(stack.upstream.count(), reached);
    Ok(())
}
