//! Step 8: a poll that waits. Ends when the approval moves, when its time is up, or when the service goes down.

use std::time::Duration;

use holdpoint_core::approval::{ApprovalState, ApprovalStatus};
use tokio::time::{Instant, sleep_until};

use super::Approvals;
use crate::store::StoreError;

/// Longest wait of one poll, which ends with a look: so late at the most does anybody hear of what woke nobody. To look more
/// often would be work for each of ten thousand that wait.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a poll waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The approval has left `pending`.
    Decided,
    /// It has another version than this one.
    Moved { from_version: u64 },
}

impl Until {
    /// Whether there is nothing left to wait for.
    pub fn is_met(self, state: &ApprovalState) -> bool {
        match self {
            Self::Decided => state.status != ApprovalStatus::Pending,
            Self::Moved { from_version } => state.version != from_version,
        }
    }
}

impl Approvals {
    /// The state once `until` is met, or as it stands after `wait`; `None` when there is no such approval.
    pub async fn wait(&self, id: &str, until: Until, wait: Duration) -> Result<Option<ApprovalState>, StoreError> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        let mut waiter = (!wait.is_zero()).then(|| self.waiters.subscribe(id));
        let mut stopping = self.stopping.clone();
        loop {
            let Some(state) = self.store.state(id).await? else { return Ok(None) };
            let Some(waiter) = &mut waiter else { return Ok(Some(state)) };
            if until.is_met(&state) || Instant::now() >= deadline || *stopping.borrow() {
                return Ok(Some(state));
            }
            tokio::select! {
                () = waiter.woken() => {}
                () = sleep_until(deadline) => {}
                // An error means that whoever could stop the service is gone, which is the same.
                _ = stopping.changed() => return Ok(Some(state)),
            }
        }
    }
}
