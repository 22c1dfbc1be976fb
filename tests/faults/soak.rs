//! A long time of everything at once: agents of every manner, people who decide, and parts that break at random.
//!
//! At the end each call is accounted for: what its client saw, whether the server ran it, what the record says. The
//! first and last quarters are stormy: service and Envoy are killed, the wire between them breaks. In the long middle
//! only the wire and the clients fail, so that both processes live long enough to see whether their memory grows.
//!
//! ```text
//! HOLDPOINT_FULL=1 cargo test -p holdpoint-tests --test faults soak -- --nocapture      half an hour
//! HOLDPOINT_SEED=7 HOLDPOINT_SOAK_S=60 cargo test … soak                                that one again, or longer
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::cargo::say;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::relay::Relay;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{ports, probe};
use tokio::task::JoinHandle;

use super::seen::{self, assert_record_verifies};

mod account;
mod calls;
mod dice;
mod logs;
mod memory;
mod mischief;
mod people;

use account::Account;
use calls::Agent;
use dice::Dice;
use logs::Logs;
use memory::Memory;
use mischief::Mischief;
use people::Decisions;

/// Agents that call side by side.
const AGENTS: u64 = 12;

const POLICY: &str = r#"version: "2026-01-27"
default_decision: deny
servers:
  tracker:
    match: {route_metadata: tracker}
    tools:
      list_issues: {action: read}
      watch_issue: {action: read}
      show_secret: {action: read}
      create_issue: {action: write}
      delete_project: {action: admin}
rules:
- id: reads-run
  match: {labels: {mcp.action: read}}
  decision: allow
- id: secrets-stay
  match: {mcp: {allow_tools: [show_secret]}}
  decision: allow_with_constraints
  constraints: {output: {redact: ["sk-live-*"]}}
- id: writes-wait
  match: {labels: {mcp.action: write}}
  decision: require_approval
  approval: {approvers: {all_of: [{group: sre, min: 1}]}, decide_within_ms: 60000, claim_within_ms: 60000}
- id: writes-are-bounded
  match: {labels: {mcp.action: write}}
  decision: allow_with_constraints
  constraints: {budgets: {max_runtime_ms: 20000}}
- id: admin-never
  match: {labels: {mcp.action: admin}}
  decision: deny
"#;

/// Everything that the tasks of one soak share.
struct Ground {
    began: Instant,
    /// Where Envoy listens now; every life of it has another port.
    port: AtomicU16,
    over: AtomicBool,
}

const SEED: u64 = 7;

#[tokio::test]
async fn mixed_traffic_among_random_faults_has_every_call_accounted_for_and_memory_flat() -> anyhow::Result<()> {
    let full = std::env::var("HOLDPOINT_FULL").is_ok_and(|value| value == "1");
    let lasts_s: u64 = number("HOLDPOINT_SOAK_S")?.unwrap_or(if full { 1_800 } else { 24 });
    let seed = match number("HOLDPOINT_SEED")? {
        Some(seed) => seed,
        // A change is not to be judged by the luck of its run: the short form always makes the same choices.
        None if !full => SEED,
        None => getrandom::u64().context("no randomness")?,
    };
    say(&format!("soak: {lasts_s} s, HOLDPOINT_SEED={seed}"));
    soak(seed, Duration::from_secs(lasts_s)).await.with_context(|| format!("HOLDPOINT_SEED={seed}"))
}

fn number(name: &str) -> anyhow::Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text.parse().with_context(|| format!("`{name}` is no number: `{text}`"))?)),
        Err(_) => Ok(None),
    }
}

async fn soak(seed: u64, lasts: Duration) -> anyhow::Result<()> {
    let dice = Dice::new(seed);
    let service_port = ports::free()?;
    let relay = Relay::start(service_port).await?;
    let near = relay.port();
    let mut stack = Stack::builder()
        .workers(2)
        .policy(POLICY)
        .hold_ms_max(15_000)
        .document(|document| {
            document.audit_required = true;
            document.leg_ms_max = 2_000;
            document.outage_ms_max = 4_000;
            document.body_wait_ms = 2_000;
        })
        .service_settings(seen::without_rate_limits)
        .service_settings(|service| service.port = Some(service_port))
        .envoy(move |config| {
            config.cluster_port(APPROVAL_CLUSTER, near).expect("the cluster");
            // The times in its log are then those of the service's.
            config.environment("TZ", PathBuf::from("UTC0"));
        })
        .start()
        .await?;
    stack.upstream.answer_with(calls::answer);
    let decisions = Arc::new(Decisions::default());
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let auditor = Person::auditor(&stack.service)?;

    let ground =
        Arc::new(Ground { began: Instant::now(), port: AtomicU16::new(stack.port()), over: AtomicBool::new(false) });
    let mut agents: Vec<JoinHandle<_>> = Vec::new();
    for number in 0..AGENTS {
        let token = stack.agent(&format!("agent-{number}"))?;
        let agent = Agent::new(number, token, dice.fork(number));
        agents.push(tokio::spawn(agent.work(Arc::clone(&ground))));
    }
    let people = tokio::spawn(Arc::clone(&decisions).decide(bob, Arc::clone(&ground)));

    let mut memory = Memory::default();
    let mut mischief = Mischief::new(dice.fork(AGENTS), lasts, Logs::since(ground.began));
    let mut said = Instant::now();
    while ground.began.elapsed() < lasts {
        mischief.turn(&mut stack, &relay, &ground).await?;
        memory.look(ground.began.elapsed(), &stack).await?;
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            say(&format!(
                "soak: {} s, {} messages at the server",
                ground.began.elapsed().as_secs(),
                stack.upstream.count()
            ));
        }
        // The pace of the soak, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    mischief.end(&mut stack, &relay, &ground).await?;
    ground.over.store(true, Ordering::Relaxed);
    let mut calls = Vec::new();
    for agent in agents {
        calls.extend(agent.await?);
    }
    probe::until("no call waits in Envoy", probe::PATIENCE, async || {
        (stack.envoy.stat("wasmcustom.holdpoint.holds_waiting").await.ok()? == 0).then_some(())
    })
    .await?;
    people.await?;

    let account = Account::take(&stack, &auditor, calls, &decisions, mischief.faults()).await?;
    say(&format!("{}{}{}", account.report(lasts, seed), mischief.report(), memory.report()));
    account.check(&mischief.logs(&stack))?;
    memory.check()?;
    assert_record_verifies(&stack.service)
}
