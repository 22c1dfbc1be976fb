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
    assert!(queue.call().is_empty(), "no turn is free");
    queue.leave();
    assert!(!queue.enter(false), "others came first");
    assert_eq!(queue.call(), [1]);
    assert!(queue.enter(true));
    assert!(!queue.enter(true), "the turn is taken");
}

#[test]
fn who_is_gone_when_he_is_called_keeps_nobody_waiting() {
    let mut queue = full();
    (1..=3).for_each(|exchange| queue.join(exchange));
    queue.leave();
    assert_eq!(queue.call(), [1], "who is gone by now, and takes no turn");
    assert_eq!(queue.call(), [2]);
    assert!(queue.enter(true));
    assert!(queue.call().is_empty());
}

#[test]
fn silence_is_since_the_last_answer_to_anybody() {
    let mut queue = Queue::default();
    assert!(queue.is_silent_since(0), "nobody was ever answered");
    queue.note_answer(10);
    assert!(!queue.is_silent_since(10));
    assert!(queue.is_silent_since(11));
}
