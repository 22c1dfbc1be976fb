//! The people: one who decides whatever waits, by its number, so that what he said can be told afterwards.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdpoint_tests::approver::Person;
use serde_json::Value;

use super::Ground;

/// One of so many writes is denied.
const DENIED_ONE_OF: u64 = 5;

/// Whether people deny the write of this number.
pub(super) fn denies(number: u64) -> bool {
    number.is_multiple_of(DENIED_ONE_OF)
}

/// The numbers that were approved, or may have been: the service may have died before it said so.
#[derive(Default)]
pub(super) struct Decisions(Mutex<BTreeSet<u64>>);

impl Decisions {
    /// Whether anybody tried to approve it.
    pub(super) fn is_approved(&self, number: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// Decides until the soak is over. What fails is tried again in the next round: the service may be away.
    pub(super) async fn decide(self: Arc<Self>, bob: Person, ground: Arc<Ground>) {
        while !ground.over.load(Ordering::Relaxed) {
            for id in bob.ids("pending").await.unwrap_or_default().into_iter().rev() {
                // Withdrawn at this moment, or decided by a review of which nothing came back.
                let Ok(view) = bob.show(&id).await else { continue };
                let call: Value =
                    serde_json::from_str(view["call_text"].as_str().unwrap_or_default()).unwrap_or_default();
                let Some(number) = call["params"]["arguments"]["title"].as_u64() else { continue };
                if denies(number) {
                    let _ = bob.deny(&view, "not today").await;
                } else {
                    self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
                    let _ = bob.approve(&view).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
