//! Step 8: the life of an approval: opened or joined, waited for, reviewed, claimed or closed.
//!
//! Every operation reads the rows, decides, and commits its decision on the condition that the rows still stand as
//! read; where they do not, it starts over. So each edge of the state machine happens once, whoever races for it.

use std::sync::Arc;

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::keys::ServiceSigner;
use crate::ledger::Ledger;
use crate::notify::Notify;
use crate::store::row::Approval;
use crate::store::{ApprovalMove, Change, CommitError, Conflict, Store, StoreError, Write};
use crate::waiters::Waiters;

use remembered::Remembered;

pub mod batch;
pub mod claim;
pub mod come_back;
pub mod grant;
pub mod open;
pub mod quorum;
pub mod remembered;
pub mod review;
pub mod revoke;
pub mod sweep;
pub mod view;
pub mod wait;
pub mod withdraw;

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod tests;

/// How often an operation starts over before it gives up: each time, somebody else has got ahead.
const TRIES_MAX: u32 = 16;

/// What one person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    Approve,
    Deny,
}

impl ReviewVerdict {
    /// The word used in the API, the database and the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

/// All approvals of this service.
#[derive(Clone)]
pub struct Approvals {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Ledger,
    pub(crate) signer: Arc<ServiceSigner>,
    pub(crate) waiters: Waiters,
    /// Pending approvals that one principal may have.
    pub(crate) pending_max: u64,
    /// How long the arguments of a call are kept after its approval has ended.
    pub(crate) arguments_keep_ms: u64,
    /// Where browsers reach this service; without it, requesters are given no page to look at.
    pub(crate) public_url: Option<Arc<str>>,
    /// Whom the service tells what.
    pub(crate) notify: Notify,
    pub(crate) remembered: Remembered,
    /// Turns true when the service goes down: whoever waits is answered with what there is.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// An operation that could not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum StuckError {
    #[error("too many others changed this approval at the same time: try again")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How an attempt to commit ended, for those who may start over.
enum Attempt {
    Done,
    /// A condition did not hold any more.
    Lost(Conflict),
}

impl Approvals {
    async fn attempt(&self, change: Change) -> Result<Attempt, StoreError> {
        match self.ledger.commit(change).await {
            Ok(()) => Ok(Attempt::Done),
            Err(CommitError::Conflict(conflict)) => Ok(Attempt::Lost(conflict)),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    /// Closes an open approval whose clock has run out. Whoever was faster has closed it too.
    async fn close_by_clock(&self, approval: &Approval, now_ms: u64) -> Result<(), StoreError> {
        let to = match approval.status {
            ApprovalStatus::Approved => ApprovalStatus::Lapsed,
            ApprovalStatus::Pending
            | ApprovalStatus::Denied
            | ApprovalStatus::Expired
            | ApprovalStatus::Withdrawn
            | ApprovalStatus::Superseded
            | ApprovalStatus::Consumed
            | ApprovalStatus::Lapsed
            | ApprovalStatus::Revoked => ApprovalStatus::Expired,
        };
        self.close(approval, to, None, None, now_ms, None).await.map(drop)
    }

    /// Moves an approval to a status that ends it, with the entry that says so, and the answer that is kept with it.
    async fn close(
        &self,
        approval: &Approval,
        to: ApprovalStatus,
        by: Option<String>,
        reason: Option<String>,
        now_ms: u64,
        answer: Option<Write>,
    ) -> Result<Attempt, StoreError> {
        let mut entry = entry_of(EntryKind::ApprovalClosed, approval, now_ms);
        entry.status = Some(to.as_str().to_owned());
        entry.by.clone_from(&by);
        entry.detail.clone_from(&reason);
        let step = ApprovalMove { reason, decided_by: by, ..step(approval, to, now_ms) };
        let mut writes = self.notify.moved(approval, &step, false);
        writes.push(Write::MoveApproval(Box::new(step)));
        writes.extend(answer);
        self.attempt(Change { writes, entries: vec![entry] }).await
    }
}

/// The move of `approval`, as it was read, to another status.
fn step(approval: &Approval, to: ApprovalStatus, at_ms: u64) -> ApprovalMove {
    ApprovalMove {
        id: approval.id.clone(),
        from: approval.status,
        version: approval.version,
        to,
        expires_at_ms: None,
        reason: None,
        decided_by: None,
        at_ms,
        if_rejoin_due_at_ms: None,
    }
}

/// An entry that says which call and which approval it is about.
pub(crate) fn entry_of(kind: EntryKind, approval: &Approval, at_ms: u64) -> AuditEntry {
    let asked = &approval.asked;
    let mut entry = AuditEntry::new(kind, at_ms);
    entry.principal = Some(asked.principal.clone());
    entry.server = Some(asked.server.clone());
    entry.method = Some(asked.method.clone());
    entry.target.clone_from(&asked.target);
    entry.call_digest = Some(asked.call_digest);
    entry.rule_ids = asked.reasons.iter().map(|reason| reason.rule_id.clone()).collect();
    entry.snapshot_id = Some(asked.snapshot_id);
    entry.basis = Some(asked.basis);
    entry.approval_id = Some(approval.id.clone());
    entry.trace_id.clone_from(&asked.trace_id);
    entry.span_id.clone_from(&asked.span_id);
    entry
}
