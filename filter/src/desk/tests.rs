//! Who waits for what, and whose turn it is.

use super::*;
use crate::audit_buffer::BatchAnswer;

#[test]
fn who_waits_for_an_entry_is_found_by_its_counter() {
    let mut desk = Desk::new("gw/1".to_owned());
    for counter in 0..5 {
        desk.await_record(counter, 100 + u32::try_from(counter).expect("small"));
    }
    let mut settle = |counters: std::ops::Range<u64>| {
        desk.settle_recorded(&counters, true);
        let told: Vec<u32> = std::iter::from_fn(|| desk.next_recorded()).map(|(exchange, ..)| exchange).collect();
        (told, desk.is_record_awaited())
    };
    assert_eq!(settle(1..3), (vec![101, 102], true));
    assert_eq!(settle(0..2), (vec![100], true));
    assert_eq!(settle(3..9), (vec![103, 104], false));
}

#[test]
fn record_has_the_time_of_the_wall_clock_however_far_it_was_set() {
    let mut desk = Desk::new("gw/1".to_owned());
    for (ahead_ms, expected) in [(0, 5_000), (70_000, 75_000), (-4_000, 1_000), (-9_000, 0)] {
        desk.audit.wall_ahead_ms = ahead_ms;
        let entry = holdpoint_core::audit::AuditEntry::new(holdpoint_core::audit::EntryKind::Decision, 5_000);
        assert!(desk.audit.push(entry));
        let batch = desk.audit.next_batch().expect("a batch");
        assert!(batch.contains(&format!("\"at_ms\":{expected}")), "{batch}");
        desk.audit.batch_answered(BatchAnswer::Acknowledged);
    }
}

#[test]
fn one_of_a_kind_is_under_way_at_a_time_and_a_lost_answer_does_not_stop_the_next() {
    let mut turn = Turn::default();
    assert!(turn.is_due(0, false));
    turn.sent(7, 10);
    assert!(!turn.is_due(5_000, true), "one is under way");
    assert_eq!(turn.take_lost(110, 100), None);
    assert_eq!(turn.take_lost(111, 100), Some(7));
    assert!(turn.is_due(111, false));
    turn.rest_until(200);
    assert!(!turn.is_due(150, false) && turn.is_due(150, true), "hurry ends a rest");
    turn.not_before(180);
    assert!(!turn.is_due(150, true) && turn.is_due(180, true), "but not the pause after a failure");
}
