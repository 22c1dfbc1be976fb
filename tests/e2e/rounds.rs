//! What a server and its client have between them stays whole: further rounds of one call, questions of the server, tasks.

use std::time::Duration;

use holdpoint_tests::client::{HttpCall, tools_call, tools_call_modern};
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Received};
use serde_json::{Value, json};

/// Beside the quickstart's rules: people may be asked, tasks may be asked for, models may not be made to write.
const RULES: &str = "- id: people-may-be-asked\n  match: {topics: [job.mcp.elicitation]}\n  decision: allow\n\
                     - id: tasks\n  match: {topics: [job.mcp.task]}\n  decision: allow\n";

async fn stack() -> anyhow::Result<Stack> {
    Stack::builder().policy(&(quickstart_policy()? + RULES)).start().await
}

fn result(message: &Received, result: &Value) -> (Duration, Answer) {
    let body = json!({"jsonrpc": "2.0", "id": message.json()["id"], "result": result}).to_string();
    (Duration::ZERO, Answer::Json { status: 200, body })
}

/// A later round of a 2026-07-28 call, with `more` in its parameters.
fn later_round(more: &str, token: &str) -> HttpCall {
    let mut call = tools_call_modern("list_issues", "{}", token);
    let body = String::from_utf8(call.body_bytes()).expect("text");
    call.body = holdpoint_tests::client::HttpBody::Whole(
        body.replace(r#""arguments":{}"#, &format!(r#""arguments":{{}},{more}"#)).into_bytes(),
    );
    call
}

#[tokio::test]
async fn rounds_that_a_server_asks_for_pass_byte_for_byte() -> anyhow::Result<()> {
    let stack = stack().await?;
    let token = stack.agent("agent-7")?;
    let asked = json!({
        "resultType": "input_required", "requestState": "s\u{e9}\"1",
        "inputRequests": {"holdpoint": {"method": "elicitation/create", "params": {"mode": "form", "message": "Which?"}}},
    });
    let answered = asked.clone();
    stack.upstream.answer_with(move |message| result(message, &answered));
    let first = tools_call_modern("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(first.json()["result"], asked);

    let more =
        r#""requestState":"sé\"1", "inputResponses": { "holdpoint" : {"action":"accept","content":{"n":1.50}} }"#;
    let call = later_round(more, &token);
    let sent = call.body_bytes();
    call.send(stack.port()).await?;
    assert_eq!(stack.upstream.received()[1].body, sent);
    Ok(())
}

#[tokio::test]
async fn what_a_client_answers_to_holdpoint_reaches_no_server_and_the_rest_does() -> anyhow::Result<()> {
    let stack = stack().await?;
    let token = stack.agent("agent-7")?;
    let more =
        r#""inputResponses":{"holdpoint.dev/approval":{"action":"accept"},"theirs":{"n":1.50}},"requestState":"s""#;
    for call in [
        later_round(more, &token),
        later_round(more, &token).over_http2(),
        later_round(more, &token).in_pieces(7, Duration::ZERO),
    ] {
        let answer = call.send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    }
    // The connection to the server is as it should be: what comes next is read as what it is.
    tools_call("get_issue", "{}", &token).send(stack.port()).await?;
    let received = stack.upstream.received();
    assert_eq!(received.len(), 4);
    for message in received.iter().take(3) {
        let params = &message.json()["params"];
        assert_eq!(params["inputResponses"], json!({"theirs": {"n": 1.5}}));
        assert_eq!((&params["requestState"], &params["name"]), (&json!("s"), &json!("list_issues")));
        assert!(String::from_utf8_lossy(&message.body).contains("1.50"), "numbers keep their text");
        assert_eq!(message.header("content-length"), Some(message.body.len().to_string().as_str()));
    }
    assert_eq!(received[3].json()["params"]["name"], "get_issue");
    Ok(())
}

#[tokio::test]
async fn answer_to_a_question_of_the_server_passes_from_whom_it_asked_alone() -> anyhow::Result<()> {
    let stack = stack().await?;
    stack.upstream.answer_with(|message| {
        let said = message.json();
        if said["method"] != "tools/call" {
            return (Duration::ZERO, Answer::Json { status: 202, body: String::new() });
        }
        let asks = |id: u32, method: &str| {
            format!(
                "data: {}\n\n",
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"message": "Which?"}})
            )
        };
        let end = json!({"jsonrpc": "2.0", "id": said["id"], "result": {"content": [], "isError": false}});
        let events = vec![
            (Duration::ZERO, asks(90, "elicitation/create")),
            (Duration::ZERO, asks(91, "sampling/createMessage")),
            (Duration::from_millis(200), format!("data: {end}\n\n")),
        ];
        (Duration::ZERO, Answer::Sse { events })
    });
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    let answer = async |token: &str, id: u32| {
        let body = json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"which": "this"}}})
            .to_string();
        let answer =
            HttpCall::post(body).header("mcp-protocol-version", "2025-11-25").bearer(token).send(stack.port()).await?;
        anyhow::ensure!(answer.status == 202, "{}: {}", answer.status, answer.text());
        Ok(())
    };
    let answers = || stack.upstream.received().iter().filter(|message| message.json().get("result").is_some()).count();
    answer(&alice, 90).await?;
    assert_eq!(answers(), 0, "nothing has been asked yet");
    let called = tools_call("list_issues", "{}", &alice).send(stack.port()).await?;
    assert_eq!(called.json()["result"]["isError"], false, "{}", called.text());
    for (token, id) in [(&mallory, 90), (&alice, 91), (&alice, 92)] {
        answer(token, id).await?;
    }
    assert_eq!(answers(), 0, "asked of another, allowed by no rule, never asked");
    answer(&alice, 90).await?;
    answer(&alice, 90).await?;
    assert_eq!(answers(), 1, "answered, and once");
    probe::until("a line for each", probe::PATIENCE, async || {
        let lines = stack.envoy.access_log();
        (lines.iter().filter(|line| line["verdict"] == "deny").count() == 1).then_some(())
    })
    .await
}

#[tokio::test]
async fn task_passes_whole_and_is_asked_for_by_whose_it_is() -> anyhow::Result<()> {
    let stack = stack().await?;
    let task = json!({"resultType": "task", "taskId": "786512e2", "status": "working", "ttlMs": 3_600_000, "pollIntervalMs": 5_000});
    let begun = task.clone();
    stack.upstream.answer_with(move |message| result(message, &begun));
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    let mut call = tools_call_modern("list_issues", "{}", &alice);
    let body = String::from_utf8(call.body_bytes())?.replace(
        r#""io.modelcontextprotocol/clientCapabilities":{}"#,
        r#""io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
    );
    call.body = holdpoint_tests::client::HttpBody::Whole(body.into_bytes());
    assert_eq!(call.send(stack.port()).await?.json()["result"], task);

    let get = |token: &str| {
        let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        HttpCall::post(format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{{"taskId":"786512e2","_meta":{meta}}}}}"#
        ))
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tasks/get")
        .header("mcp-name", "786512e2")
        .bearer(token)
    };
    // On whichever worker it arrives.
    for _ in 0..4 {
        assert_eq!(get(&alice).send(stack.port()).await?.json()["result"], task);
        assert_eq!(get(&mallory).send(stack.port()).await?.json()["error"]["code"], -32602);
    }
    assert_eq!(stack.upstream.count(), 5);
    Ok(())
}
