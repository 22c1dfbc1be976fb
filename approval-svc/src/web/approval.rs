//! Step 8: one approval, with everything a person needs to decide it, and the decision.

use askama::Template;
use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::freeze::Freeze;

use super::history::{PastRow, outcome_words};
use super::inbox::{Ask, Stop, pill};
use super::{CallText, Frame, Shown, When, shown};
use crate::approvals::quorum::ANY_GROUP;
use crate::approvals::view::ApprovalView;
use crate::store::row::Past;
use crate::text::span;

/// Digits of a digest that people compare.
const DIGEST_PREFIX_CHARS: usize = 12;

/// `GET /approvals/{id}`
#[derive(Debug, Template)]
#[template(path = "approval.html")]
pub struct ApprovalPage {
    pub frame: Frame,
    pub id: String,
    pub status: &'static str,
    pub pill: &'static str,
    pub pending: bool,
    /// What the status means, in a sentence.
    pub meaning: &'static str,
    pub decided_by: Option<Shown>,
    pub because: Option<Shown>,
    pub ask: Ask,
    pub reasons: Vec<Rule>,
    pub risk_tags: Vec<Shown>,
    pub constraints: Shown,
    pub call_text: CallText,
    /// Why the call is not shown.
    pub withheld: Option<Shown>,
    pub facts: Vec<Fact>,
    pub needs: Vec<Need>,
    pub reviews: Vec<Said>,
    pub holds_waiting: u64,
    pub opened: When,
    pub until: When,
    /// How long an approval can be used.
    pub claim_within: String,
    pub call_digest: String,
    pub digest_prefix: String,
    /// What went wrong with the reader's last try.
    pub error: Option<Shown>,
    /// What keeps the reader from approving.
    pub approve_barrier: Option<Shown>,
    /// What keeps the reader from denying.
    pub deny_barrier: Option<Shown>,
    /// The reason as the reader had typed it when something went wrong. The template escapes it.
    pub draft: String,
    /// Long values that have to be opened before the call can be approved.
    pub folds: usize,
    /// The groups that have yet to approve, in words; empty when none has.
    pub still_needed: Shown,
    /// Those who may approve instead, by now that nobody decided in time.
    pub or_needed: Option<Shown>,
    /// When further people may decide.
    pub escalates: Option<When>,
    /// An identical call that ran: when, and what became of it.
    pub ran_before: Option<Ran>,
    /// Calls of the same tool that were decided lately.
    pub similar: Vec<PastRow>,
    /// What an administrator stopped and this call falls under.
    pub stopped: Vec<Stop>,
}

/// An identical call that ran.
#[derive(Debug)]
pub struct Ran {
    pub id: String,
    pub when: When,
    pub how: &'static str,
}

/// One rule that took part.
#[derive(Debug)]
pub struct Rule {
    pub id: Shown,
    pub text: Shown,
    pub remediation: Option<Shown>,
}

/// A name and a value.
#[derive(Debug)]
pub struct Fact {
    pub name: &'static str,
    pub value: Shown,
}

/// One group that has to approve.
#[derive(Debug)]
pub struct Need {
    pub group: Shown,
    pub min: u32,
    pub there: u32,
}

/// One review.
#[derive(Debug)]
pub struct Said {
    pub by: Shown,
    pub approved: bool,
    pub reason: Option<Shown>,
    /// Whose authority counted, if it was lent.
    pub on_behalf_of: Option<Shown>,
    /// One was enough, in an emergency.
    pub break_glass: bool,
    pub at: When,
}

/// What concerns the reader alone.
#[derive(Debug, Default)]
pub struct Reader {
    pub approve_barrier: Option<String>,
    pub deny_barrier: Option<String>,
    pub error: Option<String>,
    pub draft: String,
}

/// What else is known around an approval.
#[derive(Debug, Default)]
pub struct Around {
    pub similar: Vec<Past>,
    pub stopped: Vec<Freeze>,
}

impl ApprovalPage {
    pub fn new(frame: Frame, view: &ApprovalView, reader: Reader, around: &Around) -> Self {
        let now_ms = frame.now_ms;
        let state = &view.state;
        let digest = state.call_digest.to_string();
        let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
        let reviews = view.reviews.iter().map(|review| Said {
            by: shown(&review.by),
            approved: review.verdict == crate::approvals::ReviewVerdict::Approve,
            reason: review.reason.as_deref().map(shown),
            on_behalf_of: review.on_behalf_of.as_deref().map(shown),
            break_glass: review.break_glass,
            at: When::new(review.at_ms, now_ms),
        });
        let reasons = view.reasons.iter().map(|reason| Rule {
            id: shown(&reason.rule_id),
            text: shown(&reason.text),
            remediation: reason.remediation.as_deref().map(shown),
        });
        let call_text = CallText::new(&view.call_text);
        let words = |groups: &[ApproverGroup]| {
            let words: Vec<String> =
                groups.iter().map(|group| format!("{} more from {}", group.min, group_name(group))).collect();
            shown(&words.join(" and "))
        };
        let ran_before = state.ran_before.as_ref().map(|ran| Ran {
            id: ran.approval_id.clone(),
            when: When::new(ran.at_ms, now_ms),
            how: outcome_words(Some(ran.outcome)),
        });
        Self {
            folds: call_text.folds,
            still_needed: words(&view.still_needed),
            or_needed: view.or_needed.as_deref().map(words),
            escalates: view.escalates_at_ms.filter(|at_ms| *at_ms > now_ms).map(|at_ms| When::new(at_ms, now_ms)),
            ran_before,
            similar: around.similar.iter().map(|past| PastRow::new(past, now_ms)).collect(),
            stopped: around.stopped.iter().map(|freeze| Stop::new(freeze, now_ms)).collect(),
            id: state.id.clone(),
            status: state.status.as_str(),
            pill: pill(state.status),
            pending: state.status == ApprovalStatus::Pending,
            meaning: meaning(state.status),
            decided_by: state.decided_by.as_deref().map(shown),
            because: state.reason.as_deref().map(shown),
            ask: Ask::of(&view.principal, &view.method, view.target.as_deref(), &view.server),
            reasons: reasons.collect(),
            risk_tags: view.envelope.meta.risk_tags.iter().map(|tag| shown(tag)).collect(),
            constraints: shown(&view.constraints.to_string()),
            call_text,
            withheld: view.arguments_withheld.as_deref().map(shown),
            facts: facts(view),
            needs: view.requirement.all_of.iter().map(|group| need(group, &view.still_needed)).collect(),
            reviews: reviews.collect(),
            holds_waiting: view.holds_waiting,
            opened: When::new(view.opened_at_ms, now_ms),
            until: When::new(state.expires_at_ms, now_ms),
            claim_within: span(view.requirement.claim_within_ms),
            digest_prefix: hex.chars().take(DIGEST_PREFIX_CHARS).collect(),
            call_digest: digest,
            error: reader.error.as_deref().map(shown),
            approve_barrier: reader.approve_barrier.as_deref().map(shown),
            deny_barrier: reader.deny_barrier.as_deref().map(shown),
            draft: reader.draft,
            frame,
        }
    }
}

pub(super) fn need(group: &ApproverGroup, still_needed: &[ApproverGroup]) -> Need {
    let missing = still_needed.iter().find(|missing| missing.group == group.group).map_or(0, |missing| missing.min);
    Need { group: shown(group_name(group)), min: group.min, there: group.min.saturating_sub(missing) }
}

fn group_name(group: &ApproverGroup) -> &str {
    if group.group == ANY_GROUP { "any group" } else { &group.group }
}

fn facts(view: &ApprovalView) -> Vec<Fact> {
    let principal = &view.principal;
    let action = view.envelope.labels.get("mcp.action").map(String::as_str);
    let snapshot_id = view.snapshot_id.to_string();
    let all = [
        ("For", Some(principal.subject.as_str())),
        ("Vouched for by", Some(principal.issuer.as_str())),
        ("Agent", principal.agent_id.as_deref()),
        ("Kind of caller", Some(principal.actor_type.as_str())),
        ("Tenant", principal.tenant.as_deref()),
        ("Server", Some(view.server.as_str())),
        ("Method", Some(view.method.as_str())),
        ("Tool or resource", view.target.as_deref()),
        ("Action", action),
        ("Capability", view.envelope.meta.capability.as_deref()),
        ("Gateway", Some(view.gateway.as_str())),
        ("Trace", view.trace_id.as_deref()),
        ("Policy snapshot", Some(snapshot_id.as_str())),
        ("Approval", Some(view.state.id.as_str())),
    ];
    all.into_iter().filter_map(|(name, value)| Some(Fact { name, value: shown(value?) })).collect()
}

pub(super) fn meaning(status: ApprovalStatus) -> &'static str {
    match status {
        ApprovalStatus::Pending => "Nothing has run. It waits for people.",
        ApprovalStatus::Approved => "Approved, and not used yet: one such call may run.",
        ApprovalStatus::Denied => "Denied. Nothing has run, and the agent was told why.",
        ApprovalStatus::Expired => "Nobody decided in time. Nothing has run.",
        ApprovalStatus::Withdrawn => "The caller left or took it back. Nothing has run.",
        ApprovalStatus::Superseded => "The policy changed, so it has to be asked anew. Nothing has run.",
        ApprovalStatus::Consumed => "Approved, and used by one call.",
        ApprovalStatus::Lapsed => "Approved, and not used in time. Nothing has run.",
        ApprovalStatus::Revoked => "Approved, then taken back. Nothing has run.",
    }
}
