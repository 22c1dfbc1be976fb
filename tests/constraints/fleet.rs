//! `scope: fleet`: one limit for two gateways of one service, whoever of them dies, and no call where nobody can count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use serde_json::json;

use crate::policy::{refusal, stack};

const RULES: &str = "- {id: one, match: {mcp: {allow_tools: [read_slow, write_a]}}, decision: allow_with_constraints, \
                     constraints: {budgets: {max_concurrent_jobs: 1, scope: fleet}}}\n\
                     - {id: few, match: {mcp: {allow_tools: [read_few]}}, decision: allow_with_constraints, \
                     constraints: {budgets: {max_calls: 5, per_ms: 600000, scope: fleet}}}";

/// A place lives for 60 s after it was last renewed.
const EXPIRY: Duration = Duration::from_secs(150);

/// Calls by which the cost of a scope is told.
const MEASURED: usize = 200;

/// The stack, and a second gateway before the same service and server.
async fn two() -> anyhow::Result<(Stack, Envoy)> {
    let seen: Arc<Mutex<Option<EnvoyConfig>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let stack = stack(RULES).envoy(move |config| *kept.lock().expect("no panic") = Some(config.clone()));
    let stack = stack.start().await?;
    let mut config = seen.lock().expect("no panic").take().context("no configuration")?;
    config.document()["node"]["id"] = json!("gateway-2");
    Ok((stack, Envoy::start(config).await?))
}

fn slow(stack: &Stack, pause: Duration) {
    stack.upstream.answer_with(move |message| (pause, Answer::tool_result(message, "done")));
}

#[tokio::test]
async fn slot_is_one_for_all_gateways_and_free_when_its_call_has_ended() -> anyhow::Result<()> {
    let (stack, other) = two().await?;
    let token = stack.agent("agent-7")?;
    for (taker, refused) in [(stack.port(), other.port()), (other.port(), stack.port())] {
        slow(&stack, Duration::from_secs(15));
        let before = stack.upstream.count();
        // The place of the call before is given back a moment after its answer.
        let running = probe::until("a call has the slot", probe::PATIENCE, async || {
            let running = tools_call("read_slow", "{}", &token).begin(taker).await.ok()?;
            let runs = async || (stack.upstream.count() > before || running.is_answered()).then_some(());
            probe::until("it runs or is refused", probe::PATIENCE, runs).await.ok()?;
            (!running.is_answered()).then_some(running)
        })
        .await?;
        for port in [refused, taker, refused] {
            let said = refusal(&tools_call("read_slow", "{}", &token).send(port).await?);
            assert!(said.contains("rule `one` lets no more calls run right now"), "{said}");
        }
        running.abandon();
        slow(&stack, Duration::ZERO);
        probe::until("the slot is free at the other gateway", probe::PATIENCE, async || {
            refusal(&tools_call("read_slow", "{}", &token).send(refused).await.ok()?).is_empty().then_some(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn approved_writes_of_two_gateways_run_one_at_a_time() -> anyhow::Result<()> {
    let (stack, other) = two().await?;
    slow(&stack, Duration::from_millis(150));
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for number in 0..6 {
        let port = if number % 2 == 0 { stack.port() } else { other.port() };
        held.push(tools_call("write_a", &format!(r#"{{"n":{number}}}"#), &token).begin(port).await?);
    }
    for id in bob.wait_for("pending", 6).await? {
        bob.approve(&bob.show(&id).await?).await?;
    }
    for call in held {
        assert_eq!(refusal(&call.answer().await?), "");
    }
    assert_eq!((stack.upstream.count(), stack.upstream.at_once_max()), (6, 1));
    Ok(())
}

#[tokio::test]
async fn window_counts_the_calls_of_all_gateways_and_nothing_runs_uncounted() -> anyhow::Result<()> {
    let (mut stack, other) = two().await?;
    let token = stack.agent("agent-7")?;
    let mut calls = Vec::new();
    for number in 0..20 {
        let port = if number % 2 == 0 { stack.port() } else { other.port() };
        calls.push(tools_call("read_few", &format!(r#"{{"n":{number}}}"#), &token).begin(port).await?);
    }
    let mut passed = 0;
    for call in calls {
        let said = refusal(&call.answer().await?);
        assert!(said.is_empty() || said.contains("rule `few` lets no more calls run right now"), "{said}");
        passed += usize::from(said.is_empty());
    }
    assert_eq!((passed, stack.upstream.count()), (5, 5));

    stack.service.kill();
    let ben = stack.agent("ben")?;
    let said = refusal(&tools_call("read_few", "{}", &ben).send(other.port()).await?);
    assert!(said.contains("the service that counts is unavailable"), "{said}");
    assert_eq!(
        refusal(&tools_call("read_other", "{}", &ben).send(other.port()).await?),
        "",
        "what is not counted runs"
    );
    stack.service.restart().await?;
    probe::until("calls are counted again", probe::PATIENCE, async || {
        refusal(&tools_call("read_few", "{}", &ben).send(other.port()).await.ok()?).is_empty().then_some(())
    })
    .await?;
    let said = refusal(&tools_call("read_few", "{}", &token).send(other.port()).await?);
    assert!(said.contains("rule `few` lets no more calls run right now"), "the count outlives the service: {said}");
    Ok(())
}

#[tokio::test]
async fn slot_of_a_gateway_that_died_ends_by_expiry() -> anyhow::Result<()> {
    let (stack, other) = two().await?;
    let token = stack.agent("agent-7")?;
    slow(&stack, Duration::from_secs(20));
    let running = tools_call("read_slow", "{}", &token).begin(other.port()).await?;
    stack.upstream.wait_for(1).await?;
    other.process().kill();
    running.abandon();
    slow(&stack, Duration::ZERO);
    let said = refusal(&tools_call("read_slow", "{}", &token).send(stack.port()).await?);
    assert!(said.contains("rule `one` lets no more calls run right now"), "{said}");
    probe::until("the place of the dead gateway has expired", EXPIRY, async || {
        refusal(&tools_call("read_slow", "{}", &token).send(stack.port()).await.ok()?).is_empty().then_some(())
    })
    .await
}

/// Says what each scope costs a call; `--release -- --nocapture` for figures of what people run. No time fails it.
#[tokio::test]
async fn calls_run_whatever_their_scope_and_what_that_costs_is_said() -> anyhow::Result<()> {
    let limit = |id: &str, tool: &str, scope: &str| {
        format!(
            "- {{id: {id}, match: {{mcp: {{allow_tools: [{tool}]}}}}, decision: allow_with_constraints, constraints: \
             {{budgets: {{max_concurrent_jobs: 1000, max_calls: 10000, per_ms: 60000{scope}}}}}}}\n"
        )
    };
    let rules = limit("here", "read_here", "") + &limit("all", "read_all", ", scope: fleet");
    let stack = stack(&rules).workers(1).start().await?;
    let token = stack.agent("agent-7")?;
    let mut taken_ms: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..MEASURED {
        for tool in ["read_free", "read_here", "read_all"] {
            let began = Instant::now();
            assert_eq!(refusal(&tools_call(tool, "{}", &token).send(stack.port()).await?), "");
            taken_ms.entry(tool).or_default().push(began.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    for (tool, mut ms) in taken_ms {
        ms.sort_by(f64::total_cmp);
        eprintln!("{tool}: p50 {:.2} ms, p99 {:.2} ms", ms[MEASURED / 2], ms[MEASURED * 99 / 100]);
    }
    assert_eq!(stack.upstream.count(), 3 * MEASURED);
    Ok(())
}
