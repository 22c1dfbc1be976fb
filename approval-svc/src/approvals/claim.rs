//! Step 8: the single use of a grant by one live call. The claim entry is the intent: durable before the call runs.

use holdpoint_core::approval::{ApprovalStatus, Claim, ClaimRequest, SignedClaim};
use holdpoint_core::audit::EntryKind;
use holdpoint_core::digest::Digest;

use super::open::is_number_128;
use super::{Approvals, Attempt, ReviewVerdict, StuckError, TRIES_MAX, entry_of, review, step};
use crate::keys::Signatures;
use crate::ledger::clip;
use crate::store::row::{Approval, ClaimRow, Claiming, Review};
use crate::store::{Change, Conflict, StoreError, Write};

/// How long a claim is good for: long enough for a slow answer, too short to keep one.
const CLAIM_MS: u64 = 60_000;

/// Why nothing may run.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("`nonce` must be 32 lower-case hex digits, fresh for every claim")]
    Nonce,
    #[error("there is no approval `{0}`")]
    NotFound(String),
    #[error("the hold does not wait for this approval: open or join first")]
    HoldUnknown,
    #[error("the hold was withdrawn: a call whose client has left never runs")]
    HoldWithdrawn,
    #[error("this hold has claimed under another nonce: a grant is used once")]
    AlreadyClaimed,
    #[error("another call has used this grant: open again to ask anew")]
    Consumed,
    #[error("the approval is {0}: only an approved one can be claimed")]
    NotApproved(ApprovalStatus),
    #[error("the approval is {0}: open again to ask anew")]
    Gone(ApprovalStatus),
    #[error("`call_digest` is not the call that was approved")]
    DigestChanged,
    #[error("no policy `{0}` is registered: register it with PUT /v1/policies/{0}, then claim again")]
    PolicyUnknown(Digest),
    #[error("this gateway has replaced the policy `{0}`: claim again under the one that it has in force")]
    PolicyReplaced(Digest),
    #[error("the policy that asked for this approval has changed: open again under the new one")]
    BasisChanged,
    #[error("an administrator has stopped this ({0}): see GET /v1/freezes")]
    Frozen(String),
    #[error("the claim could not be written: {0}")]
    Text(serde_json::Error),
    #[error(transparent)]
    Stuck(#[from] StuckError),
}

impl From<StoreError> for ClaimError {
    fn from(error: StoreError) -> Self {
        Self::Stuck(error.into())
    }
}

impl Approvals {
    /// Uses the grant for one hold, for the gateway that has the name `by`. The same hold and nonce get the same answer
    /// again.
    pub async fn claim(&self, id: &str, request: &ClaimRequest, by: &str) -> Result<SignedClaim, ClaimError> {
        if !is_number_128(&request.nonce) {
            return Err(ClaimError::Nonce);
        }
        if !self.remembered.is_registered(&*self.store, request.snapshot_id).await? {
            return Err(ClaimError::PolicyUnknown(request.snapshot_id));
        }
        let plugin = request.standing.as_ref().map(|standing| (standing.instance.as_str(), standing.plugin.as_str()));
        for _ in 0..TRIES_MAX {
            let Some(known) = self.store.claiming(id, &request.hold_id, plugin).await? else {
                return Err(ClaimError::NotFound(id.to_owned()));
            };
            if let Some(answer) = answered(&known, request)? {
                return Ok(answer);
            }
            if is_replaced(&known, request) {
                return Err(ClaimError::PolicyReplaced(request.snapshot_id));
            }
            let Claiming { approval, reviews, freeze_version, .. } = known;
            let now_ms = self.store.now_ms().await?;
            if approval.status.is_open() && approval.expires_at_ms <= now_ms {
                self.close_by_clock(&approval, now_ms).await?;
                continue;
            }
            judge(&approval, request)?;
            if let Some(freeze) = self.remembered.stops(&*self.store, freeze_version, &approval.asked).await? {
                return Err(ClaimError::Frozen(freeze.reason));
            }
            if approval.asked.basis != request.basis {
                let reason = Some("the policy changed between approval and claim".to_owned());
                match self.close(&approval, ApprovalStatus::Superseded, None, reason, now_ms, None).await? {
                    Attempt::Done => return Err(ClaimError::BasisChanged),
                    Attempt::Lost(_) => continue,
                }
            }
            let row = self.signed(&approval, &reviews, request, now_ms)?;
            let answer = answer(row.claim.clone(), &row.signature);
            match self.attempt(claim_change(&approval, request, row, by, now_ms)).await? {
                Attempt::Done => return Ok(answer),
                Attempt::Lost(Conflict::HoldEnded) => return Err(ClaimError::HoldWithdrawn),
                Attempt::Lost(_) => {}
            }
        }
        Err(StuckError::Busy.into())
    }

    fn signed(
        &self,
        approval: &Approval,
        reviews: &[Review],
        request: &ClaimRequest,
        now_ms: u64,
    ) -> Result<ClaimRow, ClaimError> {
        let approved = reviews.iter().filter(|review| review.verdict == ReviewVerdict::Approve);
        let claim = Claim {
            approval_id: approval.id.clone(),
            hold_id: request.hold_id.clone(),
            nonce: request.nonce.clone(),
            call_digest: approval.asked.call_digest,
            basis: approval.asked.basis,
            snapshot_id: request.snapshot_id,
            constraints: approval.asked.constraints.clone(),
            // Nobody reviewed what a grant gave: those who gave the grant stand for it.
            approved_by: match approved.map(review::name).collect::<Vec<_>>() {
                names if names.is_empty() => approval.decided_by.clone().into_iter().collect(),
                names => names,
            },
            expires_at_ms: now_ms.saturating_add(CLAIM_MS),
        };
        let claim = serde_json::to_string(&claim).map_err(ClaimError::Text)?;
        let Signatures { signature, also } = self.signer.sign_claim(&claim);
        let signature = std::iter::once(signature).chain(also).collect::<Vec<_>>().join(" ");
        Ok(ClaimRow {
            hold_id: request.hold_id.clone(),
            approval_id: approval.id.clone(),
            nonce: request.nonce.clone(),
            claim,
            signature,
            claimed_at_ms: now_ms,
            outcome: None,
        })
    }
}

/// Whether the gateway of this call has put a later policy in force: the worker that asks has not caught up with it.
fn is_replaced(known: &Claiming, request: &ClaimRequest) -> bool {
    let (Some(standing), Some((sequence, snapshot_id))) = (&request.standing, known.in_force) else { return false };
    sequence > standing.sequence && snapshot_id != request.snapshot_id
}

/// The answer this hold has got already. An error when the hold may not claim at all.
fn answered(known: &Claiming, request: &ClaimRequest) -> Result<Option<SignedClaim>, ClaimError> {
    let id = known.approval.id.as_str();
    let Some(hold) = &known.hold else { return Err(ClaimError::HoldUnknown) };
    if hold.ended_at_ms.is_some() {
        return Err(ClaimError::HoldWithdrawn);
    }
    if hold.approval_id.as_deref() != Some(id) {
        return Err(ClaimError::HoldUnknown);
    }
    match &known.claim {
        None => Ok(None),
        Some(row) if row.nonce == request.nonce && row.approval_id == id => {
            Ok(Some(answer(row.claim.clone(), &row.signature)))
        }
        Some(_) => Err(ClaimError::AlreadyClaimed),
    }
}

/// `signatures` as the row keeps them, with spaces in between: the current key's first.
fn answer(claim: String, signatures: &str) -> SignedClaim {
    let mut signatures = signatures.split(' ').map(str::to_owned);
    SignedClaim { claim, signature: signatures.next().unwrap_or_default(), also: signatures.collect() }
}

fn judge(approval: &Approval, request: &ClaimRequest) -> Result<(), ClaimError> {
    match approval.status {
        ApprovalStatus::Approved => {}
        ApprovalStatus::Consumed => return Err(ClaimError::Consumed),
        ApprovalStatus::Expired | ApprovalStatus::Lapsed => return Err(ClaimError::Gone(approval.status)),
        ApprovalStatus::Superseded => return Err(ClaimError::BasisChanged),
        ApprovalStatus::Pending | ApprovalStatus::Denied | ApprovalStatus::Withdrawn | ApprovalStatus::Revoked => {
            return Err(ClaimError::NotApproved(approval.status));
        }
    }
    if approval.asked.call_digest != request.call_digest {
        return Err(ClaimError::DigestChanged);
    }
    Ok(())
}

fn claim_change(approval: &Approval, request: &ClaimRequest, row: ClaimRow, by: &str, now_ms: u64) -> Change {
    let mut entry = entry_of(EntryKind::Claim, approval, now_ms);
    entry.hold_id = Some(request.hold_id.clone());
    entry.snapshot_id = Some(request.snapshot_id);
    entry.status = Some(ApprovalStatus::Consumed.as_str().to_owned());
    entry.by = Some(by.to_owned());
    entry.detail = approval.decided_by.as_ref().map(|names| clip(&format!("approved by {names}")));
    let used = step(approval, ApprovalStatus::Consumed, now_ms);
    Change { writes: vec![Write::MoveApproval(Box::new(used)), Write::AddClaim(Box::new(row))], entries: vec![entry] }
}
