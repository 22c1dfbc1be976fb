//! Text of cases in; calls as Envoy would see them, and every difference from what was decided.

use super::*;
use crate::decision::Verdict;
use crate::policy;

const POLICY: &str = r#"
version: "2026-01-27"
servers:
  tracker:
    tools:
      read: {action: read}
      write: {action: write, risk_tags: [prod]}
rules:
- {id: reads, match: {labels: {mcp.action: read}}, decision: allow, reason: "reading is free"}
- {id: writes, match: {labels: {mcp.action: write}}, decision: require_approval, reason: "a person looks"}
- {id: prod, match: {risk_tags: [prod]}, decision: allow_with_constraints, constraints: {budgets: {max_runtime_ms: 5}}}
"#;

fn snapshot() -> PolicySnapshot {
    policy::read_file(POLICY).and_then(|document| policy::compile(&document)).expect("the policy")
}

fn case(text: &str) -> Case {
    let file = read_cases(&format!("cases:\n- {text}")).unwrap_or_else(|problems| panic!("{problems}"));
    file.cases.into_iter().next().expect("a case")
}

fn differences(text: &str) -> Vec<String> {
    let case = case(text);
    let found = case.expected.differences(&case.call.judge(&snapshot()));
    found.into_iter().map(|one| format!("{}: {} / {}", one.field, one.expected, one.found)).collect()
}

const WRITE: &str = "{name: a, server: tracker, call: {method: tools/call, params: {name: write}}, expect: ";

#[test]
fn case_passes_when_verdict_rules_constraints_and_approvers_are_as_written() {
    let expect = "{verdict: require_approval, rules: [prod, writes], decided_by: writes, reason: person, \
                  constraints: {budgets: {max_runtime_ms: 5}}, approvers: [{group: '*'}]}}";
    assert_eq!(differences(&format!("{WRITE}{expect}")), [""; 0]);
}

#[test]
fn every_difference_is_told() {
    let expect = "{verdict: allow, rules: [reads], constraints: {budgets: {max_retries: 1}}, approvers: [{group: sre}], \
                  reason: free}}";
    assert_eq!(
        differences(&format!("{WRITE}{expect}")),
        [
            "verdict: allow / require_approval",
            "rules: reads / prod, writes",
            "constraints.budgets.max_retries: 1 / nothing",
            "constraints.budgets.max_runtime_ms: nothing / 5",
            "approvers: 1 of sre / 1 of *",
            "reason: a sentence with `free` / a person looks",
        ]
    );
}

#[test]
fn unexpected_constraints_fail_a_case_that_does_not_mention_them() {
    assert_eq!(
        differences(&format!("{WRITE}{{verdict: require_approval}}}}")),
        ["constraints.budgets.max_runtime_ms: nothing / 5"]
    );
}

#[test]
fn call_that_no_rule_sees_is_refused_with_its_reason() {
    let refused = "call: {method: tools/call, params: {name: read}}, expect: {verdict: refused, reason: server}}";
    assert_eq!(differences(&format!("{{name: a, {refused}")), [""; 0]);
    let raw = "{name: a, server: tracker, call: '{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}', \
               expect: {verdict: refused}}";
    assert_eq!(differences(raw), [""; 0]);
}

#[test]
fn numbers_reach_the_call_as_they_are_written() {
    let case = case(
        "{name: a, call: {method: tools/call, params: {name: t, arguments: {n: 1.0, m: 1e3, \
                     big: 12345678901234567890123}}}, expect: {verdict: deny}}",
    );
    assert!(case.call.body.contains(r#"{"n":1.0,"m":1e3,"big":12345678901234567890123}"#), "{}", case.call.body);
    let hex = read_cases("cases: [{name: a, call: {method: ping, params: {n: 0x1f}}, expect: {verdict: deny}}]");
    assert!(hex.expect_err("no JSON number").to_string().contains("`0x1f` is not a number as JSON writes it"));
}

#[test]
fn defaults_hold_until_a_case_says_otherwise() {
    let text = "policy: other.yaml
defaults: {server: tracker, principal: {tenant: acme, groups: [dev]}, headers: {x-a: '1'}}
cases:
- {name: a, call: {method: ping}, expect: {verdict: allow}}
- {name: b, call: {method: ping}, principal: {subject: bob, actor_type: human, groups: []}, headers: {x-a: '2'},
   route: {path: /x}, expect: {verdict: allow}}
";
    let file = read_cases(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(file.policy, "other.yaml");
    let [one, two] = &file.cases[..] else { panic!("two cases") };
    assert_eq!(one.call.route.metadata_server.as_deref(), Some("tracker"));
    assert_eq!(one.call.principal.tenant.as_deref(), Some("acme"));
    assert_eq!(one.call.principal.agent_id.as_deref(), Some("agent-7"));
    assert_eq!(two.call.principal.subject, "bob");
    assert_eq!(two.call.principal.agent_id, None);
    assert!(two.call.principal.groups.is_empty());
    assert_eq!(two.call.route.path, "/x");
    let header = |case: &Case| case.call.headers.iter().find(|(name, _)| name == "x-a").map(|(_, v)| v.clone());
    assert_eq!((header(one).as_deref(), header(two).as_deref()), (Some("1"), Some("2")));
}

#[test]
fn every_problem_of_a_file_is_told_with_its_place_and_the_nearest_name() {
    let text = "cases:
- name: a
  call: {method: ping}
  expects: {verdict: allow}
- name: b
  call: {methud: ping}
  expect: {verdict: alow, rules: x}
";
    let problems = read_cases(text).expect_err("misspelt").to_string();
    for part in [
        "4:3: cases[0]: unknown field `expects` (did you mean `expect`?)",
        "unknown field `methud` (did you mean `method`?)",
        "unknown verdict `alow` (did you mean `allow`?)",
        "cases[1].expect.rules: expected a list, found the string `x`",
    ] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    assert!(read_cases("cases: []").expect_err("none").to_string().contains("expected 1 to"));
}

#[test]
fn one_call_is_read_alone_with_or_without_what_is_around_it() {
    let bare = read_call(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read"}}"#, Some("tracker"));
    let bare = bare.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(matches!(bare.judge(&snapshot()), Judged::Decided(decision) if decision.verdict == Verdict::Allow));
    let whole = read_call(
        "server: tracker\nprincipal: {subject: bob}\ncall: {method: tools/call, params: {name: write}}",
        None,
    );
    let whole = whole.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(whole.principal.subject, "bob");
    assert!(
        matches!(whole.judge(&snapshot()), Judged::Decided(decision) if decision.verdict == Verdict::RequireApproval)
    );
}

#[test]
fn case_may_say_what_ran_before_and_what_cannot_have_run_is_no_past() {
    let policy = "version: \"2026-01-27\"\nservers: {files: {tools: {read: {action: read, risk_tags: [keys]}, rm: {action: admin}}}, \
                  mail: {tools: {send: {action: write}}}}\nrules:\n\
                  - {id: open, match: {mcp: {deny_actions: admin}}, decision: allow}\n\
                  - {id: r, match: {mcp: {allow_servers: mail}, after: {risk_tags: keys, within_ms: 1000}}, decision: require_approval}\n";
    let snapshot = policy::read_file(policy).and_then(|document| policy::compile(&document)).expect("the policy");
    let judge = |before: &str| {
        let case = case(&format!(
            "{{name: a, server: mail, {before}call: {{method: tools/call, params: {{name: send}}}}, expect: {{verdict: allow}}}}"
        ));
        match case.call.judge(&snapshot) {
            Judged::Decided(decision) => decision.verdict.as_str().to_owned(),
            Judged::Refused(why) => why,
        }
    };
    let earlier = |of: &str, name: &str| {
        format!("before: [{{server: files, {of}call: {{method: tools/call, params: {{name: {name}}}}}}}], ")
    };
    assert_eq!(judge(""), "allow");
    assert_eq!(judge(&earlier("", "read")), "require_approval");
    assert_eq!(judge(&earlier("ago_ms: 999, ", "read")), "require_approval");
    assert_eq!(judge(&earlier("ago_ms: 1000, ", "read")), "allow");
    assert_eq!(judge(&earlier("principal: {subject: other}, ", "read")), "allow");
    let why = judge(&earlier("", "rm"));
    assert!(why.contains("cannot have run"), "{why}");
}
