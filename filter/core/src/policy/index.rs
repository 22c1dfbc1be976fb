//! Step 6: finds the rules that may match a reading without asking all of them.
//!
//! A rule stands under one thing that it needs: of all that it names, what fewest other rules name. A rule that needs
//! nothing that could be looked up is asked always. What is left out is certain not to match: the whole scan and the
//! index decide alike, which a property test holds.

use std::collections::{BTreeMap, BTreeSet};

use super::compile::SnapshotRule;
use super::condition::Facts;
use super::document::{Match, Rule};
use super::glob::Glob;
use crate::envelope::Topic;
use crate::identity::Principal;

/// What rules can be looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    Tool,
    Prompt,
    Method,
    Actor,
    Tenant,
    Group,
    RiskTag,
    Scope,
    Requirement,
    Capability,
    Server,
    Action,
    Topic,
}

/// One value or beginning that a rule needs to find in the facts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Exactly(Facet, String),
    /// What stands before the first star of a pattern; never empty.
    Beginning(Facet, String),
}

/// The rules of one policy by what they need; rules are their indexes, rising.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleIndex {
    /// Those that need nothing that can be looked up.
    always: Vec<usize>,
    /// Those that name topics, for messages of which only these are asked.
    naming_topics: Vec<usize>,
    /// Each facet once.
    facets: Vec<(Facet, Shelf)>,
}

#[derive(Clone, Debug, Default)]
struct Shelf {
    exactly: BTreeMap<String, Vec<usize>>,
    beginnings: BTreeMap<String, Vec<usize>>,
    /// The lengths of all beginnings.
    lengths: BTreeSet<usize>,
}

impl RuleIndex {
    pub(super) fn build(rules: &[SnapshotRule]) -> Self {
        let needs: Vec<Vec<Vec<Key>>> = rules.iter().map(|compiled| needs(&compiled.rule)).collect();
        let mut named: BTreeMap<&Key, usize> = BTreeMap::new();
        for key in needs.iter().flatten().flatten() {
            let times = named.entry(key).or_default();
            *times = times.saturating_add(1);
        }
        let crowd = |keys: &Vec<Key>| keys.iter().filter_map(|key| named.get(key)).max().copied();
        let mut index = Self::default();
        let mut facets: BTreeMap<Facet, Shelf> = BTreeMap::new();
        for (number, compiled) in rules.iter().enumerate() {
            if !compiled.rule.matches.topics.is_empty() {
                index.naming_topics.push(number);
            }
            let rarest = needs.get(number).and_then(|needs| needs.iter().min_by_key(|keys| crowd(keys)));
            match rarest {
                Some(keys) => keys.iter().for_each(|key| put(&mut facets, key, number)),
                None => index.always.push(number),
            }
        }
        index.facets = facets.into_iter().collect();
        index
    }

    /// The rules that stand under nothing, or under what this caller is: the same for all readings of one call, so they are
    /// looked up once.
    pub(super) fn of_caller(&self, topic: Topic, principal: &Principal) -> Vec<usize> {
        if topic.is_plumbing() {
            return Vec::new();
        }
        let mut found = self.always.clone();
        for (facet, shelf) in &self.facets {
            match facet {
                Facet::Actor => shelf.take(Some(&principal.subject), &mut found),
                Facet::Tenant => shelf.take(principal.tenant.as_deref(), &mut found),
                Facet::Group => shelf.take_any(&principal.groups, &mut found),
                Facet::Scope => shelf.take_any(&principal.scopes, &mut found),
                Facet::Tool
                | Facet::Prompt
                | Facet::Method
                | Facet::RiskTag
                | Facet::Requirement
                | Facet::Capability
                | Facet::Server
                | Facet::Action
                | Facet::Topic => {}
            }
        }
        found
    }

    /// The rules that may match, rising, with those of the caller among them; every other one is certain not to.
    pub(super) fn candidates(&self, facts: &Facts<'_>, of_caller: &[usize]) -> Vec<usize> {
        if facts.topic.is_plumbing() {
            return self.naming_topics.clone();
        }
        let mut found = of_caller.to_vec();
        for (facet, shelf) in &self.facets {
            let reading = facts.reading;
            let label = |name: &str| reading.labels.get(name);
            match facet {
                Facet::Tool => shelf.take(label("mcp.tool"), &mut found),
                Facet::Prompt => shelf.take(label("mcp.prompt"), &mut found),
                Facet::Method => shelf.take(label("mcp.method"), &mut found),
                Facet::Server => shelf.take(label("mcp.server"), &mut found),
                Facet::Action => shelf.take(reading.action.map(|action| action.as_str()), &mut found),
                Facet::Topic => shelf.take(Some(facts.topic.as_str()), &mut found),
                Facet::Capability => shelf.take(reading.capability.as_deref(), &mut found),
                Facet::Actor | Facet::Tenant | Facet::Group | Facet::Scope => {}
                Facet::RiskTag => shelf.take_any(&reading.risk_tags, &mut found),
                Facet::Requirement => shelf.take_any(&reading.requires, &mut found),
            }
        }
        // A rule stands under several values when any of them will do.
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn put(facets: &mut BTreeMap<Facet, Shelf>, key: &Key, number: usize) {
    match key {
        Key::Exactly(facet, value) => {
            facets.entry(*facet).or_default().exactly.entry(value.clone()).or_default().push(number);
        }
        Key::Beginning(facet, value) => {
            let shelf = facets.entry(*facet).or_default();
            shelf.lengths.insert(value.len());
            shelf.beginnings.entry(value.clone()).or_default().push(number);
        }
    }
}

impl Shelf {
    fn take(&self, value: Option<&str>, found: &mut Vec<usize>) {
        let Some(value) = value else { return };
        found.extend(self.exactly.get(value).into_iter().flatten());
        for length in &self.lengths {
            let Some(beginning) = value.get(..*length) else { continue };
            found.extend(self.beginnings.get(beginning).into_iter().flatten());
        }
    }

    fn take_any(&self, values: &BTreeSet<String>, found: &mut Vec<usize>) {
        // Groups and scopes come by the hundred; whichever side is shorter is walked.
        if values.len() <= self.exactly.len() {
            found.extend(values.iter().filter_map(|value| self.exactly.get(value)).flatten());
        } else {
            found.extend(self.exactly.iter().filter(|(value, _)| values.contains(*value)).flat_map(|(_, rules)| rules));
        }
    }
}

/// All that a rule needs, each as the keys of which one must be found.
fn needs(rule: &Rule) -> Vec<Vec<Key>> {
    let condition: &Match = &rule.matches;
    let mut needs = Vec::new();
    let mut need = |keys: Option<Vec<Key>>| needs.extend(keys.filter(|keys| !keys.is_empty()));
    let any = |facet: Facet, values: &BTreeSet<String>| {
        Some(values.iter().map(|value| Key::Exactly(facet, value.clone())).collect())
    };
    need(of_globs(Facet::Tool, &condition.mcp_allow.tools));
    need(of_globs(Facet::Prompt, &condition.mcp_allow.prompts));
    need(of_globs(Facet::Server, &condition.mcp_allow.servers));
    let labels = [
        ("mcp.tool", Facet::Tool),
        ("mcp.prompt", Facet::Prompt),
        ("mcp.server", Facet::Server),
        ("mcp.method", Facet::Method),
    ];
    for (label, facet) in labels {
        need(condition.labels.get(label).and_then(|patterns| of_globs(facet, patterns)));
    }
    need(of_globs(Facet::Capability, &condition.capabilities));
    need(any(Facet::Actor, &condition.actor_ids));
    need(any(Facet::Tenant, &condition.tenants));
    need(any(Facet::Group, &condition.groups));
    need(any(Facet::RiskTag, &condition.risk_tags));
    // All of these must be there, so each alone is a need.
    for (facet, values) in [(Facet::Scope, &condition.scopes), (Facet::Requirement, &condition.requires)] {
        values.iter().for_each(|value| need(Some(vec![Key::Exactly(facet, value.clone())])));
    }
    let actions =
        condition.mcp_allow.actions.iter().map(|action| Key::Exactly(Facet::Action, action.as_str().to_owned()));
    need(Some(actions.collect()));
    need(condition.labels.get("mcp.action").and_then(|patterns| of_globs(Facet::Action, patterns)));
    let topics =
        Topic::ALL.into_iter().filter(|topic| condition.topics.iter().any(|glob| glob.matches(topic.as_str())));
    need(Some(topics.map(|topic| Key::Exactly(Facet::Topic, topic.as_str().to_owned())).collect()));
    needs
}

/// Nothing when a pattern begins with a star: any value may match.
fn of_globs(facet: Facet, patterns: &BTreeSet<Glob>) -> Option<Vec<Key>> {
    let key = |glob: &Glob| match glob.fixed_beginning() {
        _ if glob.is_literal() => Some(Key::Exactly(facet, glob.as_str().to_owned())),
        "" => None,
        beginning => Some(Key::Beginning(facet, beginning.to_owned())),
    };
    patterns.iter().map(key).collect()
}
