//! Step 6: whether one condition holds for one reading of a call, in three values.

mod arguments;
mod attain;

use std::collections::BTreeSet;

use super::document::{ActionClass, After, BeforeStart, Match, Selection, ValueTest};
use super::glob::Glob;
use super::past::UsageView;
use super::pointer::Pointer;
use super::trace::{Described, Tracer};
use super::truth::Truth;
use crate::envelope::{LabelFact, Reading, Topic};
use crate::identity::Principal;
use crate::json::Value;

/// What a condition looks at: one reading, and what is the same in all of them.
#[derive(Clone, Copy)]
pub(super) struct Facts<'e> {
    pub(super) topic: Topic,
    pub(super) reading: &'e Reading,
    pub(super) principal: &'e Principal,
    pub(super) arguments: Arguments<'e>,
    pub(super) before: Before<'e>,
}

/// What the caller did before.
#[derive(Clone, Copy)]
pub(super) enum Before<'e> {
    /// As this says.
    Told(&'e dyn UsageView),
    /// Anything, for questions about a tool and not about a call: what was done is forgotten one day.
    Any,
}

/// The arguments that predicates are asked about.
#[derive(Clone, Copy)]
pub(super) enum Arguments<'e> {
    /// Those of one call; nothing when it sent none.
    Sent(Option<Value<'e>>),
    /// All that a caller might send, for questions about a tool and not about a call.
    Any(Kinds),
}

/// What kinds of value a caller might send.
#[derive(Clone, Copy)]
pub(super) enum Kinds {
    All,
    /// Arguments of a prompt are strings.
    Text,
}

/// How what is not there, and what may be anything, is judged.
///
/// Absence makes a predicate false, but under `not` and `every` false turns to true, and then a rule that loosens must
/// not profit from what is not there. What may be anything comes out as far towards `towards` as some call can bring
/// it; for the facts of one call `towards` means nothing.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) loosens: bool,
    under_not_or_every: bool,
    towards: Truth,
}

impl Mode {
    /// For the condition of a rule that grants (`loosens`), or of one that forbids or asks.
    pub(super) fn of_rule(loosens: bool) -> Self {
        Self { loosens, under_not_or_every: false, towards: Truth::True }
    }

    /// The same, and what may be anything is as it is best for whoever wants the condition to come out as `towards`.
    pub(super) fn towards(self, towards: Truth) -> Self {
        Self { towards, ..self }
    }

    /// What holds for each of several values, all of which must pass.
    fn under_every(self) -> Self {
        Self { under_not_or_every: true, ..self }
    }

    fn under_not(self) -> Self {
        Self { under_not_or_every: true, towards: self.towards.inverted(), ..self }
    }

    fn absent(self) -> Truth {
        if self.loosens && self.under_not_or_every { Truth::Unknown } else { Truth::False }
    }

    fn why_absent(self) -> String {
        match self.absent() {
            Truth::Unknown => "it is not there, and what is not there helps no rule that allows".to_owned(),
            Truth::False | Truth::True => "it is not there".to_owned(),
        }
    }
}

/// The parts of one condition, all of which must hold.
struct Parts<'t, T> {
    truth: Truth,
    tracer: &'t mut T,
}

impl<T: Tracer> Parts<'_, T> {
    /// Judges one more part, if it is written, and if that can still change anything or somebody writes it down.
    fn part(&mut self, is_written: bool, judge: impl FnOnce() -> Truth, describe: impl FnOnce() -> Described) {
        if is_written && (T::WRITES || self.truth != Truth::False) {
            let truth = judge();
            self.truth = self.truth.min(truth);
            self.tracer.condition(truth, describe);
        }
    }
}

/// Whether every part of `condition` holds. What is cheap to judge comes first.
pub(super) fn holds<T: Tracer>(condition: &Match, facts: &Facts<'_>, mode: Mode, tracer: &mut T) -> Truth {
    let (principal, reading) = (facts.principal, facts.reading);
    let mut parts = Parts { truth: Truth::True, tracer };

    let subject = Some(principal.subject.as_str());
    named(&mut parts, "actor_ids", &condition.actor_ids, subject, mode);
    named(&mut parts, "tenants", &condition.tenants, principal.tenant.as_deref(), mode);
    parts.part(
        !condition.actor_types.is_empty(),
        || condition.actor_types.contains(&principal.actor_type).into(),
        || {
            let wanted = condition.actor_types.iter().map(|of| of.as_str().to_owned()).collect();
            described("actor_types", "any of", wanted, vec![principal.actor_type.as_str().to_owned()])
        },
    );
    any_of(&mut parts, "risk_tags", &condition.risk_tags, &reading.risk_tags);
    any_of(&mut parts, "groups", &condition.groups, &principal.groups);
    all_of(&mut parts, "requires", &condition.requires, &reading.requires);
    all_of(&mut parts, "scopes", &condition.scopes, &principal.scopes);

    actions(&mut parts, "mcp.allow_actions", &condition.mcp_allow.actions, true, reading.action, mode);
    actions(&mut parts, "mcp.deny_actions", &condition.mcp_deny.actions, false, reading.action, mode);
    globs(&mut parts, || "topics".to_owned(), &condition.topics, true, LabelFact::Known(facts.topic.as_str()), mode);
    for (name, patterns) in &condition.labels {
        globs(&mut parts, || format!("labels[{name:?}]"), patterns, true, reading.label(name), mode);
    }
    let capability = LabelFact::from(reading.capability.as_deref());
    globs(&mut parts, || "capabilities".to_owned(), &condition.capabilities, true, capability, mode);
    selected(&mut parts, "allow", &condition.mcp_allow, reading, mode);
    selected(&mut parts, "deny", &condition.mcp_deny, reading, mode);

    parts.part(
        condition.secrets_present.is_some(),
        || (condition.secrets_present == Some(reading.has_secrets)).into(),
        || {
            let wanted = condition.secrets_present.map(|wanted| wanted.to_string()).into_iter().collect();
            described("secrets_present", "is", wanted, vec![reading.has_secrets.to_string()])
        },
    );

    for (pointer, test) in &condition.arguments {
        if T::WRITES || parts.truth != Truth::False {
            let truth = arguments::holds(pointer, test, facts.arguments, mode, parts.tracer);
            parts.truth = parts.truth.min(truth);
        }
    }
    if let Some(after) = &condition.after {
        parts.part(
            true,
            || looks_back(after, facts, mode),
            || Described {
                why: matches!(looks_back(after, facts, mode), Truth::Unknown)
                    .then(|| "what ran before is not all known, which helps nobody".to_owned()),
                ..described("after", "within", after_in_words(after), Vec::new())
            },
        );
    }
    if let Some(not) = &condition.not
        && (T::WRITES || parts.truth != Truth::False)
    {
        parts.tracer.open();
        let truth = holds(not, facts, mode.under_not(), parts.tracer).inverted();
        parts.truth = parts.truth.min(truth);
        parts.tracer.close(truth, || described("not", "must not hold", Vec::new(), Vec::new()));
    }
    parts.truth
}

fn looks_back(after: &After, facts: &Facts<'_>, mode: Mode) -> Truth {
    match facts.before {
        Before::Told(usage) => usage.past(after.mark(), facts.principal).tells(after),
        Before::Any => mode.towards,
    }
}

fn after_in_words(after: &After) -> Vec<String> {
    let patterns = |globs: &BTreeSet<Glob>| globs.iter().map(|glob| glob.as_str().to_owned()).collect::<Vec<_>>();
    let parts = [
        ("risk_tags", texts(&after.risk_tags)),
        ("capabilities", patterns(&after.capabilities)),
        ("servers", patterns(&after.servers)),
    ];
    let written = parts.into_iter().filter(|(_, wanted)| !wanted.is_empty());
    let mut words: Vec<String> = written.map(|(name, wanted)| format!("{name} {}", wanted.join("|"))).collect();
    words.push(format!("{} ms", after.within_ms));
    if after.before_start == BeforeStart::Clean {
        words.push("clean before the start".to_owned());
    }
    words
}

/// Whether every value that `pointer` leads to passes `test` for certain. Absence passes only where it is `optional`.
pub(super) fn keeps_bound(pointer: &Pointer, test: &ValueTest, optional: bool, arguments: Option<Value<'_>>) -> bool {
    arguments::is_certain(pointer, test, optional, arguments)
}

/// A pointer whose test no value can pass, in a rule that grants (`loosens`) or in one that forbids. Where being unknown is
/// an effect too (`unknown_counts`), a test must be certain to fail.
pub(super) fn never_passes(condition: &Match, loosens: bool, unknown_counts: bool) -> Option<&str> {
    let mode = Mode::of_rule(loosens).towards(Truth::True);
    let enough = if unknown_counts { Truth::Unknown } else { Truth::True };
    let mut tests = condition.arguments.iter();
    let never = tests.find(|(pointer, test)| attain::extreme(pointer, test, Kinds::All, mode) < enough);
    never.map(|(pointer, _)| pointer.as_str())
}

impl<'r> From<Option<&'r str>> for LabelFact<'r> {
    fn from(value: Option<&'r str>) -> Self {
        value.map_or(Self::Absent, Self::Known)
    }
}

fn named<T: Tracer>(parts: &mut Parts<'_, T>, field: &str, wanted: &BTreeSet<String>, found: Option<&str>, mode: Mode) {
    let judge = || found.map_or_else(|| mode.absent(), |found| wanted.contains(found).into());
    parts.part(!wanted.is_empty(), judge, || Described {
        why: found.is_none().then(|| mode.why_absent()),
        ..described(field, "any of", texts(wanted), found.map(str::to_owned).into_iter().collect())
    });
}

fn any_of<T: Tracer>(parts: &mut Parts<'_, T>, field: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>) {
    let judge = || wanted.iter().any(|wanted| found.contains(wanted)).into();
    parts.part(!wanted.is_empty(), judge, || described(field, "any of", texts(wanted), texts(found)));
}

fn all_of<T: Tracer>(parts: &mut Parts<'_, T>, field: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>) {
    let judge = || wanted.is_subset(found).into();
    parts.part(!wanted.is_empty(), judge, || described(field, "all of", texts(wanted), texts(found)));
}

/// `mcp.allow_actions` (`is_one`) or `mcp.deny_actions`.
fn actions<T: Tracer>(
    parts: &mut Parts<'_, T>,
    field: &str,
    wanted: &BTreeSet<ActionClass>,
    is_one: bool,
    found: Option<ActionClass>,
    mode: Mode,
) {
    let judge = || found.map_or_else(|| mode.absent(), |found| (wanted.contains(&found) == is_one).into());
    parts.part(!wanted.is_empty(), judge, || Described {
        why: found.is_none().then(|| mode.why_absent()),
        ..described(
            field,
            if is_one { "any of" } else { "none of" },
            wanted.iter().map(|action| action.as_str().to_owned()).collect(),
            found.map(|action| action.as_str().to_owned()).into_iter().collect(),
        )
    });
}

/// The patterns of `mcp.allow_…` or `mcp.deny_…`.
fn selected<T: Tracer>(parts: &mut Parts<'_, T>, prefix: &str, selection: &Selection, reading: &Reading, mode: Mode) {
    for (name, label, patterns) in selection.by_label() {
        if !patterns.is_empty() {
            globs(parts, || format!("mcp.{prefix}_{name}"), patterns, prefix == "allow", reading.label(label), mode);
        }
    }
}

/// Whether the fact is one of the patterns (`is_one`), or is there and none of them.
fn globs<T: Tracer>(
    parts: &mut Parts<'_, T>,
    field: impl FnOnce() -> String,
    patterns: &BTreeSet<Glob>,
    is_one: bool,
    fact: LabelFact<'_>,
    mode: Mode,
) {
    let judge = || match fact {
        LabelFact::Absent => mode.absent(),
        LabelFact::Unknown => Truth::Unknown,
        LabelFact::Known(value) => (patterns.iter().any(|glob| glob.matches(value)) == is_one).into(),
        LabelFact::AnyOf(texts) => {
            let wants_match = (mode.towards == Truth::True) == is_one;
            let matches = match wants_match {
                true => patterns.iter().any(|glob| glob.overlaps(texts)),
                false => patterns.iter().any(|glob| glob.covers(texts)),
            };
            (matches == is_one).into()
        }
    };
    parts.part(!patterns.is_empty(), judge, || {
        let wanted = patterns.iter().map(|glob| glob.as_str().to_owned()).collect();
        let (found, why) = match fact {
            LabelFact::Absent => (Vec::new(), Some(mode.why_absent())),
            LabelFact::Unknown => {
                let why = "an argument that names it is no plain text, or only a near-name of it is there";
                (Vec::new(), Some(why.to_owned()))
            }
            LabelFact::Known(value) => (vec![value.to_owned()], None),
            LabelFact::AnyOf(texts) => (vec![texts.as_str().to_owned()], None),
        };
        Described { why, ..described(&field(), if is_one { "any of" } else { "none of" }, wanted, found) }
    });
}

fn described(field: &str, test: &'static str, wanted: Vec<String>, found: Vec<String>) -> Described {
    Described { field: field.to_owned(), test, wanted, found, why: None }
}

fn texts(set: &BTreeSet<String>) -> Vec<String> {
    set.iter().cloned().collect()
}

#[cfg(test)]
mod tests;
