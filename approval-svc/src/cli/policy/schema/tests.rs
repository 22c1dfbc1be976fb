//! The schema knows the fields that the reader knows, level by level.

use std::collections::BTreeSet;

use holdpoint_core::config::FilterConfig;
use holdpoint_core::policy;

use super::*;

mod agrees;
mod reference;

/// A name that no field is near to, so that the reader lists all it knows.
const STRANGE: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

/// The fields that the reader lists for the mapping that `text` puts the strange field into.
fn read(text: &str) -> BTreeSet<String> {
    let text = text.replace('?', STRANGE);
    let mut found: Vec<String> = Vec::new();
    if let Err(problems) = policy::read_file(&text) {
        found.extend(problems.iter().map(|problem| problem.message.clone()));
    }
    if let Err(problems) = FilterConfig::read(text.as_bytes()) {
        found.extend(problems.iter().map(|problem| problem.message.clone()));
    }
    let mark = format!("unknown field `{STRANGE}` (known: ");
    let listed =
        found.iter().find_map(|message| message.split_once(&mark)).unwrap_or_else(|| panic!("{text}: {found:?}"));
    listed.1.trim_end_matches(')').split(", ").map(str::to_owned).collect()
}

fn known_to_schema(pointer: &str) -> BTreeSet<String> {
    let schema = schema(Of::Policy).expect("the schema");
    let properties = schema.pointer(&format!("/definitions/{pointer}/properties"));
    properties.and_then(Value::as_object).unwrap_or_else(|| panic!("{pointer}")).keys().cloned().collect()
}

#[test]
fn schema_knows_exactly_the_fields_of_the_reader() {
    let rule =
        |inside: &str| format!("{{version: \"2026-01-27\", rules: [{{id: a, decision: require_approval, {inside}}}]}}");
    let server = |inside: &str| format!("{{version: \"2026-01-27\", rules: [], servers: {{s: {{{inside}}}}}}}");
    let levels = [
        ("policy", "{version: \"2026-01-27\", rules: [], ?: 1}".to_owned()),
        ("server", server("?: 1")),
        ("server/properties/match", server("match: {?: 1}")),
        ("server/properties/unlisted", server("unlisted: {?: 1}")),
        ("server/properties/credential", server("credential: {?: 1}")),
        ("tool", server("tools: {t: {action: read, ?: 1}}")),
        ("tool/properties/definition/oneOf/1", server("tools: {t: {action: read, definition: {?: 1}}}")),
        ("rule", rule("match: {}, ?: 1")),
        ("match", rule("match: {?: 1}")),
        ("match/properties/mcp", rule("match: {mcp: {?: 1}}")),
        ("predicate", rule("match: {arguments: {/a: {?: 1}}}")),
        ("approval", rule("match: {}, approval: {?: 1}")),
        ("approvers", rule("match: {}, approval: {approvers: {?: 1}}")),
        ("approvers/properties/all_of/items", rule("match: {}, approval: {approvers: {all_of: [{?: 1}]}}")),
        ("approval/properties/escalate", rule("match: {}, approval: {escalate: {?: 1}}")),
        ("approval/properties/grants", rule("match: {}, approval: {grants: {?: 1}}")),
        ("constraints", rule("match: {}, constraints: {?: 1}")),
        ("constraints/properties/budgets", rule("match: {}, constraints: {budgets: {?: 1}}")),
        ("constraints/properties/toolchain", rule("match: {}, constraints: {toolchain: {?: 1}}")),
        ("constraints/properties/output", rule("match: {}, constraints: {output: {?: 1}}")),
        ("bound", rule("match: {}, constraints: {arguments: {/a: {?: 1}}}")),
        ("filter", "{policy: {version: \"2026-01-27\", rules: []}, ?: 1}".to_owned()),
        ("filter/properties/approval", "{approval: {?: 1}}".to_owned()),
        ("filter/properties/identity", "{identity: {?: 1}}".to_owned()),
        ("filter/properties/identity/properties/sources/items", "{identity: {sources: [{?: 1}]}}".to_owned()),
        ("filter/properties/limits", "{limits: {?: 1}}".to_owned()),
        ("filter/properties/audit", "{audit: {?: 1}}".to_owned()),
    ];
    for (pointer, text) in levels {
        assert_eq!(known_to_schema(pointer), read(&text), "{pointer}");
    }
}
