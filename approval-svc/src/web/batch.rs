//! Step 8: several calls on one page, each whole, to be decided together.

use askama::Template;
use holdpoint_core::approval::ApprovalStatus;

use super::inbox::{Ask, words};
use super::{CallText, Frame, Shown, When, shown};
use crate::approvals::view::ApprovalView;
use crate::store::row::Approval;

/// `GET /approvals/batch`
#[derive(Debug, Template)]
#[template(path = "batch.html")]
pub struct BatchPage {
    pub frame: Frame,
    pub items: Vec<Chosen>,
    /// How many of them the reader may decide.
    pub open: usize,
    pub folds: usize,
    pub too_many: bool,
    pub error: Option<Shown>,
    /// The reason as the reader had typed it. The template escapes it.
    pub draft: String,
}

/// One of them.
#[derive(Debug)]
pub struct Chosen {
    pub id: String,
    pub ask: Ask,
    pub rule: Shown,
    pub risk_tags: Vec<Shown>,
    pub until: When,
    pub call_digest: String,
    pub call_text: CallText,
    pub folds: usize,
    /// What keeps the reader from deciding it.
    pub barrier: Option<Shown>,
}

impl Chosen {
    pub fn new(view: &ApprovalView, barrier: Option<String>, now_ms: u64) -> Self {
        let call_text = CallText::new(&view.call_text);
        Self {
            id: view.state.id.clone(),
            ask: Ask::of(&view.principal, &view.method, view.target.as_deref(), &view.server),
            rule: shown(view.reasons.first().map_or("", |reason| &reason.text)),
            risk_tags: view.envelope.meta.risk_tags.iter().map(|tag| shown(tag)).collect(),
            until: When::new(view.state.expires_at_ms, now_ms),
            call_digest: view.state.call_digest.to_string(),
            folds: call_text.folds,
            call_text,
            barrier: barrier.as_deref().map(shown),
        }
    }
}

impl BatchPage {
    pub fn new(frame: Frame, items: Vec<Chosen>, too_many: bool, error: Option<&str>, draft: String) -> Self {
        let open = || items.iter().filter(|item| item.barrier.is_none());
        Self {
            open: open().count(),
            folds: open().map(|item| item.folds).sum(),
            too_many,
            error: error.map(shown),
            draft,
            items,
            frame,
        }
    }
}

/// What became of each.
#[derive(Debug, Template)]
#[template(path = "batch_done.html")]
pub struct DonePage {
    pub frame: Frame,
    pub items: Vec<Item>,
}

#[derive(Debug)]
pub struct Item {
    pub id: String,
    pub status: &'static str,
    pub pill: &'static str,
    pub ask: Option<Ask>,
    /// Why nothing was done.
    pub problem: Option<Shown>,
}

impl Item {
    pub fn new(id: String, approval: Option<&Approval>, problem: Option<String>) -> Self {
        let status = approval.map(|approval| approval.status);
        Self {
            id,
            status: status.map_or("", ApprovalStatus::as_str),
            pill: status.map_or("Not there", words),
            ask: approval.map(|approval| Ask::new(&approval.asked)),
            problem: problem.as_deref().map(shown),
        }
    }
}

impl DonePage {
    pub fn new(frame: Frame, items: Vec<Item>) -> Self {
        Self { frame, items }
    }
}
