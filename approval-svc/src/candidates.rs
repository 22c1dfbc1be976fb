//! Step 6, twice: what the policies that gateways try would have decided otherwise, summed up over all of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use holdpoint_core::candidate::{
    CandidateDifference, CandidateKey, CandidateReport, DIFFERENCES_MAX, NAME_CHARS_MAX, NAMELESS_MAX, UNSUPPORTED,
};
use holdpoint_core::decision::Verdict;
use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::GONE_AFTER_MS;
use serde::{Deserialize, Serialize};

use crate::store::{Change, CommitError, Store, StoreError, Write};
use crate::text::time;

#[cfg(test)]
mod tests;

/// How long a report is kept after the worker's last word.
const REMEMBERED_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Longest name of a gateway, a worker or a plugin, in characters.
const SOURCE_CHARS_MAX: usize = 1_000;
/// Reports that are held at once while they are summed up; one may have some hundred kilobytes.
const REPORTS_AT_ONCE: u32 = 50;
/// Most differences of one trial that are told apart while reports are summed up: callers make up names of tools.
const MERGED_MAX: usize = 5_000;
/// Most gateways whose policy in force is looked at.
const GATEWAYS_MAX: u32 = 10_000;
/// Most pairs of policies, and most differences of each, that are told.
const TRIALS_MAX: u32 = 50;
const TOLD_MAX: usize = 200;

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("`{0}` must have 1 to {SOURCE_CHARS_MAX} characters")]
    Name(&'static str),
    #[error("a name in `differences` has more than {NAME_CHARS_MAX} characters")]
    LongName,
    #[error("a report tells of at most {} differences", DIFFERENCES_MAX + NAMELESS_MAX)]
    TooMany,
    #[error("more calls differ than were compared")]
    Sum,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Keeps the latest report of a worker on a pair of policies.
pub async fn take(store: &dyn Store, report: CandidateReport) -> Result<(), ReportError> {
    let names = [("gateway", &report.gateway), ("source", &report.source), ("plugin", &report.plugin)];
    for (name, text) in names {
        if text.is_empty() || text.chars().count() > SOURCE_CHARS_MAX {
            return Err(ReportError::Name(name));
        }
    }
    if report.differences.len() > DIFFERENCES_MAX + NAMELESS_MAX {
        return Err(ReportError::TooMany);
    }
    let is_long = |text: &str| text.chars().count() > NAME_CHARS_MAX;
    for one in &report.differences {
        let names = [&one.server, &one.method, &one.rule_id, &one.candidate_rule_id];
        if names.into_iter().chain(&one.tool).any(|name| is_long(name)) {
            return Err(ReportError::LongName);
        }
    }
    if differing(&report.differences, report.unlisted) > report.compared {
        return Err(ReportError::Sum);
    }
    let at_ms = store.now_ms().await?;
    let write = Write::PutCandidateReport {
        report: Box::new(report),
        at_ms,
        forget_before_ms: at_ms.saturating_sub(REMEMBERED_MS),
    };
    store.commit(Change { writes: vec![write], entries: Vec::new() }).await?;
    Ok(())
}

fn differing(differences: &[CandidateDifference], unlisted: u64) -> u64 {
    differences.iter().fold(unlisted, |sum, one| sum.saturating_add(one.calls))
}

/// One candidate beside one policy in force, over all gateways that try it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CandidateView {
    pub candidate_id: Digest,
    /// The policy that decided.
    pub snapshot_id: Digest,
    pub plugin: String,
    /// In one sentence.
    pub summary: String,
    /// When the first call was compared, and the last: Unix time in milliseconds, by the gateways' clocks.
    pub since_ms: u64,
    pub until_ms: u64,
    /// Calls that both policies have judged.
    pub compared: u64,
    /// Of those, the ones that the candidate would decide otherwise.
    pub differing: u64,
    /// Those among them that are in none of `differences`.
    pub unlisted: u64,
    /// Gateways that have compared calls.
    pub gateways: Vec<String>,
    /// Gateways that have the candidate in force by now.
    pub in_force_on: Vec<String>,
    /// By how many calls, the most first.
    pub differences: Vec<CandidateDifference>,
}

/// One candidate beside one policy in force, in one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub candidate_id: Digest,
    pub snapshot_id: Digest,
    pub plugin: String,
}

/// What is tried and what was tried in the last thirty days, the latest first.
pub async fn list(store: &dyn Store) -> Result<Vec<CandidateView>, StoreError> {
    let now_ms = store.now_ms().await?;
    let in_force = store.all_in_force(now_ms.saturating_sub(GONE_AFTER_MS), GATEWAYS_MAX).await?;
    let mut views = Vec::new();
    for trial in store.candidate_trials(TRIALS_MAX).await? {
        let mut sum = Sum::default();
        let mut after = String::new();
        loop {
            let reports = store.candidate_reports(&trial, &after, REPORTS_AT_ONCE).await?;
            let Some(last) = reports.last() else { break };
            after.clone_from(&last.source);
            reports.into_iter().for_each(|report| sum.add(report));
        }
        let has_it = in_force
            .iter()
            .map(|row| &row.report)
            .filter(|report| report.snapshot_id == trial.candidate_id && report.standing.plugin == trial.plugin);
        let in_force_on: BTreeSet<String> = has_it.map(|report| report.gateway.clone()).collect();
        views.push(sum.view(trial, in_force_on));
    }
    views.sort_by_key(|view| std::cmp::Reverse(view.until_ms));
    Ok(views)
}

/// Reports on one trial, summed up.
#[derive(Default)]
struct Sum {
    compared: u64,
    unlisted: u64,
    since_ms: Option<u64>,
    until_ms: u64,
    gateways: BTreeSet<String>,
    merged: BTreeMap<CandidateKey, CandidateDifference>,
}

impl Sum {
    fn add(&mut self, report: CandidateReport) {
        self.compared = self.compared.saturating_add(report.compared);
        self.unlisted = self.unlisted.saturating_add(report.unlisted);
        self.since_ms = Some(self.since_ms.map_or(report.since_ms, |since_ms| since_ms.min(report.since_ms)));
        self.until_ms = self.until_ms.max(report.until_ms);
        self.gateways.insert(report.gateway);
        for one in report.differences {
            let is_full = self.merged.len() >= MERGED_MAX;
            match self.merged.entry(one.key()) {
                Entry::Occupied(mut known) => known.get_mut().add(&one),
                Entry::Vacant(_) if is_full => self.unlisted = self.unlisted.saturating_add(one.calls),
                Entry::Vacant(vacant) => drop(vacant.insert(one)),
            }
        }
    }

    fn view(self, trial: Trial, in_force_on: BTreeSet<String>) -> CandidateView {
        let mut differences: Vec<CandidateDifference> = self.merged.into_values().collect();
        let mut unlisted = self.unlisted;
        let differing = differing(&differences, unlisted);
        let since_ms = self.since_ms.unwrap_or_default();
        let summary = summary(self.compared, since_ms, differing, &differences, unlisted);
        differences.sort_by_key(|one| std::cmp::Reverse(one.calls));
        if differences.len() > TOLD_MAX {
            let rest = differences.split_off(TOLD_MAX);
            unlisted = self::differing(&rest, unlisted);
        }
        CandidateView {
            candidate_id: trial.candidate_id,
            snapshot_id: trial.snapshot_id,
            plugin: trial.plugin,
            summary,
            since_ms,
            until_ms: self.until_ms,
            compared: self.compared,
            differing,
            unlisted,
            gateways: self.gateways.into_iter().collect(),
            in_force_on: in_force_on.into_iter().collect(),
            differences,
        }
    }
}

/// What the difference means to who calls.
fn summary(compared: u64, since_ms: u64, differing: u64, differences: &[CandidateDifference], unlisted: u64) -> String {
    let calls = |count: u64| if count == 1 { "1 call".to_owned() } else { format!("{count} calls") };
    let begun = format!("Of {} since {}", calls(compared), time(since_ms));
    if differing == 0 {
        return format!("{begun}, the candidate would decide all alike.");
    }
    let mut counts: BTreeMap<(Verdict, Verdict), u64> = BTreeMap::new();
    for one in differences {
        let count = counts.entry((one.verdict, one.candidate_verdict)).or_default();
        *count = count.saturating_add(one.calls);
    }
    let mut words: Vec<String> = counts
        .iter()
        .map(|((today, then), count)| match (today, then) {
            (Verdict::Allow, Verdict::Deny) => format!("deny {count} that run today"),
            (Verdict::Allow, Verdict::RequireApproval) => format!("hold {count} that run today"),
            (Verdict::RequireApproval, Verdict::Deny) => format!("deny {count} that wait for people today"),
            (Verdict::RequireApproval, Verdict::Allow) => format!("let {count} run that wait for people today"),
            (Verdict::Deny, Verdict::Allow) => format!("let {count} run that are denied today"),
            (Verdict::Deny, Verdict::RequireApproval) => format!("hold {count} that are denied today"),
            (Verdict::Allow, Verdict::Allow) => format!("let {count} run under other limits"),
            (Verdict::RequireApproval, Verdict::RequireApproval) => {
                format!("hold {count} for other people or under other limits")
            }
            (Verdict::Deny, Verdict::Deny) => format!("deny {count} otherwise"),
        })
        .collect();
    if unlisted > 0 {
        words.push(format!("decide {unlisted} otherwise that are not told apart"));
    }
    let unknown: u64 = differences.iter().filter(|one| one.candidate_rule_id == UNSUPPORTED).map(|one| one.calls).sum();
    let aside = match unknown {
        0 => String::new(),
        count => format!(" To {count} of them it has no answer, as its catalogue does not know their server or tool."),
    };
    format!("{begun}, the candidate would {}.{aside}", words.join(", "))
}
