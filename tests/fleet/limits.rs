//! `scope: fleet`: one limit for two gateways over three replicas, while replicas die.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::probe;
use holdpoint_tests::upstream::Answer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::ground::{Fleet, REPLICAS};

const RULES: &str = "- {id: one, match: {mcp: {allow_tools: [list_issues]}}, decision: allow_with_constraints, constraints: \
     {budgets: {max_concurrent_jobs: 1, scope: fleet}}}\n\
     - {id: few, match: {mcp: {allow_tools: [get_issue]}}, decision: allow_with_constraints, constraints: \
     {budgets: {max_calls: 7, per_ms: 600000, scope: fleet}}}\n";

/// Callers on each gateway.
const CALLERS: usize = 3;

/// Longer than a place lasts whose holder's word was lost with a replica.
const EXPIRY: Duration = Duration::from_secs(150);

/// Whether it ran; what else may be said is that the limit is full, or that nobody could be asked.
fn ran(answer: &Value) -> bool {
    let said = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
    let is_refused = answer["result"]["isError"] == json!(true);
    assert!(
        !is_refused || said.contains("lets no more calls run right now") || said.contains("the service that counts"),
        "{answer}"
    );
    !is_refused
}

#[tokio::test]
async fn limit_holds_over_two_gateways_and_three_replicas_of_which_some_die() -> anyhow::Result<()> {
    let Some(mut fleet) = Fleet::start().await? else { return Ok(()) };
    let seen: Arc<Mutex<Option<EnvoyConfig>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let ports = fleet.ports();
    let stack = fleet
        .stack(&ports, |stack| {
            stack.document(|document| document.policy.push_str(RULES)).envoy(move |config| {
                *kept.lock().expect("no panic") = Some(config.clone());
            })
        })
        .await?;
    let mut config = seen.lock().expect("no panic").take().context("no configuration")?;
    config.cluster_ports(holdpoint_tests::envoy_config::APPROVAL_CLUSTER, &ports)?;
    config.document()["node"]["id"] = json!("gateway-2");
    let other = Envoy::start(config).await?;
    stack.upstream.answer_with(|message| (Duration::from_millis(40), Answer::tool_result(message, "done")));

    let token = stack.agent("agent-7")?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for port in [stack.port(), other.port()] {
        for _ in 0..CALLERS {
            let (token, is_over) = (token.clone(), Arc::clone(&is_over));
            callers.spawn(async move {
                let mut runs = 0;
                while !is_over.load(Ordering::SeqCst) {
                    runs += usize::from(ran(&tools_call("list_issues", "{}", &token).send(port).await?.json()));
                }
                anyhow::Ok(runs)
            });
        }
    }
    for replica in 0..REPLICAS {
        let before = stack.upstream.count();
        fleet.replicas[replica].kill();
        fleet.replicas[replica].restart().await?;
        probe::until("calls run again", EXPIRY, async || (stack.upstream.count() > before).then_some(())).await?;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut runs = 0;
    while let Some(caller) = callers.join_next().await {
        runs += caller??;
    }
    assert!(runs > 0);
    assert_eq!((stack.upstream.count(), stack.upstream.at_once_max()), (runs, 1));

    let mut calls = Vec::new();
    for number in 0..30 {
        let port = if number % 2 == 0 { stack.port() } else { other.port() };
        calls.push(tools_call("get_issue", &format!(r#"{{"n":{number}}}"#), &token).begin(port).await?);
    }
    let mut counted = 0;
    for call in calls {
        counted += usize::from(ran(&call.answer().await?.json()));
    }
    assert_eq!((counted, stack.upstream.count()), (7, runs + 7));
    fleet.verify()
}
