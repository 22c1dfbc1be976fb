//! `holdpoint audit report`: what happened in a period, for a review: as text, as JSON, or as a page that prints well.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use askama::Template;
use clap::{Args, ValueEnum};
use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use serde::Serialize;

use super::filter::Period;
use super::record::RecordArgs;
use crate::store::read_word;
use crate::text::{time, visible};
use crate::web::inbox;
use crate::web::record::{capital, outcome_words, words};

#[cfg(test)]
mod tests;

/// Rows of a table; the rest is counted.
const ROWS_MAX: usize = 500;
/// Under which what no longer has a row of its own is added up.
const OTHERS: &str = "(others)";
/// Messages that no rule was asked about, among the decisions.
const REFUSED: &str = "refused before any rule";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit report --data-dir data --since 7d
  holdpoint audit report --data-dir data --since 2026-10-01 --until 2026-11-01 --format html > october.html")]
pub struct ReportArgs {
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    period: Period,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Html,
}

pub async fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let record = args.record.open().await?;
    let mut report = Report::new(args.period);
    record
        .each(0, |line| {
            let entry = line.entry()?;
            report.take(line.seq, &entry);
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    report.add_up();
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&report)?),
        Format::Text => print!("{}", report.text()),
        Format::Html => println!("{}", report.render()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// What the entries of a period add up to. Texts are made visible as they are taken in.
#[derive(Debug, Default, Serialize, Template)]
#[template(path = "report.html")]
struct Report {
    #[serde(skip)]
    period: Period,
    since: String,
    until: String,
    entries: u64,
    /// Decisions by verdict.
    decisions: BTreeMap<&'static str, u64>,
    /// Denials by the rule that made them.
    denials: BTreeMap<String, u64>,
    /// Calls that ran, by what became of them.
    outcomes: BTreeMap<&'static str, u64>,
    /// Calls that met a limit, by what they were told.
    limits: BTreeMap<String, u64>,
    /// Every word of a person about a call, in order.
    reviews: Vec<Reviewed>,
    reviews_left_out: u64,
    /// Approvals by their last status in the period, each once.
    approvals: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    last: BTreeMap<String, ApprovalStatus>,
    /// Browser sessions begun, by whom.
    sign_ins: BTreeMap<String, u64>,
    /// Entries that never came, as the record says itself.
    gaps: Vec<Noted>,
    gaps_left_out: u64,
    /// Whatever else changed, by what it is about.
    changes: BTreeMap<Area, Section>,
}

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Area {
    Access,
    Policies,
    Stops,
    Gateways,
    Servers,
    Erased,
}

impl Area {
    fn title(self) -> &'static str {
        match self {
            Self::Access => "Access: tokens, links, keys, and what was lent or granted",
            Self::Policies => "Policies",
            Self::Stops => "What was stopped, and let go on",
            Self::Gateways => "Gateways",
            Self::Servers => "Servers",
            Self::Erased => "What was erased",
        }
    }
}

/// The changes of one area, in order.
#[derive(Debug, Default, Serialize)]
struct Section {
    rows: Vec<Noted>,
    left_out: u64,
}

/// One person's word.
#[derive(Debug, Serialize)]
struct Reviewed {
    seq: u64,
    at: String,
    by: String,
    verdict: String,
    server: String,
    target: String,
    requester: String,
    approval_id: String,
    reason: String,
}

/// Something that a reader should see in full.
#[derive(Debug, Serialize)]
struct Noted {
    seq: u64,
    at: String,
    what: String,
}

impl Report {
    fn new(period: Period) -> Self {
        let since = period.since.map_or_else(|| "the beginning".to_owned(), |since| time(since.at_ms));
        let until = period.until.map_or_else(|| "now".to_owned(), |until| time(until.at_ms));
        Self { period, since, until, ..Self::default() }
    }

    /// Adds an entry, if it is of the period.
    fn take(&mut self, seq: u64, entry: &AuditEntry) {
        if !self.period.holds(entry.at_ms) {
            return;
        }
        self.entries += 1;
        if let Some(outcome) = entry.outcome {
            *self.outcomes.entry(outcome.as_str()).or_default() += 1;
        }
        match entry.kind {
            EntryKind::Decision => {
                if let Some(verdict) = entry.verdict {
                    *self.decisions.entry(verdict.as_str()).or_default() += 1;
                    if verdict == Verdict::Deny {
                        let rule = entry.rule_ids.first().map_or("default_decision", String::as_str);
                        count(&mut self.denials, rule);
                    }
                }
                if let Some(detail) = entry.detail.as_deref().filter(|_| entry.verdict == Some(Verdict::Allow)) {
                    count(&mut self.limits, detail);
                }
            }
            EntryKind::Refusal => *self.decisions.entry(REFUSED).or_default() += 1,
            EntryKind::Review if self.reviews.len() == ROWS_MAX => self.reviews_left_out += 1,
            EntryKind::Review => self.reviews.push(Reviewed::of(seq, entry)),
            EntryKind::ApprovalOpened | EntryKind::ApprovalClosed | EntryKind::Claim => {
                let status = entry.status.as_deref().and_then(read_word::<ApprovalStatus>);
                self.last.extend(entry.approval_id.clone().zip(status));
            }
            EntryKind::Gap if self.gaps.len() == ROWS_MAX => self.gaps_left_out += 1,
            EntryKind::Gap => self.gaps.push(Noted::of(seq, entry)),
            EntryKind::TokenChanged => match entry.status.as_deref() {
                Some("signed_in") => count(&mut self.sign_ins, entry.by.as_deref().unwrap_or_default()),
                Some("signed_out") => {}
                Some(_) | None => self.note(Area::Access, seq, entry),
            },
            EntryKind::KeyChanged | EntryKind::DelegationChanged | EntryKind::GrantChanged => {
                self.note(Area::Access, seq, entry);
            }
            EntryKind::PolicyRegistered | EntryKind::PolicyInForce => self.note(Area::Policies, seq, entry),
            EntryKind::FreezeChanged => self.note(Area::Stops, seq, entry),
            EntryKind::SourceBegan => self.note(Area::Gateways, seq, entry),
            EntryKind::DefinitionChanged => self.note(Area::Servers, seq, entry),
            EntryKind::ArgumentsErased | EntryKind::PayloadsErased => self.note(Area::Erased, seq, entry),
            EntryKind::ApprovalJoined
            | EntryKind::ApprovalEscalated
            | EntryKind::HoldEnded
            | EntryKind::NoticeChanged
            | EntryKind::Outcome => {}
        }
    }

    fn note(&mut self, area: Area, seq: u64, entry: &AuditEntry) {
        let section = self.changes.entry(area).or_default();
        match section.rows.len() {
            ROWS_MAX => section.left_out += 1,
            _ => section.rows.push(Noted::of(seq, entry)),
        }
    }

    /// Counts each approval by where it stands after the last entry.
    fn add_up(&mut self) {
        for status in std::mem::take(&mut self.last).into_values() {
            *self.approvals.entry(status.as_str()).or_default() += 1;
        }
    }

    /// In the words of the pages.
    fn decision_rows(&self) -> Vec<(&'static str, u64)> {
        let word = |name: &str| match read_word::<Verdict>(name) {
            Some(Verdict::Allow) => "Allowed",
            Some(Verdict::RequireApproval) => "Put before people",
            Some(Verdict::Deny) => "Denied by a rule",
            None => "Refused before any rule",
        };
        self.decisions.iter().map(|(name, count)| (word(name), *count)).collect()
    }

    fn outcome_rows(&self) -> Vec<(String, u64)> {
        let word = |name: &str| capital(outcome_words(read_word(name).unwrap_or(Outcome::Unknown)));
        self.outcomes.iter().map(|(name, count)| (word(name), *count)).collect()
    }

    fn approval_rows(&self) -> Vec<(&'static str, u64)> {
        let word = |name: &'static str| read_word(name).map_or(name, inbox::words);
        self.approvals.iter().map(|(name, count)| (word(name), *count)).collect()
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("Record from {} to {}: {} entries", self.since, self.until, self.entries)];
        let mut table = |title: &str, rows: Vec<String>| {
            if !rows.is_empty() {
                lines.push(format!("\n{title}"));
                lines.extend(rows.into_iter().map(|row| format!("  {row}")));
            }
        };
        fn counted<'a>(rows: impl IntoIterator<Item = (impl std::fmt::Display, &'a u64)>) -> Vec<String> {
            rows.into_iter().map(|(name, count)| format!("{count:>8}  {name}")).collect()
        }
        table("Decisions", counted(self.decision_rows().iter().map(|(name, count)| (name, count))));
        table("Denied by rule", counted(&self.denials));
        table("What became of calls that ran", counted(self.outcome_rows().iter().map(|(name, count)| (name, count))));
        table("Limits that were met", counted(&self.limits));
        table("Where approvals stand", counted(self.approval_rows().iter().map(|(name, count)| (name, count))));
        let left_out = |rows: &mut Vec<String>, count: u64| {
            if count > 0 {
                rows.push(format!("… and {count} more"));
            }
        };
        let mut reviews: Vec<String> = self.reviews.iter().map(Reviewed::line).collect();
        left_out(&mut reviews, self.reviews_left_out);
        table("Who approved and denied what", reviews);
        table("Who signed in to the pages", counted(&self.sign_ins));
        for (area, section) in &self.changes {
            let mut rows: Vec<String> = section.rows.iter().map(Noted::line).collect();
            left_out(&mut rows, section.left_out);
            table(area.title(), rows);
        }
        let mut gaps: Vec<String> = self.gaps.iter().map(Noted::line).collect();
        left_out(&mut gaps, self.gaps_left_out);
        table("MISSING ENTRIES", gaps);
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Counts one under its words, which a server or a caller may have chosen: of many different ones the last are added up.
fn count(rows: &mut BTreeMap<String, u64>, words: &str) {
    let mut words = visible(words);
    if rows.len() >= ROWS_MAX && !rows.contains_key(&words) {
        OTHERS.clone_into(&mut words);
    }
    *rows.entry(words).or_default() += 1;
}

impl Reviewed {
    fn of(seq: u64, entry: &AuditEntry) -> Self {
        let text = |text: Option<&str>| text.map(visible).unwrap_or_default();
        Self {
            seq,
            at: time(entry.at_ms),
            by: text(entry.by.as_deref()),
            verdict: text(entry.status.as_deref()),
            server: text(entry.server.as_deref()),
            target: text(entry.target.as_deref()),
            requester: text(entry.principal.as_ref().map(|principal| principal.subject.as_str())),
            approval_id: text(entry.approval_id.as_deref()),
            reason: text(entry.detail.as_deref()),
        }
    }

    fn said(&self) -> &str {
        match self.verdict.as_str() {
            "approve" => "approved",
            "deny" => "denied",
            other => other,
        }
    }

    fn line(&self) -> String {
        let Self { seq, at, by, server, target, requester, approval_id, reason, .. } = self;
        let verdict = self.said();
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("{at}  {by}  {verdict}  {target} on {server} for {requester}  ({approval_id}, entry {seq}){reason}")
    }
}

impl Noted {
    fn of(seq: u64, entry: &AuditEntry) -> Self {
        // The words say already how a server's offer changed.
        let status = entry.status.clone().filter(|_| entry.kind != EntryKind::DefinitionChanged);
        let target = entry.target.as_ref().map(|target| format!("`{target}`"));
        let server = entry.server.as_ref().map(|server| format!("on {server}"));
        let by = entry.by.as_ref().map(|by| format!("by {by}"));
        let parts = [
            status,
            target,
            server,
            entry.snapshot_id.map(|id| id.to_string()),
            (!entry.keys.is_empty()).then(|| entry.keys.join(", ")),
            entry.source.clone(),
            by,
            entry.detail.clone(),
        ];
        let parts = parts.into_iter().flatten().map(|part| visible(&part));
        let what = std::iter::once(words(entry)).chain(parts).collect::<Vec<_>>().join("  ");
        Self { seq, at: time(entry.at_ms), what }
    }

    fn line(&self) -> String {
        format!("{}  {}  (entry {})", self.at, self.what, self.seq)
    }
}
