//! Step 8: one held call asks to be decided. It joins the open request for the same call, or opens one.

use holdpoint_core::approval::{ApprovalState, ApprovalStatus, CALL_DIGEST_TAG, OpenApproval, RanBefore};
use holdpoint_core::audit::EntryKind;
use holdpoint_core::decision::{ApproverGroup, Verdict};
use holdpoint_core::digest::{Digest, hex_decode};

use super::grant::{self, Grant};
use super::{Approvals, Attempt, StuckError, TRIES_MAX, entry_of, step};
use crate::notify::notice::EventKind;
use crate::store::row::{Approval, Hold};
use crate::store::{Change, Conflict, HoldBinding, StoreError, Write};

/// Longest that a request may ask to wait for people, or a grant for its use.
pub const CLOCK_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Most groups in one requirement, and most people it may ask for in all.
const GROUPS_MAX: usize = 64;
const PEOPLE_MAX: u32 = 64;
/// Longest request without its call text, as JSON: what ends up in lists and in the record.
const ABOUT_BYTES_MAX: usize = 32_768;
/// Longest names of gateway and server.
const NAME_CHARS_MAX: usize = 1_000;

/// Why a call was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{field}` {problem}")]
    Field { field: &'static str, problem: &'static str },
    #[error("`call_digest` is not the digest of `call_text`: upgrade filter and service together")]
    CallDigest,
    #[error("no policy `{0}` is registered: register it with PUT /v1/policies/{0}, then open again")]
    PolicyUnknown(Digest),
    #[error("the hold was withdrawn: a call whose client has left is not opened again")]
    HoldWithdrawn,
    #[error("the hold belongs to another call: give every live call a fresh `hold_id`")]
    HoldMismatch,
    #[error(
        "this principal has {pending_max} pending approvals: wait for decisions, or raise \
             `--pending-per-principal-max`"
    )]
    TooManyPending { pending_max: u64 },
    #[error("`round` was not given for this call, or is too old: call again without it")]
    Round,
    #[error("an administrator has stopped this ({0}): see GET /v1/freezes")]
    Frozen(String),
    #[error(transparent)]
    Stuck(#[from] StuckError),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Stuck(error.into())
    }
}

/// What the hold that asks is known for.
enum Before {
    /// It waits for, or has used, this approval: answer with it.
    Same(Box<ApprovalState>),
    /// Nothing that stands in the way; the open approval that nobody else waits for and this request replaces.
    Fresh(Option<Box<Approval>>),
}

impl Approvals {
    /// Opens or joins. Sending the same hold again gives the same approval, as it stands by then.
    pub async fn open(&self, mut asked: OpenApproval) -> Result<ApprovalState, OpenError> {
        check(&asked)?;
        let number = self.round(&asked, self.store.now_ms().await?)?;
        // Each client has rounds of its own; what is kept is common to all who ask for the same.
        asked.round = None;
        let state = self.open_or_join(&asked).await?;
        Ok(self.with_come_back(state, &asked, number))
    }

    async fn open_or_join(&self, asked: &OpenApproval) -> Result<ApprovalState, OpenError> {
        if !self.remembered.is_registered(&*self.store, asked.snapshot_id).await? {
            return Err(OpenError::PolicyUnknown(asked.snapshot_id));
        }
        let freezes = self.store.freeze_version().await?;
        if let Some(freeze) = self.remembered.stops(&*self.store, freezes, asked).await? {
            return Err(OpenError::Frozen(freeze.reason));
        }
        for _ in 0..TRIES_MAX {
            let replaced = match self.before(asked).await? {
                Before::Same(state) => return Ok(*state),
                Before::Fresh(replaced) => replaced,
            };
            let now_ms = self.store.now_ms().await?;
            let found = self.store.open_approval(asked.call_digest, asked.basis).await?;
            let (approval, change) = match found {
                Some(open) if open.expires_at_ms <= now_ms => {
                    self.close_by_clock(&open, now_ms).await?;
                    continue;
                }
                Some(open) => {
                    let change = self.join(&open, asked, now_ms);
                    (open, change)
                }
                None => {
                    let grant = self.grant_for(asked, now_ms).await?;
                    let ran_before = self.store.last_run(asked.call_digest).await?;
                    self.first(asked, ran_before, replaced.as_deref(), grant.as_ref(), now_ms)
                }
            };
            match self.attempt(change).await? {
                Attempt::Done => return Ok(approval.state()),
                Attempt::Lost(Conflict::HoldEnded) => return Err(OpenError::HoldWithdrawn),
                Attempt::Lost(Conflict::TooManyPending) => {
                    return Err(OpenError::TooManyPending { pending_max: self.pending_max });
                }
                Attempt::Lost(_) => {}
            }
        }
        Err(StuckError::Busy.into())
    }

    async fn before(&self, asked: &OpenApproval) -> Result<Before, OpenError> {
        let Some(hold) = self.store.hold(&asked.hold_id).await? else { return Ok(Before::Fresh(None)) };
        let Hold { approval_id: Some(approval_id), ended_at_ms: None, .. } = hold else {
            return Err(OpenError::HoldWithdrawn);
        };
        let Some(approval) = self.store.approval(&approval_id).await? else { return Ok(Before::Fresh(None)) };
        if approval.asked.call_digest != asked.call_digest {
            return Err(OpenError::HoldMismatch);
        }
        if self.store.claim(&asked.hold_id).await?.is_some() {
            return Ok(Before::Same(Box::new(approval.state())));
        }
        let same_basis = approval.asked.basis == asked.basis;
        match approval.status {
            // Another hold used the grant, its clock ran out while this call waited for a free slot, or the policy
            // changed: this call needs a request of its own.
            ApprovalStatus::Consumed | ApprovalStatus::Lapsed | ApprovalStatus::Superseded => Ok(Before::Fresh(None)),
            // What was asked, or granted, under rules that this call's gateway has replaced: nobody is to decide it, and
            // it is not to come back to life with the old rules.
            ApprovalStatus::Pending | ApprovalStatus::Approved if !same_basis => {
                let alone = self.store.holds_waiting(&approval.id).await? <= 1;
                Ok(Before::Fresh(alone.then(|| Box::new(approval))))
            }
            ApprovalStatus::Pending
            | ApprovalStatus::Approved
            | ApprovalStatus::Denied
            | ApprovalStatus::Expired
            | ApprovalStatus::Withdrawn
            | ApprovalStatus::Revoked
                if same_basis =>
            {
                Ok(Before::Same(Box::new(approval.state())))
            }
            ApprovalStatus::Pending
            | ApprovalStatus::Approved
            | ApprovalStatus::Denied
            | ApprovalStatus::Expired
            | ApprovalStatus::Withdrawn
            | ApprovalStatus::Revoked => Ok(Before::Fresh(None)),
        }
    }

    fn join(&self, open: &Approval, asked: &OpenApproval, now_ms: u64) -> Change {
        let mut entry = entry_of(EntryKind::ApprovalJoined, open, now_ms);
        entry.hold_id = Some(asked.hold_id.clone());
        entry.trace_id.clone_from(&asked.trace_id);
        entry.span_id.clone_from(&asked.span_id);
        Change {
            writes: vec![Write::JoinApproval { id: open.id.clone() }, bind(asked, &open.id, now_ms)],
            entries: vec![entry],
        }
    }

    fn first(
        &self,
        asked: &OpenApproval,
        ran_before: Option<RanBefore>,
        replaced: Option<&Approval>,
        grant: Option<&Grant>,
        now_ms: u64,
    ) -> (Approval, Change) {
        let escalation = asked.requirement.escalation.as_ref();
        let approval = Approval {
            // Grows with time, so that the newest come first by id; guessing one gives nothing without a token.
            id: uuid::Uuid::now_v7().simple().to_string(),
            status: if grant.is_some() { ApprovalStatus::Approved } else { ApprovalStatus::Pending },
            version: 1,
            asked: asked.clone(),
            opened_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add(match grant {
                Some(_) => asked.requirement.claim_within_ms,
                None => asked.requirement.decide_within_ms,
            }),
            rejoin_by_ms: None,
            uses_left: 1,
            reason: None,
            decided_by: grant.map(|grant| grant.by.clone()),
            decided_at_ms: grant.map(|_| now_ms),
            ran_before,
            escalates_at_ms: escalation.map(|escalation| now_ms.saturating_add(escalation.after_ms)),
            erased_at_ms: None,
        };
        let mut change = Change::default();
        if let Some(replaced) = replaced {
            let moved = step(replaced, ApprovalStatus::Superseded, now_ms);
            change.writes.extend(self.notify.moved(replaced, &moved, false));
            change.writes.push(Write::MoveApproval(Box::new(moved)));
            let mut closed = entry_of(EntryKind::ApprovalClosed, replaced, now_ms);
            closed.status = Some(ApprovalStatus::Superseded.as_str().to_owned());
            closed.detail = Some(format!("the policy changed; asked anew as {}", approval.id));
            change.entries.push(closed);
        }
        change.writes.push(Write::OpenApproval { approval: Box::new(approval.clone()), pending_max: self.pending_max });
        change.writes.push(bind(asked, &approval.id, now_ms));
        let mut opened = entry_of(EntryKind::ApprovalOpened, &approval, now_ms);
        opened.verdict = Some(Verdict::RequireApproval);
        opened.status = Some(ApprovalStatus::Pending.as_str().to_owned());
        opened.hold_id = Some(asked.hold_id.clone());
        change.entries.push(opened);
        // What a grant gave is asked of nobody.
        if grant.is_none() {
            change.writes.extend(self.notify.asked(EventKind::Opened, &approval, now_ms));
        }
        if let Some(grant) = grant {
            change.writes.push(Write::UseGrant { id: grant.id.clone(), at_ms: now_ms });
            change.entries.push(grant::used(&approval, grant, now_ms));
        }
        (approval, change)
    }
}

fn bind(asked: &OpenApproval, approval_id: &str, at_ms: u64) -> Write {
    Write::BindHold(Box::new(HoldBinding {
        hold_id: asked.hold_id.clone(),
        approval_id: approval_id.to_owned(),
        gateway: asked.gateway.clone(),
        cancel_key: asked.cancel_key,
        at_ms,
        ends_by_ms: asked.ends_within_ms.map(|ms| at_ms.saturating_add(ms.min(CLOCK_MS_MAX))),
    }))
}

/// Whether a text is a 128-bit number in lower-case hex, as holds and nonces are.
pub fn is_number_128(text: &str) -> bool {
    text.len() == 32 && hex_decode(text).is_ok()
}

fn check(asked: &OpenApproval) -> Result<(), OpenError> {
    let field = |field, problem| Err(OpenError::Field { field, problem });
    let requirement = &asked.requirement;
    let people = people_of(&requirement.all_of);
    let escalated = requirement.escalation.as_ref().map(|next| (people_of(&next.all_of), next.all_of.len()));
    let clocks = [requirement.decide_within_ms, requirement.claim_within_ms];
    if !is_number_128(&asked.hold_id) {
        return field("hold_id", "must be 32 lower-case hex digits");
    }
    for (name, text) in [("gateway", &asked.gateway), ("server", &asked.server)] {
        if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
            return field(name, "must have 1 to 1000 characters");
        }
    }
    if asked.principal.subject.is_empty() || asked.principal.is_anonymous() {
        return field("principal", "needs a subject: anonymous calls are never held");
    }
    // An empty requirement would be met by nobody at all.
    if people == 0 || people > PEOPLE_MAX || requirement.all_of.len() > GROUPS_MAX {
        return field("requirement", "must ask for 1 to 64 people");
    }
    if escalated.is_some_and(|(people, groups)| people == 0 || people > PEOPLE_MAX || groups > GROUPS_MAX) {
        return field("requirement", "must ask for 1 to 64 people when it escalates");
    }
    if clocks.iter().any(|clock_ms| *clock_ms == 0 || *clock_ms > CLOCK_MS_MAX) {
        return field("requirement", "has a clock that is not between 1 ms and 7 days");
    }
    let about = OpenApproval { call_text: String::new(), ..asked.clone() };
    if serde_json::to_vec(&about).map_or(true, |json| json.len() > ABOUT_BYTES_MAX) {
        return field("target", "and the other facts around the call must be at most 32768 bytes together");
    }
    if !is_about(asked) {
        return field("call_text", "must be the call that the other fields describe");
    }
    if Digest::tagged(CALL_DIGEST_TAG, asked.call_text.as_bytes()) != asked.call_digest {
        return Err(OpenError::CallDigest);
    }
    Ok(())
}

fn people_of(groups: &[ApproverGroup]) -> u32 {
    groups.iter().fold(0_u32, |sum, group| sum.saturating_add(group.min))
}

/// Whether the fields that people are shown say what the text says that the digest covers.
fn is_about(asked: &OpenApproval) -> bool {
    let Ok(call) = serde_json::from_str::<serde_json::Value>(&asked.call_text) else { return false };
    let principal = &asked.principal;
    let said = [
        ("issuer", Some(&principal.issuer)),
        ("subject", Some(&principal.subject)),
        ("agent", principal.agent_id.as_ref()),
        ("tenant", principal.tenant.as_ref()),
        ("server", Some(&asked.server)),
        ("method", Some(&asked.method)),
    ];
    said.into_iter().all(|(member, field)| call[member].as_str() == field.map(String::as_str))
}
