//! What became of many recorded calls under another policy, counted.

use std::collections::BTreeMap;

use super::{Change, Simulated, compare_verdicts, recorded};
use crate::audit::AuditEntry;
use crate::decision::Verdict;

/// One kind of change: what was decided by which rule, and what would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    pub from: Verdict,
    pub from_rule: String,
    pub to: Verdict,
    pub to_rule: String,
}

/// How often one rule of the new policy takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// It matches whatever was not recorded.
    pub matched: u64,
    /// It matches or not, depending on what was not recorded.
    pub open: u64,
    /// It decides a call more strictly than was decided.
    pub tighter: u64,
    pub looser: u64,
}

/// Counts over a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub calls: u64,
    pub same: u64,
    pub tighter: u64,
    pub looser: u64,
    pub undecidable: u64,
    pub not_judged: u64,
    /// By rule id; every rule that was heard of.
    pub rules: BTreeMap<String, RuleTally>,
    pub moves: BTreeMap<Move, u64>,
    /// Of the undecidable ones: what the record lacks.
    pub lacks: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds one call; answers how it changed where that can be said.
    pub fn add(&mut self, entry: &AuditEntry, simulated: &Simulated) -> Option<Change> {
        self.calls = self.calls.saturating_add(1);
        let (decision, rules) = match simulated {
            Simulated::Decided { decision, rules } => (decision, rules),
            Simulated::Undecidable { open_rules, lacks, .. } => {
                count(&mut self.undecidable);
                for rule in open_rules {
                    count(&mut self.rules.entry(rule.clone()).or_default().open);
                }
                for lack in lacks {
                    count(self.lacks.entry((*lack).to_owned()).or_default());
                }
                return None;
            }
            Simulated::NotJudged(_) => {
                count(&mut self.not_judged);
                return None;
            }
        };
        let Some((from, from_rule)) = recorded(entry) else {
            count(&mut self.not_judged);
            return None;
        };
        for rule in rules {
            count(&mut self.rules.entry(rule.clone()).or_default().matched);
        }
        let change = compare_verdicts(from, decision.verdict);
        let rule = self.rules.entry(decision.rule_id().to_owned()).or_default();
        match change {
            Change::Same | Change::Mixed => count(&mut self.same),
            Change::Tighter => {
                count(&mut self.tighter);
                count(&mut rule.tighter);
            }
            Change::Looser => {
                count(&mut self.looser);
                count(&mut rule.looser);
            }
        }
        if change != Change::Same {
            let to_rule = decision.rule_id().to_owned();
            let moved = Move { from, from_rule: from_rule.to_owned(), to: decision.verdict, to_rule };
            count(self.moves.entry(moved).or_default());
        }
        Some(change)
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
