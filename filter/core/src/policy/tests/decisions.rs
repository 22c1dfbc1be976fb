//! What the guide's file and small policies decide.

use super::*;
use crate::decision::{ApproverGroup, ConcurrencyLimit};

#[test]
fn a_production_write_waits_for_a_person_and_is_then_bounded() {
    let decision = decide(&snapshot(&guide()), tool("create_issue", r#"{"owner":"acme","repo":"site"}"#));
    assert_eq!(decision.verdict, Verdict::RequireApproval);
    assert_eq!(rule_ids(&decision), ["mcp-write-approval", "mcp-prod-constraints"]);
    assert_eq!(decision.constraints.max_runtime_ms, Some(30_000));
    assert_eq!(decision.constraints.max_retries, Some(1));
    let limit = ConcurrencyLimit { rule_id: "mcp-prod-constraints".to_owned(), jobs_max: 1 };
    assert_eq!(decision.constraints.concurrency, [limit].into());
    assert_eq!(decision.approval, Some(crate::decision::ApprovalRequirement::default()));
}

#[test]
fn a_read_is_allowed_on_a_listed_server_only() {
    let policy = snapshot(&guide());
    let decision = decide(&policy, tool("list_issues", "{}"));
    assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::Allow, vec!["mcp-read-allow"]));
    let search = call("intranet", "tools/call", r#"{"name":"search"}"#);
    let decision = decide(&policy, search);
    assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::Deny, vec!["default_decision"]));
    assert_eq!(decision.reason(), "no rule allows this call");
}

#[test]
fn rule_three_of_the_guide_lets_production_admin_calls_through_and_lint_says_so() {
    let decision = decide(&snapshot(&guide()), tool("delete_project", "{}"));
    assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::Allow, vec!["mcp-prod-constraints"]));
    let findings = lint(&read_file(&guide()).unwrap());
    let about = |lint: &str| {
        let of = findings.iter().filter(|finding| finding.lint == lint);
        of.map(|finding| finding.subject.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(about("admin-without-human"), ["rule `mcp-prod-constraints`"]);
    assert_eq!(about("unbounded-allow"), ["rule `mcp-prod-constraints`"]);
    assert_eq!(about("patterns-tie"), Vec::<&str>::new());
}

#[test]
fn an_unlisted_tool_is_judged_as_read_as_write_and_as_admin() {
    let decision = decide(&snapshot(&guide()), tool("whatever", "{}"));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.reason(), "no rule allows this call as a tool the catalogue does not name, read as admin");
    let policy = with_rules(
        "- {id: a, match: {}, decision: allow}\n\
         - {id: b, match: {labels: {mcp.action: admin}}, decision: require_approval}\n\
         - {id: c, match: {risk_tags: [unclassified]}, decision: allow_with_constraints, constraints: {budgets: {max_retries: 0}}}",
    );
    let decision = decide(&policy, tool("whatever", "{}"));
    assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::RequireApproval, vec!["b", "a", "c"]));
    assert_eq!(decision.constraints.max_retries, Some(0));
    assert_eq!(decide(&policy, tool("list_issues", "{}")).verdict, Verdict::Allow);
}

#[test]
fn the_most_specific_entry_speaks_and_equally_specific_ones_all_do() {
    let policy = snapshot(&guide());
    let labels = |name: &str| seal(&policy, tool(name, "{}")).labels().get("mcp.action").cloned();
    assert_eq!(labels("list_public").as_deref(), Some("read"));
    assert_eq!(labels("pub_a_public").as_deref(), Some("read"));
    let resource = |uri: &str| seal(&policy, call("github", "resources/read", &format!(r#"{{"uri":"{uri}"}}"#)));
    assert_eq!(resource("repo://acme/site").labels()["mcp.action"], "read");
    assert_eq!(resource("repo://acme/secrets/key").labels()["mcp.action"], "admin");
    let tied = snapshot(
        "version: \"2026-01-27\"\nservers: {s: {tools: {\"a*\": {action: read}, \"*b\": {action: admin}}}}\n\
         rules: [{id: r, match: {mcp: {allow_actions: read}}, decision: allow}]",
    );
    assert_eq!(decide(&tied, call("s", "tools/call", r#"{"name":"ax"}"#)).verdict, Verdict::Allow);
    assert_eq!(decide(&tied, call("s", "tools/call", r#"{"name":"ab"}"#)).verdict, Verdict::Deny);
}

#[test]
fn client_tags_bind_and_never_loosen() {
    let policy = snapshot(&guide());
    let tagged = |tags: &str| {
        let params = format!(r#"{{"name":"list_issues","_meta":{{"holdpoint.dev/tags":{tags}}}}}"#);
        decide(&policy, call("github", "tools/call", &params))
    };
    let decision = tagged(r#"["prod"]"#);
    assert_eq!((decision.verdict, decision.constraints.max_runtime_ms), (Verdict::Allow, Some(30_000)));
    assert_eq!(tagged(r#"{"action":"write"}"#).verdict, Verdict::RequireApproval);
    let params = r#"{"name":"create_issue","_meta":{"holdpoint.dev/tags":{"action":"read"}}}"#;
    assert_eq!(decide(&policy, call("github", "tools/call", params)).verdict, Verdict::RequireApproval);
}

#[test]
fn plumbing_is_allowed_unless_a_rule_names_its_topic() {
    let policy = with_rules("- {id: deny-all, match: {}, decision: deny}");
    for (method, params) in
        [("ping", "{}"), ("tools/list", "{}"), ("notifications/initialized", "{}"), ("notifications/odd", "{}")]
    {
        let decision = decide(&policy, call("github", method, params));
        assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::Allow, vec!["plumbing"]), "{method}");
    }
    let policy = with_rules("- {id: no-lists, match: {topics: job.mcp.list}, decision: deny}");
    assert_eq!(decide(&policy, call("github", "tools/list", "{}")).verdict, Verdict::Deny);
    assert_eq!(decide(&policy, call("github", "ping", "{}")).verdict, Verdict::Allow);
}

#[test]
fn an_unknown_method_needs_a_rule_that_names_the_topic() {
    let everything = "- {id: all, match: {}, decision: allow}\n";
    let odd = || call("github", "odd/method", "{}");
    let decision = decide(&with_rules(everything), odd());
    assert_eq!((decision.verdict, decision.rule_id()), (Verdict::Deny, "default_decision"));
    let named = format!("{everything}- {{id: odd, match: {{topics: job.mcp.unknown}}, decision: allow}}\n");
    assert_eq!(decide(&with_rules(&named), odd()).verdict, Verdict::Allow);
    let open = format!("version: \"2026-01-27\"\ndefault_decision: allow\n{CATALOGUE}rules: []");
    assert_eq!(decide(&snapshot(&open), odd()).verdict, Verdict::Deny);
    assert_eq!(decide(&snapshot(&open), tool("list_issues", "{}")).verdict, Verdict::Allow);
}

#[test]
fn approval_requirements_add_up() {
    let policy = with_rules(
        "- {id: a, match: {}, decision: require_approval}\n\
         - {id: b, match: {}, decision: require-approval, approval: {approvers: {all_of: [{group: sre, min: 1}, {group: sec}]}, decide_within_ms: 60000}}\n\
         - {id: c, match: {}, decision: require_human, approval: {approvers: {all_of: [{group: sre, min: 2}]}, claim_within_ms: 1000}}",
    );
    let approval = decide(&policy, tool("list_issues", "{}")).approval.unwrap();
    let group = |group: &str, min| ApproverGroup { group: group.to_owned(), min };
    assert_eq!(approval.all_of, [group("sec", 1), group("sre", 2)]);
    assert_eq!((approval.decide_within_ms, approval.claim_within_ms), (60_000, 1_000));
}

#[test]
fn the_strictest_verdict_wins_and_the_deciding_rule_stands_first() {
    let policy = with_rules(
        "- {id: a, match: {}, decision: permit, reason: fine}\n\
         - {id: b, match: {}, decision: require_approval}\n\
         - {id: c, match: {mcp: {allow_tools: delete_*}}, decision: block, reason: never, remediation: ask, conceal: true}",
    );
    let decision = decide(&policy, tool("delete_project", "{}"));
    assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::Deny, vec!["c", "a", "b"]));
    assert_eq!((decision.reason(), decision.conceal), ("never", true));
    assert_eq!(decision.reasons[0].remediation.as_deref(), Some("ask"));
    let decision = decide(&policy, tool("list_issues", "{}"));
    assert_eq!((decision.verdict, decision.conceal), (Verdict::RequireApproval, false));
}

#[test]
fn a_call_sealed_under_another_policy_is_refused() {
    let one = snapshot(&guide());
    let other = with_rules("- {id: a, match: {}, decision: allow}");
    let envelope = seal(&one, tool("list_issues", "{}"));
    assert_eq!(other.evaluate(&envelope, &NoUsage).decision.verdict, Verdict::Deny);
    let again = seal(&other, envelope.into_call());
    assert_eq!(other.evaluate(&again, &NoUsage).decision.verdict, Verdict::Allow);
}

#[test]
fn the_basis_follows_what_took_part_and_nothing_else() {
    let basis = |text: &str| decide(&snapshot(text), tool("create_issue", r#"{"owner":"a","repo":"b"}"#)).basis;
    let before = basis(&guide());
    for unrelated in [
        guide().replace("Read-only MCP access", "Reading is fine"),
        guide().replace("list_*", "show_*"),
        guide().replace("tools: {search: {action: read}}", "tools: {search: {action: admin}}"),
        guide().replace("unclassified", "unknown"),
    ] {
        assert_ne!(unrelated, guide());
        assert_eq!(basis(&unrelated), before, "{unrelated}");
    }
    for related in [
        guide().replace("max_retries: 1", "max_retries: 0"),
        guide().replace("Human approval required", "A human must approve"),
        guide().replace("risk_tags: [external]", "risk_tags: [external, outside]"),
        guide().replace("repo:{owner}/{repo}", "repository:{owner}/{repo}"),
        guide().replace("x-mcp-readonly", "x-mcp-mode"),
    ] {
        assert_ne!(related, guide());
        assert_ne!(basis(&related), before, "{related}");
    }
}
