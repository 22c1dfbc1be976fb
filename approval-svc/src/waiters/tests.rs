//! No wake-up is lost, and nothing is kept for those who left.

use futures_util::FutureExt;

use super::*;

#[tokio::test]
async fn wake_between_subscribing_and_waiting_is_not_lost() {
    let waiters = Waiters::default();
    let mut waiter = waiters.subscribe("a");
    let mut other = waiters.subscribe("b");
    waiters.wake("a");
    assert!(waiter.woken().now_or_never().is_some());
    assert!(waiter.woken().now_or_never().is_none(), "one wake-up wakes once");
    assert!(other.woken().now_or_never().is_none(), "another approval's wake-up");
}

#[tokio::test]
async fn last_waiter_to_leave_takes_the_entry_along() {
    let waiters = Waiters::default();
    let (first, mut second) = (waiters.subscribe("a"), waiters.subscribe("a"));
    drop(first);
    waiters.wake("a");
    assert!(second.woken().now_or_never().is_some());
    drop(second);
    assert!(waiters.wakers().is_empty());
}
