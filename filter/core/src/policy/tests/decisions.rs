//! What the guide's file and small policies decide.

use super::*;
use crate::decision::{ApproverGroup, AuditLevel, ConcurrencyLimit, LimitScope, Observed};

#[test]
fn a_production_write_waits_for_a_person_and_is_then_bounded() {
    let decision = decide(&snapshot(&guide()), tool("create_issue", r#"{"owner":"acme","repo":"site"}"#));
    assert_eq!(decision.verdict, Verdict::RequireApproval);
    assert_eq!(rule_ids(&decision), ["mcp-write-approval", "mcp-prod-constraints"]);
    assert_eq!(decision.constraints.max_runtime_ms, Some(30_000));
    assert_eq!(decision.constraints.max_retries, Some(1));
    let limit =
        ConcurrencyLimit { rule_id: "mcp-prod-constraints".to_owned(), jobs_max: 1, scope: LimitScope::Process };
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
    for (method, params) in [("ping", "{}"), ("tools/list", "{}"), ("notifications/initialized", "{}")] {
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
    let unasked = decide(&with_rules(everything), call("github", "notifications/odd", "{}"));
    assert_eq!((unasked.verdict, unasked.rule_id()), (Verdict::Deny, "default_decision"));
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

#[test]
fn a_rule_in_mode_observe_is_recorded_and_not_enforced() {
    let policy = with_rules(
        "- {id: a, match: {}, decision: allow}\n\
         - {id: b, match: {mcp: {allow_actions: read}}, decision: deny, mode: observe, reason: soon}\n\
         - {id: c, match: {mcp: {allow_tools: odd}}, decision: require_approval, mode: observe, constraints: {budgets: {max_concurrent_jobs: 1}}}",
    );
    let decision = decide(&policy, tool("list_issues", "{}"));
    assert_eq!((decision.verdict, rule_ids(&decision)), (Verdict::Allow, vec!["a"]));
    let observed = Observed { verdict: Verdict::Deny, rule_ids: vec!["b".to_owned()] };
    assert_eq!(decision.observed, Some(observed));
    let decision = decide(&policy, tool("odd", "{}"));
    let observed = Observed { verdict: Verdict::Deny, rule_ids: vec!["b".to_owned(), "c".to_owned()] };
    assert_eq!((decision.verdict, decision.observed), (Verdict::Allow, Some(observed)));
    assert_eq!(policy.concurrency_rules().count(), 0);
    assert_eq!(decide(&policy, tool("create_issue", "{}")).observed, None);
}

#[test]
fn of_several_audit_levels_the_least_revealing_counts() {
    let policy = with_rules(
        "- {id: a, match: {}, decision: allow, audit: full}\n\
         - {id: b, match: {mcp: {allow_actions: write}}, decision: allow, audit: digest}\n\
         - {id: c, match: {arguments: {/n: {gt: 5}}}, decision: allow, audit: metadata}",
    );
    let level = |name: &str, arguments: &str| decide(&policy, tool(name, arguments)).audit;
    assert_eq!(level("list_x", "{}"), Some(AuditLevel::Full));
    assert_eq!(level("create_issue", "{}"), Some(AuditLevel::Digest));
    assert_eq!(level("create_issue", r#"{"n":6}"#), Some(AuditLevel::Metadata));
    assert_eq!(level("create_issue", r#"{"n":"6"}"#), Some(AuditLevel::Metadata), "what may match counts");
    assert_eq!(decide(&snapshot(&guide()), tool("list_x", "{}")).audit, None);
}

#[test]
fn catalogue_says_how_much_is_kept_of_calls_and_the_least_of_all_that_is_said_counts() {
    let policy = snapshot(
        "version: \"2026-01-27\"\nservers:\n  github:\n    audit: full\n    tools:\n      read_it: {action: read}\n      \
         pay: {action: write, audit: redacted}\nrules:\n- {id: all, match: {}, decision: allow}\n\
         - {id: quiet, match: {arguments: {/pin: {exists: true}}}, decision: allow, audit: metadata}\n",
    );
    let level = |name: &str, arguments: &str| decide(&policy, tool(name, arguments)).audit;
    assert_eq!(level("read_it", "{}"), Some(AuditLevel::Full));
    assert_eq!(level("unlisted", "{}"), Some(AuditLevel::Full));
    assert_eq!(level("pay", "{}"), Some(AuditLevel::Redacted));
    assert_eq!(level("pay", r#"{"pin":1}"#), Some(AuditLevel::Metadata));
    let quiet = snapshot(&policy.canonical().replace("full", "digest"));
    assert_ne!(quiet.id(), policy.id(), "how much is kept is part of the policy's name");
    let wrong = "version: \"2026-01-27\"\nservers: {github: {audit: some}}\nrules: []\n";
    assert!(crate::policy::read_file(wrong).unwrap_err().to_string().contains("level"));
}

#[test]
fn a_secret_in_the_call_is_seen_whatever_its_spelling() {
    let policy = with_rules(
        "- {id: a, match: {secrets_present: false}, decision: allow}\n\
         - {id: b, match: {risk_tags: [secrets]}, decision: deny, reason: \"no secrets\"}",
    );
    for (arguments, expected) in [
        (r#"{"text":"hello"}"#, Verdict::Allow),
        (r#"{"text":"ghp_0123456789abcdefghijABCDEFGHIJ012345"}"#, Verdict::Deny),
        (r#"{"text":"gh\u0070_0123456789abcdefghijABCDEFGHIJ012345"}"#, Verdict::Deny),
        (r#"{"text":"first\nghp_0123456789abcdefghijABCDEFGHIJ012345\nlast"}"#, Verdict::Deny),
        (r#"{"deep":[{"x":{"ghp_0123456789abcdefghijABCDEFGHIJ012345":1}}]}"#, Verdict::Deny),
        (r#"{"p\u0061ssword":"Tr0ub4dor3xK9mQz7"}"#, Verdict::Deny),
    ] {
        assert_eq!(decide(&policy, tool("list_x", arguments)).verdict, expected, "{arguments}");
    }
    let read = r#"{"uri":"repo://acme/ghp_0123456789abcdefghijABCDEFGHIJ012345"}"#;
    assert_eq!(decide(&policy, call("github", "resources/read", read)).verdict, Verdict::Deny);
    let meta = r#"{"name":"list_x","_meta":{"x":"ghp_0123456789abcdefghijABCDEFGHIJ012345"}}"#;
    assert_eq!(decide(&policy, call("github", "tools/call", meta)).verdict, Verdict::Allow);
}

#[test]
fn annotations_of_a_tool_bind_and_never_loosen() {
    let policy = with_rules(
        "- {id: reads, match: {labels: {mcp.action: read}}, decision: allow}\n\
         - {id: writes, match: {labels: {mcp.action: write}}, decision: require_approval}\n\
         - {id: no-destruction, match: {risk_tags: [destructive]}, decision: deny}",
    );
    let hinted = |name: &str, read_only, destructive| {
        let mut call = tool(name, "{}");
        call.annotations = Annotations { read_only, destructive, open_world: None };
        decide(&policy, call).verdict
    };
    assert_eq!(hinted("list_x", None, None), Verdict::Allow);
    assert_eq!(hinted("list_x", Some(true), None), Verdict::Allow);
    assert_eq!(hinted("list_x", Some(false), None), Verdict::RequireApproval, "the tool says that it writes");
    assert_eq!(hinted("list_x", None, Some(true)), Verdict::Deny);
    assert_eq!(hinted("create_issue", Some(true), Some(false)), Verdict::RequireApproval, "saying `read` helps nobody");
}

#[test]
fn facts_that_only_tighten_are_also_judged_together() {
    let policy = with_rules(
        "- {id: a, match: {}, decision: allow}\n\
         - {id: b, match: {secrets_present: true, labels: {mcp.action: write}}, decision: deny}",
    );
    let call = |tags: &str, text: &str| {
        let params =
            format!(r#"{{"name":"list_x","arguments":{{"t":"{text}"}},"_meta":{{"holdpoint.dev/tags":{tags}}}}}"#);
        decide(&policy, call("github", "tools/call", &params)).verdict
    };
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    assert_eq!(call("[]", token), Verdict::Allow);
    assert_eq!(call(r#"{"action":"write"}"#, "harmless"), Verdict::Allow);
    assert_eq!(call(r#"{"action":"write"}"#, token), Verdict::Deny);
}
