//! Calls keep coming while replicas come and go: what was approved runs once, what was not never does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::ground::{Fleet, REPLICAS};

/// Agents that call one after the other.
const AGENTS: usize = 4;
/// Between two replicas that are killed.
const KILL_EVERY: Duration = Duration::from_secs(10);

/// Agents that call, and people who approve on every replica, until told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    ran: Arc<AtomicUsize>,
    agents: JoinSet<anyhow::Result<Vec<String>>>,
    people: JoinSet<()>,
}

impl Load {
    fn begin(fleet: &Fleet, stack: &Stack) -> anyhow::Result<Self> {
        let (is_over, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (mut agents, mut people) = (JoinSet::new(), JoinSet::new());
        for replica in 0..REPLICAS {
            let person = fleet.approver(replica, &format!("person-{replica}"))?;
            people.spawn(approve_until(person, Arc::clone(&is_over)));
        }
        for agent in 0..AGENTS {
            let (token, port) = (stack.agent(&format!("agent-{agent}"))?, stack.port());
            agents.spawn(call_until(agent, token, port, Arc::clone(&is_over), Arc::clone(&ran)));
        }
        Ok(Self { is_over, ran, agents, people })
    }

    /// Waits until so many calls more have run.
    async fn runs(&self, more: usize) -> anyhow::Result<()> {
        let until = self.ran.load(Ordering::SeqCst) + more;
        probe::until("calls go on running", probe::PATIENCE, async || {
            (self.ran.load(Ordering::SeqCst) >= until).then_some(())
        })
        .await
    }

    /// Ends it; the titles of the calls that were answered with a result.
    async fn end(mut self) -> anyhow::Result<Vec<String>> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut done = Vec::new();
        while let Some(agent) = self.agents.join_next().await {
            done.extend(agent??);
        }
        while self.people.join_next().await.is_some() {}
        Ok(done)
    }
}

/// Approves whatever waits. A replica that is gone is asked again: a person would reload the page.
async fn approve_until(person: Person, is_over: Arc<AtomicBool>) {
    let mut pause = interval(Duration::from_millis(50));
    while !is_over.load(Ordering::SeqCst) {
        pause.tick().await;
        for id in person.ids("pending").await.unwrap_or_default() {
            if let Ok(view) = person.show(&id).await {
                // Another person may have been first.
                let _ = person.approve(&view).await;
            }
        }
    }
}

/// Repeats each call until it has run, as an agent that is told to would; the titles of those that have.
async fn call_until(
    agent: usize,
    token: String,
    port: u16,
    is_over: Arc<AtomicBool>,
    ran: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    let mut call = 0;
    while !is_over.load(Ordering::SeqCst) {
        call += 1;
        let title = format!("agent {agent} call {call}");
        let arguments = json!({"title": title}).to_string();
        while !is_over.load(Ordering::SeqCst) {
            let answer: Value = tools_call("create_issue", &arguments, &token).send(port).await?.json();
            if answer["result"]["isError"] == json!(false) {
                ran.fetch_add(1, Ordering::SeqCst);
                done.push(title);
                break;
            }
            // An agent that hears "already ran" or "unknown" must not repeat; the next call is another one.
            let said = answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
            if said.contains("may have run") || said.contains("do not repeat") {
                break;
            }
        }
    }
    Ok(done)
}

/// Nothing that was answered is missing at the server, nothing ran twice, nothing ran without a claim of its own.
async fn nothing_lost_and_nothing_twice(fleet: &Fleet, stack: &Stack, done: &[String]) -> anyhow::Result<()> {
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for received in stack.upstream.received() {
        let title = received.json()["params"]["arguments"]["title"].as_str().unwrap_or_default().to_owned();
        *runs.entry(title).or_default() += 1;
    }
    let twice: Vec<_> = runs.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "ran more than once: {twice:?}");
    let lost: Vec<_> = done.iter().filter(|title| !runs.contains_key(*title)).collect();
    assert!(lost.is_empty(), "answered but not run: {lost:?}");
    let claims = fleet.entries("claim")?;
    let mut holds: Vec<&str> = claims.iter().filter_map(|entry| entry["hold_id"].as_str()).collect();
    let all = holds.len();
    holds.sort_unstable();
    holds.dedup();
    assert_eq!(holds.len(), all, "one claim for each hold");
    assert!(runs.len() <= all, "{} ran on {all} claims", runs.len());
    fleet.verify()
}

#[tokio::test]
async fn replicas_replaced_one_after_the_other_under_load_lose_no_call() -> anyhow::Result<()> {
    let Some(mut fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let load = Load::begin(&fleet, &stack)?;
    load.runs(AGENTS).await?;
    for replica in 0..REPLICAS {
        fleet.replicas[replica].process().terminate();
        let process = fleet.replicas[replica].process();
        probe::until("it has ended", probe::PATIENCE, async || process.exited()).await?;
        load.runs(1).await?;
        fleet.replicas[replica].restart().await?;
        load.runs(AGENTS).await?;
    }
    let done = load.end().await?;
    nothing_lost_and_nothing_twice(&fleet, &stack, &done).await
}

#[tokio::test]
async fn replica_killed_every_ten_seconds_under_load_loses_nothing_and_runs_nothing_twice() -> anyhow::Result<()> {
    let Some(mut fleet) = Fleet::start().await? else { return Ok(()) };
    let rounds = if std::env::var("HOLDPOINT_FULL").is_ok_and(|value| value == "1") { 30 } else { 6 };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let load = Load::begin(&fleet, &stack)?;
    load.runs(1).await?;
    for round in 0..rounds {
        let next = Instant::now() + KILL_EVERY;
        let replica = round % REPLICAS;
        fleet.replicas[replica].kill();
        load.runs(1).await?;
        fleet.replicas[replica].restart().await?;
        sleep_until(next).await;
    }
    load.runs(AGENTS).await?;
    let done = load.end().await?;
    assert!(done.len() >= rounds, "{} calls ran in {rounds} rounds", done.len());
    nothing_lost_and_nothing_twice(&fleet, &stack, &done).await
}

#[tokio::test]
async fn replicas_behind_a_pooler_that_lends_connections_for_a_transaction_lose_no_call() -> anyhow::Result<()> {
    let Some((mut fleet, pooler)) = Fleet::start_pooled().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let load = Load::begin(&fleet, &stack)?;
    load.runs(AGENTS * 3).await?;
    fleet.replicas[0].kill();
    load.runs(AGENTS).await?;
    fleet.replicas[0].restart().await?;
    load.runs(AGENTS).await?;
    let done = load.end().await?;
    nothing_lost_and_nothing_twice(&fleet, &stack, &done).await?;
    // What one connection had kept for another would be told there.
    let said = pooler.process().stderr_text() + &pooler.process().stdout_text();
    assert!(said.contains("login attempt") && !said.contains("prepared statement"), "{said}");
    for replica in &fleet.replicas {
        let said = replica.process().stderr_text() + &replica.process().stdout_text();
        assert!(!said.contains("prepared statement") && !said.contains("were not told;"), "{said}");
    }
    Ok(())
}
