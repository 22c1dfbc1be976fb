//! The approval service is away, comes back, or is not the service at all: nothing runs that was not approved.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::relay::{Link, Relay};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Upstream};
use holdpoint_tests::{impostor, ports, probe};
use serde_json::Value;

use super::seen::{assert_record_verifies, runs, sentence, succeeded};

#[tokio::test]
async fn service_killed_mid_hold_and_restarted_resumes_the_hold_and_keeps_the_request() -> anyhow::Result<()> {
    let mut stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let before = bob.pending().await?;
    stack.service.kill();
    stack.service.restart().await?;
    let after = bob.show(before["id"].as_str().expect("id")).await?;
    assert_eq!(after["status"], "pending");
    assert_eq!(stack.upstream.count(), 0);
    bob.approve(&after).await?;
    let answer = held.answer().await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn service_that_stays_away_has_gated_calls_refused_and_reads_still_run() -> anyhow::Result<()> {
    let stack = Stack::builder().document(|document| document.outage_ms_max = 500).start().await?;
    stack.service.kill();
    let token = stack.agent("agent-7")?;
    let answer = tools_call("create_issue", r#"{"title":"x"}"#, &token).send(stack.port()).await?;
    let text = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(text.contains("approval service is unavailable"), "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false);
    Ok(())
}

#[tokio::test]
async fn answer_that_the_service_did_not_sign_runs_nothing() -> anyhow::Result<()> {
    let mallory = Upstream::start().await?;
    mallory.answer_with(impostor::approve_everything);
    let port = mallory.port();
    let stack = Stack::builder()
        .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster"))
        .start()
        .await?;
    let answer = tools_call("create_issue", r#"{"title":"x"}"#, &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
    assert!(mallory.received().iter().any(|message| message.path.ends_with("/claim")), "it got as far as the claim");
    assert_eq!(stack.upstream.count(), 0);
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.claims_refused_total").await?, 1);
    Ok(())
}

#[tokio::test]
async fn garbage_in_the_services_place_runs_nothing() -> anyhow::Result<()> {
    for body in ["approved", "{}", r#"{"status":"approved"}"#, "null"] {
        let garbage = Upstream::start().await?;
        let text = body.to_owned();
        garbage.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: text.clone() }));
        let port = garbage.port();
        let stack = Stack::builder()
            .document(|document| document.outage_ms_max = 300)
            .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, port).expect("the cluster"))
            .start()
            .await?;
        let answer = tools_call("create_issue", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], Value::Bool(true), "{body}: {}", answer.text());
        assert_eq!(stack.upstream.count(), 0, "{body}");
    }
    Ok(())
}

/// A stack whose service is at the far end of a wire.
async fn at_a_distance(outage_ms_max: u64) -> anyhow::Result<(Stack, Relay)> {
    let port = ports::free()?;
    let relay = Relay::start(port).await?;
    let near = relay.port();
    let stack = Stack::builder()
        .service_settings(|service| service.port = Some(port))
        .document(move |document| {
            document.outage_ms_max = outage_ms_max;
            document.leg_ms_max = 1_000;
        })
        .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, near).expect("the cluster"))
        .start()
        .await?;
    Ok((stack, relay))
}

#[tokio::test]
async fn service_that_answers_late_is_waited_for_and_the_call_runs_once() -> anyhow::Result<()> {
    let (stack, relay) = at_a_distance(20_000).await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    relay.set(Link::Slow(Duration::from_millis(400)));
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    let answer = held.answer().await?;
    assert!(succeeded(&answer), "{}", answer.text());
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn service_that_falls_silent_mid_hold_runs_nothing_and_the_same_call_redeems_its_approval() -> anyhow::Result<()>
{
    let (stack, relay) = at_a_distance(1_500).await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    let held = call().begin(stack.port()).await?;
    let view = bob.pending().await?;
    relay.set(Link::Silent);
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert!(sentence(&answer).contains("approval service is unavailable"), "{}", answer.text());
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);
    // What is allowed needs nobody.
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    relay.set(Link::Whole);
    let redeemed = probe::until("the same call runs", probe::PATIENCE, async || {
        let answer = call().send(stack.port()).await.ok()?;
        succeeded(&answer).then_some(())
    });
    redeemed.await?;
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn wire_that_breaks_again_and_again_runs_every_approved_call_once() -> anyhow::Result<()> {
    const CALLS: usize = 12;
    let (stack, relay) = at_a_distance(20_000).await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for number in 0..CALLS {
        let arguments = format!(r#"{{"title":"{number}"}}"#);
        held.push(tools_call("create_issue", &arguments, &token).begin(stack.port()).await?);
    }
    for (number, id) in bob.wait_for("pending", CALLS).await?.into_iter().enumerate() {
        bob.approve(&bob.show(&id).await?).await?;
        // Between poll, claim and their answers, wherever they are by now.
        if number.is_multiple_of(3) {
            relay.set(Link::Broken);
            relay.set(Link::Whole);
        }
    }
    for call in held {
        let answer = call.answer().await?;
        assert!(succeeded(&answer), "{}", answer.text());
    }
    let mut titles: Vec<String> =
        stack.upstream.received().iter().map(|message| message.json()["params"]["arguments"].to_string()).collect();
    assert_eq!(titles.len(), CALLS);
    titles.sort();
    titles.dedup();
    assert_eq!(titles.len(), CALLS, "no call ran twice");
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn service_killed_while_many_calls_wait_loses_none_of_them() -> anyhow::Result<()> {
    const CALLS: usize = 40;
    let mut stack = Stack::builder().workers(2).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for number in 0..CALLS {
        let arguments = format!(r#"{{"title":"{number}"}}"#);
        held.push(tools_call("create_issue", &arguments, &token).begin(stack.port()).await?);
    }
    let ids = bob.wait_for("pending", CALLS).await?;
    stack.service.kill();
    stack.service.restart().await?;
    assert_eq!(bob.ids("pending").await?.len(), CALLS, "every request survived");
    for id in ids {
        bob.approve(&bob.show(&id).await?).await?;
    }
    for call in held {
        let answer = call.answer().await?;
        assert!(succeeded(&answer), "{}", answer.text());
    }
    assert_eq!(runs(&stack.upstream, "create_issue"), CALLS);
    assert_record_verifies(&stack.service)
}
