//! Step 8: everything about one approval, for those who may decide or audit it.

use holdpoint_core::approval::ApprovalState;
use holdpoint_core::audit::Outcome;
use holdpoint_core::decision::{ApprovalRequirement, ApproverGroup, Constraints, Reason};
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::EnvelopeRecord;
use holdpoint_core::identity::Principal;
use serde::{Deserialize, Serialize};

use super::quorum::{self, Quorum};
use super::{Approvals, ReviewVerdict, review};
use crate::inventory::seen::{self, DefinitionView};
use crate::store::StoreError;
use crate::store::row::{Approval, Dossier, Review};
use crate::tokens::{Credential, Role};

/// What an approver is shown. Contains the arguments.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// Or these instead, by now that the request has escalated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub or_needed: Option<Vec<ApproverGroup>>,
    /// Why `call_text` is empty: the reader may not see the arguments, or they have been erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_withheld: Option<String>,
    /// What became of the call that used it last. Absent where none did, and while nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// When further people may decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at_ms: Option<u64>,
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
    /// What is known of the called tool's definition, and how it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<DefinitionView>,
}

/// What one person said.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReviewView {
    /// `issuer subject`.
    pub by: String,
    pub verdict: ReviewVerdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at_ms: u64,
    /// `issuer subject` of whoever lent the groups that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// One was enough, in an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

impl ReviewView {
    /// Who spoke, and in whose place or by breaking glass. Escape it where it is shown.
    pub fn who(&self) -> String {
        match (&self.on_behalf_of, self.break_glass) {
            (_, true) => format!("{} (breaking glass)", self.by),
            (Some(lender), false) => format!("{} (for {lender})", self.by),
            (None, false) => self.by.clone(),
        }
    }
}

/// One line of a list: no arguments.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// What `reader` may see of one approval; `None` when there is none, or none that concerns the reader's tenant.
    pub async fn view(&self, id: &str, reader: &Credential) -> Result<Option<ApprovalView>, StoreError> {
        let now_ms = self.store.now_ms().await?;
        let Some(dossier) = self.store.dossier(id).await? else { return Ok(None) };
        let definition = seen::of(&*self.store, &dossier.approval.asked, dossier.approval.opened_at_ms).await?;
        Ok(view_of(dossier, reader, now_ms).map(|view| ApprovalView { definition, ..view }))
    }
}

/// Why this reader does not see the arguments, if so: only who may decide, the requester and the tenant's auditors do.
fn withheld(dossier: &Dossier, reader: &Credential) -> Option<&'static str> {
    if dossier.approval.erased_at_ms.is_some() {
        return Some("the arguments were erased after their time");
    }
    let may_read = may_read_arguments(&dossier.approval, reader);
    (!may_read).then_some("only those who may decide, the requester and auditors see the arguments")
}

/// Whether this reader may see what exactly the call would do.
pub fn may_read_arguments(approval: &Approval, reader: &Credential) -> bool {
    let asked = &approval.asked;
    let ways = quorum::ways(&asked.requirement, asked.requirement.escalation.is_some());
    let tenant = asked.principal.tenant.as_deref();
    let lent = reader.lent.iter().filter(|delegation| delegation.reaches(tenant)).map(|delegation| &delegation.groups);
    let mut groups = lent.chain([&reader.groups]);
    let may_decide = groups.any(|groups| ways.iter().any(|way| quorum::taking(way, groups).is_some()));
    reader.sees_tenant(tenant)
        && match reader.role {
            Role::Approver => may_decide || review::is_requester(reader, asked),
            Role::BreakGlass | Role::Auditor => true,
            Role::Admin | Role::Enforcer => false,
        }
}

/// What `reader` may see; `None` for another tenant's.
pub(crate) fn view_of(dossier: Dossier, reader: &Credential, now_ms: u64) -> Option<ApprovalView> {
    if !reader.sees_tenant(dossier.approval.asked.principal.tenant.as_deref()) {
        return None;
    }
    let arguments_withheld = withheld(&dossier, reader);
    let Dossier { approval, reviews, holds_waiting, outcome } = dossier;
    let state = approval.state();
    let sentence = sentence(&approval);
    let asked = approval.asked;
    let missing = |way: &[ApproverGroup]| {
        let approved = reviews.iter().filter(|review| review.verdict == ReviewVerdict::Approve);
        Quorum::new(way, approved.map(|review| &review.groups)).missing()
    };
    let is_escalated = approval.escalates_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
    let mut needed = quorum::ways(&asked.requirement, is_escalated).into_iter().map(missing);
    let (still_needed, or_needed) = (needed.next().unwrap_or_default(), needed.next());
    drop(needed);
    let review_view = |review: &Review| ReviewView {
        by: review::name(review),
        verdict: review.verdict,
        reason: review.reason.clone(),
        at_ms: review.at_ms,
        on_behalf_of: review.on_behalf_of.clone(),
        break_glass: review.break_glass,
    };
    Some(ApprovalView {
        state,
        sentence,
        principal: asked.principal,
        server: asked.server,
        method: asked.method,
        target: asked.target,
        call_text: if arguments_withheld.is_some() { String::new() } else { asked.call_text },
        envelope: asked.envelope,
        reasons: asked.reasons,
        constraints: asked.constraints,
        requirement: asked.requirement,
        still_needed,
        or_needed,
        arguments_withheld: arguments_withheld.map(str::to_owned),
        outcome,
        escalates_at_ms: approval.escalates_at_ms,
        reviews: reviews.iter().map(review_view).collect(),
        holds_waiting,
        snapshot_id: asked.snapshot_id,
        basis: asked.basis,
        gateway: asked.gateway,
        opened_at_ms: approval.opened_at_ms,
        decided_at_ms: approval.decided_at_ms,
        rejoin_by_ms: approval.rejoin_by_ms,
        trace_id: asked.trace_id,
        definition: None,
    })
}

/// Who wants what, in one sentence.
pub fn sentence(approval: &Approval) -> String {
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
