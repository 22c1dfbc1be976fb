//! A replica, or the database, dies while calls are held; and two writers meet on the log.

use holdpoint_tests::client::{InFlight, tools_call};
use holdpoint_tests::postgres::Stop;
use holdpoint_tests::stack::Stack;
use serde_json::json;
use tokio::task::JoinSet;

use crate::ground::{Fleet, REPLICAS};

/// Calls held at once.
const CALLS: usize = 6;

async fn hold(stack: &Stack, calls: usize) -> anyhow::Result<Vec<InFlight>> {
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for call in 0..calls {
        let arguments = json!({"title": format!("call {call}")}).to_string();
        held.push(tools_call("create_issue", &arguments, &token).begin(stack.port()).await?);
    }
    Ok(held)
}

/// Approves everything that waits, and sees that each call ran once and the record verifies.
async fn approve_all(fleet: &Fleet, stack: &Stack, replica: usize, held: Vec<InFlight>) -> anyhow::Result<()> {
    let bob = fleet.approver(replica, "bob")?;
    let calls = held.len();
    for id in bob.wait_for("pending", calls).await? {
        bob.approve(&bob.show(&id).await?).await?;
    }
    for call in held {
        let answer = call.answer().await?;
        assert_eq!(answer.json()["result"]["isError"], json!(false), "{}", answer.text());
    }
    assert_eq!(stack.upstream.count(), calls);
    assert_eq!(fleet.entries("claim")?.len(), calls);
    fleet.verify()
}

#[tokio::test]
async fn replica_killed_while_it_holds_calls_costs_none_of_them() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let held = hold(&stack, CALLS).await?;
    fleet.approver(1, "watcher")?.wait_for("pending", CALLS).await?;
    fleet.replicas[0].kill();
    approve_all(&fleet, &stack, 1, held).await
}

#[tokio::test]
async fn calls_held_by_the_only_replica_left_are_decided_there() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let held = hold(&stack, CALLS).await?;
    fleet.approver(2, "watcher")?.wait_for("pending", CALLS).await?;
    for replica in &fleet.replicas[..REPLICAS - 1] {
        replica.process().terminate();
    }
    approve_all(&fleet, &stack, 2, held).await
}

#[tokio::test]
async fn database_that_restarts_loses_nothing_that_waits() -> anyhow::Result<()> {
    let Some(mut fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let held = hold(&stack, CALLS).await?;
    fleet.approver(0, "watcher")?.wait_for("pending", CALLS).await?;
    for how in [Stop::Fast, Stop::Immediate] {
        fleet.postgres.stop(how)?;
        let ready = reqwest::get(fleet.replicas[1].url("/readyz")).await?;
        assert_eq!(ready.status(), 503, "nothing could be written");
        fleet.postgres.start_again(&[]).await?;
        for replica in 0..REPLICAS {
            fleet.until_ready(replica).await?;
        }
    }
    approve_all(&fleet, &stack, 1, held).await
}

#[tokio::test]
async fn replicas_that_append_at_once_make_one_log() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let token = fleet.replicas[0].token("enforcer", "edge", &[])?;
    let before: usize = fleet.postgres.sql(&fleet.url, "SELECT size FROM audit_head")?.parse()?;
    let (batches, entries) = (20, 30);
    let mut writers = JoinSet::new();
    for (writer, replica) in fleet.replicas.iter().enumerate() {
        let (url, token) = (replica.url("/v1/audit/entries"), token.clone());
        writers.spawn(async move {
            let http = reqwest::Client::new();
            for batch in 0..batches {
                let list: Vec<_> = (0..entries)
                    .map(|at| json!({"schema": holdpoint_core::audit::AUDIT_SCHEMA, "kind": "decision", "at_ms": at + 1}))
                    .collect();
                let body = json!({"source": format!("edge/{writer}"), "first_counter": batch * entries, "entries": list});
                let answer = http.post(&url).bearer_auth(&token).json(&body).send().await?;
                anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
            }
            Ok(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    let log = "SELECT count(*), min(seq), max(seq) + 1, (SELECT size FROM audit_head) FROM audit_entries";
    let size = before + REPLICAS * batches * entries;
    assert_eq!(fleet.postgres.sql(&fleet.url, log)?, format!("{size}|0|{size}|{size}"), "no fork, no gap");
    fleet.verify()
}
