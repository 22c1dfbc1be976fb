//! Step 8: one approval, with everything a person needs to decide it, and the decision.

use askama::Template;
use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::Outcome;
use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::freeze::Freeze;

use super::history::{PastRow, outcome_words};
use super::inbox::{Ask, Pill, Stop};
use super::inventory::address;
use super::reach::Reach;
use super::{CallText, Difference, Frame, Shown, When, shown};
use crate::approvals::quorum::ANY_GROUP;
use crate::approvals::view::ApprovalView;
use crate::notify::notice::{EventKind, Notice, NoticeState};
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
    pub pill: Pill,
    pub pending: bool,
    /// The reader is of a role that decides.
    pub decides: bool,
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
    /// Whom it was told, and whether that arrived.
    pub told: Vec<Told>,
    /// It waits, and nobody was notified.
    pub nobody_told: bool,
    /// The reader would approve alone.
    pub glass: bool,
    /// How far the reader may let an approval reach.
    pub reach: Option<Reach>,
    /// The reader had asked for more when something went wrong, and this was their reason. The template escapes it.
    pub draft_reach: bool,
    pub draft_reach_reason: String,
    /// What the reader is asked once more before an approval, always or if it reaches further.
    pub confirm: Option<&'static str>,
    pub confirm_reach: Option<&'static str>,
    /// What is known of the tool's definition.
    pub definition: Option<Defined>,
}

/// One channel that was told, or will be.
#[derive(Debug)]
pub struct Told {
    pub state: &'static str,
    /// How far its notice came.
    pub words: &'static str,
    pub channel: Shown,
    pub at: When,
    pub trouble: Option<Shown>,
}

impl Told {
    fn new(notice: &Notice, now_ms: u64) -> Self {
        let words = match (notice.event, notice.state) {
            (EventKind::Opened, NoticeState::Delivered) => "Notified:",
            (EventKind::Escalated, NoticeState::Delivered) => "Notified, as nobody decided:",
            (EventKind::BrokenGlass, NoticeState::Delivered) => "Told of the broken glass:",
            (EventKind::Decided | EventKind::Expired, NoticeState::Delivered) => "Told how it ended:",
            (EventKind::Freeze | EventKind::Test, NoticeState::Delivered) => "Told:",
            (_, NoticeState::Waiting) if notice.tries == 0 => "On its way:",
            (_, NoticeState::Waiting) => "Not yet, and tried again:",
            (_, NoticeState::Dead) => "Given up:",
        };
        Self {
            state: notice.state.as_str(),
            words,
            channel: shown(&notice.channel),
            at: When::new(notice.ended_at_ms.unwrap_or(notice.created_at_ms), now_ms),
            trouble: notice.trouble.as_deref().filter(|_| notice.state != NoticeState::Delivered).map(shown),
        }
    }
}

/// The definition of the tool that is called.
#[derive(Debug)]
pub struct Defined {
    pub sentence: &'static str,
    /// It should be looked at first.
    pub is_warning: bool,
    pub changed: Option<When>,
    pub digest: Option<String>,
    pub difference: Difference,
    /// Its page.
    pub address: String,
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
    /// One for each who has to approve, and whether somebody has.
    pub seats: Vec<bool>,
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
    /// Whether its role is one that decides.
    pub decides: bool,
    pub error: Option<String>,
    pub draft: String,
    /// What the reader had asked for beyond one call.
    pub asked_reach: bool,
    /// The reader would approve alone.
    pub glass: bool,
}

/// What else is known around an approval.
#[derive(Debug, Default)]
pub struct Around {
    pub similar: Vec<Past>,
    pub stopped: Vec<Freeze>,
    /// The oldest first.
    pub notices: Vec<Notice>,
    /// The service notifies people at all.
    pub tells: bool,
    /// Calls of this kind are looked at one by one.
    pub destructive: bool,
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
        let pending = state.status == ApprovalStatus::Pending;
        let tool = (view.server.clone(), view.target.clone().unwrap_or_default());
        let told: Vec<Told> = around.notices.iter().map(|notice| Told::new(notice, now_ms)).collect();
        let may_reach = !around.destructive && !reader.glass && !view.call_text.is_empty();
        let limits = view.requirement.grants.filter(|_| may_reach);
        let confirm = match (reader.glass, around.destructive) {
            (true, _) => Some("Approve alone? Everybody sees that you broke the glass, and why."),
            (false, true) => {
                Some("Approve this call? It is of a kind that may change or destroy what cannot be brought back.")
            }
            (false, false) => None,
        };
        let (draft, draft_reach_reason) =
            if reader.asked_reach { (String::new(), reader.draft) } else { (reader.draft, String::new()) };
        Self {
            nobody_told: around.tells
                && pending
                && !around.notices.iter().any(|notice| notice.state == NoticeState::Delivered)
                && !around.notices.iter().any(|notice| notice.tries == 0 && notice.state == NoticeState::Waiting),
            told,
            glass: reader.glass,
            reach: limits.map(|limits| Reach::new(limits, &view.call_text)),
            draft_reach: reader.asked_reach,
            draft_reach_reason,
            confirm,
            confirm_reach: limits.map(|_| "Approve further calls too? They run without being asked for again."),
            folds: call_text.folds,
            still_needed: words(&view.still_needed),
            or_needed: view.or_needed.as_deref().map(words),
            escalates: view.escalates_at_ms.filter(|at_ms| *at_ms > now_ms).map(|at_ms| When::new(at_ms, now_ms)),
            ran_before,
            similar: around.similar.iter().map(|past| PastRow::new(past, now_ms)).collect(),
            stopped: around.stopped.iter().map(|freeze| Stop::new(freeze, now_ms)).collect(),
            id: state.id.clone(),
            pill: Pill::new(state.status, view.outcome),
            pending,
            decides: reader.decides,
            meaning: meaning(state.status, view.outcome),
            decided_by: state.decided_by.as_deref().map(shown),
            because: state.reason.as_deref().map(shown),
            ask: Ask::of(&view.principal, &view.method, view.target.as_deref(), &view.server),
            reasons: reasons.collect(),
            risk_tags: view.envelope.meta.risk_tags.iter().map(|tag| shown(tag)).collect(),
            // A page has no marks for what is a name.
            constraints: shown(&view.constraints.to_string().replace('`', "")),
            call_text,
            withheld: view.arguments_withheld.as_deref().map(shown),
            definition: view.definition.as_ref().map(|view| Defined {
                sentence: view.standing.sentence(),
                is_warning: view.is_warning(),
                changed: view.changed_at_ms.map(|at_ms| When::new(at_ms, now_ms)),
                digest: view.fact.seen.map(|digest| digest.to_string()),
                difference: Difference::new(&view.difference),
                address: address(&tool.0, Some((DefinitionKind::Tool, &tool.1))),
            }),
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
            draft,
            frame,
        }
    }
}

pub(super) fn need(group: &ApproverGroup, still_needed: &[ApproverGroup]) -> Need {
    let missing = still_needed.iter().find(|missing| missing.group == group.group).map_or(0, |missing| missing.min);
    let there = group.min.saturating_sub(missing);
    let seats = (0..group.min).map(|seat| seat < there).collect();
    Need { group: shown(group_name(group)), min: group.min, there, seats }
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

pub(super) fn meaning(status: ApprovalStatus, outcome: Option<Outcome>) -> &'static str {
    match status {
        ApprovalStatus::Pending => "Nothing has run. It waits for people.",
        ApprovalStatus::Approved => "Approved, and not used yet: one such call may run.",
        ApprovalStatus::Denied => "Denied. Nothing has run, and the agent was told why.",
        ApprovalStatus::Expired => "Nobody decided in time. Nothing has run.",
        ApprovalStatus::Withdrawn => "The caller left or took it back. Nothing has run.",
        ApprovalStatus::Superseded => "The policy or the tool changed, so it has to be asked anew. Nothing has run.",
        ApprovalStatus::Consumed => match outcome {
            None => "Approved, and used by one call.",
            Some(Outcome::Committed) => "Approved. The call ran, and the server answered with a result.",
            Some(Outcome::Failed) => "Approved. The call ran, and the server answered with an error.",
            Some(Outcome::Refused) => "Approved, and let go, but it never reached the server. Nothing has run.",
            Some(Outcome::Unknown) => "Approved, and let go. Nobody can tell what became of it: it may have run.",
        },
        ApprovalStatus::Lapsed => "Approved, and not used in time. Nothing has run.",
        ApprovalStatus::Revoked => "Approved, then taken back. Nothing has run.",
    }
}
