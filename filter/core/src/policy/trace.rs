//! Step 6, told: why each rule matched one call or did not, as plain data. The conditions report to a [`Tracer`] while
//! they are judged, so that a trace cannot say anything but what `evaluate` found.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::{ActionClass, Rule};
use super::truth::Truth;
use crate::decision::{Decision, Verdict};
use crate::envelope::{EnvelopeRecord, Reading};

/// One decision and how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// What `evaluate` decides.
    pub decision: Decision,
    pub envelope: EnvelopeRecord,
    /// The base first.
    pub readings: Vec<ReadingTrace>,
}

/// One way the facts of the call may stand, and what every rule said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingTrace {
    /// What sets it apart; empty for the plain reading of the catalogue.
    pub told_apart_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionClass>,
    pub risk_tags: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secrets_present: bool,
    pub verdict: Verdict,
    /// A rule id, `default_decision`, `plumbing` or `required_scopes`.
    pub decided_by: String,
    /// Every rule of the policy, in the order of their ids.
    pub rules: Vec<RuleTrace>,
}

/// What one rule said of one reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTrace {
    pub rule_id: String,
    /// What the rule decides where it matches.
    pub decides: Verdict,
    pub matched: Truth,
    pub effect: Effect,
    /// The rule is in `mode: observe`: the effect is recorded and not made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// One entry per part of `match` that is written, in no particular order; empty for `match: {}`.
    pub conditions: Vec<ConditionTrace>,
}

/// What a rule did to the verdict and the constraints of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Denies,
    /// Requires an approval.
    Asks,
    /// Requires an approval if anything else allows the call: whether the rule matches is unknown, or it looks back.
    MayAsk,
    /// Allows, under the rule's constraints if it has any.
    Grants,
    /// Allows nothing, but its constraints apply: whether the rule matches is unknown.
    Constrains,
    /// Does not match, or cannot be judged and so grants nothing.
    Nothing,
    /// Was not asked: lists and protocol messages are for rules that name their topic.
    PassedOver,
}

/// One part of a `match`, judged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionTrace {
    /// Where it stands in its `match`: `labels["mcp.action"]`, `groups`, `not`, `arguments["/amount"]`, `gt`.
    pub field: String,
    pub truth: Truth,
    /// How `wanted` is compared: `any of`, `all of`, `none of`, `is`, or the name of a predicate.
    pub test: String,
    pub wanted: Vec<String>,
    /// What the call has there; nothing when it has none. Holds values of arguments, so it is for the author's eyes
    /// and never for a log.
    pub found: Vec<String>,
    /// Why it is unknown, or what absence did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The parts of a nested match, or the predicates on each value that a pointer leads to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<ConditionTrace>,
}

impl fmt::Debug for ConditionTrace {
    /// What was found may be a secret, so only how much was found is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionTrace")
            .field("field", &self.field)
            .field("truth", &self.truth)
            .field("test", &self.test)
            .field("wanted", &self.wanted)
            .field("found", &self.found.len())
            .field("why", &self.why)
            .field("inside", &self.inside)
            .finish()
    }
}

/// Is told how each part of a judgement came out.
pub(super) trait Tracer {
    /// Whether anything is written down. When not, a judgement may stop as soon as it is certain.
    const WRITES: bool;

    /// A condition came out as `truth`.
    fn condition(&mut self, truth: Truth, describe: impl FnOnce() -> Described);

    /// What is told until `close` is part of one condition.
    fn open(&mut self);

    /// The condition that began with `open` came out as `truth`.
    fn close(&mut self, truth: Truth, describe: impl FnOnce() -> Described);

    /// All conditions of `rule` have been told.
    fn rule(&mut self, rule: &Rule, matched: Truth, effect: Effect);

    /// All rules have been told.
    fn reading(&mut self, reading: &Reading, verdict: Verdict, decided_by: &str);
}

/// A condition in words; made only when somebody writes it down.
pub(super) struct Described {
    pub(super) field: String,
    pub(super) test: &'static str,
    pub(super) wanted: Vec<String>,
    pub(super) found: Vec<String>,
    pub(super) why: Option<String>,
}

/// Writes nothing down and costs nothing.
pub(super) struct Untraced;

impl Tracer for Untraced {
    const WRITES: bool = false;

    fn condition(&mut self, _: Truth, _: impl FnOnce() -> Described) {}
    fn open(&mut self) {}
    fn close(&mut self, _: Truth, _: impl FnOnce() -> Described) {}
    fn rule(&mut self, _: &Rule, _: Truth, _: Effect) {}
    fn reading(&mut self, _: &Reading, _: Verdict, _: &str) {}
}

/// Writes everything down.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) readings: Vec<ReadingTrace>,
    rules: Vec<RuleTrace>,
    conditions: Vec<ConditionTrace>,
    /// Where in `conditions` each open condition begins.
    opened: Vec<usize>,
}

impl Recorder {
    fn write(&mut self, truth: Truth, described: Described, inside: Vec<ConditionTrace>) {
        let Described { field, test, wanted, found, why } = described;
        self.conditions.push(ConditionTrace { field, truth, test: test.to_owned(), wanted, found, why, inside });
    }
}

impl Tracer for Recorder {
    const WRITES: bool = true;

    fn condition(&mut self, truth: Truth, describe: impl FnOnce() -> Described) {
        self.write(truth, describe(), Vec::new());
    }

    fn open(&mut self) {
        self.opened.push(self.conditions.len());
    }

    fn close(&mut self, truth: Truth, describe: impl FnOnce() -> Described) {
        let began = self.opened.pop().unwrap_or_default().min(self.conditions.len());
        let inside = self.conditions.split_off(began);
        self.write(truth, describe(), inside);
    }

    fn rule(&mut self, rule: &Rule, matched: Truth, effect: Effect) {
        let conditions = std::mem::take(&mut self.conditions);
        self.rules.push(RuleTrace {
            rule_id: rule.id.clone(),
            decides: rule.verdict,
            matched,
            effect,
            observed: rule.is_observed,
            conditions,
        });
    }

    fn reading(&mut self, reading: &Reading, verdict: Verdict, decided_by: &str) {
        self.readings.push(ReadingTrace {
            told_apart_by: reading.told_apart_by.clone(),
            action: reading.action,
            risk_tags: reading.risk_tags.iter().cloned().collect(),
            secrets_present: reading.has_secrets,
            verdict,
            decided_by: decided_by.to_owned(),
            rules: std::mem::take(&mut self.rules),
        });
    }
}
