//! Step 6, before it: whether one condition can only hold where another does, as far as that shows from their texts.

use std::collections::BTreeSet;

use crate::envelope::Topic;
use crate::policy::document::{ActionClass, After, BeforeStart, Match};
use crate::policy::glob::Glob;

/// Whether every call that `narrow` matches is matched by `wide` too; `false` may be wrong.
pub(super) fn is_within(narrow: &Match, wide: &Match) -> bool {
    let Match {
        labels,
        risk_tags,
        requires,
        capabilities,
        topics,
        tenants,
        scopes,
        groups,
        actor_ids,
        actor_types,
        mcp_allow,
        mcp_deny,
        secrets_present,
        arguments,
        after,
        not,
    } = wide;
    let any_of = |narrow: &BTreeSet<String>, wide: &BTreeSet<String>| {
        wide.is_empty() || (!narrow.is_empty() && narrow.is_subset(wide))
    };
    let label_names = labels.keys().map(String::as_str).filter(|name| *name != "mcp.action");
    let by_label = label_names
        .chain(mcp_allow.by_label().map(|(_, label, _)| label))
        .all(|label| wanted(wide, label).all(|wide| wanted(narrow, label).any(|narrow| are_covered(narrow, wide))));
    let excluded = mcp_deny.by_label().into_iter().zip(narrow.mcp_deny.by_label()).all(|(wide, narrow_denied)| {
        let (_, label, wide) = wide;
        let (_, _, narrow_denied) = narrow_denied;
        wide.is_empty() || are_covered(wide, narrow_denied) || wanted(narrow, label).any(|names| are_apart(names, wide))
    });
    by_label
        && excluded
        && any_of(&narrow.risk_tags, risk_tags)
        && any_of(&narrow.tenants, tenants)
        && any_of(&narrow.groups, groups)
        && any_of(&narrow.actor_ids, actor_ids)
        && (actor_types.is_empty() || (!narrow.actor_types.is_empty() && narrow.actor_types.is_subset(actor_types)))
        && requires.is_subset(&narrow.requires)
        && scopes.is_subset(&narrow.scopes)
        && (capabilities.is_empty() || are_covered(&narrow.capabilities, capabilities))
        && topics_are_within(&narrow.topics, topics)
        && actions_are_within(narrow, wide)
        && secrets_present.is_none_or(|wanted| narrow.secrets_present == Some(wanted))
        && arguments.iter().all(|(pointer, test)| narrow.arguments.get(pointer) == Some(test))
        && after.as_ref().is_none_or(|after| narrow.after.as_ref().is_some_and(|narrow| looks_less_far(narrow, after)))
        && not.as_ref().is_none_or(|not| narrow.not.as_ref() == Some(not))
}

/// Whether one looks back for the same kind of call, no farther, and takes no more for unknown.
fn looks_less_far(narrow: &After, wide: &After) -> bool {
    let is_as_strict = wide.before_start == BeforeStart::Unknown || narrow.before_start == wide.before_start;
    narrow.mark() == wide.mark() && narrow.within_ms <= wide.within_ms && is_as_strict
}

/// The actions with which the condition can hold.
pub(super) fn actions(condition: &Match) -> Vec<ActionClass> {
    let fits = |action: &ActionClass| {
        let allowed = &condition.mcp_allow.actions;
        wanted(condition, "mcp.action").all(|patterns| patterns.iter().any(|glob| glob.matches(action.as_str())))
            && (allowed.is_empty() || allowed.contains(action))
            && !condition.mcp_deny.actions.contains(action)
    };
    ActionClass::ALL.into_iter().filter(fits).collect()
}

/// Whether the condition looks at the action at all.
pub(super) fn asks_for_action(condition: &Match) -> bool {
    wanted(condition, "mcp.action").next().is_some()
        || !condition.mcp_allow.actions.is_empty()
        || !condition.mcp_deny.actions.is_empty()
}

/// Every set of patterns of which the label must match one.
pub(super) fn wanted<'m>(condition: &'m Match, label: &str) -> impl Iterator<Item = &'m BTreeSet<Glob>> {
    let selected = condition.mcp_allow.by_label().into_iter().find(|(_, of, _)| *of == label);
    let selected = selected.map(|(_, _, patterns)| patterns).filter(|patterns| !patterns.is_empty());
    condition.labels.get(label).into_iter().chain(selected)
}

fn are_covered(narrow: &BTreeSet<Glob>, wide: &BTreeSet<Glob>) -> bool {
    !narrow.is_empty() && narrow.iter().all(|narrow| wide.iter().any(|wide| wide.covers(narrow)))
}

fn are_apart(one: &BTreeSet<Glob>, two: &BTreeSet<Glob>) -> bool {
    !one.iter().any(|one| two.iter().any(|two| one.overlaps(two)))
}

/// A rule without topics is not asked about plumbing.
fn topics_are_within(narrow: &BTreeSet<Glob>, wide: &BTreeSet<Glob>) -> bool {
    let matched = |patterns: &BTreeSet<Glob>, topic: Topic| {
        if patterns.is_empty() {
            !topic.is_plumbing()
        } else {
            patterns.iter().any(|glob| glob.matches(topic.as_str()))
        }
    };
    Topic::ALL.into_iter().all(|topic| !matched(narrow, topic) || matched(wide, topic))
}

/// A message without an action is none of any.
fn actions_are_within(narrow: &Match, wide: &Match) -> bool {
    let wide_actions = actions(wide);
    !asks_for_action(wide)
        || (asks_for_action(narrow) && actions(narrow).iter().all(|action| wide_actions.contains(action)))
}
