//! What stands beside entries leaves with an export that asks for it, and with no other; only a whole one has an end.

use clap::Parser;
use holdpoint_core::audit::payload::{Part, Payload, Salt};
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::decision::AuditLevel;

use super::*;
use crate::store::Change;
use crate::store::contract::{self, Bench};
use crate::store::sql::machine_clock;

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    args: ExportArgs,
}

/// A record of two entries, of which the first has arguments beside it.
async fn recorded() -> Bench {
    let bench = contract::open().await;
    let mut call = AuditEntry::new(EntryKind::Decision, 10);
    let mut payload = Payload::new(Salt::new([7; 16]));
    call.arguments = payload.keep(Part::Arguments, AuditLevel::Full, r#"{"note":"hunter2"}"#);
    call.payload = Some(Box::new(payload));
    let entries = vec![call, AuditEntry::new(EntryKind::Gap, 86_400_000)];
    bench.store.commit(Change { writes: Vec::new(), entries }).await.unwrap();
    bench
}

async fn exported(bench: &Bench, words: &[&str]) -> String {
    let dir = bench.dir.display().to_string();
    let args = Words::parse_from(["export", "--data-dir", &dir].iter().chain(words)).args;
    let store = crate::store::sqlite::open(&bench.dir.join("holdpoint.db"), machine_clock()).await.unwrap();
    let mut out = Vec::new();
    export(&args, &Record::Database { store, data_dir: bench.dir.clone() }, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn arguments_leave_only_where_they_are_asked_for() {
    let bench = recorded().await;
    for format in ["ndjson", "ocsf", "otlp", "otlp-traces"] {
        let bare = exported(&bench, &["--format", format]).await;
        assert!(!bare.contains("hunter2") && !bare.contains("0707"), "{format}: {bare}");
        assert_eq!(bare.contains("sha256:"), format != "otlp-traces", "{format}: {bare}");
        let beside = exported(&bench, &["--format", format, "--payloads"]).await;
        assert_eq!(beside.contains("hunter2"), format != "otlp-traces", "{format}: {beside}");
    }
}

#[tokio::test]
async fn part_of_a_record_has_no_checkpoint_that_would_make_it_look_whole() {
    let bench = recorded().await;
    assert!(exported(&bench, &[]).await.lines().last().unwrap().starts_with("{\"checkpoint\":"));
    for words in [["--kind", "decision"], ["--since", "1970-01-02"], ["--until", "1970-01-02"]] {
        let part = exported(&bench, &words).await;
        assert_eq!(part.lines().count(), 1, "{part}");
        assert!(!part.contains("checkpoint"), "{part}");
    }
}
