//! Step 12: by what an entry of the record is found.

use std::collections::BTreeSet;

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::digest::Digest;

/// Which part of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Nothing in particular: every entry has it.
    Any,
    /// It is about a call of somebody.
    Call,
    Tenant,
    Kind,
    /// Whom it acts for, by subject or agent, and whoever acted.
    Who,
    Server,
    /// Tool, resource or prompt.
    Tool,
    Verdict,
    Outcome,
    /// Any rule that took part, not only the deciding one.
    Rule,
    Trace,
    Span,
    Approval,
    Hold,
    CallDigest,
}

impl Field {
    /// The word that is digested with the value: never to change, for indexes are kept.
    fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Call => "call",
            Self::Tenant => "tenant",
            Self::Kind => "kind",
            Self::Who => "who",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Verdict => "verdict",
            Self::Outcome => "outcome",
            Self::Rule => "rule",
            Self::Trace => "trace",
            Self::Span => "span",
            Self::Approval => "approval",
            Self::Hold => "hold",
            Self::CallDigest => "call_digest",
        }
    }
}

/// One thing that an entry says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clue {
    field: Field,
    value: String,
}

impl Clue {
    pub fn new(field: Field, value: impl Into<String>) -> Self {
        Self { field, value: value.into() }
    }

    pub fn any() -> Self {
        Self::new(Field::Any, "")
    }

    pub fn call() -> Self {
        Self::new(Field::Call, "")
    }

    /// The number that stands for it in the index.
    pub fn mark(&self) -> i64 {
        let digest = Digest::tagged(&format!("holdpoint/mark/v1/{}", self.field.word()), self.value.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        i64::from_be_bytes(first)
    }

    /// Whether it names one call rather than what many have in common.
    pub fn names_call(&self) -> bool {
        matches!(self.field, Field::Approval | Field::Hold | Field::Span)
    }
}

/// Everything by which an entry is found. Each field is bounded by the length of an entry.
pub fn clues_of(entry: &AuditEntry) -> BTreeSet<Clue> {
    let mut clues = BTreeSet::from([Clue::any(), Clue::new(Field::Kind, entry.kind.as_str())]);
    let mut add = |field: Field, value: Option<&str>| clues.extend(value.map(|value| Clue::new(field, value)));
    if let Some(principal) = &entry.principal {
        add(Field::Call, Some(""));
        add(Field::Tenant, principal.tenant.as_deref());
        add(Field::Who, Some(&principal.subject));
        add(Field::Who, principal.agent_id.as_deref());
    }
    // `issuer subject`: people are looked for by their subject.
    add(Field::Who, entry.by.as_deref().map(|by| by.split_once(' ').map_or(by, |(_, subject)| subject)));
    add(Field::Server, entry.server.as_deref());
    add(Field::Tool, entry.target.as_deref());
    add(Field::Verdict, entry.verdict.map(|verdict| verdict.as_str()));
    add(Field::Outcome, entry.outcome.map(|outcome| outcome.as_str()));
    for rule in &entry.rule_ids {
        add(Field::Rule, Some(rule));
    }
    add(Field::Trace, entry.trace_id.as_deref());
    add(Field::Span, entry.span_id.as_deref());
    add(Field::Approval, entry.approval_id.as_deref());
    add(Field::Hold, entry.hold_id.as_deref());
    add(Field::CallDigest, entry.call_digest.map(|digest| digest.to_string()).as_deref());
    clues
}
