//! Step 6, before it: whether a rule can match anything that this catalogue describes.

use std::collections::{BTreeMap, BTreeSet};

use super::narrower::{actions, asks_for_action, wanted};
use crate::decision::Verdict;
use crate::envelope::SECRETS_TAG;
use crate::policy::condition;
use crate::policy::document::{Entry, Match, PolicyDocument, Rule, Server};

/// Why `rule` can never match, when that is certain.
pub(super) fn why_unreachable(rule: &Rule, document: &PolicyDocument) -> Option<String> {
    let condition = &rule.matches;
    if asks_for_action(condition) && actions(condition).is_empty() {
        return Some("no action is left of what it allows and denies".to_owned());
    }
    let loosens = rule.verdict == Verdict::Allow;
    if let Some(pointer) = condition::never_passes(condition, loosens, !plainly_allows(rule)) {
        return Some(format!("no value passes its tests on `{pointer}`"));
    }
    // Without a catalogue no call is judged at all, and a rule file may be written before its servers are.
    if document.servers.is_empty() {
        return None;
    }
    let named = |name: &str| {
        wanted(condition, "mcp.server").all(|patterns| patterns.iter().any(|glob| glob.matches(name)))
            && !condition.mcp_deny.servers.iter().any(|glob| glob.matches(name))
    };
    let servers: Vec<&Server> =
        document.servers.iter().filter(|(name, _)| named(name)).map(|(_, server)| server).collect();
    if servers.is_empty() {
        let known: Vec<&str> = document.servers.keys().map(String::as_str).collect();
        return Some(format!("it names no server of the catalogue (known: {})", known.join(", ")));
    }
    let is_described = servers.into_iter().any(|server| facts_of(server).any(|facts| facts.fit(rule)));
    (!is_described).then(|| format!("nothing in the catalogue has what it asks for ({})", asked(condition).join(", ")))
}

/// Whether the rule does nothing but allow: then only a certain match has an effect.
fn plainly_allows(rule: &Rule) -> bool {
    rule.verdict == Verdict::Allow && rule.constraints.is_empty()
}

/// What the catalogue says of one tool, resource or prompt, or of whatever it does not name.
struct Described<'d> {
    server: &'d Server,
    entry: Option<&'d Entry>,
}

fn facts_of(server: &Server) -> impl Iterator<Item = Described<'_>> {
    let entries = server.tools.values().chain(server.resources.values()).chain(server.prompts.values());
    let all = std::iter::once(None).chain(entries.map(Some));
    all.map(move |entry| Described { server, entry })
}

impl Described<'_> {
    fn fit(&self, rule: &Rule) -> bool {
        let condition = &rule.matches;
        let none = BTreeSet::new();
        let no_labels = BTreeMap::new();
        let (tags, requires, labels) = match self.entry {
            Some(entry) => (&entry.risk_tags, &entry.requires, &entry.labels),
            None => (&self.server.unlisted_risk_tags, &none, &no_labels),
        };
        let capability = self.entry.and_then(|entry| entry.capability.as_deref());
        let has_label = |name: &String| labels.get(name).or_else(|| self.server.labels.get(name));
        // What a caller adds grants nothing. A secret that is found does not either, but where another rule lets only calls
        // without one run, it is this one that decides of those with one.
        let has = |tag: &String| tags.contains(tag) || self.server.risk_tags.contains(tag) || tag == SECRETS_TAG;
        let has_tag = condition.risk_tags.iter().any(has);
        (condition.risk_tags.is_empty() || !plainly_allows(rule) || has_tag)
            && condition.requires.iter().all(|need| requires.contains(need) || self.server.requires.contains(need))
            && (condition.capabilities.is_empty()
                || capability.is_some_and(|found| condition.capabilities.iter().any(|glob| glob.matches(found))))
            && condition.labels.iter().filter(|(name, _)| !name.starts_with("mcp.")).all(|(name, patterns)| {
                has_label(name).is_some_and(|found| patterns.iter().any(|glob| glob.matches(found)))
            })
    }
}

fn asked(condition: &Match) -> Vec<String> {
    let fields = [
        ("risk_tags", condition.risk_tags.is_empty()),
        ("requires", condition.requires.is_empty()),
        ("capabilities", condition.capabilities.is_empty()),
    ];
    let written = fields.into_iter().filter(|(_, is_empty)| !is_empty).map(|(name, _)| format!("`{name}`"));
    let labels = condition.labels.keys().filter(|name| !name.starts_with("mcp.")).map(|name| format!("label `{name}`"));
    written.chain(labels).collect()
}
