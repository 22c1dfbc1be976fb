//! Step 6: what a caller did before, as far as anybody knows. The facts come from outside; here is only what they mean.
//!
//! Each kind of call that some rule looks back for has a mark. Whoever lets a call run writes down its marks
//! ([`PolicySnapshot::marks_of`]) before the answer goes out; a later call asks when its caller was last seen with one.

use std::collections::BTreeSet;

use super::compile::PolicySnapshot;
use super::document::{After, BeforeStart, Match, PolicyDocument, Server};
use super::truth::Truth;
use crate::digest::Digest;
use crate::envelope::{CallEnvelope, Reading, SECRETS_TAG, Topic};
use crate::identity::Principal;
use crate::order;
use crate::yaml::{Place, Problem, Problems};

/// Most kinds of earlier call that one policy looks back for.
pub(super) const MARKS_MAX: usize = 64;

/// The header with which a client asks for events again that it missed.
const RESUMES: &str = "last-event-id";

/// What is known of one mark of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    pub now_ms: u64,
    /// When a call with the mark last ran, as far as is known.
    pub last_at_ms: Option<u64>,
    /// Since when such calls are written down.
    pub began_at_ms: u64,
    /// Of what ran up to then, something may have been forgotten.
    pub lost_at_ms: Option<u64>,
}

impl Past {
    /// Nothing happened, and that is certain.
    pub const NOTHING: Self = Self { now_ms: 0, last_at_ms: None, began_at_ms: 0, lost_at_ms: None };
    /// Nobody can say what happened.
    pub const UNKNOWN: Self = Self { now_ms: 0, last_at_ms: None, began_at_ms: u64::MAX, lost_at_ms: Some(u64::MAX) };

    /// Whether a call that `after` looks back for ran within its time.
    pub(super) fn tells(&self, after: &After) -> Truth {
        let horizon_ms = self.now_ms.saturating_sub(after.within_ms);
        // A clock that stepped back makes the past the future, and that is no reason to forget it.
        if self.last_at_ms.is_some_and(|last_at_ms| last_at_ms > horizon_ms) {
            return Truth::True;
        }
        let kept_all = self.lost_at_ms.is_none_or(|lost_at_ms| lost_at_ms <= horizon_ms);
        let saw_all = match after.before_start {
            BeforeStart::Clean => true,
            BeforeStart::Unknown => self.began_at_ms <= horizon_ms,
        };
        if kept_all && saw_all { Truth::False } else { Truth::Unknown }
    }
}

/// One kind of call that rules look back for.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    after: After,
    /// Servers of the catalogue on which anything could be such a call.
    servers: BTreeSet<String>,
}

/// Every kind that the rules look back for, each once.
pub(super) fn sought(document: &PolicyDocument, problems: &mut Problems) -> Vec<Sought> {
    let mut marks = BTreeSet::new();
    let mut sought = Vec::new();
    for after in document.rules.iter().flat_map(|rule| rule.matches.looks_back()) {
        if marks.insert(after.mark()) {
            let servers = document.servers.iter().filter(|(name, server)| may_serve(after, name, server));
            sought.push(Sought { after: after.clone(), servers: order::set(servers.map(|(name, _)| name.clone())) });
        }
    }
    if sought.len() > MARKS_MAX {
        let message = format!("the rules look back for {} kinds of call, at most {MARKS_MAX} are kept", sought.len());
        problems.push(Problem { at: Place::START, path: "rules".to_owned(), message });
    }
    sought
}

/// Whether anything that the catalogue says of the server could be such a call.
fn may_serve(after: &After, name: &str, server: &Server) -> bool {
    let entries = || server.tools.values().chain(server.resources.values()).chain(server.prompts.values());
    let mut tags =
        entries().flat_map(|entry| &entry.risk_tags).chain(&server.risk_tags).chain(&server.unlisted_risk_tags);
    let mut capabilities = entries().filter_map(|entry| entry.capability.as_deref());
    (after.servers.is_empty() || after.servers.iter().any(|glob| glob.matches(name)))
        && (after.risk_tags.is_empty() || tags.any(|tag| after.risk_tags.contains(tag)))
        && (after.capabilities.is_empty()
            || capabilities.any(|found| after.capabilities.iter().any(|glob| glob.matches(found))))
}

impl PolicySnapshot {
    /// The marks that the rules look back for.
    pub fn marks(&self) -> impl Iterator<Item = Digest> {
        self.sought.iter().map(|sought| sought.after.mark())
    }

    /// The marks of this call: what is to be written down of it before anything that it brings is handed over.
    ///
    /// In doubt it has a mark. A task's result and the rest of a broken stream may be the answer to any call of that
    /// server, so they have the marks of all of them.
    pub fn marks_of(&self, envelope: &CallEnvelope) -> Vec<Digest> {
        let brings_an_earlier_answer =
            envelope.topic() == Topic::Task || envelope.call().headers.iter().any(|(name, _)| name == RESUMES);
        let has = |sought: &&Sought| {
            if brings_an_earlier_answer {
                return sought.servers.contains(envelope.server());
            }
            !envelope.topic().is_plumbing()
                && envelope.readings().iter().any(|reading| fits(&sought.after, envelope.server(), reading))
        };
        self.sought.iter().filter(has).map(|sought| sought.after.mark()).collect()
    }
}

fn fits(after: &After, server: &str, reading: &Reading) -> bool {
    (after.servers.is_empty() || after.servers.iter().any(|glob| glob.matches(server)))
        && (after.risk_tags.is_empty() || after.risk_tags.iter().any(|tag| reading.risk_tags.contains(tag)))
        && (after.capabilities.is_empty()
            || reading
                .capability
                .as_deref()
                .is_some_and(|found| after.capabilities.iter().any(|glob| glob.matches(found))))
}

impl Match {
    /// Every `after` in the condition, however deep.
    pub(crate) fn looks_back(&self) -> Vec<&After> {
        let mut found: Vec<&After> = self.after.iter().collect();
        if let Some(not) = &self.not {
            found.extend(not.looks_back());
        }
        found
    }

    /// Whether the condition asks for the past, and there for secrets in earlier calls.
    pub(super) fn looks_back_for_secrets(&self) -> bool {
        self.looks_back().iter().any(|after| after.risk_tags.contains(SECRETS_TAG))
    }
}

/// What came before, by mark and principal. Facts from outside: core keeps none.
pub trait UsageView {
    /// What is known of calls with this mark that were let run for this principal.
    fn past(&self, mark: Digest, principal: &Principal) -> Past;
}

/// Nothing ever ran: for tests, tools, and questions about one call alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUsage;

impl UsageView for NoUsage {
    fn past(&self, _: Digest, _: &Principal) -> Past {
        Past::NOTHING
    }
}

/// Nobody knows what ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnknownUsage;

impl UsageView for UnknownUsage {
    fn past(&self, _: Digest, _: &Principal) -> Past {
        Past::UNKNOWN
    }
}

/// Whether anything in the catalogue could be such a call. Without a catalogue nobody can tell.
pub(super) fn is_served(after: &After, document: &PolicyDocument) -> bool {
    document.servers.is_empty()
        || after.risk_tags.contains(SECRETS_TAG)
        || document.servers.iter().any(|(name, server)| may_serve(after, name, server))
}
