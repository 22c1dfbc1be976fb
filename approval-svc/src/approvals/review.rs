//! Step 8: what one person says. Never the requester, never without a group that is still needed; one deny is final.

use std::collections::BTreeSet;

use holdpoint_core::approval::{ApprovalState, ApprovalStatus, OpenApproval};
use holdpoint_core::audit::EntryKind;
use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::grant::{self, Grant, Scope, ScopeError};
use super::quorum::{self, Quorum};
use super::{Approvals, Attempt, ReviewVerdict, StuckError, TRIES_MAX, entry_of, step};
use crate::ledger::clip;
use crate::once::{self, Once, OnceError};
use crate::store::row::{Approval, Dossier, Review};
use crate::store::{ApprovalMove, Change, Conflict, StoreError, Write};
use crate::tokens::{Credential, ISSUER_LOCAL, Role};

/// Body of `POST /v1/approvals/{id}/reviews`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    pub verdict: ReviewVerdict,
    /// Digest of the call that its author was shown. It or `If-Match` is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_digest: Option<Digest>,
    /// Required for a deny: it reaches the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With an approval, and where the rules allow it: how far it reaches beyond this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// Why a review does not count.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("there is no approval `{0}`: list them with GET /v1/approvals")]
    NotFound(String),
    #[error("say what you saw: send `call_digest` in the body, or the version in `If-Match`")]
    NothingSeen,
    #[error("`call_digest` is not the digest of this call: look at the approval again")]
    DigestChanged,
    #[error("the approval is at version {version} by now: look at it again")]
    VersionChanged { version: u64 },
    #[error("a deny needs a `reason`: it is what the agent is told")]
    ReasonMissing,
    #[error("you asked for this call yourself (`{0}`): somebody else must review it")]
    OwnCall(String),
    #[error("your groups ({}) are none that this approval needs: {}", list(yours), needs(needed))]
    NotInGroup { yours: Vec<String>, needed: Vec<ApproverGroup> },
    #[error("you have reviewed this approval already")]
    AlreadyReviewed,
    #[error("somebody has reviewed this approval in your place already: your authority counts once")]
    DelegateReviewed,
    #[error("calls of this kind are reviewed one by one, not in a batch")]
    OneByOne,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("breaking the glass needs a `reason`: record and page show it as broken glass")]
    BreakGlassReason,
    #[error("the approval is {0} already")]
    AlreadyDecided(ApprovalStatus),
    #[error("the approval is {0}: its time ran out before anybody decided; an identical call asks anew")]
    Gone(ApprovalStatus),
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error(transparent)]
    Stuck(#[from] StuckError),
}

impl From<StoreError> for ReviewError {
    fn from(error: StoreError) -> Self {
        Self::Stuck(error.into())
    }
}

fn list(groups: &[String]) -> String {
    if groups.is_empty() { "none".to_owned() } else { groups.join(", ") }
}

fn needs(needed: &[ApproverGroup]) -> String {
    let needed: Vec<String> = needed.iter().map(|group| format!("{} more of `{}`", group.min, group.group)).collect();
    needed.join(", ")
}

impl Approvals {
    /// Takes one person's word; the approval as it stands afterwards.
    pub async fn review(
        &self,
        id: &str,
        reviewer: &Credential,
        body: &ReviewBody,
        if_version: Option<u64>,
    ) -> Result<ApprovalState, ReviewError> {
        self.review_once(id, reviewer, body, if_version, None).await
    }

    /// The same under a key.
    pub async fn review_once(
        &self,
        id: &str,
        reviewer: &Credential,
        body: &ReviewBody,
        if_version: Option<u64>,
        once: Option<&Once>,
    ) -> Result<ApprovalState, ReviewError> {
        once::answer(once, &*self.store, self.take_review(id, reviewer, body, if_version, once)).await
    }

    async fn take_review(
        &self,
        id: &str,
        reviewer: &Credential,
        body: &ReviewBody,
        if_version: Option<u64>,
        once: Option<&Once>,
    ) -> Result<ApprovalState, ReviewError> {
        let reason = body.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()).map(clip);
        if body.call_digest.is_none() && if_version.is_none() {
            return Err(ReviewError::NothingSeen);
        }
        for _ in 0..TRIES_MAX {
            let Some(approval) = self.store.approval(id).await? else {
                return Err(ReviewError::NotFound(id.to_owned()));
            };
            let now_ms = self.store.now_ms().await?;
            if approval.status == ApprovalStatus::Pending && approval.expires_at_ms <= now_ms {
                self.close_by_clock(&approval, now_ms).await?;
                continue;
            }
            let reviews = self.store.reviews(id).await?;
            if !reviewer.sees_tenant(approval.asked.principal.tenant.as_deref()) {
                return Err(ReviewError::NotFound(id.to_owned()));
            }
            let authority = judge(&approval, &reviews, reviewer, body, if_version, reason.as_deref(), now_ms)?;
            if let Some(scope) = &body.scope {
                if body.verdict == ReviewVerdict::Deny || authority.break_glass {
                    return Err(ScopeError::NotAllowed.into());
                }
                grant::check(scope, &approval, reason.as_deref())?;
            }
            let review = Review {
                issuer: reviewer.issuer.clone(),
                subject: reviewer.subject.clone(),
                groups: authority.groups,
                verdict: body.verdict,
                reason: reason.clone(),
                at_ms: now_ms,
                on_behalf_of: authority.on_behalf_of,
                break_glass: authority.break_glass,
                scope: body.scope.clone(),
            };
            let to = moved(&approval, &reviews, &review);
            let after = after(&approval, &to);
            let given = given(&approval, &reviews, &review, &to);
            let told = self.notify.moved(&approval, &to, review.break_glass);
            let mut change = review_change(&approval, review, authority.group.as_deref(), to);
            change.writes.extend(told);
            if let Some(once) = once {
                change.writes.push(once.keep(&after, now_ms)?);
            }
            if let Some(grant) = given {
                change.entries.push(grant::entry(&grant, "granted", &grant.by, now_ms));
                change.writes.push(Write::AddGrant(Box::new(grant)));
            }
            match self.attempt(change).await? {
                Attempt::Done => return Ok(after),
                Attempt::Lost(Conflict::Reviewed) => return Err(ReviewError::AlreadyReviewed),
                Attempt::Lost(_) => {}
            }
        }
        Err(StuckError::Busy.into())
    }
}

/// What keeps this person from saying this, as the approval stands at `now_ms`; `None` when nothing does.
pub fn barrier(dossier: &Dossier, reviewer: &Credential, verdict: ReviewVerdict, now_ms: u64) -> Option<ReviewError> {
    let approval = &dossier.approval;
    if approval.status == ApprovalStatus::Pending && approval.expires_at_ms <= now_ms {
        return Some(ReviewError::Gone(ApprovalStatus::Expired));
    }
    let body = ReviewBody { verdict, call_digest: Some(approval.asked.call_digest), reason: None, scope: None };
    // Only what the person cannot mend counts: a reason they have yet to write.
    judge(approval, &dossier.reviews, reviewer, &body, None, Some(""), now_ms).err()
}

/// By what right somebody's word counts.
struct Authority {
    groups: BTreeSet<String>,
    /// The group of the requirement that counts it when it is said; none where glass is broken.
    group: Option<String>,
    on_behalf_of: Option<String>,
    break_glass: bool,
}

/// Whether this person may say this of this approval, as it stands at `now_ms`, and by what right.
fn judge(
    approval: &Approval,
    reviews: &[Review],
    reviewer: &Credential,
    body: &ReviewBody,
    if_version: Option<u64>,
    reason: Option<&str>,
    now_ms: u64,
) -> Result<Authority, ReviewError> {
    if is_requester(reviewer, &approval.asked) {
        return Err(ReviewError::OwnCall(reviewer.subject.clone()));
    }
    match approval.status {
        ApprovalStatus::Pending => {}
        ApprovalStatus::Expired | ApprovalStatus::Lapsed => return Err(ReviewError::Gone(approval.status)),
        ApprovalStatus::Approved
        | ApprovalStatus::Denied
        | ApprovalStatus::Withdrawn
        | ApprovalStatus::Superseded
        | ApprovalStatus::Consumed
        | ApprovalStatus::Revoked => return Err(ReviewError::AlreadyDecided(approval.status)),
    }
    if body.call_digest.is_some_and(|seen| seen != approval.asked.call_digest) {
        return Err(ReviewError::DigestChanged);
    }
    let reviewed =
        |review: &Review| same_person((&review.issuer, &review.subject), (&reviewer.issuer, &reviewer.subject));
    if reviews.iter().any(reviewed) {
        return Err(ReviewError::AlreadyReviewed);
    }
    let name = reviewer.name();
    if reviews.iter().any(|review| review.on_behalf_of.as_ref() == Some(&name)) {
        return Err(ReviewError::DelegateReviewed);
    }
    if if_version.is_some_and(|seen| seen != approval.version) {
        return Err(ReviewError::VersionChanged { version: approval.version });
    }
    if body.verdict == ReviewVerdict::Deny && reason.is_none() {
        return Err(ReviewError::ReasonMissing);
    }
    if reviewer.role == Role::BreakGlass {
        if reason.is_none() {
            return Err(ReviewError::BreakGlassReason);
        }
        let groups = reviewer.groups.clone();
        return Ok(Authority { groups, group: None, on_behalf_of: None, break_glass: true });
    }
    let ways = quorum::ways(&approval.asked.requirement, approval.is_escalated(now_ms));
    let counting = |groups: &BTreeSet<String>| {
        let group = ways.iter().find_map(|way| match body.verdict {
            ReviewVerdict::Approve => {
                let mut quorum = Quorum::new(way, approvals(reviews));
                if quorum.admit(groups) { quorum.seat_of_last() } else { None }
            }
            // Somebody of a group that is complete by now may still see what the others did not.
            ReviewVerdict::Deny => quorum::taking(way, groups),
        });
        group.map(str::to_owned)
    };
    if let Some(group) = counting(&reviewer.groups) {
        let groups = reviewer.groups.clone();
        return Ok(Authority { groups, group: Some(group), on_behalf_of: None, break_glass: false });
    }
    for (lender, groups) in lent(reviewer, approval, reviews) {
        if let Some(group) = counting(&groups) {
            return Ok(Authority { groups, group: Some(group), on_behalf_of: Some(lender), break_glass: false });
        }
    }
    let needed = ways.iter().flat_map(|way| Quorum::new(way, approvals(reviews)).missing()).collect();
    Err(ReviewError::NotInGroup { yours: reviewer.groups.iter().cloned().collect(), needed })
}

fn approvals(reviews: &[Review]) -> impl Iterator<Item = &BTreeSet<String>> {
    reviews.iter().filter(|review| review.verdict == ReviewVerdict::Approve).map(|review| &review.groups)
}

/// The groups that others have lent this person, with who lent them. Nobody's authority counts twice, and the requester's
/// own does not count at all, whoever exercises it.
fn lent<'a>(
    reviewer: &'a Credential,
    approval: &'a Approval,
    reviews: &'a [Review],
) -> impl Iterator<Item = (String, BTreeSet<String>)> + 'a {
    let tenant = approval.asked.principal.tenant.as_deref();
    reviewer.lent.iter().filter(move |delegation| delegation.reaches(tenant)).filter_map(|delegation| {
        let from = &delegation.from;
        let lender = Credential {
            subject: from.subject.clone(),
            issuer: from.issuer.clone(),
            client_id: None,
            ..reviewer.clone()
        };
        let name = from.name();
        let has_spoken = reviews.iter().any(|review| {
            same_person((&review.issuer, &review.subject), (&from.issuer, &from.subject))
                || review.on_behalf_of.as_ref() == Some(&name)
        });
        (!has_spoken && !is_requester(&lender, &approval.asked)).then(|| (name, delegation.groups.clone()))
    })
}

/// Whether the reviewer is whom the call acts for, or the agent that makes it. The owner of the MCP session is one of
/// the two: the gateway lets nobody else call in a session.
pub(super) fn is_requester(reviewer: &Credential, asked: &OpenApproval) -> bool {
    let principal = &asked.principal;
    let names = [Some(&principal.subject), principal.agent_id.as_ref()];
    let is_same = |name: &String| same_person((&principal.issuer, name), (&reviewer.issuer, &reviewer.subject));
    // The client that the reviewer's token was given to is the agent itself: then it holds the token, whosever name is in it.
    let is_agent = match (&principal.agent_id, &reviewer.client_id) {
        (Some(agent), Some(client)) => same_person((&principal.issuer, agent), (&reviewer.issuer, client)),
        (Some(_) | None, _) => false,
    };
    is_agent || names.into_iter().flatten().any(is_same)
}

/// Whether two (issuer, subject) may be one person. Nobody vouches for a local issuer, so the same name under it is
/// taken for the same person.
fn same_person(one: (&str, &str), two: (&str, &str)) -> bool {
    let is_local = |issuer: &str| issuer.is_empty() || issuer == ISSUER_LOCAL;
    one.1 == two.1 && (one.0 == two.0 || is_local(one.0) || is_local(two.0))
}

/// Where the approval goes by this review. With the quorum not yet full, to the next version of `pending`.
fn moved(approval: &Approval, reviews: &[Review], review: &Review) -> ApprovalMove {
    match review.verdict {
        ReviewVerdict::Deny => ApprovalMove {
            reason: review.reason.clone(),
            decided_by: Some(name(review)),
            ..step(approval, ApprovalStatus::Denied, review.at_ms)
        },
        ReviewVerdict::Approve => {
            let everybody: Vec<&Review> = reviews.iter().chain([review]).collect();
            let ways = quorum::ways(&approval.asked.requirement, approval.is_escalated(review.at_ms));
            let is_met =
                |way: &&[ApproverGroup]| Quorum::new(way, everybody.iter().map(|one| &one.groups)).missing().is_empty();
            if !review.break_glass && !ways.iter().any(is_met) {
                return step(approval, ApprovalStatus::Pending, review.at_ms);
            }
            let names: Vec<String> = everybody.into_iter().map(name).collect();
            ApprovalMove {
                expires_at_ms: Some(review.at_ms.saturating_add(approval.asked.requirement.claim_within_ms)),
                decided_by: Some(names.join(", ")),
                ..step(approval, ApprovalStatus::Approved, review.at_ms)
            }
        }
    }
}

/// The grant that this review completes, if everybody who approved gave a scope.
fn given(approval: &Approval, reviews: &[Review], review: &Review, to: &ApprovalMove) -> Option<Grant> {
    if to.to != ApprovalStatus::Approved {
        return None;
    }
    let everybody: Vec<&Review> = reviews.iter().chain([review]).collect();
    let scope = grant::agreed(&everybody)?;
    Some(grant::given(approval, scope, to.decided_by.clone().unwrap_or_default(), review.at_ms))
}

/// `issuer subject`, as the record and claims name people.
pub fn name(review: &Review) -> String {
    format!("{} {}", review.issuer, review.subject)
}

fn after(approval: &Approval, to: &ApprovalMove) -> ApprovalState {
    ApprovalState {
        status: to.to,
        version: approval.version + 1,
        reason: to.reason.clone(),
        decided_by: to.decided_by.clone(),
        expires_at_ms: to.expires_at_ms.unwrap_or(approval.expires_at_ms),
        ..approval.state()
    }
}

/// `group` is the one that the word counts for.
fn review_change(approval: &Approval, review: Review, group: Option<&str>, to: ApprovalMove) -> Change {
    let mut said = entry_of(EntryKind::Review, approval, review.at_ms);
    said.status = Some(review.verdict.as_str().to_owned());
    said.by = Some(name(&review));
    let right = match (&review.on_behalf_of, group) {
        (_, None) => "broke the glass".to_owned(),
        (Some(lender), Some(group)) => format!("for {}, in the place of {lender}", quorum::named(group)),
        (None, Some(group)) => format!("for {}", quorum::named(group)),
    };
    said.detail = Some(match &review.reason {
        Some(reason) => clip(&format!("{right}: {reason}")),
        None => clip(&right),
    });
    let mut entries = vec![said];
    if to.to != ApprovalStatus::Pending {
        let mut closed = entry_of(EntryKind::ApprovalClosed, approval, review.at_ms);
        closed.status = Some(to.to.as_str().to_owned());
        closed.by.clone_from(&to.decided_by);
        closed.detail.clone_from(&to.reason);
        entries.push(closed);
    }
    let add = Write::AddReview { approval_id: approval.id.clone(), review };
    Change { writes: vec![add, Write::MoveApproval(Box::new(to))], entries }
}
