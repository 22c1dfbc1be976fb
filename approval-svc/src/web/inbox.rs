//! Step 8: the list of what waits and what was decided lately.

use askama::Template;
use holdpoint_core::approval::{ApprovalStatus, OpenApproval};
use holdpoint_core::audit::Outcome;
use holdpoint_core::freeze::Freeze;

use super::{Frame, Shown, When, shown};
use crate::store::row::Approval;

/// `GET /approvals`
#[derive(Debug, Template)]
#[template(path = "inbox.html")]
pub struct Inbox {
    pub frame: Frame,
    pub waiting: Vec<Row>,
    /// More wait than are shown.
    pub more_wait: bool,
    pub recent: Vec<Row>,
    /// What the reader decided a moment ago.
    pub notice: Option<Row>,
    /// What administrators stopped.
    pub stopped: Vec<Stop>,
    /// Several of those that wait may be decided together.
    pub may_choose: bool,
}

/// Something that an administrator stopped everywhere.
#[derive(Debug)]
pub struct Stop {
    pub scope: Shown,
    pub by: Shown,
    pub reason: Shown,
    pub since: When,
}

impl Stop {
    pub fn new(freeze: &Freeze, now_ms: u64) -> Self {
        let scope = freeze.scope.to_string().replace('`', "");
        Self {
            scope: shown(&scope),
            by: shown(&freeze.by),
            reason: shown(&freeze.reason),
            since: When::new(freeze.since_ms, now_ms),
        }
    }
}

/// One line of the list, also on its own, for the script.
#[derive(Debug, Template)]
#[template(path = "row.html")]
pub struct RowPage {
    pub row: Row,
}

/// One approval in a list.
#[derive(Debug)]
pub struct Row {
    pub id: String,
    pub status: &'static str,
    pub pill: Pill,
    pub pending: bool,
    pub ask: Ask,
    pub rule_id: Shown,
    pub opened: When,
    pub until: When,
    pub decided_by: Option<Shown>,
    /// Whether the reader may choose it, to decide it together with others.
    pub choosable: bool,
    /// Nobody was notified of it.
    pub untold: bool,
}

impl Row {
    pub fn new(approval: &Approval, outcome: Option<Outcome>, now_ms: u64) -> Self {
        let asked = &approval.asked;
        Self {
            id: approval.id.clone(),
            status: approval.status.as_str(),
            pill: Pill::new(approval.status, outcome),
            pending: approval.status == ApprovalStatus::Pending,
            ask: Ask::new(asked),
            rule_id: shown(asked.reasons.first().map_or("", |reason| &reason.rule_id)),
            opened: When::new(approval.opened_at_ms, now_ms),
            until: When::new(approval.expires_at_ms, now_ms),
            decided_by: approval.decided_by.as_deref().map(shown),
            choosable: false,
            untold: false,
        }
    }
}

/// Who wants what, in parts: agent for subject wants to verb target on server.
#[derive(Debug)]
pub struct Ask {
    pub agent: Option<Shown>,
    pub subject: Shown,
    pub verb: Shown,
    pub target: Option<Shown>,
    pub server: Shown,
}

impl Ask {
    pub(super) fn new(asked: &OpenApproval) -> Self {
        Self::of(&asked.principal, &asked.method, asked.target.as_deref(), &asked.server)
    }

    pub(super) fn of(
        principal: &holdpoint_core::identity::Principal,
        method: &str,
        target: Option<&str>,
        server: &str,
    ) -> Self {
        let agent = principal.agent_id.as_deref().filter(|agent| *agent != principal.subject);
        let verb = match method {
            "tools/call" => "run",
            "resources/read" => "read",
            "prompts/get" => "use the prompt",
            other => other,
        };
        Self {
            agent: agent.map(shown),
            subject: shown(&principal.subject),
            verb: shown(verb),
            target: target.map(shown),
            server: shown(server),
        }
    }
}

/// Where an approval stands, in a word or two that tell people most, and in a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pill {
    pub words: &'static str,
    /// Names the colour; one of the sheet's classes.
    pub tone: &'static str,
}

impl Pill {
    /// `outcome` is what became of the call that used it.
    pub(super) fn new(status: ApprovalStatus, outcome: Option<Outcome>) -> Self {
        let (words, tone) = match (status, outcome) {
            (ApprovalStatus::Consumed, Some(Outcome::Committed)) => ("Approved, ran", status.as_str()),
            (ApprovalStatus::Consumed, Some(Outcome::Failed)) => ("Approved, failed", "bad"),
            (ApprovalStatus::Consumed, Some(Outcome::Refused)) => ("Approved, did not run", "bad"),
            (ApprovalStatus::Consumed, Some(Outcome::Unknown)) => ("Approved, outcome unknown", "warn"),
            _ => (words(status), status.as_str()),
        };
        Self { words, tone }
    }
}

/// A status in a word that tells people most.
pub fn words(status: ApprovalStatus) -> &'static str {
    match status {
        ApprovalStatus::Pending => "Waiting",
        ApprovalStatus::Approved => "Approved",
        ApprovalStatus::Denied => "Denied",
        ApprovalStatus::Expired => "Expired",
        ApprovalStatus::Withdrawn => "Withdrawn",
        ApprovalStatus::Superseded => "Superseded",
        ApprovalStatus::Consumed => "Approved, used",
        ApprovalStatus::Lapsed => "Approved, unused",
        ApprovalStatus::Revoked => "Taken back",
    }
}
