//! Step 8: closes what ran out of time, by the store's clock: expired, lapsed, or withdrawn for want of a rejoin.

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::EntryKind;

use super::{Approvals, entry_of, step};
use crate::store::row::DueCause;
use crate::store::{ApprovalMove, Change, StoreError, Write};

/// Approvals closed in one round.
const ROUND_MAX: u32 = 500;

impl Approvals {
    /// Closes everything that is due; how many were found. Whoever is faster wins, and that is fine.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let now_ms = self.store.now_ms().await?;
        let mut found = 0;
        for due in self.store.due(now_ms, ROUND_MAX).await? {
            found += 1;
            let Some(approval) = self.store.approval(&due.id).await? else { continue };
            if (approval.status, approval.version) != (due.status, due.version) {
                continue;
            }
            match due.cause {
                DueCause::Clock => self.close_by_clock(&approval, now_ms).await?,
                DueCause::Rejoin => {
                    let reason = "the client left and did not come back in time";
                    let mut entry = entry_of(EntryKind::ApprovalClosed, &approval, now_ms);
                    entry.status = Some(ApprovalStatus::Withdrawn.as_str().to_owned());
                    entry.detail = Some(reason.to_owned());
                    let step = ApprovalMove {
                        reason: Some(reason.to_owned()),
                        if_rejoin_due_at_ms: Some(now_ms),
                        ..step(&approval, ApprovalStatus::Withdrawn, now_ms)
                    };
                    let writes = vec![Write::MoveApproval(Box::new(step))];
                    self.attempt(Change { writes, entries: vec![entry] }).await?;
                }
            }
        }
        Ok(found)
    }
}
