//! The line before the service.

use super::*;

fn full() -> Queue {
    let mut queue = Queue::default();
    while queue.enter(false) {}
    queue
}

#[test]
fn few_ask_at_a_time_and_who_comes_later_stands_behind() {
    let mut queue = full();
    assert_eq!(queue.under_way(), UNDER_WAY_MAX);
    queue.join(1);
    queue.join(2);
    assert_eq!(queue.call(), None, "no turn is free");
    queue.leave();
    assert!(!queue.enter(false), "others came first");
    assert_eq!(queue.call(), Some(1));
    assert!(queue.enter(true));
    assert!(!queue.enter(true), "the turn is taken");
}

#[test]
fn who_does_not_take_its_turn_keeps_nobody_waiting() {
    let mut queue = full();
    (1..=3).for_each(|exchange| queue.join(exchange));
    queue.leave();
    assert_eq!(queue.call(), Some(1), "who takes no turn after all");
    assert_eq!(queue.call(), Some(2));
    assert!(queue.enter(true));
    assert_eq!(queue.call(), None);
}

#[test]
fn who_stands_in_line_has_one_place_and_none_when_it_is_gone() {
    let mut queue = full();
    for exchange in [1, 2, 1, 3, 1] {
        queue.join(exchange);
    }
    assert_eq!(queue.len(), 3);
    queue.forget(2);
    queue.forget(4);
    queue.leave();
    assert_eq!((queue.call(), queue.call()), (Some(1), Some(3)));
    assert!(queue.is_empty() && queue.places.is_empty());
}

#[test]
fn silence_is_since_the_last_answer_to_anybody() {
    let mut queue = Queue::default();
    assert!(queue.is_silent_since(0), "nobody was ever answered");
    queue.note_answer(10);
    assert!(!queue.is_silent_since(10));
    assert!(queue.is_silent_since(11));
}
