//! `holdpoint audit report`: what happened in a period, for a review: as text, as JSON, or as a page that prints well.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use askama::Template;
use clap::{Args, ValueEnum};
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::decision::Verdict;
use serde::Serialize;

use super::filter::Period;
use super::record::RecordArgs;
use crate::text::{time, visible};

#[cfg(test)]
mod tests;

/// Rows of a table; the rest is counted.
const ROWS_MAX: usize = 500;
/// Under which what no longer has a row of its own is added up.
const OTHERS: &str = "(others)";

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
    /// Approvals by where they ended.
    closed: BTreeMap<String, u64>,
    /// Entries that never came, as the record says itself.
    gaps: Vec<Noted>,
    gaps_left_out: u64,
    /// What administrators did: tokens, freezes, policies.
    changes: Vec<Noted>,
    changes_left_out: u64,
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
            EntryKind::Refusal => *self.decisions.entry("refused before any rule").or_default() += 1,
            EntryKind::Review if self.reviews.len() == ROWS_MAX => self.reviews_left_out += 1,
            EntryKind::Review => self.reviews.push(Reviewed::of(seq, entry)),
            EntryKind::ApprovalClosed => {
                count(&mut self.closed, entry.status.as_deref().unwrap_or("closed"));
            }
            EntryKind::Claim => count(&mut self.closed, "claimed by a live call"),
            EntryKind::Gap if self.gaps.len() == ROWS_MAX => self.gaps_left_out += 1,
            EntryKind::Gap => self.gaps.push(Noted::of(seq, entry)),
            EntryKind::TokenChanged
            | EntryKind::KeyChanged
            | EntryKind::SourceBegan
            | EntryKind::FreezeChanged
            | EntryKind::DefinitionChanged
            | EntryKind::PolicyRegistered
            | EntryKind::DelegationChanged
            | EntryKind::GrantChanged
            | EntryKind::PolicyInForce
            | EntryKind::ArgumentsErased
            | EntryKind::PayloadsErased => match self.changes.len() {
                ROWS_MAX => self.changes_left_out += 1,
                _ => self.changes.push(Noted::of(seq, entry)),
            },
            EntryKind::ApprovalOpened
            | EntryKind::ApprovalJoined
            | EntryKind::ApprovalEscalated
            | EntryKind::HoldEnded
            | EntryKind::NoticeChanged
            | EntryKind::Outcome => {}
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("Record from {} to {}: {} entries", self.since, self.until, self.entries)];
        let mut table = |title: &str, rows: Vec<String>| {
            if !rows.is_empty() {
                lines.push(format!("\n{title}"));
                lines.extend(rows.into_iter().map(|row| format!("  {row}")));
            }
        };
        let counts =
            |map: &BTreeMap<String, u64>| map.iter().map(|(name, count)| format!("{count:>8}  {name}")).collect();
        let words =
            |map: &BTreeMap<&'static str, u64>| map.iter().map(|(name, count)| format!("{count:>8}  {name}")).collect();
        table("Decisions", words(&self.decisions));
        table("Denied by rule", counts(&self.denials));
        table("What became of calls that ran", words(&self.outcomes));
        table("Limits that were met", counts(&self.limits));
        table("Where approvals ended", counts(&self.closed));
        let left_out = |rows: &mut Vec<String>, count: u64| {
            if count > 0 {
                rows.push(format!("… and {count} more"));
            }
        };
        let mut reviews: Vec<String> = self.reviews.iter().map(Reviewed::line).collect();
        left_out(&mut reviews, self.reviews_left_out);
        table("Who approved and denied what", reviews);
        let mut changes: Vec<String> = self.changes.iter().map(Noted::line).collect();
        left_out(&mut changes, self.changes_left_out);
        table("What administrators changed", changes);
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

    fn line(&self) -> String {
        let Self { seq, at, by, verdict, server, target, requester, approval_id, reason } = self;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("{at}  {by}  {verdict}  {target} on {server} for {requester}  ({approval_id}, entry {seq}){reason}")
    }
}

impl Noted {
    fn of(seq: u64, entry: &AuditEntry) -> Self {
        let parts = [
            Some(entry.kind.as_str()),
            entry.status.as_deref(),
            entry.by.as_deref(),
            entry.source.as_deref(),
            entry.detail.as_deref(),
        ];
        let what = parts.into_iter().flatten().map(visible).collect::<Vec<_>>().join("  ");
        Self { seq, at: time(entry.at_ms), what }
    }

    fn line(&self) -> String {
        format!("{}  {}  (entry {})", self.at, self.what, self.seq)
    }
}
