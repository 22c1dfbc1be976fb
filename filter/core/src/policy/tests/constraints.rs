//! What rules bound: the tools and arguments of a call, and where each limit came from.

use super::*;
use crate::decision::{LimitScope, RateKey, RateLimit};

const ALLOW: &str = "- {id: a, match: {}, decision: allow}\n";

fn decide_under(constraints: &str, arguments: &str) -> Decision {
    let rules = format!(
        "{ALLOW}- {{id: bounded, match: {{}}, decision: allow_with_constraints, reason: Money, constraints: {constraints}}}"
    );
    decide(&with_rules(&rules), tool("list_issues", arguments))
}

fn check(bound: &str, kept: &[&str], broken: &[&str]) {
    let constraints = format!("{{arguments: {{/amount: {bound}}}}}");
    for arguments in kept {
        assert_eq!(decide_under(&constraints, arguments).verdict, Verdict::Allow, "{bound} {arguments}");
    }
    for arguments in broken {
        let decision = decide_under(&constraints, arguments);
        assert_eq!((decision.verdict, decision.rule_id()), (Verdict::Deny, "bounded"), "{bound} {arguments}");
        assert!(decision.reason().starts_with("argument `/amount` is outside its bound {"), "{}", decision.reason());
        assert!(decision.reason().ends_with("(Money)"), "{}", decision.reason());
    }
}

#[test]
fn a_bound_denies_what_is_over_it_and_what_cannot_be_judged() {
    check(
        "{lte: 1000}",
        &[r#"{"amount":1000}"#, r#"{"amount":1e3}"#],
        &[
            r#"{"amount":1001}"#,
            r#"{"amount":"1000"}"#,
            r#"{"amount":null}"#,
            r#"{"amount":[1]}"#,
            r#"{"Amount":1}"#,
            r#"{"amount":1,"AMOUNT":5000}"#,
            "{}",
        ],
    );
}

#[test]
fn an_optional_argument_may_be_absent_and_nothing_else() {
    let optional = "{lte: 10, optional: true}";
    check(optional, &["{}", r#"{"amount":1}"#], &[r#"{"amount":11}"#, r#"{"Amount":11}"#, r#"{"amount":null}"#]);
}

#[test]
fn every_element_must_keep_the_bound() {
    let each = "{arguments: {/to/*: {glob: \"*@acme.com\"}}}";
    assert_eq!(decide_under(each, r#"{"to":["a@acme.com","b@acme.com"]}"#).verdict, Verdict::Allow);
    assert_eq!(decide_under(each, r#"{"to":["a@acme.com","b@evil.com"]}"#).verdict, Verdict::Deny);
    let size = "{arguments: {/body: {length_lte: 3}}}";
    assert_eq!(decide_under(size, r#"{"body":"abc"}"#).verdict, Verdict::Allow);
    assert_eq!(decide_under(size, r#"{"body":"abcd"}"#).verdict, Verdict::Deny);
}

#[test]
fn tools_outside_the_allow_list_are_denied_and_two_lists_intersect() {
    let policy = with_rules(&format!(
        "{ALLOW}- {{id: one, match: {{}}, decision: allow, constraints: {{toolchain: {{allowed_tools: [\"list_*\", create_issue]}}}}}}\n\
         - {{id: two, match: {{actor_ids: [user_123]}}, decision: allow, constraints: {{toolchain: {{allowed_tools: \"list_*\"}}}}}}",
    ));
    let allowed = decide(&policy, tool("list_issues", "{}"));
    assert_eq!(allowed.verdict, Verdict::Allow);
    assert_eq!(
        allowed.constraints.to_string(),
        "only the tools `create_issue`, `list_*` (rule `one`), only the tools `list_*` (rule `two`)"
    );
    let denied = decide(&policy, tool("create_issue", "{}"));
    assert_eq!((denied.verdict, denied.rule_id()), (Verdict::Deny, "two"));
    assert_eq!(denied.reason(), "only the tools `list_*` may be called");
    let read = call("github", "resources/read", r#"{"uri":"repo://acme/x"}"#);
    assert_eq!(decide(&policy, read).verdict, Verdict::Allow, "the list is about tools");
}

#[test]
fn limits_of_several_rules_combine_and_say_where_they_came_from() {
    let policy = with_rules(&format!(
        "{ALLOW}- {{id: x, match: {{}}, decision: allow, constraints: {{budgets: {{max_runtime_ms: 9, max_calls: 5, per_ms: 100}}}}}}\n\
         - {{id: y, match: {{}}, decision: allow, constraints: {{budgets: {{max_runtime_ms: 5, max_calls: 9, per_ms: 9, key: tool}}}}}}",
    ));
    let constraints = decide(&policy, tool("list_issues", "{}")).constraints;
    assert_eq!(constraints.max_runtime_ms, Some(5));
    assert_eq!(constraints.limited_by.get("max_runtime_ms").map(String::as_str), Some("y"));
    let rate = |rule_id: &str, calls_max, per_ms, key, of: &str| RateLimit {
        rule_id: rule_id.to_owned(),
        calls_max,
        scope: LimitScope::Process,
        per_ms,
        key,
        of: of.to_owned(),
    };
    let expected = [
        rate("x", 5, 100, RateKey::Actor, "https://issuer user_123"),
        rate("y", 9, 9, RateKey::Tool, "github/list_issues"),
    ];
    assert_eq!(constraints.rates, expected.into(), "windows stand side by side");
}

#[test]
fn scope_says_whose_calls_are_counted_and_is_part_of_what_was_approved() {
    let with = |scope: &str| {
        format!(
            "version: \"2026-01-27\"\nrules: [{{id: a, match: {{}}, decision: allow, constraints: {{budgets: \
             {{max_concurrent_jobs: 2, max_calls: 5, per_ms: 100{scope}}}}}}}]"
        )
    };
    let of = |scope: &str| {
        let policy = snapshot(&with(scope));
        assert_eq!(snapshot(policy.canonical()).id(), policy.id());
        (policy.id(), policy.counts_for_the_fleet(), policy.canonical().contains("scope"))
    };
    let (plain, process, fleet) = (of(""), of(", scope: process"), of(", scope: fleet"));
    assert_eq!(plain, process, "the default, and written as one");
    assert_ne!(plain.0, fleet.0);
    assert_eq!((plain.1, plain.2, fleet.1, fleet.2), (false, false, true, true));
    let constraints = decide(
        &with_rules(
            "- {id: a, match: {}, decision: allow, constraints: {budgets: {max_concurrent_jobs: 2, scope: fleet}}}",
        ),
        tool("list_issues", "{}"),
    )
    .constraints;
    assert_eq!(constraints.to_string(), "2 at a time over all gateways (rule `a`)");

    let said = |budgets: &str| {
        let text = with("").replace("max_concurrent_jobs: 2, max_calls: 5, per_ms: 100", budgets);
        read_file(&text).unwrap_err().to_string()
    };
    assert!(
        said("max_retries: 1, scope: fleet").contains("which are missing"),
        "{}",
        said("max_retries: 1, scope: fleet")
    );
    assert!(said("max_concurrent_jobs: 2, scope: flet").contains("`fleet`"));
    for over in ["max_concurrent_jobs: 10001, scope: fleet", "max_calls: 10001, per_ms: 9, scope: fleet"] {
        assert!(said(over).contains("at most 10000 calls are counted"), "{}", said(over));
    }
}

#[test]
fn what_is_bounded_is_part_of_the_basis_and_of_the_policys_one_spelling() {
    let constraints = "{budgets: {max_calls: 2, per_ms: 9, key: tenant}, toolchain: {allowed_tools: [x]}, \
                       arguments: {/a: {lte: 1, optional: true}}}";
    let text = format!(
        "version: \"2026-01-27\"\nrules: [{{id: r, match: {{}}, decision: allow, constraints: {constraints}}}]"
    );
    let policy = snapshot(&text);
    assert_eq!(snapshot(policy.canonical()).id(), policy.id());
    assert_ne!(snapshot(&text.replace("lte: 1", "lte: 2")).id(), policy.id());
}

#[test]
fn the_strictest_answer_is_that_of_every_rule_that_may_be_about_this_caller_and_server() {
    let limits = |condition: &str| {
        let rules = format!(
            "- {{id: a, match: {condition}, decision: allow, constraints: {{budgets: {{max_runtime_ms: 5}}, output: {{max_bytes: 7}}}}}}"
        );
        let strictest = with_rules(&rules).strictest_answer(&principal(), "github");
        (strictest.max_runtime_ms, strictest.output.max_bytes)
    };
    for condition in [
        "{}",
        "{groups: [other]}",
        "{scopes: [other]}",
        "{mcp: {allow_tools: x}}",
        "{mcp: {allow_servers: \"git*\"}}",
        "{actor_ids: [user_123]}",
        "{tenants: [acme]}",
        "{not: {mcp: {allow_servers: github}}}",
    ] {
        assert_eq!(limits(condition), (Some(5), Some(7)), "{condition}");
    }
    for condition in ["{mcp: {allow_servers: intranet}}", "{actor_ids: [other]}", "{tenants: [other]}"] {
        assert_eq!(limits(condition), (None, None), "{condition}");
    }
    let observed =
        with_rules("- {id: a, match: {}, decision: allow, mode: observe, constraints: {output: {max_bytes: 7}}}");
    assert!(observed.strictest_answer(&principal(), "github").is_empty());
    assert!(with_rules(ALLOW).strictest_answer(&principal(), "github").is_empty());
}
