//! Step 6: whether one condition holds for one reading of a call, in three values.

mod arguments;

use std::collections::BTreeSet;

use super::document::{Match, Selection};
use super::glob::Glob;
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
    pub(super) arguments: Option<Value<'e>>,
}

/// How absence is judged: it makes a predicate false, but under `not` and `every` false turns to true, and then a rule
/// that loosens must not profit from what is not there.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) loosens: bool,
    under_not_or_every: bool,
}

impl Mode {
    /// For the condition of a rule that grants (`loosens`), or of one that forbids or asks.
    pub(super) fn of_rule(loosens: bool) -> Self {
        Self { loosens, under_not_or_every: false }
    }

    fn inside(self) -> Self {
        Self { under_not_or_every: true, ..self }
    }

    fn absent(self) -> Truth {
        if self.loosens && self.under_not_or_every { Truth::Unknown } else { Truth::False }
    }
}

/// Whether every part of `condition` holds.
pub(super) fn holds(condition: &Match, facts: &Facts<'_>, mode: Mode) -> Truth {
    let labels =
        condition.labels.iter().map(|(name, patterns)| one_of_globs(patterns, facts.reading.label(name), mode));
    let cheap = Truth::all([
        is_one_of(&condition.actor_ids, Some(&facts.principal.subject), mode),
        is_one_of(&condition.tenants, facts.principal.tenant.as_deref(), mode),
        any_of(&condition.risk_tags, &facts.reading.risk_tags),
        all_of(&condition.requires, &facts.reading.requires),
        all_of(&condition.scopes, &facts.principal.scopes),
        any_of(&condition.groups, &facts.principal.groups),
        (condition.actor_types.is_empty() || condition.actor_types.contains(&facts.principal.actor_type)).into(),
    ]);
    if cheap == Truth::False {
        return Truth::False;
    }
    let patterns = Truth::all(labels)
        .min(topic(condition, facts.topic))
        .min(one_of_globs(&condition.capabilities, LabelFact::from(facts.reading.capability.as_deref()), mode))
        .min(allowed(&condition.mcp_allow, facts.reading, mode))
        .min(not_denied(&condition.mcp_deny, facts.reading, mode));
    if patterns == Truth::False {
        return Truth::False;
    }
    let arguments =
        condition.arguments.iter().map(|(pointer, test)| arguments::holds(pointer, test, facts.arguments, mode));
    let not = match &condition.not {
        Some(not) => holds(not, facts, mode.inside()).inverted(),
        None => Truth::True,
    };
    cheap.min(patterns).min(Truth::all(arguments)).min(not)
}

/// Whether the topic condition, when there is one, holds.
pub(super) fn topic(condition: &Match, topic: Topic) -> Truth {
    let patterns = &condition.topics;
    (patterns.is_empty() || patterns.iter().any(|glob| glob.matches(topic.as_str()))).into()
}

impl<'r> From<Option<&'r str>> for LabelFact<'r> {
    fn from(value: Option<&'r str>) -> Self {
        value.map_or(Self::Absent, Self::Known)
    }
}

fn one_of_globs(patterns: &BTreeSet<Glob>, fact: LabelFact<'_>, mode: Mode) -> Truth {
    if patterns.is_empty() {
        return Truth::True;
    }
    match fact {
        LabelFact::Absent => mode.absent(),
        LabelFact::Unknown => Truth::Unknown,
        LabelFact::Known(value) => patterns.iter().any(|glob| glob.matches(value)).into(),
    }
}

fn none_of_globs(patterns: &BTreeSet<Glob>, fact: LabelFact<'_>, mode: Mode) -> Truth {
    if patterns.is_empty() {
        return Truth::True;
    }
    match fact {
        LabelFact::Absent => mode.absent(),
        LabelFact::Unknown => Truth::Unknown,
        LabelFact::Known(value) => (!patterns.iter().any(|glob| glob.matches(value))).into(),
    }
}

fn allowed(selection: &Selection, reading: &Reading, mode: Mode) -> Truth {
    let labels = selection.by_label().map(|(_, label, patterns)| one_of_globs(patterns, reading.label(label), mode));
    let action = match reading.action {
        _ if selection.actions.is_empty() => Truth::True,
        Some(action) => selection.actions.contains(&action).into(),
        None => mode.absent(),
    };
    Truth::all(labels).min(action)
}

fn not_denied(selection: &Selection, reading: &Reading, mode: Mode) -> Truth {
    let labels = selection.by_label().map(|(_, label, patterns)| none_of_globs(patterns, reading.label(label), mode));
    let action = match reading.action {
        _ if selection.actions.is_empty() => Truth::True,
        Some(action) => (!selection.actions.contains(&action)).into(),
        None => mode.absent(),
    };
    Truth::all(labels).min(action)
}

fn is_one_of(wanted: &BTreeSet<String>, found: Option<&str>, mode: Mode) -> Truth {
    match found {
        _ if wanted.is_empty() => Truth::True,
        Some(found) => wanted.contains(found).into(),
        None => mode.absent(),
    }
}

fn any_of(wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Truth {
    (wanted.is_empty() || wanted.iter().any(|wanted| found.contains(wanted))).into()
}

fn all_of(wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Truth {
    wanted.is_subset(found).into()
}

#[cfg(test)]
mod tests;
