//! Step 8: everything about one approval, for those who may decide or audit it.

use holdpoint_core::approval::ApprovalState;
use holdpoint_core::decision::{ApprovalRequirement, ApproverGroup, Constraints, Reason};
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::EnvelopeRecord;
use holdpoint_core::identity::Principal;
use serde::{Deserialize, Serialize};

use super::quorum::Quorum;
use super::{Approvals, ReviewVerdict, review};
use crate::store::StoreError;
use crate::store::row::{Approval, Dossier, Review};

/// What an approver is shown. Contains the arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalView {
    #[serde(flatten)]
    pub state: ApprovalState,
    /// Who wants what, in one sentence. Holds text of the caller: escape it where it is shown.
    pub sentence: String,
    pub principal: Principal,
    pub server: String,
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Canonical JSON of the call as judged: what `call_digest` names.
    pub call_text: String,
    pub envelope: EnvelopeRecord,
    /// The deciding rule first.
    pub reasons: Vec<Reason>,
    pub constraints: Constraints,
    pub requirement: ApprovalRequirement,
    /// The groups whose people have yet to approve.
    pub still_needed: Vec<ApproverGroup>,
    pub reviews: Vec<ReviewView>,
    /// Live calls that wait for it. None means that an approval is kept for a repeat of the call.
    pub holds_waiting: u64,
    pub snapshot_id: Digest,
    pub basis: Digest,
    pub gateway: String,
    pub opened_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at_ms: Option<u64>,
    /// Withdrawn at this time if no identical call comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin_by_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// What one person said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReviewView {
    /// `issuer subject`.
    pub by: String,
    pub verdict: ReviewVerdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at_ms: u64,
}

/// One line of a list: no arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalLine {
    #[serde(flatten)]
    pub state: ApprovalState,
    pub sentence: String,
    pub server: String,
    pub rule_id: String,
    pub opened_at_ms: u64,
}

impl ApprovalLine {
    pub fn new(approval: &Approval) -> Self {
        Self {
            state: approval.state(),
            sentence: sentence(approval),
            server: approval.asked.server.clone(),
            rule_id: approval.asked.reasons.first().map_or_else(String::new, |reason| reason.rule_id.clone()),
            opened_at_ms: approval.opened_at_ms,
        }
    }
}

impl Approvals {
    /// Everything about one approval; `None` when there is no such one.
    pub async fn view(&self, id: &str) -> Result<Option<ApprovalView>, StoreError> {
        Ok(self.store.dossier(id).await?.map(view_of))
    }
}

pub(crate) fn view_of(dossier: Dossier) -> ApprovalView {
    let Dossier { approval, reviews, holds_waiting } = dossier;
    let state = approval.state();
    let sentence = sentence(&approval);
    let asked = approval.asked;
    let approved = reviews.iter().filter(|review| review.verdict == ReviewVerdict::Approve);
    let still_needed = Quorum::new(&asked.requirement, approved.map(|review| &review.groups)).missing();
    let review_view = |review: &Review| ReviewView {
        by: review::name(review),
        verdict: review.verdict,
        reason: review.reason.clone(),
        at_ms: review.at_ms,
    };
    ApprovalView {
        state,
        sentence,
        principal: asked.principal,
        server: asked.server,
        method: asked.method,
        target: asked.target,
        call_text: asked.call_text,
        envelope: asked.envelope,
        reasons: asked.reasons,
        constraints: asked.constraints,
        requirement: asked.requirement,
        still_needed,
        reviews: reviews.iter().map(review_view).collect(),
        holds_waiting,
        snapshot_id: asked.snapshot_id,
        basis: asked.basis,
        gateway: asked.gateway,
        opened_at_ms: approval.opened_at_ms,
        decided_at_ms: approval.decided_at_ms,
        rejoin_by_ms: approval.rejoin_by_ms,
        trace_id: asked.trace_id,
    }
}

fn sentence(approval: &Approval) -> String {
    let asked = &approval.asked;
    let who = match &asked.principal.agent_id {
        Some(agent) => format!("{agent} for {}", asked.principal.subject),
        None => asked.principal.subject.clone(),
    };
    match &asked.target {
        Some(target) => format!("{who} wants {} `{target}` on {}", asked.method, asked.server),
        None => format!("{who} wants {} on {}", asked.method, asked.server),
    }
}
