//! Step 6: decides. Pure: same envelope, same snapshot, same counters, same decision.
//!
//! Every rule counts, in no order. The verdict is the strictest of all rules that match, over all readings; constraints
//! and approval requirements of all of them apply together.

use std::collections::{BTreeMap, BTreeSet};

use super::compile::{PolicySnapshot, SnapshotRule};
use super::condition::{self, Facts, Mode};
use super::document::Rule;
use super::truth::Truth;
use crate::decision::{
    ApprovalRequirement, ApproverGroup, ConcurrencyLimit, Constraints, Decision, Evaluated, Permit, Reason, Verdict,
};
use crate::digest::Digest;
use crate::envelope::{CallEnvelope, Reading, Topic};

const BASIS_TAG: &str = "holdpoint/basis/v1";

/// Counters of the past that rules may ask for, as they stand now. Rules of this version ask for none.
pub trait UsageView {}

/// No counters: for tests, tools, and a filter that counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUsage;

impl UsageView for NoUsage {}

/// What decided one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decider {
    /// The index of a rule.
    Rule(usize),
    Default,
    Plumbing,
}

/// The judgement of one reading.
struct Judgement {
    verdict: Verdict,
    decider: Decider,
    /// Indexes of all rules that had a say.
    rules: BTreeSet<usize>,
}

impl PolicySnapshot {
    /// Decides one call that was sealed under this snapshot. Never fails: what cannot be judged is a deny.
    pub fn evaluate(&self, envelope: &CallEnvelope, _usage: &dyn UsageView) -> Evaluated {
        if envelope.snapshot_id() != self.id() {
            return self.refuse_stale();
        }
        let judgements: Vec<(&Reading, Judgement)> =
            envelope.readings().iter().map(|reading| (reading, self.judge(envelope, reading))).collect();
        let verdict = judgements.iter().map(|(_, judgement)| judgement.verdict).max().unwrap_or(Verdict::Deny);
        let taken: BTreeSet<usize> =
            judgements.iter().flat_map(|(_, judgement)| judgement.rules.iter().copied()).collect();
        let rules: Vec<&SnapshotRule> = taken.iter().filter_map(|index| self.rules.get(*index)).collect();
        // The first rule by id, so that a reason does not depend on the order of readings; a rule before the default.
        let decided = judgements
            .iter()
            .filter(|(_, judgement)| judgement.verdict == verdict)
            .min_by_key(|(_, judgement)| judgement.decider);
        let constraints = rules.iter().fold(Constraints::default(), |sum, taken| sum.united(&constraints(&taken.rule)));
        let approval = (verdict == Verdict::RequireApproval).then(|| requirement(&rules));
        let conceal = verdict == Verdict::Deny
            && rules.iter().any(|taken| taken.rule.verdict == Verdict::Deny && taken.rule.conceal);
        let by_default = judgements.iter().any(|(_, judgement)| judgement.decider == Decider::Default);
        let decision = Decision {
            verdict,
            constraints,
            approval,
            reasons: self.reasons(envelope, decided, &taken),
            conceal,
            snapshot_id: self.id(),
            basis: self.basis(envelope, &rules, by_default),
        };
        let permit = match verdict {
            Verdict::Allow => Some(Permit::new(envelope.call_digest(), self.id(), decision.constraints.clone())),
            Verdict::RequireApproval | Verdict::Deny => None,
        };
        Evaluated { decision, permit }
    }

    fn judge(&self, envelope: &CallEnvelope, reading: &Reading) -> Judgement {
        let topic = envelope.topic();
        let facts =
            Facts { topic, reading, principal: envelope.principal(), arguments: envelope.message().arguments() };
        let mut rules = BTreeSet::new();
        let (mut denied, mut asked, mut perhaps_asked, mut granted) = (None, None, None, (None, None));
        for (index, SnapshotRule { rule, .. }) in self.rules.iter().enumerate() {
            let names_topic = !rule.matches.topics.is_empty();
            if topic.is_plumbing() && !names_topic {
                continue;
            }
            let truth = condition::holds(&rule.matches, &facts, Mode::of_rule(rule.verdict == Verdict::Allow));
            let first = |slot: Option<usize>| slot.or(Some(index));
            match (rule.verdict, truth) {
                (_, Truth::False) => continue,
                (Verdict::Deny, Truth::True | Truth::Unknown) => denied = first(denied),
                (Verdict::RequireApproval, Truth::True) => asked = first(asked),
                (Verdict::RequireApproval, Truth::Unknown) => perhaps_asked = first(perhaps_asked),
                // Nobody knows what the method does, so only a rule that names the topic can mean it.
                (Verdict::Allow, Truth::True) if topic != Topic::Unknown || names_topic => {
                    // Of rules that grant, one that does nothing else says best why.
                    let (plain, bounded) = &mut granted;
                    let slot = if rule.budgets.is_empty() { plain } else { bounded };
                    *slot = first(*slot);
                }
                (Verdict::Allow, Truth::True | Truth::Unknown) if rule.budgets.is_empty() => continue,
                (Verdict::Allow, Truth::True | Truth::Unknown) => {}
            }
            rules.insert(index);
        }
        let open_by_default =
            topic.is_plumbing() || (topic != Topic::Unknown && self.default_decision == Verdict::Allow);
        let by_default = if topic.is_plumbing() { Decider::Plumbing } else { Decider::Default };
        let (verdict, decider) = match (denied, asked, granted.0.or(granted.1), perhaps_asked) {
            (Some(rule), _, _, _) => (Verdict::Deny, Decider::Rule(rule)),
            (None, Some(rule), _, _) => (Verdict::RequireApproval, Decider::Rule(rule)),
            (None, None, Some(_), Some(rule)) => (Verdict::RequireApproval, Decider::Rule(rule)),
            (None, None, Some(rule), None) => (Verdict::Allow, Decider::Rule(rule)),
            (None, None, None, Some(rule)) if open_by_default => (Verdict::RequireApproval, Decider::Rule(rule)),
            (None, None, None, None) if open_by_default => (Verdict::Allow, by_default),
            (None, None, None, Some(_) | None) => (Verdict::Deny, Decider::Default),
        };
        Judgement { verdict, decider, rules }
    }

    fn reasons(
        &self,
        envelope: &CallEnvelope,
        decided: Option<&(&Reading, Judgement)>,
        taken: &BTreeSet<usize>,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut first = None;
        match decided {
            Some((_, Judgement { decider: Decider::Rule(index), .. })) => {
                first = Some(*index);
                reasons.extend(self.rules.get(*index).map(|decided| reason(&decided.rule)));
            }
            Some((_, Judgement { decider: Decider::Plumbing, .. })) => reasons.push(Reason {
                rule_id: "plumbing".to_owned(),
                text: "lists and protocol messages are allowed unless a rule names their topic".to_owned(),
                remediation: None,
            }),
            Some((reading, Judgement { decider: Decider::Default, verdict, .. })) => {
                reasons.push(default_reason(*verdict, reading, envelope));
            }
            None => {}
        }
        let others = taken.iter().filter(|index| Some(**index) != first);
        reasons.extend(others.filter_map(|index| self.rules.get(*index)).map(|other| reason(&other.rule)));
        reasons
    }

    /// Over what took part and nothing else: the rules, what the catalogue said, and the default where it decided.
    fn basis(&self, envelope: &CallEnvelope, rules: &[&SnapshotRule], by_default: bool) -> Digest {
        let mut parts: BTreeSet<Digest> = envelope.catalogue_parts().clone();
        parts.extend(rules.iter().map(|taken| taken.digest));
        if by_default {
            parts.insert(Digest::tagged(BASIS_TAG, self.default_decision.as_str().as_bytes()));
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|digest| digest.as_bytes().iter().copied()).collect();
        Digest::tagged(BASIS_TAG, &bytes)
    }

    fn refuse_stale(&self) -> Evaluated {
        let reason = Reason {
            rule_id: "default_decision".to_owned(),
            text: "the call was sealed under another policy; it must be sealed again".to_owned(),
            remediation: None,
        };
        let decision = Decision {
            verdict: Verdict::Deny,
            constraints: Constraints::default(),
            approval: None,
            reasons: vec![reason],
            conceal: false,
            snapshot_id: self.id(),
            basis: Digest::tagged(BASIS_TAG, b"stale"),
        };
        Evaluated { decision, permit: None }
    }
}

fn reason(rule: &Rule) -> Reason {
    let text = rule.reason.clone().unwrap_or_else(|| format!("decided by rule `{}`", rule.id));
    Reason { rule_id: rule.id.clone(), text, remediation: rule.remediation.clone() }
}

fn default_reason(verdict: Verdict, reading: &Reading, envelope: &CallEnvelope) -> Reason {
    let base = match (verdict, envelope.topic()) {
        (Verdict::Allow, _) => "no rule matches and the default is to allow".to_owned(),
        (Verdict::Deny | Verdict::RequireApproval, Topic::Unknown) => {
            format!("method `{}` is unknown here: only a rule with `topics` can allow it", envelope.method())
        }
        (Verdict::Deny | Verdict::RequireApproval, _) => "no rule allows this call".to_owned(),
    };
    let text = match reading.told_apart_by.as_str() {
        "" => base,
        apart => format!("{base} {apart}"),
    };
    Reason { rule_id: "default_decision".to_owned(), text, remediation: None }
}

fn constraints(rule: &Rule) -> Constraints {
    let limit =
        rule.budgets.max_concurrent_jobs.map(|jobs_max| ConcurrencyLimit { rule_id: rule.id.clone(), jobs_max });
    Constraints {
        max_runtime_ms: rule.budgets.max_runtime_ms,
        max_retries: rule.budgets.max_retries,
        concurrency: limit.into_iter().collect(),
    }
}

/// What all approval rules together ask: per group the largest minimum, and the shortest clocks.
fn requirement(rules: &[&SnapshotRule]) -> ApprovalRequirement {
    let mut groups: BTreeMap<String, u32> = BTreeMap::new();
    let (mut decide_within_ms, mut claim_within_ms) = (u64::MAX, u64::MAX);
    for approval in rules.iter().filter_map(|taken| taken.rule.approval.as_ref()) {
        for entry in &approval.all_of {
            let min = groups.entry(entry.group.clone()).or_insert(0);
            *min = entry.min.max(*min);
        }
        decide_within_ms = decide_within_ms.min(approval.decide_within_ms);
        claim_within_ms = claim_within_ms.min(approval.claim_within_ms);
    }
    // One person of any group: whoever approves for a named group is that person.
    if groups.len() > 1 && groups.get("*") == Some(&1) {
        groups.remove("*");
    }
    let all_of = groups.into_iter().map(|(group, min)| ApproverGroup { group, min }).collect();
    ApprovalRequirement { all_of, decide_within_ms, claim_within_ms }
}
