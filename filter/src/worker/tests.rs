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
fn bodies_have_to_prove_themselves_again_under_a_new_configuration() {
    let mut worker = Worker::new([0; 32], "gw".to_owned());
    worker.note_body("a");
    worker.note_body("b");
    // Any key will do: nothing here is signed.
    let key = "7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";
    let text = format!(
        "approval: {{cluster: svc, service_key: \"ed25519:{key}\"}}\nidentity: {{sources: [{{jwt: {{metadata_key: jwt}}}}]}}\n\
         policy: {{version: \"2026-01-27\", rules: []}}\n"
    );
    let config = FilterConfig::read(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    worker.put_in_force("a", Rc::new(config));
    assert!(!worker.bodies_arrive("a") && worker.bodies_arrive("b"));
}

#[test]
fn claims_are_judged_by_the_wall_clock_however_far_it_was_set() {
    let mut worker = Worker::new([0; 32], "gw".to_owned());
    for (ahead_ms, expected) in [(0, 5_000), (70_000, 75_000), (-4_000, 1_000), (-9_000, 0)] {
        worker.set_wall_ahead_ms(ahead_ms);
        assert_eq!(worker.wall_ms(5_000), expected);
    }
}

#[test]
fn what_a_server_is_told_later_waits_for_its_time_and_beyond_its_bound_for_nothing() {
    let callout = |ask| Callout {
        ask,
        cluster: None,
        authority: String::new(),
        method: "POST",
        path: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 1,
    };
    let mut worker = Worker::new([0; 32], "gw".to_owned());
    for (at_ms, ask) in [(30, 3), (10, 1), (10, 2)] {
        assert_eq!(worker.tell_at(at_ms, callout(ask)), None);
    }
    let due = |worker: &mut Worker, now_ms| worker.next_told(now_ms).map(|callout| callout.ask);
    assert_eq!(due(&mut worker, 9), None);
    assert_eq!((due(&mut worker, 10), due(&mut worker, 10), due(&mut worker, 29)), (Some(1), Some(2), None));
    while worker.tell_at(50, callout(0)).is_none() {}
    assert_eq!(worker.told_later.len(), TOLD_LATER_MAX);
}

#[test]
fn no_random_byte_is_given_twice() {
    let mut ids = Ids::new([7; 32]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        assert!(seen.insert(ids.next_salt().to_string()), "a salt");
        let span = ids.next_span_id();
        assert!(!seen.iter().any(|salt| salt.contains(&span)), "a span id is no part of a salt");
    }
}
