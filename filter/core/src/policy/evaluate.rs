//! Step 6: decides. Pure: same envelope, same snapshot, same counters, same decision.
//!
//! Every rule counts, in no order. The verdict is the strictest of all rules that match, over all readings; constraints
//! and approval requirements of all of them apply together.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bases::Bases;
use super::bounds;
use super::compile::{PolicySnapshot, SnapshotRule};
use super::condition::{self, Arguments, Before, Facts, Mode};
use super::document::Rule;
use super::past::UsageView;
use super::pins;
use super::scopes;
use super::trace::{Effect, Recorder, Trace, Tracer, Untraced};
use super::truth::Truth;
use crate::decision::{
    ApprovalRequirement, AuditLevel, Constraints, Decision, Evaluated, Observed, Permit, Reason, Verdict,
};
use crate::digest::Digest;
use crate::envelope::{CallEnvelope, Reading, Settled, Topic};
use crate::order;

/// What decided one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decider {
    /// The index of a rule.
    Rule(usize),
    Default,
    Plumbing,
}

/// The judgement of one reading.
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) decider: Decider,
    /// Indexes of all rules that had a say, rising.
    rules: Vec<usize>,
    /// The verdict and the observed rules that had a say, if the policy observes any.
    observed: Option<(Verdict, Vec<usize>)>,
    /// The least that any rule says which matches, or may match.
    audit: Option<AuditLevel>,
    /// The bound of the deciding rule that the call breaks.
    broken: Option<String>,
    /// Whether a rule was asked that looks at the arguments or at what ran before.
    looked_at_call: bool,
}

/// What the rules asked so far do to one reading: the first of each kind by id, and all that had a say.
#[derive(Default)]
pub(super) struct Tally {
    denied: Option<usize>,
    asked: Option<usize>,
    perhaps_asked: Option<usize>,
    /// Of rules that grant, one that does nothing else says best why.
    granted_plainly: Option<usize>,
    granted_bounded: Option<usize>,
    rules: Vec<usize>,
    /// What the first rule that denies found broken, if it denies for that.
    broken: Option<String>,
}

impl Tally {
    /// Indexes come in rising order.
    pub(super) fn take(&mut self, index: usize, rule: &Rule, effect: Effect, broken: Option<String>) {
        if self.denied.is_none() {
            self.broken = broken;
        }
        let slot = match effect {
            Effect::Nothing | Effect::PassedOver => return,
            Effect::Denies => Some(&mut self.denied),
            Effect::Asks => Some(&mut self.asked),
            Effect::MayAsk => Some(&mut self.perhaps_asked),
            Effect::Grants if rule.constraints.is_empty() => Some(&mut self.granted_plainly),
            Effect::Grants => Some(&mut self.granted_bounded),
            Effect::Constrains => None,
        };
        if let Some(slot) = slot {
            slot.get_or_insert(index);
        }
        self.rules.push(index);
    }

    pub(super) fn verdict(&self, topic: Topic, open_by_default: bool) -> (Verdict, Decider) {
        let by_default = if topic.is_plumbing() { Decider::Plumbing } else { Decider::Default };
        let granted = self.granted_plainly.or(self.granted_bounded);
        match (self.denied, self.asked, granted, self.perhaps_asked) {
            (Some(rule), _, _, _) => (Verdict::Deny, Decider::Rule(rule)),
            (None, Some(rule), _, _) => (Verdict::RequireApproval, Decider::Rule(rule)),
            (None, None, Some(_), Some(rule)) => (Verdict::RequireApproval, Decider::Rule(rule)),
            (None, None, Some(rule), None) => (Verdict::Allow, Decider::Rule(rule)),
            (None, None, None, Some(rule)) if open_by_default => (Verdict::RequireApproval, Decider::Rule(rule)),
            (None, None, None, None) if open_by_default => (Verdict::Allow, by_default),
            (None, None, None, Some(_) | None) => (Verdict::Deny, Decider::Default),
        }
    }
}

/// Whether `rule` is asked about messages of this topic at all.
pub(super) fn is_asked(rule: &Rule, topic: Topic) -> bool {
    !topic.is_plumbing() || !rule.matches.topics.is_empty()
}

/// What a rule does to a reading for which its condition came out as `matched`.
pub(super) fn effect(rule: &Rule, matched: Truth, topic: Topic) -> Effect {
    // Nobody knows what an unknown method does, so only a rule that names the topic can mean it.
    let may_grant = topic != Topic::Unknown || !rule.matches.topics.is_empty();
    match (rule.verdict, matched) {
        (_, Truth::False) => Effect::Nothing,
        (Verdict::Deny, Truth::True | Truth::Unknown) => Effect::Denies,
        // What somebody did before must not open to him what is closed to others: such a rule holds up what runs otherwise.
        (Verdict::RequireApproval, Truth::True) if !rule.matches.looks_back().is_empty() => Effect::MayAsk,
        (Verdict::RequireApproval, Truth::True) => Effect::Asks,
        (Verdict::RequireApproval, Truth::Unknown) => Effect::MayAsk,
        (Verdict::Allow, Truth::True) if may_grant => Effect::Grants,
        (Verdict::Allow, Truth::True | Truth::Unknown) if rule.constraints.is_empty() => Effect::Nothing,
        (Verdict::Allow, Truth::True | Truth::Unknown) => Effect::Constrains,
    }
}

impl PolicySnapshot {
    /// Decides one call that was sealed under this snapshot. `usage` says what its caller did before. Never fails: what
    /// cannot be judged is a deny.
    pub fn evaluate(&self, envelope: &CallEnvelope, usage: &dyn UsageView) -> Evaluated {
        if envelope.snapshot_id() != self.id() {
            return self.refuse_stale();
        }
        let Settled { decision, constraints } = match envelope.settled() {
            Some(settled) => settled.clone(),
            None => self.decide_anew(envelope, usage),
        };
        let permit = match decision.verdict {
            Verdict::Allow => Some(Permit::new(None, self.id(), constraints)),
            Verdict::RequireApproval | Verdict::Deny => None,
        };
        Evaluated { decision, permit }
    }

    #[inline(never)]
    fn decide_anew(&self, envelope: &CallEnvelope, usage: &dyn UsageView) -> Settled {
        let (decision, looked_at_call) = self.decide(envelope, usage, &mut Untraced);
        let settled = Settled { constraints: Arc::new(decision.constraints.clone()), decision: Arc::new(decision) };
        if !looked_at_call {
            envelope.settle(&settled);
        }
        settled
    }

    /// What [`PolicySnapshot::evaluate`] decides, and why each rule matched or did not, reading by reading. For people
    /// who write policies; it holds arguments of the call, and proves nothing.
    pub fn trace(&self, envelope: &CallEnvelope, usage: &dyn UsageView) -> Trace {
        let mut recorder = Recorder::default();
        let decision = if envelope.snapshot_id() == self.id() {
            self.decide(envelope, usage, &mut recorder).0
        } else {
            Arc::unwrap_or_clone(self.refuse_stale().decision)
        };
        Trace { decision, envelope: envelope.record(), readings: recorder.readings }
    }

    /// The decision, and whether any rule that was asked looks at what may be another in the next call.
    fn decide<T: Tracer>(&self, envelope: &CallEnvelope, usage: &dyn UsageView, tracer: &mut T) -> (Decision, bool) {
        // Readings differ in what is called, never in who calls. Who writes down why wants to hear of every rule.
        let of_caller =
            if T::WRITES { Vec::new() } else { self.index.of_caller(envelope.topic(), envelope.principal()) };
        let judgements: Vec<(&Reading, Judgement)> = envelope
            .readings()
            .iter()
            .map(|reading| (reading, self.judge(envelope, reading, usage, &of_caller, tracer)))
            .collect();
        let verdict = judgements.iter().map(|(_, judgement)| judgement.verdict).max().unwrap_or(Verdict::Deny);
        let mut taken = Vec::new();
        judgements.iter().for_each(|(_, judgement)| taken.extend_from_slice(&judgement.rules));
        taken.sort_unstable();
        taken.dedup();
        let rules: Vec<&SnapshotRule> = taken.iter().filter_map(|index| self.rules.get(*index)).collect();
        // The first rule by id, so that a reason does not depend on the order of readings; a rule before the default.
        let decided = judgements
            .iter()
            .filter(|(_, judgement)| judgement.verdict == verdict)
            .min_by_key(|(_, judgement)| judgement.decider);
        let conceal = verdict == Verdict::Deny
            && rules.iter().any(|taken| taken.rule.verdict == Verdict::Deny && taken.rule.conceal);
        let by_default = judgements.iter().any(|(_, judgement)| judgement.decider == Decider::Default);
        let decision = Decision {
            verdict,
            constraints: rules
                .iter()
                .filter(|taken| !taken.rule.constraints.is_empty())
                .fold(Constraints::default(), |sum, taken| sum.united(&bounds::constraints(&taken.rule, envelope))),
            approval: (verdict == Verdict::RequireApproval).then(|| requirement(&rules)),
            reasons: self.reasons(envelope, decided, &taken),
            conceal,
            observed: self.observed(&judgements),
            audit: judgements.iter().filter_map(|(_, judgement)| judgement.audit).min(),
            snapshot_id: self.id(),
            basis: self.basis(envelope, &rules, by_default),
        };
        let looked_at_call = judgements.iter().any(|(_, judgement)| judgement.looked_at_call);
        (scopes::demanded(pins::demanded(decision, envelope), envelope), looked_at_call)
    }

    fn judge<T: Tracer>(
        &self,
        envelope: &CallEnvelope,
        reading: &Reading,
        usage: &dyn UsageView,
        of_caller: &[usize],
        tracer: &mut T,
    ) -> Judgement {
        let topic = envelope.topic();
        let facts = Facts {
            topic,
            reading,
            principal: envelope.principal(),
            arguments: Arguments::Sent(envelope.message().arguments()),
            before: Before::Told(usage),
        };
        let mut tally = Tally::default();
        // As if every rule were enforced.
        let mut all = self.observes.then(Tally::default);
        let mut observed = Vec::new();
        let mut audit = reading.audit;
        let asked = if T::WRITES { (0..self.rules.len()).collect() } else { self.index.candidates(&facts, of_caller) };
        let mut looked_at_call = false;
        for (index, compiled) in asked.into_iter().filter_map(|at| Some((at, self.rules.get(at)?))) {
            let rule = &compiled.rule;
            looked_at_call |= compiled.looks_at_call;
            if !is_asked(rule, topic) {
                tracer.rule(rule, Truth::False, Effect::PassedOver);
                continue;
            }
            let mode = Mode::of_rule(rule.verdict == Verdict::Allow);
            let matched = condition::holds(&rule.matches, &facts, mode, tracer);
            let broken = bounds::broken(&rule.constraints, &facts).filter(|_| matched != Truth::False);
            let effect = if broken.is_some() { Effect::Denies } else { effect(rule, matched, topic) };
            tracer.rule(rule, matched, effect);
            if let Some(all) = &mut all {
                all.take(index, rule, effect, broken.clone());
            }
            if rule.is_observed {
                let had_a_say = !matches!(effect, Effect::Nothing | Effect::PassedOver);
                observed.extend(had_a_say.then_some(index));
            } else {
                tally.take(index, rule, effect, broken);
                audit = AuditLevel::least(audit, rule.audit.filter(|_| matched != Truth::False));
            }
        }
        let is_open = self.is_open_by_default(topic);
        let (verdict, decider) = tally.verdict(topic, is_open);
        let (told, by) = scopes::of_reading(envelope, verdict, self.decider_id(decider));
        tracer.reading(reading, told, by);
        let observed = all.map(|all| (all.verdict(topic, is_open).0, observed));
        Judgement { verdict, decider, rules: tally.rules, observed, audit, broken: tally.broken, looked_at_call }
    }

    /// What the observed rules would have made of the call, when any of them had a say.
    fn observed(&self, judgements: &[(&Reading, Judgement)]) -> Option<Observed> {
        let all = judgements.iter().filter_map(|(_, judgement)| judgement.observed.as_ref());
        let verdict = all.clone().map(|(verdict, _)| *verdict).max()?;
        let indexes: BTreeSet<usize> = order::set(all.flat_map(|(_, rules)| rules.iter().copied()));
        let ids = indexes.iter().filter_map(|index| self.rules.get(*index)).map(|observed| observed.rule.id.clone());
        let rule_ids: Vec<String> = ids.collect();
        (!rule_ids.is_empty()).then_some(Observed { verdict, rule_ids })
    }

    /// Whether a call of this topic that no rule matches is allowed.
    pub(super) fn is_open_by_default(&self, topic: Topic) -> bool {
        topic.is_plumbing() || (topic != Topic::Unknown && self.default_decision == Verdict::Allow)
    }

    fn decider_id(&self, decider: Decider) -> &str {
        match decider {
            Decider::Rule(index) => self.rules.get(index).map_or("default_decision", |decided| &decided.rule.id),
            Decider::Default => "default_decision",
            Decider::Plumbing => "plumbing",
        }
    }

    fn reasons(
        &self,
        envelope: &CallEnvelope,
        decided: Option<&(&Reading, Judgement)>,
        taken: &[usize],
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut first = None;
        match decided {
            Some((_, judgement @ Judgement { decider: Decider::Rule(index), .. })) => {
                first = Some(*index);
                reasons.extend(self.rules.get(*index).map(|decided| match &judgement.broken {
                    Some(broken) => broken_reason(&decided.rule, broken),
                    None => reason(&decided.rule),
                }));
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
        let said = envelope.catalogue_parts();
        let mut parts = Vec::with_capacity(said.len().saturating_add(rules.len()).saturating_add(1));
        parts.extend_from_slice(said);
        parts.extend(rules.iter().map(|taken| taken.digest));
        if by_default {
            parts.push(Bases::word(self.default_decision.as_str()));
        }
        self.bases.name(parts)
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
            observed: None,
            audit: None,
            snapshot_id: self.id(),
            basis: Bases::word("stale"),
        };
        Evaluated { decision: Arc::new(decision), permit: None }
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

/// What the call broke first, then why there is a bound.
fn broken_reason(rule: &Rule, broken: &str) -> Reason {
    let text = match &rule.reason {
        Some(reason) => format!("{broken} ({reason})"),
        None => broken.to_owned(),
    };
    Reason { rule_id: rule.id.clone(), text, remediation: rule.remediation.clone() }
}

/// What all approval rules together ask: per group the largest minimum, and the shortest clocks.
fn requirement(rules: &[&SnapshotRule]) -> ApprovalRequirement {
    ApprovalRequirement::all_together(rules.iter().filter_map(|taken| taken.rule.approval.as_ref()))
}
