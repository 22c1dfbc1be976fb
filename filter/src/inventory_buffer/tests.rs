//! What waits, what is sent, and what is forgotten when it is lost.

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::identity::Principal;
use holdpoint_core::inventory::{Introduction, ListedEntry, ListedPage, ObservationBatch};

use super::*;

fn observation(saw: Sighting) -> Observation {
    Observation { at_ms: 1, server: "s".to_owned(), caller: Principal::anonymous(), saw }
}

fn listed(text: &str) -> Observation {
    let entry = ListedEntry { name: "a".to_owned(), digest: Digest::of(text.as_bytes()), text: Some(text.to_owned()) };
    let page = ListedPage { kind: DefinitionKind::Tool, page: None, is_whole: false, entries: vec![entry] };
    observation(Sighting::Listed(page))
}

#[test]
fn a_batch_is_what_the_service_reads_and_stays_until_it_is_acknowledged() {
    let mut buffer = InventoryBuffer::default();
    let both = [listed("{}"), observation(Sighting::Introduced(Introduction::default()))];
    assert!(both.iter().all(|one| buffer.push(one)));
    let batch = buffer.next_batch("gw/1").expect("a batch");
    let read: ObservationBatch = serde_json::from_slice(&batch).expect("the record");
    assert_eq!(read, ObservationBatch { source: "gw/1".to_owned(), observations: both.to_vec() });
    assert_eq!(buffer.next_batch("gw/1"), None, "one at a time");
    buffer.batch_answered(BatchAnswer::TryAgain);
    assert_eq!(buffer.next_batch("gw/1"), Some(batch));
    buffer.batch_answered(BatchAnswer::Acknowledged);
    assert_eq!(buffer.next_batch("gw/1"), None);
    assert_eq!((buffer.waiting_bytes, buffer.take_lost()), (0, 0));
}

#[test]
fn a_buffer_that_is_full_loses_and_says_so() {
    let mut buffer = InventoryBuffer::default();
    assert!((0..OBSERVATIONS_MAX).all(|_| buffer.push(&listed("{}"))));
    assert!(!buffer.push(&listed("{}")));
    assert_eq!((buffer.take_lost(), buffer.take_lost()), (1, 0));
    let mut buffer = InventoryBuffer::default();
    assert!(!buffer.push(&listed(&"x".repeat(OBSERVATION_BYTES_MAX))), "too long for any batch");
    let long = "x".repeat(OBSERVATION_BYTES_MAX - 1_000);
    let room_for = WAITING_BYTES_MAX / long.len();
    assert_eq!((0..room_for + 2).filter(|_| buffer.push(&listed(&long))).count(), room_for);
}

#[test]
fn what_the_service_would_not_take_is_sent_again_when_it_is_seen_again() {
    let (page, content) = (Digest::of(b"page"), Digest::of(b"content"));
    let mut buffer = InventoryBuffer::default();
    buffer.push(&listed("{}"));
    buffer.remember(page, content, 1);
    assert!(buffer.is_known(&page, content, 1) && buffer.was_sent(&Digest::of(b"{}")));
    assert!(!buffer.is_known(&page, content, 2), "somebody learned otherwise since");
    buffer.next_batch("gw/1");
    buffer.batch_answered(BatchAnswer::Rejected);
    assert!(!buffer.is_known(&page, content, 1) && !buffer.was_sent(&Digest::of(b"{}")));
    assert_eq!(buffer.take_lost(), 1);
}

#[test]
fn pages_and_definitions_that_are_remembered_are_bounded() {
    let mut buffer = InventoryBuffer::default();
    for number in 0..(PAGES_MAX * 2 + 1) {
        buffer.remember(Digest::of(&number.to_le_bytes()), Digest::of(b""), 0);
        assert!(buffer.pages.len() <= PAGES_MAX);
    }
}
