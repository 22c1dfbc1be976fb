//! `audit.required`: every call waits until its entry is durable. No record, no call.

use std::time::Duration;

use holdpoint_core::trace_parent::{UPSTREAM_SPAN, span_below};
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;

#[tokio::test]
async fn every_call_is_in_the_record_before_the_server_sees_it() -> anyhow::Result<()> {
    let stack = Stack::builder().document(|document| document.audit_required = true).start().await?;
    let token = stack.agent("agent-7")?;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = tools_call("list_issues", "{}", &token).header("traceparent", trace).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    let auditor = Person::auditor(&stack.service)?;
    // At once, without waiting for any batch: the call could not have run otherwise.
    let record = auditor.record().await?;
    let intent = record.iter().find(|entry| entry["target"] == "list_issues").expect("the intent");
    assert_eq!((intent["kind"].as_str(), intent.get("outcome")), (Some("decision"), None), "{intent}");
    assert_eq!(intent["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(intent["parent_span_id"], "b7ad6b7169203331");
    let sent = stack.upstream.received()[0].header("traceparent").expect("the trace goes on").to_owned();
    let span = intent["span_id"].as_str().expect("a span");
    let below = span_below(span, UPSTREAM_SPAN);
    assert_eq!(sent, format!("00-0af7651916cd43dd8448eb211c80319c-{below}-01"));
    let outcome = auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    assert_eq!((&outcome["outcome"], &outcome["span_id"]), (&"committed".into(), &intent["span_id"]));
    Ok(())
}

#[tokio::test]
async fn a_record_that_is_away_lets_nothing_run_and_everything_runs_when_it_is_back() -> anyhow::Result<()> {
    let mut stack = Stack::builder().document(|document| document.audit_required = true).start().await?;
    let token = stack.agent("agent-7")?;
    stack.service.kill();
    for arguments in ["{}", r#"{"project":"site"}"#] {
        let answer = tools_call("list_issues", arguments, &token).send(stack.port()).await?;
        assert!(answer.text().contains("recorded first"), "{}", answer.text());
        assert_eq!(answer.json()["result"]["isError"], true);
    }
    assert_eq!(stack.upstream.count(), 0);
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.not_recorded_total").await?, 2);
    stack.service.restart().await?;
    probe::until("calls run again", probe::PATIENCE, async || {
        let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await.ok()?;
        (answer.json()["result"]["isError"] == false).then_some(())
    })
    .await?;
    // What was refused is in the record as what it was.
    let auditor = Person::auditor(&stack.service)?;
    let refused = auditor.entry("the refusal", |entry| entry["outcome"] == "refused").await?;
    assert!(refused["detail"].to_string().contains("recorded first"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_while_its_entry_is_under_way_has_nothing_run() -> anyhow::Result<()> {
    let mut stack = Stack::builder().document(|document| document.audit_required = true).start().await?;
    let token = stack.agent("agent-7")?;
    stack.service.kill();
    let call = tools_call("list_issues", "{}", &token).begin(stack.port()).await?;
    tokio::time::timeout(Duration::from_secs(30), async {
        while stack.envoy.stat("http.mcp.downstream_rq_active").await? == 0 {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    })
    .await??;
    call.abandon();
    stack.service.restart().await?;
    let auditor = Person::auditor(&stack.service)?;
    let left = auditor.entry("that it left", |entry| entry["outcome"] == "refused").await?;
    assert_eq!(left["detail"], "its client left before it ran");
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}
