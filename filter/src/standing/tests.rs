//! Workers that share data, and what each of them is told.

use super::*;
use crate::usage::in_memory::Shared;

fn policy(number: u8) -> Digest {
    Digest::of(&[number])
}

fn enter(shared: &mut Shared, number: u8) -> (String, u64) {
    let standing = super::enter(shared, "p", policy(number), &format!("worker-{number}"), 10).expect("a standing");
    (standing.instance, standing.sequence)
}

#[test]
fn workers_of_one_process_give_one_policy_one_number() {
    let mut shared = Shared::default();
    assert_eq!(enter(&mut shared, 1), ("worker-1".to_owned(), 1));
    assert_eq!(enter(&mut shared, 1), ("worker-1".to_owned(), 1));
    assert_eq!(enter(&mut shared, 2), ("worker-1".to_owned(), 2));
    assert_eq!(enter(&mut shared, 1), ("worker-1".to_owned(), 3), "back again is a change too");
}

#[test]
fn a_report_is_sent_by_one_worker_that_has_the_policy_and_repeated_later() {
    let mut shared = Shared::default();
    enter(&mut shared, 1);
    let take = |shared: &mut Shared, number, now_ms| take_report(shared, "p", policy(number), "gw", now_ms);
    assert_eq!(take(&mut shared, 2, 20), None, "another policy is not this worker's to tell");
    let report = take(&mut shared, 1, 20).expect("a report");
    assert_eq!((report.gateway.as_str(), report.since_ms, report.standing.sequence), ("gw", 10, 1));
    assert_eq!(take(&mut shared, 1, 20), None, "the others need not");
    assert!(take(&mut shared, 1, 20 + REPORT_AGAIN_MS).is_some(), "no answer came");
    reported(&mut shared, "p", 1, false, 30);
    assert_eq!(take(&mut shared, 1, 20 + 2 * REPORT_AGAIN_MS), None);
    assert!(take(&mut shared, 1, 30 + REPORT_EVERY_MS).is_some());
    reported(&mut shared, "p", 1, true, 40);
    assert!(take(&mut shared, 1, 40).is_some(), "at once, when the service had to learn the policy first");
}

#[test]
fn a_new_policy_is_told_at_once_and_an_old_answer_does_not_put_it_off() {
    let mut shared = Shared::default();
    enter(&mut shared, 1);
    take_report(&mut shared, "p", policy(1), "gw", 20).expect("a report");
    enter(&mut shared, 2);
    reported(&mut shared, "p", 1, false, 30);
    assert!(take_report(&mut shared, "p", policy(2), "gw", 30).is_some());
}
