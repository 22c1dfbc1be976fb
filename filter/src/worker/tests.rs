//! Ids, room and deadlines.

use super::*;

#[test]
fn ids_are_fresh_and_long_enough() {
    let mut ids = Ids::new([7; 32]);
    let (one, two) = (ids.next_id(), ids.next_id());
    assert_eq!(one.len(), 32);
    assert_ne!(one, two);
    assert_ne!(Ids::new([8; 32]).next_id(), one);
}

#[test]
fn room_is_bounded_by_number_and_by_bytes() {
    let limits = Limits { holds_max: 2, held_bytes_max: 100, ..Limits::default() };
    let mut room = HoldRoom::default();
    assert!(room.enter(60, &limits));
    assert!(!room.enter(60, &limits), "bytes");
    assert!(room.enter(40, &limits));
    assert!(!room.enter(0, &limits), "number");
    room.leave(60);
    assert!(room.enter(10, &limits));
}

#[test]
fn deadlines_come_due_in_order() {
    let mut worker = Worker::new([0; 32], "gw".to_owned());
    worker.wake_at(20, 2);
    worker.wake_at(10, 1);
    assert_eq!(worker.next_due(5), None);
    assert_eq!(worker.next_due(25), Some(1));
    assert_eq!(worker.next_due(25), Some(2));
    assert_eq!(worker.next_due(25), None);
}

#[test]
fn who_waits_for_an_entry_is_found_by_its_counter() {
    let mut worker = Worker::new([0; 32], "gw".to_owned());
    for counter in 0..5 {
        worker.await_record(counter, 100 + u32::try_from(counter).expect("small"));
    }
    assert_eq!(worker.take_recorded(&(1..3)), [101, 102]);
    assert_eq!(worker.take_recorded(&(0..2)), [100]);
    assert!(worker.is_record_awaited());
    assert_eq!(worker.take_recorded(&(3..9)), [103, 104]);
    assert!(!worker.is_record_awaited());
}
