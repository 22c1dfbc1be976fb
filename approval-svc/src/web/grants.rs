//! Step 8: approvals that reach further calls, as long as they do.

use askama::Template;

use super::{Frame, Shown, When, shown};
use crate::approvals::grant::{Grant, Predicate};

/// `GET /grants`
#[derive(Debug, Template)]
#[template(path = "grants.html")]
pub struct GrantsPage {
    pub frame: Frame,
    pub grants: Vec<GrantRow>,
    /// Whether the reader may take one back.
    pub may_end: bool,
}

#[derive(Debug)]
pub struct GrantRow {
    pub id: String,
    pub approval_id: String,
    pub subject: Shown,
    pub target: Shown,
    pub server: Shown,
    pub by: Shown,
    pub uses_left: u32,
    pub until: When,
    /// Which arguments may differ, in words.
    pub differ: Vec<Shown>,
}

impl GrantsPage {
    pub fn new(frame: Frame, grants: &[Grant], may_end: bool) -> Self {
        let now_ms = frame.now_ms;
        let row = |grant: &Grant| GrantRow {
            id: grant.id.clone(),
            approval_id: grant.approval_id.clone(),
            subject: shown(&grant.subject),
            target: shown(grant.target.as_deref().unwrap_or(&grant.method)),
            server: shown(&grant.server),
            by: shown(&grant.by),
            uses_left: grant.uses_left,
            until: When::new(grant.expires_at_ms, now_ms),
            differ: grant.arguments.iter().map(|(pointer, predicate)| shown(&words(pointer, predicate))).collect(),
        };
        Self { grants: grants.iter().map(row).collect(), may_end, frame }
    }
}

/// What an argument that may differ must be, in words.
pub fn words(pointer: &str, predicate: &Predicate) -> String {
    let name = pointer.trim_start_matches('/');
    match predicate {
        Predicate::OneOf(values) => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!("{name} is one of {}", values.join(", "))
        }
        Predicate::Prefix(prefix) => format!("{name} begins with “{prefix}”"),
        Predicate::Lte(most) => format!("{name} is a whole number up to {most}"),
    }
}
