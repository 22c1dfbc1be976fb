//! Step 8: what was decided, found by what is known of it; and what became of calls like one that waits.

use askama::Template;
use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::Outcome;

use super::inbox::{Row, words};
use super::{Choice, Frame, When};
use crate::store::row::Past;

/// Every status, in the order of the list to choose from.
const STATUSES: [ApprovalStatus; 9] = [
    ApprovalStatus::Pending,
    ApprovalStatus::Approved,
    ApprovalStatus::Consumed,
    ApprovalStatus::Denied,
    ApprovalStatus::Expired,
    ApprovalStatus::Withdrawn,
    ApprovalStatus::Superseded,
    ApprovalStatus::Lapsed,
    ApprovalStatus::Revoked,
];

/// `GET /history`
#[derive(Debug, Template)]
#[template(path = "history.html")]
pub struct HistoryPage {
    pub frame: Frame,
    pub asked: Asked,
    pub statuses: Vec<Choice>,
    /// Something narrows the list.
    pub narrowed: bool,
    pub rows: Vec<PastRow>,
    /// Where the next page is.
    pub older: Option<String>,
}

/// What the form was sent with. The template escapes it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub status: Option<ApprovalStatus>,
    pub server: String,
    pub tool: String,
    pub who: String,
    pub text: String,
}

/// One approval of the past.
#[derive(Debug)]
pub struct PastRow {
    pub row: Row,
    /// What became of the call that used it.
    pub ran: Option<&'static str>,
    /// When it was decided, or ran.
    pub then: When,
}

impl PastRow {
    pub fn new(past: &Past, now_ms: u64) -> Self {
        let approval = &past.approval;
        let then_ms = past.claimed_at_ms.or(approval.decided_at_ms).unwrap_or(approval.opened_at_ms);
        let ran = past.claimed_at_ms.map(|_| outcome_words(past.outcome));
        Self { row: Row::new(approval, past.outcome, now_ms), ran, then: When::new(then_ms, now_ms) }
    }
}

impl HistoryPage {
    pub fn new(frame: Frame, asked: Asked, rows: &[Past], older: Option<String>) -> Self {
        let now_ms = frame.now_ms;
        let choice = |status: ApprovalStatus| Choice {
            word: status.as_str(),
            name: words(status),
            chosen: asked.status == Some(status),
        };
        let texts = [&asked.server, &asked.tool, &asked.who, &asked.text];
        Self {
            statuses: STATUSES.into_iter().map(choice).collect(),
            narrowed: asked.status.is_some() || texts.into_iter().any(|text| !text.is_empty()),
            rows: rows.iter().map(|past| PastRow::new(past, now_ms)).collect(),
            older,
            asked,
            frame,
        }
    }
}

/// What became of a call that ran, in words.
pub fn outcome_words(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Committed) => "ran, and the server answered with a result",
        Some(Outcome::Failed) => "ran, and the server answered with an error",
        Some(Outcome::Refused) => "was let go, and never reached the server",
        Some(Outcome::Unknown) | None => "was let go, and nobody can tell what became of it",
    }
}
