//! Step 12: one call from its request to its outcome, as the record has it.

use askama::Template;
use holdpoint_core::audit::{AuditEntry, EntryKind};

use super::inbox::Ask;
use super::record::{outcome_words, tone, words};
use super::{Frame, Shown, shown};
use crate::text::{span, time};
use crate::trail::call::{CallTrail, Standing, happened_ms};

/// `GET /record/{seq}` and `GET /approvals/{id}/timeline`
#[derive(Debug, Template)]
#[template(path = "timeline.html")]
pub struct TimelinePage {
    pub frame: Frame,
    /// Who wanted what; absent for entries about no call.
    pub ask: Option<Ask>,
    pub pill: &'static str,
    pub pill_tone: &'static str,
    pub meaning: &'static str,
    pub steps: Vec<Step>,
    pub is_cut: bool,
    pub gaps: Vec<Gap>,
    pub facts: Vec<Fact>,
    pub approval_id: Option<String>,
    pub call: Option<String>,
    pub trace: Option<String>,
    /// For the command that proves one of them.
    pub first_seq: u64,
    /// From the first step to the last.
    pub took: String,
}

/// One thing that happened.
#[derive(Debug)]
pub struct Step {
    pub at_ms: u64,
    pub at: String,
    /// Since the step before; nothing at the first.
    pub after: Option<String>,
    pub tone: &'static str,
    pub words: String,
    pub notes: Vec<Note>,
    /// The entry that says so.
    pub seq: u64,
}

/// Something more that is known of a step.
#[derive(Debug)]
pub struct Note {
    pub name: &'static str,
    pub value: Shown,
}

/// Entries that are missing.
#[derive(Debug)]
pub struct Gap {
    pub at: String,
    pub words: Shown,
}

/// One thing about the call as a whole.
#[derive(Debug)]
pub struct Fact {
    pub name: &'static str,
    pub value: Shown,
}

impl TimelinePage {
    pub fn new(frame: Frame, trail: &CallTrail) -> Self {
        let entries = || trail.entries.iter().map(|one| &one.entry);
        let mut steps: Vec<Step> = trail.entries.iter().flat_map(|one| steps_of(one.seq, &one.entry)).collect();
        steps.sort_by_key(|step| step.at_ms);
        let mut before: Option<u64> = None;
        for step in &mut steps {
            step.after = before.map(|before| match step.at_ms.saturating_sub(before) {
                0 => "at once".to_owned(),
                ms => format!("{} later", span(ms)),
            });
            before = Some(step.at_ms);
        }
        let ask = entries().find_map(|entry| {
            let (principal, server) = entry.principal.as_ref().zip(entry.server.as_deref())?;
            Some(Ask::of(principal, entry.method.as_deref()?, entry.target.as_deref(), server))
        });
        let (pill, pill_tone, meaning) = match trail.standing {
            Standing::Ran => ("Ran", "consumed", "It reached the server, and what came back is known."),
            Standing::NotRun => ("Did not run", "denied", "It never reached the server."),
            Standing::Unknown => (
                "Unknown",
                "pending",
                "It was let go, and nobody has said what became of it: it may have run, and it may not.",
            ),
            Standing::Open if ask.is_some() => ("Open", "pending", "Nothing has ended it yet."),
            Standing::Open => ("Recorded", "plain", "This entry is about no single call."),
        };
        let first = |of: fn(&AuditEntry) -> Option<String>| entries().find_map(of);
        let mut facts = Vec::new();
        let mut fact = |name: &'static str, value: Option<String>| {
            facts.extend(value.map(|value| Fact { name, value: shown(&value) }));
        };
        fact("Caller", first(|entry| entry.principal.as_ref().map(|one| format!("{} {}", one.issuer, one.subject))));
        fact("Tenant", first(|entry| entry.principal.as_ref()?.tenant.clone()));
        fact("Gateway", first(|entry| entry.source.clone()));
        fact("Policy", first(|entry| entry.snapshot_id.map(|id| id.to_string())));
        fact("Limits", first(|entry| entry.constraints.clone()));
        let took = match (steps.first(), steps.last()) {
            (Some(first), Some(last)) => span(last.at_ms.saturating_sub(first.at_ms)),
            _ => String::new(),
        };
        Self {
            ask,
            pill,
            pill_tone,
            meaning,
            is_cut: trail.is_cut,
            gaps: trail.gaps.iter().map(|gap| Gap::new(&gap.entry)).collect(),
            facts,
            approval_id: first(|entry| entry.approval_id.clone()),
            call: first(|entry| entry.call_digest.map(|digest| digest.to_string())),
            trace: first(|entry| entry.trace_id.clone()),
            first_seq: trail.entries.first().map_or(0, |one| one.seq),
            took,
            steps,
            frame,
        }
    }
}

impl Gap {
    fn new(entry: &AuditEntry) -> Self {
        Self { at: time(entry.at_ms), words: shown(entry.detail.as_deref().unwrap_or("entries are missing")) }
    }
}

/// An entry as what happened: of a call that ran at once, its decision and its answer are in one.
fn steps_of(seq: u64, entry: &AuditEntry) -> Vec<Step> {
    let step = |at_ms: u64, words: String, tone: &'static str, notes: Vec<Note>| Step {
        at_ms,
        at: time(at_ms),
        after: None,
        tone,
        words,
        notes,
        seq,
    };
    match (entry.kind, entry.outcome) {
        (EntryKind::Decision, Some(outcome)) => {
            let decided = AuditEntry { outcome: None, ..entry.clone() };
            let answered = AuditEntry { kind: EntryKind::Outcome, ..entry.clone() };
            let answered_ms = entry.at_ms.saturating_add(entry.latency_ms.unwrap_or(0));
            let mut words_of = outcome_words(outcome).to_owned();
            if let Some(first) = words_of.get_mut(0..1) {
                first.make_ascii_uppercase();
            }
            vec![
                step(entry.at_ms, words(&decided), "good", decided_notes(&decided)),
                step(answered_ms, words_of, tone(&answered), answer_notes(&answered)),
            ]
        }
        (EntryKind::Outcome, _) => {
            let mut steps = Vec::new();
            if entry.latency_ms.is_some() {
                steps.push(step(entry.at_ms, "Sent to the server".to_owned(), "plain", Vec::new()));
            }
            steps.push(step(happened_ms(entry), words(entry), tone(entry), answer_notes(entry)));
            steps
        }
        (EntryKind::Decision, None) => vec![step(entry.at_ms, words(entry), tone(entry), decided_notes(entry))],
        _ => vec![step(entry.at_ms, words(entry), tone(entry), other_notes(entry))],
    }
}

fn note(notes: &mut Vec<Note>, name: &'static str, value: Option<String>) {
    notes.extend(value.map(|value| Note { name, value: shown(&value) }));
}

fn decided_notes(entry: &AuditEntry) -> Vec<Note> {
    let mut notes = Vec::new();
    let rules = (!entry.rule_ids.is_empty()).then(|| entry.rule_ids.join(", "));
    note(&mut notes, if entry.rule_ids.len() == 1 { "rule" } else { "rules" }, rules);
    note(&mut notes, "on trial", entry.observed.as_ref().map(|observed| observed.verdict.as_str().to_owned()));
    note(&mut notes, "by the candidate", entry.candidate.as_ref().map(|other| other.verdict.as_str().to_owned()));
    note(&mut notes, "because", entry.detail.clone());
    notes
}

fn answer_notes(entry: &AuditEntry) -> Vec<Note> {
    let mut notes = Vec::new();
    note(&mut notes, "after", entry.latency_ms.map(|ms| format!("{ms} ms")));
    note(&mut notes, "size", entry.answer_bytes.map(|bytes| format!("{bytes} bytes")));
    note(&mut notes, "status", entry.http_status.map(|status| status.to_string()));
    note(&mut notes, "digest", entry.result.as_ref().and_then(|result| result.digest).map(|digest| digest.to_string()));
    note(&mut notes, "because", entry.detail.clone());
    notes
}

fn other_notes(entry: &AuditEntry) -> Vec<Note> {
    let mut notes = Vec::new();
    // Who decided, and why, stands at each review.
    let is_decision = matches!(entry.status.as_deref(), Some("approved" | "denied"));
    if entry.kind == EntryKind::ApprovalClosed && is_decision {
        return notes;
    }
    if entry.kind == EntryKind::Claim {
        note(&mut notes, "gateway", entry.by.clone());
        note(&mut notes, "because", entry.detail.clone());
        return notes;
    }
    note(&mut notes, "by", entry.by.clone());
    // The rules of an approval stand at the decision; here they are all that is known where that is missing.
    let rules = (entry.kind == EntryKind::ApprovalOpened).then(|| entry.rule_ids.join(", "));
    note(&mut notes, "rules", rules.filter(|rules| !rules.is_empty()));
    note(&mut notes, "says", entry.detail.clone());
    notes
}
