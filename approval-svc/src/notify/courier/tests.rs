//! How often a delivery is tried, and after which pauses.

use super::*;
use crate::notify::notice::EventKind;

fn notice(event: EventKind, tries: u32) -> Notice {
    Notice {
        id: "msg_1".to_owned(),
        channel: "hook".to_owned(),
        event,
        approval_id: None,
        tenant: None,
        body: "{}".to_owned(),
        created_at_ms: 0,
        state: NoticeState::Waiting,
        tries,
        next_try_ms: 0,
        ended_at_ms: None,
        trouble: None,
        receipt: None,
    }
}

#[test]
fn pauses_grow_up_to_the_longest_and_are_never_all_the_same() {
    let delivery = Delivery::default();
    let pauses: Vec<u64> = (0..9).map(|tries| pause_ms(&delivery, tries, 0.5) / 1_000).collect();
    assert_eq!(pauses, [5, 20, 80, 320, 1_280, 5_120, 20_480, 21_600, 21_600]);
    assert_eq!((pause_ms(&delivery, 0, 0.0), pause_ms(&delivery, 0, 1.0)), (3_750, 6_250));
    assert_eq!(pause_ms(&delivery, u32::MAX, 0.5), 21_600_000, "no overflow");
    let drawn: std::collections::BTreeSet<u64> = (0..20).map(|_| pause_ms(&delivery, 3, jitter())).collect();
    assert!(drawn.len() > 1);
}

#[test]
fn failure_is_tried_again_until_the_last_try_or_a_refusal_for_good() {
    let delivery = Delivery { tries_max: 3, ..Delivery::default() };
    let failed = |retry_after_ms, for_good| Sent::Failed { why: "no".to_owned(), retry_after_ms, for_good };
    let to = |tries, sent| after(&notice(EventKind::Opened, tries), sent, &delivery, 1_000, 0.5);
    assert_eq!((to(0, failed(None, false)).to, to(0, failed(None, false)).next_try_ms), (NoticeState::Waiting, 6_000));
    assert_eq!(to(0, failed(Some(60_000), false)).next_try_ms, 61_000, "as the receiver asked");
    assert_eq!(to(2, failed(None, false)).to, NoticeState::Dead);
    assert_eq!(to(0, failed(None, true)).to, NoticeState::Dead);
    let done = to(2, Sent::Delivered { receipt: Some("r".to_owned()) });
    assert_eq!((done.to, done.receipt.as_deref(), done.tries), (NoticeState::Delivered, Some("r"), 2));
    let test = after(&notice(EventKind::Test, 0), failed(None, false), &delivery, 1_000, 0.5);
    assert_eq!(test.to, NoticeState::Dead, "whoever waits for a test sees its first failure");
}
