//! Step 8: a hold ends without its call running. It can never claim afterwards; its request may wait for a rejoin.

use holdpoint_core::approval::{ApprovalStatus, WithdrawCause, WithdrawHold};
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::digest::Digest;

use super::open::{CLOCK_MS_MAX, is_number_128};
use super::{Approvals, Attempt, StuckError, TRIES_MAX, entry_of, step};
use crate::store::{ApprovalMove, Change, Conflict, StoreError, Write};

/// Most holds that one cancellation ends. One call is one hold, but for clients that use an id twice at once.
const CANCELLED_MAX: u32 = 16;

/// Holds that are ended in one round because nobody has.
const UNHEARD_MAX: u32 = 500;

/// Why a hold was not ended.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    #[error("a hold id is 32 lower-case hex digits")]
    HoldId,
    #[error(transparent)]
    Stuck(#[from] StuckError),
}

impl From<StoreError> for WithdrawError {
    fn from(error: StoreError) -> Self {
        Self::Stuck(error.into())
    }
}

impl Approvals {
    /// Ends a hold; again is harmless. A hold that nobody knows is remembered, so that it cannot open later.
    pub async fn withdraw(&self, hold_id: &str, body: &WithdrawHold) -> Result<(), WithdrawError> {
        if !is_number_128(hold_id) {
            return Err(WithdrawError::HoldId);
        }
        for _ in 0..TRIES_MAX {
            let hold = self.store.hold(hold_id).await?;
            if hold.as_ref().is_some_and(|hold| hold.ended_at_ms.is_some()) {
                return Ok(());
            }
            let claim = self.store.claim(hold_id).await?;
            let now_ms = self.store.now_ms().await?;
            let approval = match hold.and_then(|hold| hold.approval_id) {
                Some(id) => self.store.approval(&id).await?,
                None => None,
            };
            let about = |kind| match &approval {
                Some(approval) => entry_of(kind, approval, now_ms),
                None => AuditEntry::new(kind, now_ms),
            };
            let mut change = Change::default();
            change.writes.push(Write::EndHold {
                hold_id: hold_id.to_owned(),
                cause: body.cause,
                at_ms: now_ms,
                claimed: claim.is_some(),
            });
            let mut ended = about(EntryKind::HoldEnded);
            ended.hold_id = Some(hold_id.to_owned());
            ended.detail = Some(sentence(body.cause).to_owned());
            change.entries.push(ended);
            if let (Some(approval), Some(rejoin_ms)) = (&approval, body.rejoin_ms) {
                let rejoin_by_ms = now_ms.saturating_add(rejoin_ms.min(CLOCK_MS_MAX));
                change.writes.push(Write::AwaitRejoin { id: approval.id.clone(), rejoin_by_ms });
            }
            if claim.is_some_and(|claim| claim.outcome.is_none()) {
                change.writes.push(Write::SetOutcome { hold_id: hold_id.to_owned(), outcome: Outcome::Refused });
                let mut outcome = about(EntryKind::Outcome);
                outcome.hold_id = Some(hold_id.to_owned());
                outcome.outcome = Some(Outcome::Refused);
                outcome.detail = Some("the hold ended between the claim and the forward".to_owned());
                change.entries.push(outcome);
            }
            match self.attempt(change).await? {
                Attempt::Done => return Ok(()),
                Attempt::Lost(Conflict::HoldEnded) => return Ok(()),
                Attempt::Lost(_) => {}
            }
        }
        Err(StuckError::Busy.into())
    }

    /// Ends the live holds that `cancel_key` names, and withdraws each request that nobody else waits for. None is as
    /// good: the call may have run, or be held by nobody.
    pub async fn cancel(&self, cancel_key: Digest) -> Result<(), WithdrawError> {
        for hold in self.store.holds_cancelled_by(cancel_key, CANCELLED_MAX).await? {
            let Some(id) = hold.approval_id else { continue };
            let Some(approval) = self.store.approval(&id).await? else { continue };
            let now_ms = self.store.now_ms().await?;
            let mut ended = entry_of(EntryKind::HoldEnded, &approval, now_ms);
            ended.hold_id = Some(hold.hold_id.clone());
            ended.detail = Some(sentence(WithdrawCause::Cancelled).to_owned());
            let end = Write::EndHold {
                hold_id: hold.hold_id,
                cause: WithdrawCause::Cancelled,
                at_ms: now_ms,
                // A call that has claimed runs: to be cancelled is then its server's matter.
                claimed: false,
            };
            // This clock runs only if no other hold waits.
            let left = Write::AwaitRejoin { id: id.clone(), rejoin_by_ms: now_ms };
            match self.attempt(Change { writes: vec![end, left], entries: vec![ended] }).await? {
                Attempt::Done => self.close_if_left(&id).await?,
                Attempt::Lost(_) => {}
            }
        }
        Ok(())
    }

    /// Ends holds whose time is over and of which nobody has said that they ended: their gateway is gone, or its word was
    /// lost. Their requests stay for their own clock, for the same call may come again. Of how many.
    pub async fn end_unheard(&self) -> Result<u64, WithdrawError> {
        let now_ms = self.store.now_ms().await?;
        let unheard = self.store.holds_unheard(now_ms, UNHEARD_MAX).await?;
        for hold in &unheard {
            self.withdraw(&hold.hold_id, &WithdrawHold { cause: WithdrawCause::Unheard, rejoin_ms: None }).await?;
        }
        Ok(u64::try_from(unheard.len()).unwrap_or(u64::MAX))
    }

    /// Withdraws a request that nobody waits for since its last hold was cancelled.
    async fn close_if_left(&self, id: &str) -> Result<(), WithdrawError> {
        for _ in 0..TRIES_MAX {
            let Some(approval) = self.store.approval(id).await? else { return Ok(()) };
            let now_ms = self.store.now_ms().await?;
            let is_left = approval.rejoin_by_ms.is_some_and(|rejoin_by_ms| rejoin_by_ms <= now_ms);
            if approval.status != ApprovalStatus::Pending || !is_left {
                return Ok(());
            }
            let reason = sentence(WithdrawCause::Cancelled).to_owned();
            let mut entry = entry_of(EntryKind::ApprovalClosed, &approval, now_ms);
            entry.status = Some(ApprovalStatus::Withdrawn.as_str().to_owned());
            entry.detail = Some(reason.clone());
            let withdrawn = ApprovalMove {
                reason: Some(reason),
                if_rejoin_due_at_ms: Some(now_ms),
                ..step(&approval, ApprovalStatus::Withdrawn, now_ms)
            };
            let mut writes = self.notify.moved(&approval, &withdrawn, false);
            writes.push(Write::MoveApproval(Box::new(withdrawn)));
            if let Attempt::Done = self.attempt(Change { writes, entries: vec![entry] }).await? {
                return Ok(());
            }
        }
        Err(StuckError::Busy.into())
    }
}

fn sentence(cause: WithdrawCause) -> &'static str {
    match cause {
        WithdrawCause::ClientGone => "the client left",
        WithdrawCause::AnsweredPending => "the client was told to come back later",
        WithdrawCause::Refused => "the filter refused the call",
        WithdrawCause::Cancelled => "the client cancelled the call",
        WithdrawCause::Unheard => "its time was over, and its gateway had not said how it ended",
    }
}
