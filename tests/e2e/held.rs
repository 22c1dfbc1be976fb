//! A risky call waits inside Envoy until people decide; then exactly what they saw runs, once, or nothing does.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call, tools_call_modern};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use serde_json::{Value, json};
use std::time::Duration;

/// Spelled so that nothing but the same bytes is the same call: spaces, an escape, a number with its own text.
const ARGUMENTS: &str = r#"{ "title" : "Fix \u00fcber build", "priority": 1.50 }"#;

fn sentence(answer: &HttpAnswer) -> String {
    let answer = answer.json();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().expect("a sentence").to_owned()
}

fn succeeded(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

#[tokio::test]
async fn approved_call_reaches_the_server_once_byte_for_byte_and_under_its_constraints() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = tools_call("create_issue", ARGUMENTS, &token).header("x-tenant-override", "other");
    let sent = call.body_bytes();
    let held = call.begin(stack.port()).await?;

    let view = bob.pending().await?;
    assert_eq!(view["reasons"][0]["rule_id"], "writes-wait");
    let shown: Value = serde_json::from_str(view["call_text"].as_str().expect("text"))?;
    assert_eq!(shown["params"]["arguments"], json!({"title": "Fix über build", "priority": 1.5}));
    assert_eq!(view["constraints"]["max_runtime_ms"], 30_000);
    assert_eq!((stack.upstream.count(), held.is_answered()), (0, false), "nothing runs before people decide");

    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert!(succeeded(&answer), "{}", answer.text());
    let received = stack.upstream.received();
    let [only] = &received[..] else { panic!("{} messages", received.len()) };
    assert_eq!(only.body, sent);
    assert_eq!(only.header("content-length"), Some(sent.len().to_string().as_str()));
    assert_eq!(only.header("x-envoy-expected-rq-timeout-ms"), Some("31000"));
    assert_eq!(only.header("x-tenant-override"), None, "only what was approved goes on");
    assert_eq!(only.header("authorization"), None);
    bob.until_status(view["id"].as_str().expect("id"), "consumed").await?;
    let line = stack.envoy.access_log_line(|line| line["verdict"] == "require_approval").await?;
    assert_eq!((&line["rule"], &line["approval"]), (&json!("writes-wait"), &view["id"]));
    Ok(())
}

#[tokio::test]
async fn denied_call_tells_the_agent_why_and_the_connection_lives_on() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", ARGUMENTS, &token).begin(stack.port()).await?;
    bob.deny(&bob.pending().await?, "not during the freeze").await?;
    let said = sentence(&held.answer().await?);
    assert!(said.contains("denied by") && said.contains("not during the freeze"), "{said}");
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    assert_eq!(stack.upstream.count(), 1, "only the read");
    Ok(())
}

#[tokio::test]
async fn call_that_nobody_decides_in_time_is_pending_and_the_same_call_redeems_its_approval() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(700).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", ARGUMENTS, &token);

    let said = sentence(&call().send(stack.port()).await?);
    let view = bob.pending().await?;
    let id = view["id"].as_str().expect("id");
    assert!(said.contains(id) && said.contains("Repeat the same call"), "{said}");
    let again = sentence(&call().send(stack.port()).await?);
    assert!(again.contains(id), "the same call joins its request: {again}");
    assert_eq!(bob.ids("pending").await?.len(), 1);

    bob.approve(&view).await?;
    assert!(succeeded(&call().send(stack.port()).await?));
    assert_eq!(stack.upstream.count(), 1);
    // The grant is used up: the next one is asked for again.
    assert!(sentence(&call().send(stack.port()).await?).contains("waiting for human approval"));
    Ok(())
}

#[tokio::test]
async fn another_principal_or_another_argument_never_redeems_a_grant() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(700).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let alice = stack.agent("alice")?;
    tools_call("create_issue", r#"{"title":"a"}"#, &alice).send(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    let mallory = stack.agent("mallory")?;
    for (arguments, token) in [(r#"{"title":"a"}"#, &mallory), (r#"{"title":"b"}"#, &alice)] {
        let answer = tools_call("create_issue", arguments, token).send(stack.port()).await?;
        assert!(sentence(&answer).contains("waiting for human approval"));
    }
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn of_two_identical_calls_with_one_approval_exactly_one_runs() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(4_000).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", ARGUMENTS, &token);
    let (one, two) = (call().begin(stack.port()).await?, call().begin(stack.port()).await?);
    let view = bob.pending().await?;
    let id = view["id"].as_str().expect("id").to_owned();
    let joined = holdpoint_tests::probe::until("both wait for it", holdpoint_tests::probe::PATIENCE, async || {
        let view = bob.show(&id).await.ok()?;
        (view["holds_waiting"] == 2).then_some(())
    });
    joined.await?;
    bob.approve(&view).await?;

    let answers = [one.answer().await?, two.answer().await?];
    assert_eq!(answers.iter().filter(|answer| succeeded(answer)).count(), 1);
    assert_eq!(stack.upstream.count(), 1);
    let other = bob.ids("pending").await?;
    assert!(other.len() == 1 && other[0] != id, "the second call has a request of its own: {other:?}");
    Ok(())
}

#[tokio::test]
async fn client_that_left_never_has_its_call_run() -> anyhow::Result<()> {
    let stack = Stack::builder().document(|document| document.leg_ms_max = 500).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    for modern in [false, true] {
        let arguments = format!(r#"{{"title":"modern {modern}"}}"#);
        let call = if modern {
            tools_call_modern("create_issue", &arguments, &token)
        } else {
            tools_call("create_issue", &arguments, &token)
        };
        let held = call.begin(stack.port()).await?;
        let view = bob.pending().await?;
        let id = view["id"].as_str().expect("id");
        held.abandon();
        let left = holdpoint_tests::probe::until("nobody waits", holdpoint_tests::probe::PATIENCE, async || {
            let view = bob.show(id).await.ok()?;
            (view["holds_waiting"] == 0).then_some(view)
        });
        let view = left.await?;
        assert_eq!(view["rejoin_by_ms"].is_u64(), modern, "on 2026-07-28 leaving is a cancel");
        bob.approve(&view).await?;
    }
    // What is allowed still runs, and by its turn everything earlier has been settled.
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    let received = stack.upstream.received();
    assert!(received.iter().all(|one| one.json()["params"]["name"] == "list_issues"), "{received:?}");
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.holds_waiting").await?, 0);
    Ok(())
}

#[tokio::test]
async fn cancelled_call_stops_waiting_whichever_worker_hears_of_it() -> anyhow::Result<()> {
    let stack = Stack::builder().workers(2).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    let cancel = async |token: &str| {
        let body = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"changed my mind"}}"#;
        HttpCall::post(body).header("mcp-protocol-version", "2025-11-25").bearer(token).send(stack.port()).await
    };
    // Held calls and cancellations have connections of their own, so that pairs meet on one worker and on two.
    for number in 0..4 {
        let arguments = format!(r#"{{"title":"{number}"}}"#);
        let held = tools_call("create_issue", &arguments, &alice).begin(stack.port()).await?;
        let view = bob.pending().await?;
        let id = view["id"].as_str().expect("id");
        cancel(&mallory).await?;
        assert_eq!((bob.show(id).await?["status"].as_str(), held.is_answered()), (Some("pending"), false));
        cancel(&alice).await?;
        let said = sentence(&held.answer().await?);
        assert!(said.contains("withdrawn") && said.contains("the client cancelled the call"), "{said}");
        assert_eq!(bob.show(id).await?["status"], "withdrawn");
    }
    let received = stack.upstream.received();
    assert!(received.iter().all(|message| message.json()["method"] == "notifications/cancelled"), "{received:?}");
    Ok(())
}

#[tokio::test]
async fn approved_calls_beyond_the_concurrency_limit_run_one_at_a_time() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    stack.upstream.answer_with(|message| (Duration::from_millis(300), Answer::tool_result(message, "done")));
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for number in 0..4 {
        let arguments = format!(r#"{{"title":"{number}"}}"#);
        held.push(tools_call("create_issue", &arguments, &token).begin(stack.port()).await?);
    }
    for id in bob.wait_for("pending", 4).await? {
        bob.approve(&bob.show(&id).await?).await?;
    }
    for call in held {
        assert!(succeeded(&call.answer().await?));
    }
    let received = stack.upstream.received();
    assert_eq!(received.len(), 4);
    let overlaps = stack.upstream.at_once_max();
    assert_eq!(overlaps, 1, "max_concurrent_jobs: 1");
    Ok(())
}

#[tokio::test]
async fn agent_is_told_when_its_call_ran_out_of_time() -> anyhow::Result<()> {
    let policy =
        holdpoint_tests::filter_document::quickstart_policy()?.replace("max_runtime_ms: 30000", "max_runtime_ms: 1000");
    let stack = Stack::builder().policy(&policy).start().await?;
    stack.upstream.answer_with(|message| (Duration::from_secs(20), Answer::tool_result(message, "late")));
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", ARGUMENTS, &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    let said = sentence(&held.answer().await?);
    assert!(said.contains("Ended after 1000 ms") && said.contains("Do not assume"), "{said}");
    let auditor = Person::auditor(&stack.service)?;
    let entry = auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    assert_eq!(entry["outcome"], "unknown");
    Ok(())
}
