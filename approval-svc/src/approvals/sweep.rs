//! Step 8: closes what ran out of time, by the store's clock: expired, lapsed, or withdrawn for want of a rejoin.

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind};

use super::{Approvals, entry_of, step};
use crate::ledger::clip;
use crate::notify::notice::EventKind;
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
                DueCause::Escalation => {
                    let mut entry = entry_of(EntryKind::ApprovalEscalated, &approval, now_ms);
                    let next = approval.asked.requirement.escalation.as_ref();
                    let groups: Vec<&str> = next
                        .map(|next| next.all_of.iter().map(|group| group.group.as_str()).collect())
                        .unwrap_or_default();
                    entry.detail = Some(clip(&format!("nobody decided yet: {} may too", groups.join(", "))));
                    let (id, version) = (approval.id.clone(), approval.version);
                    let mut writes = vec![Write::Escalate { id, version, at_ms: now_ms }];
                    writes.extend(self.notify.asked(EventKind::Escalated, &approval, now_ms));
                    self.attempt(Change { writes, entries: vec![entry] }).await?;
                }
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
                    let mut writes = self.notify.moved(&approval, &step, false);
                    writes.push(Write::MoveApproval(Box::new(step)));
                    self.attempt(Change { writes, entries: vec![entry] }).await?;
                }
            }
        }
        Ok(found)
    }

    /// Erases the arguments of what ended long enough ago; of how many.
    pub async fn erase(&self) -> Result<u64, StoreError> {
        let now_ms = self.store.now_ms().await?;
        let ids = self.store.with_old_arguments(now_ms.saturating_sub(self.arguments_keep_ms), ROUND_MAX).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let erased = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let mut entry = AuditEntry::new(EntryKind::ArgumentsErased, now_ms);
        entry.detail = Some(format!("arguments of {erased} approvals; their digests stay"));
        let change = Change { writes: vec![Write::EraseArguments { ids, at_ms: now_ms }], entries: vec![entry] };
        self.attempt(change).await?;
        Ok(erased)
    }
}
