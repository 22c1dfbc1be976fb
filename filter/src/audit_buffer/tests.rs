//! What waits, what is sent, what is lost and how that shows.

use holdpoint_core::audit::payload::{Payload, Salt};
use holdpoint_core::audit::{EntryBatch, EntryKind};
use holdpoint_core::decision::AuditLevel;

use super::*;

fn entry(at_ms: u64) -> AuditEntry {
    AuditEntry::new(EntryKind::Decision, at_ms)
}

fn buffer() -> AuditBuffer {
    AuditBuffer::new("gw/boot")
}

/// The next batch as the service reads it.
fn next_batch(buffer: &mut AuditBuffer) -> Option<EntryBatch> {
    buffer.next_batch().map(|text| serde_json::from_str(&text).expect("a batch"))
}

#[test]
fn a_batch_stays_until_it_is_acknowledged() {
    let mut buffer = buffer();
    assert!(buffer.push(entry(1)) && buffer.push(entry(2)));
    let batch = next_batch(&mut buffer).expect("a batch");
    assert_eq!((batch.first_counter, batch.entries.len()), (0, 2));
    assert_eq!(next_batch(&mut buffer), None, "one batch at a time");
    buffer.batch_answered(BatchAnswer::TryAgain);
    assert_eq!(next_batch(&mut buffer).expect("the same again"), batch);
    buffer.push(entry(3));
    buffer.batch_answered(BatchAnswer::Acknowledged);
    let rest = next_batch(&mut buffer).expect("the rest");
    assert_eq!((rest.first_counter, rest.entries.len()), (2, 1));
}

#[test]
fn a_lost_entry_leaves_a_jump_in_the_counters() {
    let mut buffer = buffer();
    for at in 0..ENTRIES_MAX as u64 {
        assert!(buffer.push(entry(at)));
    }
    assert!(!buffer.push(entry(0)), "full");
    while let Some(batch) = next_batch(&mut buffer) {
        assert!(batch.entries.len() <= BATCH_ENTRIES_MAX);
        buffer.batch_answered(BatchAnswer::Acknowledged);
        if buffer.is_empty() {
            break;
        }
    }
    buffer.push(entry(0));
    assert_eq!(next_batch(&mut buffer).expect("a batch").first_counter, ENTRIES_MAX as u64 + 1);
}

#[test]
fn refusals_over_their_quota_become_one_entry_with_a_count() {
    let mut buffer = buffer();
    for _ in 0..REFUSALS_PER_MINUTE_MAX + 40 {
        buffer.push_refusal(AuditEntry { detail: Some("rubbish".to_owned()), ..entry(MINUTE_MS) });
    }
    assert_eq!(buffer.len(), REFUSALS_PER_MINUTE_MAX as usize);
    buffer.flush_refusals(2 * MINUTE_MS);
    let batch = next_batch(&mut buffer).expect("a batch");
    assert_eq!(batch.entries.len(), REFUSALS_PER_MINUTE_MAX as usize + 1);
    let last = batch.entries.last().and_then(|entry| entry.detail.as_deref());
    assert_eq!(last, Some("40 more of this kind in this minute, the last one: rubbish"));
}

#[test]
fn a_batch_the_service_will_never_take_is_lost_and_counted_and_holds_nothing_up() {
    let mut buffer = buffer();
    buffer.push(entry(1));
    assert!(next_batch(&mut buffer).is_some());
    buffer.push(entry(2));
    assert_eq!(buffer.batch_answered(BatchAnswer::Rejected), Some(Settled { counters: 0..1, is_durable: false }));
    assert_eq!(next_batch(&mut buffer).expect("the next one").first_counter, 1);
}

#[test]
fn who_waits_for_an_entry_learns_its_counter_and_when_it_is_durable() {
    let mut buffer = buffer();
    assert_eq!(buffer.push_awaited(entry(1)), Some(0));
    assert!(buffer.push(entry(2)));
    buffer.next_batch();
    assert_eq!(buffer.push_awaited(entry(3)), Some(2));
    assert_eq!(buffer.batch_answered(BatchAnswer::TryAgain), None);
    buffer.next_batch();
    assert_eq!(buffer.batch_answered(BatchAnswer::Acknowledged), Some(Settled { counters: 0..3, is_durable: true }));
    while buffer.push(entry(1)) {}
    assert_eq!(buffer.push_awaited(entry(1)), None, "full");
}

#[test]
fn anonymous_calls_share_the_quota_of_refusals() {
    let mut buffer = buffer();
    for _ in 0..REFUSALS_PER_MINUTE_MAX + 5 {
        let mut anonymous = entry(1_000_000);
        anonymous.principal = Some(holdpoint_core::identity::Principal::anonymous());
        assert!(buffer.push(anonymous));
    }
    assert_eq!(buffer.len(), REFUSALS_PER_MINUTE_MAX as usize);
    assert!(buffer.flush_refusals(1_000_000 + MINUTE_MS));
    assert_eq!(buffer.len(), REFUSALS_PER_MINUTE_MAX as usize + 1);
}

#[test]
fn long_words_of_strangers_never_make_a_batch_too_large_to_take() {
    let mut buffer = buffer();
    for at in 0..BATCH_ENTRIES_MAX as u64 {
        let mut long = entry(at);
        long.target = Some("\u{1f600}".repeat(1_000));
        long.detail = Some("\u{1f600}".repeat(100_000));
        assert!(buffer.push(long));
    }
    let mut sent = 0;
    while let Some(batch) = next_batch(&mut buffer) {
        let bytes: usize = batch.entries.iter().map(|entry| serde_json::to_vec(entry).expect("JSON").len()).sum();
        assert!(bytes <= BATCH_BYTES_MAX);
        sent += batch.entries.len();
        buffer.batch_answered(BatchAnswer::Acknowledged);
    }
    assert_eq!(sent, BATCH_ENTRIES_MAX);
}

/// An entry with arguments in full.
fn with_arguments(arguments: &str) -> AuditEntry {
    let mut entry = entry(1);
    let mut payload = Payload::new(Salt::new([1; 16]));
    entry.arguments = payload.keep(Part::Arguments, AuditLevel::Full, arguments);
    entry.payload = Some(Box::new(payload));
    entry
}

#[test]
fn what_is_to_stand_beside_an_entry_goes_with_it_under_its_counter() {
    let mut buffer = buffer();
    buffer.push(entry(1));
    buffer.push(with_arguments("{\"title\":\"one \\\"two\\\"\"}"));
    let batch = next_batch(&mut buffer).expect("a batch");
    let [beside] = &batch.payloads[..] else { panic!("{batch:?}") };
    assert_eq!(beside.counter, 1);
    assert_eq!(beside.payload.misfit(Part::Arguments, batch.entries[1].arguments.as_ref()), None);
    assert_eq!(beside.payload.text(Part::Arguments), Some("{\"title\":\"one \\\"two\\\"\"}"));
}

#[test]
fn texts_without_room_are_lost_visibly_and_their_entries_are_not() {
    let mut buffer = buffer();
    let text = format!("\"{}\"", "x".repeat(60_000));
    let fitting = PAYLOAD_BYTES_MAX / (text.len() + 100);
    for _ in 0..fitting + 2 {
        assert!(buffer.push(with_arguments(&text)));
    }
    assert!(buffer.take_payloads_lost() >= 1);
    assert_eq!(buffer.take_payloads_lost(), 0);
    let (mut entries, mut lost) = (0, 0);
    while let Some(batch) = next_batch(&mut buffer) {
        assert_eq!(batch.payloads.len(), batch.entries.len(), "the salt goes along");
        let bytes = |text: String| text.len();
        let texts: usize =
            batch.payloads.iter().map(|one| bytes(serde_json::to_string(&one.payload).expect("JSON"))).sum();
        assert!(texts <= BATCH_BYTES_MAX, "what stands beside entries makes no batch too large to take: {texts}");
        for (entry, beside) in batch.entries.iter().zip(&batch.payloads) {
            let said = entry.arguments.as_ref().expect("arguments");
            assert_eq!(said.lost.is_some(), beside.payload.text(Part::Arguments).is_none());
            assert_eq!(said.digest, Some(beside.payload.salt.digest(Part::Arguments, &text)));
            lost += usize::from(said.lost == Some(Lost::NoRoom));
        }
        entries += batch.entries.len();
        buffer.batch_answered(BatchAnswer::Acknowledged);
        if buffer.is_empty() {
            break;
        }
    }
    assert_eq!(entries, fitting + 2);
    assert!((1..=3).contains(&lost), "{lost}");
    // What went makes room.
    buffer.push(with_arguments(&text));
    assert_eq!(next_batch(&mut buffer).expect("a batch").entries[0].arguments.as_ref().expect("arguments").lost, None);
}
