//! Reads `match:` and the nested match of `not:`.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::ACTIONS;
use super::read::{globs, set};
use super::{ActionClass, Match, Selection, after, arguments};
use crate::decision::Verdict;
use crate::identity::ActorType;
use crate::order;
use crate::policy::glob::Glob;
use crate::yaml::{Cursor, Fields, Problems};

const MATCH_FIELDS: [&str; 15] = [
    "labels",
    "risk_tags",
    "requires",
    "capabilities",
    "topics",
    "tenants",
    "scopes",
    "groups",
    "actor_ids",
    "actor_types",
    "mcp",
    "arguments",
    "not",
    "secrets_present",
    "after",
];
const MCP_FIELDS: [&str; 10] = [
    "allow_servers",
    "allow_tools",
    "allow_resources",
    "allow_prompts",
    "allow_actions",
    "deny_servers",
    "deny_tools",
    "deny_resources",
    "deny_prompts",
    "deny_actions",
];
const MCP_LABELS: [&str; 6] = ["mcp.server", "mcp.method", "mcp.tool", "mcp.prompt", "mcp.resource", "mcp.action"];
const ACTOR_TYPES: [(&str, ActorType); 4] = [
    ("human", ActorType::Human),
    ("agent", ActorType::Agent),
    ("service", ActorType::Service),
    ("anonymous", ActorType::Anonymous),
];

/// Reads a condition of a rule that decides `verdict`.
pub(super) fn read(cursor: &Cursor<'_>, verdict: Option<Verdict>, problems: &mut Problems) -> Option<Match> {
    nested(cursor, verdict, false, problems)
}

/// The same of a match that stands under an odd number of `not` (`is_inverted`), or an even one.
fn nested(cursor: &Cursor<'_>, verdict: Option<Verdict>, is_inverted: bool, problems: &mut Problems) -> Option<Match> {
    let fields = cursor.fields(&MATCH_FIELDS, problems)?;
    let (mcp_allow, mcp_deny) = match fields.get("mcp") {
        Some(mcp) => selections(&mcp, verdict, problems),
        None => (Selection::default(), Selection::default()),
    };
    let not = fields.get("not").and_then(|field| {
        let inner = nested(&field, verdict, !is_inverted, problems)?;
        if matches!(&field.node().kind, crate::yaml::Kind::Map(entries) if entries.is_empty()) {
            field.problem("`not: {}` never holds; fill it or leave it out", problems);
        }
        Some(Box::new(inner))
    });
    Some(Match {
        labels: fields.get("labels").map_or_else(BTreeMap::new, |field| labels(&field, problems)),
        risk_tags: set_of(&fields, "risk_tags", problems),
        requires: set_of(&fields, "requires", problems),
        capabilities: globs_of(&fields, "capabilities", problems),
        topics: topics(&fields, problems),
        tenants: set_of(&fields, "tenants", problems),
        scopes: set_of(&fields, "scopes", problems),
        groups: set_of(&fields, "groups", problems),
        actor_ids: set_of(&fields, "actor_ids", problems),
        actor_types: fields.get("actor_types").map_or_else(BTreeSet::new, |field| {
            let items = field.one_or_more(problems).unwrap_or_default();
            order::set(items.iter().filter_map(|item| item.one_of("actor type", &ACTOR_TYPES, problems)))
        }),
        mcp_allow,
        mcp_deny,
        secrets_present: fields.get("secrets_present").and_then(|field| field.boolean(problems)),
        arguments: fields.get("arguments").map_or_else(BTreeMap::new, |field| arguments::read(&field, problems)),
        after: fields.get("after").and_then(|field| after::read(&field, verdict, is_inverted, problems)),
        not,
    })
}

fn set_of(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> BTreeSet<String> {
    fields.get(name).map_or_else(BTreeSet::new, |field| set(&field, problems))
}

fn globs_of(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> BTreeSet<Glob> {
    fields.get(name).map_or_else(BTreeSet::new, |field| globs(&field, problems))
}

fn labels(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeMap<String, BTreeSet<Glob>> {
    let mut labels = BTreeMap::new();
    for (name, value) in cursor.entries(problems).unwrap_or_default() {
        if name.starts_with("mcp.") && !MCP_LABELS.contains(&name) {
            value.unknown("label", name, &MCP_LABELS, problems);
        }
        if name == "mcp.action" {
            for action in value.one_or_more(problems).unwrap_or_default() {
                let text = action.node().as_str().unwrap_or_default();
                if !text.is_empty() && !text.contains('*') {
                    action.one_of("action", &ACTIONS, problems);
                }
            }
        }
        labels.insert(name.to_owned(), globs(&value, problems));
    }
    if labels.is_empty() {
        cursor.problem("expected at least one label; leave the field out to match any", problems);
    }
    labels
}

/// Topics; a pattern that fits none of ours could never match.
fn topics(fields: &Fields<'_>, problems: &mut Problems) -> BTreeSet<Glob> {
    let patterns = globs_of(fields, "topics", problems);
    for pattern in &patterns {
        let known = crate::envelope::Topic::ALL.map(crate::envelope::Topic::as_str);
        if let Some(field) = fields.get("topics").filter(|_| !known.iter().any(|topic| pattern.matches(topic))) {
            field.unknown("topic", pattern.as_str(), &known, problems);
        }
    }
    patterns
}

fn selections(cursor: &Cursor<'_>, verdict: Option<Verdict>, problems: &mut Problems) -> (Selection, Selection) {
    let Some(fields) = cursor.fields(&MCP_FIELDS, problems) else {
        return (Selection::default(), Selection::default());
    };
    if verdict == Some(Verdict::Deny) {
        for name in MCP_FIELDS.iter().filter(|name| name.starts_with("deny_")) {
            if let Some(field) = fields.get(name) {
                let advice = name.replace("deny_", "allow_");
                let message = format!(
                    "`{name}` selects everything else, which a rule that denies would then deny: write `{advice}`"
                );
                field.problem(message, problems);
            }
        }
    }
    let mut selection = |prefix: &str| {
        let mut patterns = |name: &str| globs_of(&fields, &format!("{prefix}_{name}"), problems);
        let (servers, tools, resources, prompts) =
            (patterns("servers"), patterns("tools"), patterns("resources"), patterns("prompts"));
        Selection { servers, tools, resources, prompts, actions: actions(&fields, prefix, problems) }
    };
    (selection("allow"), selection("deny"))
}

fn actions(fields: &Fields<'_>, prefix: &str, problems: &mut Problems) -> BTreeSet<ActionClass> {
    let Some(field) = fields.get(&format!("{prefix}_actions")) else {
        return BTreeSet::new();
    };
    let items = field.one_or_more(problems).unwrap_or_default();
    order::set(items.iter().filter_map(|item| item.one_of("action", &ACTIONS, problems)))
}
