//! Step 6, twice: what a candidate would have decided otherwise, counted by one worker and on its way to the service.
//!
//! A report holds all that was counted since the worker began with this pair of policies, so one that is sent again, or
//! lost before the next one, changes nothing.

use std::collections::{BTreeMap, VecDeque};

use holdpoint_core::candidate::{
    CandidateDifference, CandidateKey, CandidateReport, CandidateSample, DIFFERENCES_MAX, NAME_CHARS_MAX, NAMELESS_MAX,
    OtherDecision,
};
use holdpoint_core::decision::{AuditLevel, Decision};
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::CallEnvelope;

use crate::audit_buffer::BatchAnswer;

#[cfg(test)]
mod tests;

/// Most reports on earlier pairs of policies that wait for the service; the oldest is forgotten then.
const CLOSED_MAX: usize = 4;

/// The table of one worker.
#[derive(Debug, Default)]
pub struct CandidateTable {
    trial: Option<Trial>,
    /// The last reports on pairs of policies that are over.
    closed: VecDeque<CandidateReport>,
    /// The report in flight is the front of `closed`.
    sent_closed: bool,
}

/// What is known of one pair of policies.
#[derive(Debug)]
struct Trial {
    snapshot_id: Digest,
    candidate_id: Digest,
    since_ms: u64,
    until_ms: u64,
    compared: u64,
    unlisted: u64,
    differences: BTreeMap<CandidateKey, CandidateDifference>,
    named: usize,
    /// Something was counted since the last report was sent.
    is_news: bool,
}

impl CandidateTable {
    /// Counts one call that both policies have judged. `wall_ms` is Unix time.
    pub fn count(
        &mut self,
        (snapshot_id, candidate_id): (Digest, Digest),
        otherwise: Option<CandidateDifference>,
        source: &str,
        wall_ms: u64,
    ) {
        let is_another = |trial: &Trial| (trial.snapshot_id, trial.candidate_id) != (snapshot_id, candidate_id);
        if let Some(over) = self.trial.take_if(|trial| is_another(trial))
            && over.is_news
        {
            if self.closed.len() >= CLOSED_MAX && !self.sent_closed {
                self.closed.pop_front();
            }
            if self.closed.len() < CLOSED_MAX {
                self.closed.push_back(over.report(source));
            }
        }
        let trial = self.trial.get_or_insert_with(|| Trial {
            snapshot_id,
            candidate_id,
            since_ms: wall_ms,
            until_ms: wall_ms,
            compared: 0,
            unlisted: 0,
            differences: BTreeMap::new(),
            named: 0,
            is_news: false,
        });
        trial.compared = trial.compared.saturating_add(1);
        trial.until_ms = wall_ms;
        trial.is_news = true;
        if let Some(difference) = otherwise {
            trial.add(difference);
        }
    }

    /// The next report, if there is something to say and none is in flight. Gateway and plugin are the sender's to add.
    pub fn next_report(&mut self, source: &str) -> Option<CandidateReport> {
        if let Some(closed) = self.closed.front() {
            self.sent_closed = true;
            return Some(closed.clone());
        }
        let trial = self.trial.as_mut().filter(|trial| trial.is_news)?;
        trial.is_news = false;
        Some(trial.report(source))
    }

    /// The service answered the report in flight. One that was lost is sent again with whatever has come since.
    pub fn report_answered(&mut self, answer: BatchAnswer) {
        let was_closed = std::mem::take(&mut self.sent_closed);
        match (answer, was_closed) {
            (BatchAnswer::Acknowledged | BatchAnswer::Rejected, true) => {
                self.closed.pop_front();
            }
            (BatchAnswer::TryAgain, false) => {
                if let Some(trial) = &mut self.trial {
                    trial.is_news = true;
                }
            }
            (BatchAnswer::TryAgain, true) | (BatchAnswer::Acknowledged | BatchAnswer::Rejected, false) => {}
        }
    }
}

impl Trial {
    fn add(&mut self, mut difference: CandidateDifference) {
        let key = difference.key();
        if let Some(known) = self.differences.get_mut(&key) {
            known.add(&difference);
            return;
        }
        if difference.tool.is_some() {
            if self.named < DIFFERENCES_MAX {
                self.named = self.named.saturating_add(1);
                self.differences.insert(key, difference);
                return;
            }
            // A caller can make up any number of names.
            difference.tool = None;
            return self.add(difference);
        }
        if self.differences.len().saturating_sub(self.named) < NAMELESS_MAX {
            self.differences.insert(key, difference);
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    fn report(&self, source: &str) -> CandidateReport {
        CandidateReport {
            gateway: String::new(),
            source: source.to_owned(),
            plugin: String::new(),
            snapshot_id: self.snapshot_id,
            candidate_id: self.candidate_id,
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            compared: self.compared,
            unlisted: self.unlisted,
            differences: self.differences.values().cloned().collect(),
        }
    }
}

/// Whether the call may be named by its digest, which tells of the arguments where they are few.
pub fn may_name(decision: &Decision) -> bool {
    decision.audit != Some(AuditLevel::Metadata)
}

/// How one call is told that the candidate would decide otherwise.
pub fn difference(
    envelope: &CallEnvelope,
    decision: &Decision,
    other: &OtherDecision,
    wall_ms: u64,
) -> CandidateDifference {
    let clip = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
    let tool = envelope.message().target().tool().map(clip);
    CandidateDifference {
        server: clip(envelope.server()),
        method: clip(envelope.method()),
        tool,
        change: other.change,
        verdict: decision.verdict,
        rule_id: clip(decision.rule_id()),
        candidate_verdict: other.verdict,
        candidate_rule_id: clip(&other.rule_id),
        calls: 1,
        sample: CandidateSample { call_digest: may_name(decision).then(|| envelope.call_digest()), at_ms: wall_ms },
    }
}
