//! Step 8: who decides in whose place, and the form that lends.

use askama::Template;

use super::{Frame, Shown, When, shown};
use crate::delegations::Delegation;
use crate::tokens::{Credential, Role};

/// `GET /delegations`
#[derive(Debug, Template)]
#[template(path = "delegations.html")]
pub struct DelegationsPage {
    pub frame: Frame,
    pub rows: Vec<DelegationRow>,
    /// Groups that the reader may lend. The template escapes them.
    pub groups: Vec<String>,
    pub error: Option<Shown>,
    pub draft: Draft,
}

#[derive(Debug)]
pub struct DelegationRow {
    pub id: String,
    pub from: Shown,
    pub to: Shown,
    pub groups: Shown,
    pub reason: Shown,
    pub until: When,
    pub may_end: bool,
}

/// What was typed when something was wrong with it.
#[derive(Debug, Default)]
pub struct Draft {
    pub subject: String,
    pub reason: String,
}

impl DelegationsPage {
    pub fn new(frame: Frame, reader: &Credential, all: &[Delegation], error: Option<String>, draft: Draft) -> Self {
        let now_ms = frame.now_ms;
        let row = |one: &Delegation| DelegationRow {
            id: one.id.clone(),
            from: shown(&one.from.name()),
            to: shown(&one.to.name()),
            groups: shown(&one.groups.iter().cloned().collect::<Vec<_>>().join(", ")),
            reason: shown(&one.reason),
            until: When::new(one.until_ms, now_ms),
            may_end: reader.role == Role::Admin || one.from == reader.person(),
        };
        let groups = if reader.role == Role::Approver { reader.groups.iter().cloned().collect() } else { Vec::new() };
        Self { rows: all.iter().map(row).collect(), groups, error: error.as_deref().map(shown), draft, frame }
    }
}
