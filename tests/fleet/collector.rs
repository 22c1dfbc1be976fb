//! Several replicas and one collector: it is told everything once, by whichever of them has the lease, and goes on being told
//! when that one dies.

use std::collections::BTreeMap;
use std::time::Duration;

use holdpoint_tests::postgres::Postgres;
use holdpoint_tests::probe;
use holdpoint_tests::service::Service;
use holdpoint_tests::upstream::{Answer, Upstream};

/// How often each entry was told, by its number.
fn told(collector: &Upstream) -> BTreeMap<u64, usize> {
    let mut told = BTreeMap::new();
    for request in collector.received().into_iter().filter(|request| request.path == "/v1/logs") {
        let body = request.json();
        let records = body.pointer("/resourceLogs/0/scopeLogs/0/logRecords").cloned().unwrap_or_default();
        for record in records.as_array().into_iter().flatten() {
            let attributes = record["attributes"].as_array().into_iter().flatten();
            let seq = attributes.filter(|one| one["key"] == "holdpoint.seq").find_map(|one| {
                let value = &one["value"]["intValue"];
                value.as_u64().or_else(|| value.as_str()?.parse().ok())
            });
            if let Some(seq) = seq {
                *told.entry(seq).or_default() += 1;
            }
        }
    }
    told
}

/// How many entries a replica says that it has sent.
async fn sent(replica: &Service) -> anyhow::Result<u64> {
    let text = reqwest::get(replica.url("/metrics")).await?.text().await?;
    let lines = text.lines().filter(|line| line.starts_with("holdpoint_otlp_records_total{"));
    let taken = lines.filter(|line| line.contains("signal=\"logs\"") && line.contains("\"sent\""));
    Ok(taken.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
}

#[tokio::test]
async fn collector_of_several_replicas_is_told_each_entry_once_by_one_of_them() -> anyhow::Result<()> {
    let Some(postgres) = Postgres::start().await? else { return Ok(()) };
    let url = postgres.database()?;
    let collector = Upstream::start().await?;
    collector.answer_with(|_| (Duration::ZERO, Answer::Json { status: 200, body: "{}".to_owned() }));
    let endpoint = format!("http://127.0.0.1:{}", collector.port());
    let keys = tempfile::tempdir()?;
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let words = ["--otlp-endpoint", endpoint.as_str()];
        replicas.push(Service::start_replica(&keys.path().join("keys"), &url, &words).await?);
    }
    // Each token that is made is an entry of the record.
    for number in 0..20 {
        replicas[number % 2].token("auditor", &format!("auditor-{number}"), &[])?;
    }
    let entries = postgres.sql(&url, "SELECT size FROM audit_head")?.parse::<u64>()?;
    let has = |seq| {
        let collector = &collector;
        async move { told(collector).contains_key(&seq).then_some(()) }
    };
    probe::until("the collector has every entry", probe::PATIENCE, || has(entries - 1)).await?;
    let told_once = told(&collector);
    // Twice only where an answer was late, or the lease: whoever has that tells it all.
    assert!((0..entries).all(|seq| told_once.contains_key(&seq)), "{told_once:?}");
    let twice = told_once.values().filter(|times| **times > 1).count();
    let (first, second) = (sent(&replicas[0]).await?, sent(&replicas[1]).await?);
    assert!(first.min(second) == 0 || twice > 0, "one of them told it all: {first}, {second}");
    assert!(twice * 2 < told_once.len(), "two tell the same: {told_once:?}");

    // Whoever has the lease is one of these two: the other one goes on.
    for killed in 0..2 {
        replicas[killed].kill();
        replicas[1 - killed].token("auditor", &format!("after-{killed}"), &[])?;
        let last = postgres.sql(&url, "SELECT size FROM audit_head")?.parse::<u64>()? - 1;
        probe::until("another replica tells the collector", probe::PATIENCE, || has(last)).await?;
        replicas[killed].restart().await?;
    }
    let all = told(&collector);
    assert!((0..=*all.keys().next_back().unwrap_or(&0)).all(|seq| all.contains_key(&seq)), "none is missing: {all:?}");
    Ok(())
}
