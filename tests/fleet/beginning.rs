//! What a replica says of itself when it begins, and what it does when it is told to end.

use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::asker::Asker;
use holdpoint_tests::probe;
use holdpoint_tests::service::Service;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ground::{Fleet, word};

#[tokio::test]
async fn doctor_names_the_database_and_every_command_opens_it() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let replica = &fleet.replicas[1];
    let token = replica.token("auditor", "carol", &[])?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("token");
    std::fs::write(&file, token)?;
    let said = replica.cli(&["doctor", "--server", &replica.url(""), "--token-file", word(&file)?, "--output", "json"]);
    let said: Value = serde_json::from_str(&said?)?;
    let database = said["checks"].as_array().into_iter().flatten().find(|check| check["check"] == "database");
    let found = database.and_then(|check| check["found"].as_str()).unwrap_or_default();
    assert!(found.starts_with("PostgreSQL "), "{said}");

    let keys = fleet.keys();
    let at = ["--data-dir", word(&keys)?, "--database-url", &fleet.url];
    let cli = |words: &[&str]| replica.cli(&[words, &at].concat());
    assert!(cli(&["token", "list"])?.contains("carol"));
    assert!(cli(&["login", "--subject", "dora", "--group", "sre"])?.contains("/login?code="));
    assert!(cli(&["audit", "tail"])?.contains("token"));
    assert!(cli(&["keys", "rotate"])?.contains("signs beside it"));
    fleet.verify()
}

#[tokio::test]
async fn replica_without_the_key_of_the_record_does_not_start() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    fleet.replicas[0].token("auditor", "carol", &[])?;
    let elsewhere = tempfile::tempdir()?;
    let refused = Service::start_replica(&elsewhere.path().join("keys"), &fleet.url, &[]).await;
    let why = format!("{:#}", refused.expect_err("it has no key"));
    assert!(why.contains("give every replica the same key directory"), "{why}");
    assert!(!elsewhere.path().join("keys/service-key.hex").exists(), "and makes none that the next start would take");
    Ok(())
}

#[tokio::test]
async fn replica_that_is_told_to_end_answers_waiting_polls_at_once_and_finishes_what_it_appends() -> anyhow::Result<()>
{
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let replica = &fleet.replicas[2];
    let id = Asker::new(replica).await?.hold("create_issue", json!({"title": "a"})).await?;
    let token = replica.token("enforcer", "edge-2", &[])?;
    let head = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nhost: holdpoint\r\nauthorization: Bearer {token}\r\n{more}\r\n\r\n")
    };
    let entry = json!({"schema": holdpoint_core::audit::AUDIT_SCHEMA, "kind": "decision", "at_ms": 1});
    let batch = json!({"source": "edge/1", "first_counter": 0, "entries": vec![entry; 500]}).to_string();
    let (first, rest) = batch.split_at(batch.len() / 2);
    let begun = connections(replica).await?;
    let mut poll = TcpStream::connect(("127.0.0.1", replica.port())).await?;
    poll.write_all(head(&format!("GET /v1/approvals/{id}"), "prefer: wait=60").as_bytes()).await?;
    let mut append = TcpStream::connect(("127.0.0.1", replica.port())).await?;
    let length = format!("content-type: application/json\r\ncontent-length: {}", batch.len());
    append.write_all((head("POST /v1/audit/entries", &length) + first).as_bytes()).await?;
    probe::until("both are being answered", probe::PATIENCE, async || {
        (connections(replica).await.ok()? >= begun + 2).then_some(())
    })
    .await?;

    replica.process().terminate();
    // Far less than the poll would have waited.
    let answered = timeout(Duration::from_secs(30), read(&mut poll)).await??;
    assert!(answered.starts_with("HTTP/1.1 202") || answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert!(answered.contains(&id) && answered.contains("\"pending\""), "{answered}");
    assert!(replica.process().exited().is_none(), "somebody is still sending");
    append.write_all(rest.as_bytes()).await?;
    let receipt = timeout(Duration::from_secs(30), read(&mut append)).await??;
    assert!(receipt.starts_with("HTTP/1.1 200") && receipt.contains("\"entries_added\":500"), "{receipt}");
    let status = probe::until("it has ended", probe::PATIENCE, async || replica.process().exited()).await?;
    assert!(status.success(), "{status}");
    assert!(fleet.postgres.sql(&fleet.url, "SELECT next_counter FROM audit_sources")? == "500");
    fleet.verify()
}

/// How many connections a replica has open.
async fn connections(replica: &Service) -> anyhow::Result<u64> {
    let text = reqwest::get(replica.url("/metrics")).await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix("holdpoint_connections "));
    line.and_then(|count| count.parse().ok()).with_context(|| format!("no connections in {text}"))
}

async fn read(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8(bytes)?)
}
