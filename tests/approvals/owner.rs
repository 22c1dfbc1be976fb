//! Whoever owns the session in which an agent calls never approves the call: not as the person, not as the agent, in no era.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call, tools_call_modern};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Received};
use serde_json::json;

const SESSION: &str = "0f3a-session";

/// A server that gives out a session.
fn answer(message: &Received) -> (Duration, Answer) {
    if message.json()["method"] != "initialize" {
        return (Duration::ZERO, Answer::tool_result(message, "done"));
    }
    let info = json!({"name": "s", "version": "1"});
    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info});
    let body = json!({"jsonrpc": "2.0", "id": message.json()["id"], "result": result}).to_string();
    (Duration::ZERO, Answer::Json { status: 200, body }.header("mcp-session-id", SESSION))
}

fn in_session(call: HttpCall) -> HttpCall {
    call.header("mcp-session-id", SESSION)
}

fn is_dead(answer: &HttpAnswer) -> bool {
    answer.status == 404 && answer.text().contains("initialize again")
}

#[tokio::test]
async fn owner_of_the_session_in_which_an_agent_calls_never_approves_the_call() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    stack.upstream.answer_with(answer);
    let agent_for = |subject: &str| stack.idp.mint(stack.idp.claims(subject).with("act", json!({"sub": "agent-b"})));
    let (for_alice, for_mallory) = (agent_for("alice")?, agent_for("mallory")?);
    let alice_herself = stack.agent("alice")?;
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let opened = HttpCall::post(body).bearer(&for_alice).send(stack.port()).await?;
    assert_eq!(opened.headers["mcp-session-id"], SESSION, "{}", opened.text());

    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let owners = [
        ("the person", Person::approver(&stack.service, "alice", &["sre"])?),
        ("the agent", Person::approver(&stack.service, "agent-b", &["sre"])?),
        (
            "the person who breaks glass",
            Person::with_token(&stack.service, stack.service.token("break-glass", "alice", &["sre"])?)?,
        ),
    ];
    // Nobody else calls in this session, be it the same agent for somebody else or the person without it: so nobody can be
    // asked about a call in it but of its owner.
    for other in [&for_mallory, &alice_herself] {
        let stolen = in_session(tools_call("create_issue", r#"{"title":"stolen"}"#, other));
        let answer = stolen.send(stack.port()).await?;
        assert!(is_dead(&answer), "{} {}", answer.status, answer.text());
    }
    assert_eq!(bob.ids("pending").await?, [""; 0]);

    for (era, call) in [
        ("2025-11-25", in_session(tools_call("create_issue", r#"{"title":"in a session"}"#, &for_alice))),
        ("2026-07-28", tools_call_modern("create_issue", r#"{"title":"without one"}"#, &for_alice)),
    ] {
        let reached = stack.upstream.count();
        let held = call.begin(stack.port()).await?;
        let view = bob.pending().await?;
        assert_eq!(
            (&view["principal"]["subject"], &view["principal"]["agent_id"]),
            (&json!("alice"), &json!("agent-b"))
        );
        for (who, owner) in &owners {
            let refused = owner.approve(&view).await.expect_err(who).to_string();
            assert!(refused.contains("own-call"), "{era}, {who}: {refused}");
        }
        assert_eq!((stack.upstream.count(), held.is_answered()), (reached, false), "{era}");
        bob.approve(&view).await?;
        let ran = held.answer().await?;
        assert_eq!(ran.json()["result"]["isError"], false, "{era}: {}", ran.text());
        assert_eq!(stack.upstream.count(), reached + 1);
    }
    Ok(())
}
