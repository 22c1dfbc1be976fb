//! Policies in, warnings out: what their authors hardly meant.

use super::properties::{on, params, policy_of, rules};
use super::*;

/// Findings of one lint, by subject.
fn linted(lint_name: &str, text: &str) -> Vec<String> {
    let found = lint(&read_file(text).unwrap()).into_iter().filter(|finding| finding.lint == lint_name);
    found.map(|finding| format!("{}: {}", finding.subject, finding.message)).collect()
}

const LINTED: &str = r#"
version: "2026-01-27"
servers:
  s: {labels: {env: prod}, risk_tags: [external], requires: [net], tools: {get: {action: read, capability: repo.read, risk_tags: [prod]}}}
  t: {tools: {"delete_*": {action: admin}, "*_repository": {action: read}, "get_*": {action: read}, "get_x*": {action: write}}}
rules:
"#;

#[test]
fn lint_finds_rules_that_can_never_match_and_says_why() {
    for (condition, decision, expected) in [
        ("{mcp: {allow_servers: sss}}", "deny", "it names no server of the catalogue (known: s, t)"),
        ("{mcp: {deny_servers: [s, t]}}", "allow", "it names no server"),
        ("{labels: {mcp.action: read}, mcp: {deny_actions: read}}", "allow", "no action is left"),
        ("{mcp: {allow_servers: s}, labels: {env: dev}}", "deny", "(label `env`)"),
        ("{mcp: {allow_servers: t}, labels: {env: prod}}", "deny", "(label `env`)"),
        ("{requires: [net, gpu]}", "deny", "(`requires`)"),
        ("{capabilities: \"repo.w*\"}", "require_approval", "(`capabilities`)"),
        ("{risk_tags: [prod], mcp: {allow_servers: t}}", "allow", "(`risk_tags`)"),
        ("{arguments: {/n: {gt: 5, lt: 5}}}", "allow", "no value passes its tests on `/n`"),
        ("{arguments: {/n: {equals: 5, prefix: x}}}", "allow", "no value passes its tests on `/n`"),
    ] {
        let text = format!("{LINTED}- {{id: r, match: {condition}, decision: {decision}}}\n");
        let found = linted("unreachable", &text);
        assert!(found.len() == 1 && found[0].contains(expected), "{condition}: {found:?}");
    }
    for (condition, decision) in [
        ("{}", "deny"),
        ("{mcp: {allow_servers: [s, nobody]}}", "allow"),
        ("{risk_tags: [prod], mcp: {allow_servers: t}}", "deny"),
        ("{risk_tags: [prod], mcp: {allow_servers: t}}", "allow, constraints: {budgets: {max_retries: 0}}"),
        ("{labels: {env: \"p*\"}, requires: [net], capabilities: repo.read}", "allow"),
        ("{arguments: {/n: {gt: 5, lt: 5}}}", "deny"),
        ("{arguments: {/n: {gt: 5, lt: 6}}}", "allow"),
    ] {
        let text = format!("{LINTED}- {{id: r, match: {condition}, decision: {decision}}}\n");
        assert_eq!(linted("unreachable", &text), Vec::<String>::new(), "{condition}");
    }
    assert_eq!(linted("unreachable", GUIDE), Vec::<String>::new(), "the guide's file has no catalogue");
}

#[test]
fn lint_finds_rules_that_a_stricter_one_leaves_nothing_to_decide() {
    let approves = "decision: require_approval";
    for (narrow, wide, is_shadowed) in [
        ("match: {mcp: {allow_tools: get}}, decision: allow", "match: {}, decision: deny", true),
        ("match: {mcp: {allow_tools: get}}, decision: allow", "match: {}, decision: deny, mode: observe", false),
        (
            "match: {mcp: {allow_tools: \"get_x*\"}}, decision: allow",
            "match: {labels: {mcp.tool: \"get_*\"}}, decision: deny",
            true,
        ),
        (
            "match: {mcp: {allow_tools: \"get_*\"}}, decision: allow",
            "match: {labels: {mcp.tool: \"get_x*\"}}, decision: deny",
            false,
        ),
        ("match: {groups: [a]}, decision: allow", "match: {groups: [a, b]}, decision: deny", true),
        ("match: {groups: [a, b]}, decision: allow", "match: {groups: [a]}, decision: deny", false),
        ("match: {scopes: [x, y]}, decision: allow", "match: {scopes: [x]}, decision: deny", true),
        (
            "match: {labels: {mcp.action: write}}, decision: allow",
            "match: {mcp: {allow_actions: [write, admin]}}, decision: deny",
            true,
        ),
        (
            "match: {mcp: {deny_actions: read}}, decision: allow",
            "match: {mcp: {allow_actions: [write, admin]}}, decision: deny",
            true,
        ),
        ("match: {topics: \"job.mcp.*\"}, decision: allow", "match: {}, decision: deny", false),
        ("match: {topics: job.mcp.tool}, decision: allow", "match: {}, decision: deny", true),
        (
            "match: {arguments: {/a: {gt: 1}}}, decision: allow",
            "match: {arguments: {/a: {gt: 1}}}, decision: deny",
            true,
        ),
        (
            "match: {arguments: {/a: {gt: 1}}}, decision: allow",
            "match: {arguments: {/a: {gt: 2}}}, decision: deny",
            false,
        ),
        ("match: {not: {groups: [a]}}, decision: allow", "match: {not: {groups: [a]}}, decision: deny", true),
        ("match: {groups: [a]}, decision: allow", "match: {not: {groups: [b]}}, decision: deny", false),
        ("match: {groups: [a]}, decision: require_approval", "match: {groups: [a]}, decision: deny", true),
        ("match: {groups: [a]}, decision: allow", &format!("match: {{}}, {approves}"), true),
        (
            "match: {groups: [a]}, decision: allow, constraints: {budgets: {max_retries: 0}}",
            &format!("match: {{}}, {approves}"),
            false,
        ),
        (
            "match: {mcp: {allow_tools: get}}, decision: require_approval",
            "match: {mcp: {deny_tools: \"x*\"}}, decision: allow",
            false,
        ),
    ] {
        let text = format!("{LINTED}- {{id: narrow, {narrow}}}\n- {{id: wide, {wide}}}\n");
        let found = linted("shadowed", &text);
        assert_eq!(
            found.iter().any(|one| one.starts_with("rule `narrow`")),
            is_shadowed,
            "{narrow} / {wide}: {found:?}"
        );
    }
}

#[test]
fn lint_finds_catalogue_patterns_that_hide_a_stricter_one() {
    let found = linted("pattern-hides", &format!("{LINTED}  []"));
    let about: Vec<bool> = ["`*_repository` and `delete_*`", "`*_repository` and `get_x*`"]
        .into_iter()
        .map(|pair| found.iter().any(|one| one.contains(pair)))
        .collect();
    assert_eq!((found.len(), about), (2, vec![true, true]), "{found:?}");
}

#[test]
fn admin_counts_as_gated_only_where_the_gate_covers_the_rule() {
    let gated = |gate: &str| {
        let rule = "- {id: all-of-s, match: {mcp: {allow_servers: s}}, decision: allow}";
        linted("admin-without-human", &format!("{LINTED}{rule}\n- {{id: gate, {gate}}}\n")).is_empty()
    };
    assert!(gated("match: {labels: {mcp.action: admin}}, decision: require_approval"));
    assert!(gated("match: {mcp: {allow_servers: s, allow_actions: [write, admin]}}, decision: require_approval"));
    assert!(gated("match: {mcp: {deny_actions: read}}, decision: require_approval"));
    assert!(!gated("match: {mcp: {allow_servers: t, allow_actions: admin}}, decision: require_approval"));
    assert!(!gated("match: {groups: [dev], mcp: {allow_actions: admin}}, decision: require_approval"));
    assert!(!gated("match: {mcp: {allow_actions: admin}}, decision: require_approval, mode: observe"));
}

proptest! {
    /// What lint calls shadowed or unreachable, no call reaches.
    #[test]
    fn a_rule_that_lint_calls_dead_never_decides(rules in rules(), params in params()) {
        let policy = policy_of(&rules);
        let list = if rules.is_empty() { "  []".to_owned() } else { rules.concat() };
        let document = read_file(&format!("version: \"2026-01-27\"\n{CATALOGUE}rules:\n{list}")).unwrap();
        let dead: Vec<(&str, String)> = lint(&document)
            .into_iter()
            .filter(|finding| matches!(finding.lint, "shadowed" | "unreachable"))
            .map(|finding| (finding.lint, finding.subject))
            .collect();
        let decision = on(&policy, &params);
        let decided = format!("rule `{}`", decision.rule_id());
        prop_assert!(!dead.iter().any(|(_, subject)| *subject == decided), "{dead:?} {decision:?}");
    }
}

#[test]
fn lint_finds_read_tools_whose_server_says_otherwise() {
    let text = "version: \"2026-01-27\"\nservers:\n  s: {tools: {\"get_*\": {action: read}, get_and_clear: {action: write}, \"*\": {action: \
                admin}, peek: {action: read}}}\nrules: []\n";
    let document = read_file(text).unwrap();
    let says = |tool: &str, read_only, destructive| {
        let annotations = crate::envelope::Annotations { read_only, destructive, open_world: None };
        annotated(&document, "s", tool, &annotations).map(|finding| finding.message)
    };
    let found = says("get_all", Some(false), Some(true)).unwrap();
    assert_eq!(
        found,
        "tool `get_all` is classed `read` (by `get_*`), but the server says `readOnlyHint: false` and `destructiveHint: true`"
    );
    assert!(says("peek", None, Some(true)).unwrap().contains("`destructiveHint: true`"));
    assert!(says("peek", Some(false), None).is_some());
    // A read-only tool destroys nothing, whatever the other hint says; silence says nothing.
    for quiet in
        [says("peek", Some(true), Some(true)), says("peek", None, None), says("get_and_clear", Some(false), None)]
    {
        assert_eq!(quiet, None);
    }
    assert_eq!(
        (says("other", Some(false), None), annotated(&document, "t", "peek", &Default::default())),
        (None, None)
    );
}
