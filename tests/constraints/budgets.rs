//! `max_calls` and `max_retries`: counted in one place for both workers, per key, and never by what a client says.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Received};
use serde_json::json;

use crate::policy::{reached, refusal, stack};

/// Sends `count` calls at once, each over a connection of its own, so that both workers get some.
async fn storm(stack: &Stack, tool: &str, count: u32, token: &str) -> anyhow::Result<Vec<HttpAnswer>> {
    let mut calls = Vec::new();
    for number in 0..count {
        calls.push(tools_call(tool, &format!(r#"{{"n":{number}}}"#), token).begin(stack.port()).await?);
    }
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.answer().await?);
    }
    Ok(answers)
}

fn failed(message: &Received) -> Answer {
    let result = json!({"content": [{"type": "text", "text": "no"}], "isError": true});
    let body = json!({"jsonrpc": "2.0", "id": message.json()["id"], "result": result}).to_string();
    Answer::Json { status: 200, body }
}

#[tokio::test]
async fn storm_of_calls_gets_no_more_through_than_the_window_allows_for_each_actor() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: per-actor, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_calls: 5, per_ms: 600000}}}\n\
         - {id: per-tool, match: {mcp: {allow_tools: [read_b]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_calls: 3, per_ms: 600000, key: tool}}}",
    )
    .start()
    .await?;
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    for (tool, token, allowed) in [
        ("read_a", &alice, 5),
        ("read_a", &alice, 0),
        ("read_a", &mallory, 5),
        ("read_b", &alice, 3),
        ("read_b", &mallory, 0),
    ] {
        let answers = storm(&stack, tool, 20, token).await?;
        let passed = answers.iter().filter(|answer| refusal(answer).is_empty()).count();
        assert_eq!(passed, allowed, "{tool}");
        let said = answers.iter().map(refusal).find(|said| !said.is_empty()).expect("some are refused");
        assert!(said.contains("lets no more calls run right now"), "{said}");
    }
    assert_eq!(reached(&stack).len(), 13);
    let auditor = Person::auditor(&stack.service)?;
    let entry =
        auditor.entry("a refused call", |entry| entry["detail"].as_str().is_some_and(|text| text.contains("per-tool")));
    assert!(entry.await?["constraints"].as_str().is_some_and(|text| text.contains("3 calls in 600000 ms for tool")));
    Ok(())
}

#[tokio::test]
async fn window_slides_and_calls_that_never_ran_are_not_counted() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: few, match: {mcp: {allow_tools: [write_a]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_calls: 1, per_ms: 600000}}}\n\
         - {id: brief, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_calls: 1, per_ms: 1500}}}",
    )
    .start()
    .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let denied = tools_call("write_a", r#"{"n":1}"#, &token).begin(stack.port()).await?;
    bob.deny(&bob.pending().await?, "no").await?;
    assert!(refusal(&denied.answer().await?).contains("denied"));
    let approved = tools_call("write_a", r#"{"n":2}"#, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    assert_eq!(view["constraints"]["rates"][0]["rule_id"], "few", "{view}");
    bob.approve(&view).await?;
    assert_eq!(refusal(&approved.answer().await?), "", "the denied one did not use the window up");

    assert_eq!(refusal(&tools_call("read_a", "{}", &token).send(stack.port()).await?), "");
    assert_ne!(refusal(&tools_call("read_a", "{}", &token).send(stack.port()).await?), "");
    let again = holdpoint_tests::probe::until("the window has slid", holdpoint_tests::probe::PATIENCE, async || {
        let answer = tools_call("read_a", "{}", &token).send(stack.port()).await.ok()?;
        refusal(&answer).is_empty().then_some(())
    });
    again.await
}

#[tokio::test]
async fn same_call_is_not_repeated_more_often_than_allowed_until_it_succeeds() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: once-more, match: {mcp: {allow_tools: [read_flaky]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_retries: 1}}}",
    )
    .start()
    .await?;
    stack.upstream.answer_with(|message| (Duration::ZERO, failed(message)));
    let token = stack.agent("agent-7")?;
    let call = || tools_call("read_flaky", r#"{"q":1}"#, &token).header("x-envoy-max-retries", "50");
    for expected in ["no", "no", "was tried 2 times without success"] {
        let said = refusal(&call().send(stack.port()).await?);
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(stack.upstream.count(), 2);
    // Another call is another call, and one that succeeds may be repeated as often as its agent likes.
    stack.upstream.answer_with(|message| (Duration::ZERO, Answer::tool_result(message, "done")));
    for _ in 0..4 {
        assert_eq!(refusal(&tools_call("read_flaky", r#"{"q":2}"#, &token).send(stack.port()).await?), "");
    }
    Ok(())
}

#[tokio::test]
async fn control_headers_of_an_internal_client_weaken_nothing() -> anyhow::Result<()> {
    // Envoy honours these from addresses that it takes for its own.
    let stack = stack(
        "- {id: quick, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {budgets: {max_runtime_ms: 1000, max_retries: 0}}}",
    )
    .envoy(|config| {
        let manager = config.connection_manager().expect("the manager");
        manager["internal_address_config"] = json!({"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
        config.route().expect("the route")["route"]["retry_policy"] =
            json!({"retry_on": "connect-failure,refused-stream,5xx,reset", "num_retries": 3});
    })
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let steered = || {
        let mut call = tools_call("read_a", "{}", &token);
        for (name, value) in [
            ("x-envoy-upstream-rq-timeout-ms", "60000"),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "60000"),
            ("x-envoy-max-retries", "9"),
            ("x-envoy-retry-on", "5xx,reset,retriable-status-codes"),
            ("x-envoy-retriable-status-codes", "200,500"),
            ("x-envoy-hedge-on-per-try-timeout", "true"),
            ("x-envoy-upstream-rq-timeout-alt-response", "true"),
        ] {
            call = call.header(name, value);
        }
        call
    };
    stack.upstream.answer_with(|message| (Duration::from_secs(15), Answer::tool_result(message, "late")));
    let said = refusal(&steered().send(stack.port()).await?);
    assert!(said.contains("Ended after 1000 ms"), "{said}");
    let calls = reached(&stack).into_iter().filter(|tool| !tool.is_empty()).count();
    assert_eq!(calls, 1, "and not sent again; all else is the cancellation");
    Ok(())
}

#[tokio::test]
async fn control_headers_alone_have_no_call_sent_again_nor_cut_short() -> anyhow::Result<()> {
    // No rule sets a limit here whose own header would stand in the place of the client's.
    let stack = stack("").envoy(|config| {
        let manager = config.connection_manager().expect("the manager");
        manager["internal_address_config"] = json!({"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
    });
    let stack = stack.start().await?;
    let token = stack.agent("agent-7")?;
    stack.upstream.answer_with(|_| (Duration::ZERO, Answer::Json { status: 503, body: "{}".to_owned() }));
    let again = tools_call("read_a", "{}", &token)
        .header("x-envoy-retry-on", "5xx,retriable-status-codes")
        .header("x-envoy-retriable-status-codes", "503")
        .header("x-envoy-max-retries", "3");
    assert_eq!(again.send(stack.port()).await?.status, 503);
    assert_eq!(stack.upstream.count(), 1, "what may have arrived is not sent again");

    stack.upstream.answer_with(|message| (Duration::from_secs(3), Answer::tool_result(message, "done")));
    let hurried = tools_call("read_a", "{}", &token)
        .header("x-envoy-upstream-rq-timeout-ms", "300")
        .header("x-envoy-upstream-rq-per-try-timeout-ms", "300");
    assert_eq!(refusal(&hurried.send(stack.port()).await?), "");
    Ok(())
}
