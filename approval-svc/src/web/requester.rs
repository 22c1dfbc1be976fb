//! Step 8: what whoever asked for a call may look at: where it stands, and nothing that decides.

use askama::Template;
use holdpoint_core::approval::ApprovalStatus;

use super::approval::{Need, meaning, need};
use super::inbox::{Ask, Pill};
use super::{Shown, shown};
use crate::approvals::view::ApprovalView;
use crate::text::time;

/// `GET /status/{page}`
#[derive(Debug, Template)]
#[template(path = "requester.html")]
pub struct RequesterPage {
    pub pill: Pill,
    pub pending: bool,
    pub ask: Ask,
    pub meaning: &'static str,
    pub decided_by: Option<Shown>,
    pub because: Option<Shown>,
    pub needs: Vec<Need>,
    pub until: String,
}

impl RequesterPage {
    pub fn new(view: &ApprovalView) -> Self {
        let state = &view.state;
        Self {
            pill: Pill::new(state.status, view.outcome),
            pending: state.status == ApprovalStatus::Pending,
            ask: Ask::of(&view.principal, &view.method, view.target.as_deref(), &view.server),
            meaning: meaning(state.status, view.outcome),
            decided_by: state.decided_by.as_deref().map(shown),
            because: state.reason.as_deref().map(shown),
            needs: view.still_needed.iter().map(|group| need(group, &[])).collect(),
            until: time(state.expires_at_ms),
        }
    }
}
