//! The record: each entry once, gaps visible, and every way of tampering found with the right words.

use holdpoint_core::audit::note::{self, Checkpoint};
use holdpoint_core::audit::payload::{Part, Payload, Salt};
use holdpoint_core::audit::proof::verify_consistency;
use holdpoint_core::decision::AuditLevel;

use super::verify::verify;
use super::*;
use crate::store::contract::{self, Bench};
use crate::store::sqlite::run_sql;

struct Desk {
    bench: Bench,
    signer: Arc<ServiceSigner>,
    ledger: Ledger,
}

async fn desk() -> Desk {
    let bench = contract::open().await;
    let signer = Arc::new(ServiceSigner::load_or_create(&bench.dir).unwrap());
    let ledger =
        Ledger::new(Arc::clone(&bench.store), Arc::clone(&signer), Waiters::default(), Arc::new(Metrics::default()));
    Desk { bench, signer, ledger }
}

fn batch(first_counter: u64, entries: usize) -> EntryBatch {
    let entries = vec![AuditEntry::new(EntryKind::Decision, 1); entries];
    EntryBatch { source: "edge/boot".to_owned(), first_counter, entries, payloads: Vec::new() }
}

impl Desk {
    async fn findings(&self) -> Vec<String> {
        verify(&*self.bench.store, &self.signer.public_keys(), Vec::new(), |_, _| {}).await.unwrap().findings
    }

    async fn sql(&self, statement: &'static str) {
        run_sql(&self.bench.dir.join("holdpoint.db"), statement).await;
    }

    /// Ten entries, with a checkpoint after five and after all.
    async fn written() -> Self {
        let desk = desk().await;
        for at in 0..2 {
            desk.ledger.append(batch(at * 5, 5)).await.unwrap();
            desk.ledger.sign_checkpoint().await.unwrap();
        }
        assert_eq!(desk.findings().await, [""; 0]);
        desk
    }
}

#[tokio::test]
async fn batch_sent_again_adds_only_what_is_new() {
    let desk = desk().await;
    let receipt = |next_counter, entries_added, entries_known, entries_missing| BatchReceipt {
        next_counter,
        entries_added,
        entries_known,
        entries_missing,
    };
    assert_eq!(desk.ledger.append(batch(0, 3)).await.unwrap(), receipt(3, 3, 0, 0));
    assert_eq!(desk.ledger.append(batch(0, 3)).await.unwrap(), receipt(3, 0, 3, 0));
    assert_eq!(desk.ledger.append(batch(1, 4)).await.unwrap(), receipt(5, 2, 2, 0));
    let (one, two) = tokio::join!(desk.ledger.append(batch(5, 2)), desk.ledger.append(batch(5, 2)));
    assert_eq!(one.unwrap().entries_added + two.unwrap().entries_added, 2);
    assert_eq!(desk.bench.store.head().await.unwrap().frontier.size(), 7);
}

#[tokio::test]
async fn jump_of_the_counter_is_written_down_as_a_gap() {
    let desk = desk().await;
    desk.ledger.append(batch(0, 1)).await.unwrap();
    assert_eq!(desk.ledger.append(batch(4, 1)).await.unwrap().entries_missing, 3);
    let rows = desk.bench.store.entries(1, 1).await.unwrap();
    let gap: AuditEntry = serde_json::from_str(&rows[0].body).unwrap();
    assert_eq!((gap.kind, gap.source.as_deref()), (EntryKind::Gap, Some("edge/boot")));
    assert_eq!(gap.detail.as_deref(), Some("3 entries are missing: counters 1 to 3"));
}

#[tokio::test]
async fn filter_cannot_write_entries_that_are_the_service_s_own() {
    let desk = desk().await;
    let mut forged = batch(0, 2);
    forged.entries[1].kind = EntryKind::Claim;
    assert!(matches!(desk.ledger.append(forged).await, Err(AppendError::Kind { at: 1, kind: "claim" })));
    assert!(matches!(desk.ledger.append(batch(0, 1_001)).await, Err(AppendError::Count(1_001))));
    assert!(matches!(desk.ledger.append(batch(u64::MAX, 1)).await, Err(AppendError::Counter)));
}

#[tokio::test]
async fn checkpoint_is_a_signed_note_over_the_head() {
    let desk = Desk::written().await;
    let note = desk.ledger.checkpoint().await.unwrap().unwrap().note;
    let key = desk.signer.public_key();
    let root = desk.bench.store.head().await.unwrap().root;
    let expected = Checkpoint { origin: note::origin(&key), size: 10, root };
    assert_eq!(note::read_checkpoint(&note, &key), Ok(expected));
}

#[tokio::test]
async fn every_entry_has_a_receipt_that_the_public_key_alone_verifies() {
    let desk = desk().await;
    // Past the first full tile, so that roots of level 1 take part.
    for at in 0..3 {
        desk.ledger.append(batch(at * 200, 200)).await.unwrap();
    }
    let key = desk.signer.public_key();
    for seq in [0, 1, 255, 256, 511, 512, 599] {
        let receipt = desk.ledger.receipt(seq).await.unwrap().unwrap();
        assert_eq!(receipt.verify(&key).unwrap().size, 600, "entry {seq}");
    }
    assert!(desk.ledger.receipt(600).await.unwrap().is_none());
}

#[tokio::test]
async fn a_log_is_proven_to_go_on_where_an_older_one_ended() {
    let desk = desk().await;
    let mut roots = Vec::new();
    for at in 0..3 {
        desk.ledger.append(batch(at * 300, 300)).await.unwrap();
        roots.push(desk.bench.store.head().await.unwrap().root);
    }
    for (old, old_root) in [(300, roots[0]), (600, roots[1])] {
        let proof = desk.ledger.consistency(old, 900).await.unwrap().unwrap();
        assert_eq!(verify_consistency(old, old_root, 900, roots[2], &proof), Ok(()));
    }
    assert_eq!(desk.ledger.consistency(1, 901).await.unwrap(), None);
}

/// Tampers with a whole record; the first finding.
async fn check(tampering: &'static str, finding: &str) {
    let desk = Desk::written().await;
    desk.sql(tampering).await;
    let findings = desk.findings().await;
    let first = findings.first().map_or("nothing", String::as_str);
    assert!(first.starts_with(finding), "{tampering}: {findings:?}");
}

#[tokio::test]
async fn every_tampering_is_found_where_it_was_done() {
    check("UPDATE audit_entries SET body = replace(body, 'decision', 'refusal') WHERE seq = 3", "entry 3 was changed")
        .await;
    check("DELETE FROM audit_entries WHERE seq = 4", "entries 4 to 4 are missing").await;
    check("DELETE FROM audit_entries WHERE seq = 9", "the log's head counts 10 entries, only 9 are there").await;
    check(
        "INSERT INTO audit_entries SELECT 10, body, leaf_hash FROM audit_entries WHERE seq = 0",
        "entry 10 was slipped in",
    )
    .await;
    check("UPDATE audit_head SET root = zeroblob(32)", "the entries have the root").await;
    check(
        "UPDATE checkpoints SET note = replace(note, 'holdpoint/', 'holdpoint/x') WHERE size = 5",
        "checkpoint 5 is not to be believed",
    )
    .await;
    check(
        "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 10) WHERE size = 5",
        "checkpoint 5 was signed for other entries",
    )
    .await;
    check("UPDATE checkpoints SET size = 11 WHERE size = 10", "checkpoint 11 was signed for other entries").await;
}

/// A batch of one call with arguments and a result at this level.
fn with_payload(level: AuditLevel, counter: u64) -> EntryBatch {
    let mut entry = AuditEntry::new(EntryKind::Decision, 1);
    let mut payload = Payload::new(Salt::new([u8::try_from(counter).unwrap(); 16]));
    entry.arguments = payload.keep(Part::Arguments, level, "{\"title\":\"broken\"}");
    entry.result = payload.keep(Part::Result, level, "{\"id\":7}");
    EntryBatch {
        source: "edge/boot".to_owned(),
        first_counter: counter,
        entries: vec![entry],
        payloads: vec![CountedPayload { counter, payload }],
    }
}

#[tokio::test]
async fn what_comes_with_an_entry_stands_beside_it_and_its_leaf_has_only_digests() {
    let desk = desk().await;
    desk.ledger.append(batch(0, 1)).await.unwrap();
    desk.ledger.append(with_payload(AuditLevel::Full, 1)).await.unwrap();
    desk.ledger.append(with_payload(AuditLevel::Full, 1)).await.unwrap();
    let shown = payloads::show(&*desk.bench.store, 1).await.unwrap().unwrap();
    assert_eq!(shown.payload.unwrap().arguments.as_deref(), Some("{\"title\":\"broken\"}"));
    let leaf = &desk.bench.store.entries(1, 1).await.unwrap()[0].body;
    assert!(!leaf.contains("broken") && leaf.contains("\"level\":\"full\""), "{leaf}");
    let verified = verify(&*desk.bench.store, &desk.signer.public_keys(), Vec::new(), |_, _| {}).await.unwrap();
    assert_eq!((verified.payloads, verified.findings), (1, Vec::new()));
}

#[tokio::test]
async fn what_is_not_what_its_entry_names_is_not_kept_and_the_entry_says_so() {
    let desk = desk().await;
    let mut lying = with_payload(AuditLevel::Full, 0);
    lying.payloads[0].payload.arguments = Some("{\"title\":\"fine\"}".to_owned());
    desk.ledger.append(lying).await.unwrap();
    let mut alone = with_payload(AuditLevel::Full, 1);
    alone.payloads.clear();
    desk.ledger.append(alone).await.unwrap();
    let shown = payloads::show(&*desk.bench.store, 0).await.unwrap().unwrap();
    assert_eq!(shown.entry["arguments"]["lost"], "unfit");
    let payload = shown.payload.unwrap();
    assert_eq!((payload.arguments.as_deref(), payload.result.as_deref()), (None, Some("{\"id\":7}")));
    let shown = payloads::show(&*desk.bench.store, 1).await.unwrap().unwrap();
    assert_eq!((&shown.entry["result"]["lost"], shown.payload), (&serde_json::json!("unfit"), None));
    assert_eq!(desk.findings().await, [""; 0]);
    let mut elsewhere = with_payload(AuditLevel::Full, 2);
    elsewhere.payloads[0].counter = 3;
    assert!(matches!(desk.ledger.append(elsewhere).await, Err(AppendError::Payload(3))));
}

#[tokio::test]
async fn erased_after_its_time_by_level_and_the_record_stays_whole_and_says_so() {
    let desk = desk().await;
    for (counter, level) in (0..).zip([AuditLevel::Full, AuditLevel::Full, AuditLevel::Redacted, AuditLevel::Digest]) {
        desk.ledger.append(with_payload(level, counter)).await.unwrap();
    }
    desk.ledger.sign_checkpoint().await.unwrap();
    let before = desk.bench.store.entries(0, 4).await.unwrap();
    let day = |days: u64| Some(std::time::Duration::from_secs(days * 86_400));
    let keep = payloads::PayloadsKeep { digest: None, redacted: day(30), full: day(7) };
    desk.bench.advance(7 * 86_400_000);
    assert_eq!(desk.ledger.erase_old_payloads(&keep).await.unwrap(), 0, "not yet");
    desk.bench.advance(1);
    assert_eq!(desk.ledger.erase_old_payloads(&keep).await.unwrap(), 2);
    assert_eq!(desk.ledger.erase_old_payloads(&keep).await.unwrap(), 0, "once");
    let entry: AuditEntry = serde_json::from_str(&desk.bench.store.entries(4, 1).await.unwrap()[0].body).unwrap();
    assert_eq!(
        (entry.kind, entry.erased, entry.by.as_deref()),
        (EntryKind::PayloadsErased, vec![[0, 1]], Some("holdpoint"))
    );
    assert_eq!(desk.bench.store.entries(0, 4).await.unwrap(), before, "the leaves stay");
    let shown = payloads::show(&*desk.bench.store, 1).await.unwrap().unwrap();
    assert!(shown.payload.is_none() && shown.withheld.as_deref().unwrap().contains("by holdpoint"), "{shown:?}");
    desk.bench.advance(100 * 86_400_000);
    assert_eq!(desk.ledger.erase_old_payloads(&keep).await.unwrap(), 1);
    let verified = verify(&*desk.bench.store, &desk.signer.public_keys(), Vec::new(), |_, _| {}).await.unwrap();
    assert_eq!((verified.erased, verified.payloads, verified.findings), (3, 1, Vec::new()));
}

#[tokio::test]
async fn edited_and_removed_payloads_are_found() {
    for (statement, expected) in [
        (
            "UPDATE audit_payloads SET arguments = '{\"title\":\"fine\"}' WHERE seq = 1",
            "the arguments beside entry 1 were edited",
        ),
        ("UPDATE audit_payloads SET result = NULL WHERE seq = 1", "the result beside entry 1 was taken out"),
        ("DELETE FROM audit_payloads WHERE seq = 1", "what stood beside entry 1 is gone, and no entry says"),
        (
            "INSERT INTO audit_payloads (seq, at_ms, level, salt, arguments) \
             VALUES (0, 1, 'full', '00000000000000000000000000000000', '{}')",
            "beside entry 0 stand arguments of which it says nothing",
        ),
    ] {
        let desk = desk().await;
        desk.ledger.append(batch(0, 1)).await.unwrap();
        desk.ledger.append(with_payload(AuditLevel::Full, 1)).await.unwrap();
        desk.sql(statement).await;
        let findings = desk.findings().await;
        assert!(findings.iter().any(|finding| finding.starts_with(expected)), "{statement}: {findings:?}");
    }
}

#[tokio::test]
async fn edited_payload_is_not_shown_as_that_of_its_entry() {
    let desk = desk().await;
    desk.ledger.append(with_payload(AuditLevel::Full, 0)).await.unwrap();
    desk.sql("UPDATE audit_payloads SET arguments = '{\"title\":\"fine\"}'").await;
    let shown = payloads::show(&*desk.bench.store, 0).await.unwrap().unwrap();
    assert!(shown.payload.is_none() && shown.withheld.unwrap().contains("audit verify"));
}

#[tokio::test]
async fn gateway_is_named_by_its_batch_and_can_neither_erase_nor_send_what_is_too_long() {
    let desk = desk().await;
    desk.ledger.append(with_payload(AuditLevel::Full, 0)).await.unwrap();
    let mut lying = batch(1, 1);
    lying.entries[0].source = Some("another/boot".to_owned());
    lying.entries[0].erased = vec![[0, 0]];
    desk.ledger.append(lying).await.unwrap();
    let entry: AuditEntry = serde_json::from_str(&desk.bench.store.entries(1, 1).await.unwrap()[0].body).unwrap();
    assert_eq!(entry.source.as_deref(), Some("edge/boot"));
    desk.sql("DELETE FROM audit_payloads").await;
    assert!(desk.findings().await[0].starts_with("what stood beside entry 0 is gone"), "its word erases nothing");
    let mut long = batch(2, 1);
    long.entries[0].target = Some("x".repeat(ENTRY_BYTES_MAX));
    assert!(matches!(desk.ledger.append(long).await, Err(AppendError::Long { at: 0, .. })));
}
