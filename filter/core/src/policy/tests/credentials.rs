//! What the catalogue demands of a caller's token, and what it lets go on to the server.

use super::*;

fn policy(server: &str, tools: &str, rules: &str) -> PolicySnapshot {
    snapshot(&format!(
        "version: \"2026-01-27\"\nservers:\n  github:\n    credential: {server}\n    tools: {tools}\nrules:\n{rules}"
    ))
}

const ALLOW: &str = "- {id: all, match: {mcp: {allow_servers: [github]}}, decision: allow}\n";

/// Headers that go on with a call of `read_it`, and those that do not.
fn headers(server: &str, tools: &str) -> (Vec<String>, Vec<String>) {
    let envelope = seal(&policy(server, tools, ALLOW), tool("read_it", "{}"));
    let credential = envelope.credential();
    (
        credential.forwarded.iter().map(|name| name.to_string()).collect(),
        credential.stripped.iter().map(|name| name.to_string()).collect(),
    )
}

#[test]
fn credentials_stay_at_the_gateway_unless_they_are_forwarded_on_purpose() {
    let (forwarded, stripped) = headers("{headers: [x-api-key]}", "{read_it: {action: read}}");
    assert!(forwarded.is_empty());
    assert_eq!(stripped, ["authorization", "cookie", "proxy-authorization", "x-api-key"]);
    let (forwarded, stripped) = headers("{forward: true, headers: [x-api-key]}", "{read_it: {action: read}}");
    assert_eq!(forwarded, ["authorization", "x-api-key"]);
    assert_eq!(stripped, ["cookie", "proxy-authorization"]);
}

#[test]
fn an_entry_overrules_its_server_and_the_most_careful_of_several_wins() {
    let is_forwarded = |server: &str, tools: &str| !headers(server, tools).0.is_empty();
    assert!(!is_forwarded("{forward: true}", "{read_it: {action: read, credential: {forward: false}}}"));
    assert!(is_forwarded("{forward: false}", "{read_it: {action: read, credential: {forward: true}}}"));
    let tied = r#"{"*d_it": {action: read, credential: {forward: true}}, "read*": {action: read}}"#;
    assert!(!is_forwarded("{}", tied), "both patterns are equally specific");
    assert!(is_forwarded("{forward: true}", "{other: {action: read}}"), "what is unlisted does as its server");
}

#[test]
fn missing_scopes_deny_what_every_rule_allows_and_all_of_them_are_named() {
    let tools = "{read_it: {action: read, credential: {required_scopes: [repo, workflow]}}, other: {action: read}}";
    let policy = policy("{required_scopes: [read, audit]}", tools, ALLOW);
    let decision = decide(&policy, tool("read_it", "{}"));
    assert_eq!(rule_ids(&decision), ["required_scopes", "all"]);
    assert!(decision.reason().contains("`audit`, `workflow`"), "{}", decision.reason());
    assert_eq!(
        decision.reasons[0].remediation.as_deref(),
        Some("Call again with a token that carries all of `audit`, `workflow`")
    );
    let mut carries_all = tool("read_it", "{}");
    std::sync::Arc::make_mut(&mut carries_all.principal).scopes.extend(["audit".to_owned(), "workflow".to_owned()]);
    assert_eq!(decide(&policy, carries_all).verdict, Verdict::Allow);
    assert_eq!(
        decide(&policy, call("github", "tools/list", "{}")).verdict,
        Verdict::Deny,
        "the server's own are for all"
    );
}

#[test]
fn missing_scopes_give_nothing_away_that_a_rule_conceals() {
    let rules = "- {id: hidden, match: {}, decision: deny, conceal: true}\n";
    let decision = decide(&policy("{required_scopes: [audit]}", "{}", rules), tool("read_it", "{}"));
    assert!(decision.conceal);
    assert_eq!(decision.rule_id(), "hidden");
}

#[test]
fn a_call_that_lacks_a_scope_is_not_put_before_people() {
    let rules = "- {id: ask, match: {}, decision: require_approval}\n";
    let decision = decide(&policy("{required_scopes: [audit]}", "{}", rules), tool("read_it", "{}"));
    assert_eq!((decision.verdict, decision.approval), (Verdict::Deny, None));
}

#[test]
fn what_credentials_may_do_is_part_of_snapshot_and_basis() {
    let one = policy("{}", "{read_it: {action: read}}", ALLOW);
    let other = policy("{forward: true}", "{read_it: {action: read}}", ALLOW);
    let third = policy("{}", "{read_it: {action: read, credential: {required_scopes: [repo]}}}", ALLOW);
    let basis = |policy: &PolicySnapshot| decide(policy, tool("read_it", "{}")).basis;
    assert!(one.id() != other.id() && basis(&one) != basis(&other));
    assert!(one.id() != third.id() && basis(&one) != basis(&third));
    assert_eq!(
        one.id(),
        policy("{forward: false}", "{read_it: {action: read}}", ALLOW).id(),
        "the default, written out"
    );
}

#[test]
fn a_list_hides_what_this_callers_scopes_can_never_reach() {
    use crate::envelope::Offered;
    let tools = "{read_it: {action: read, credential: {required_scopes: [workflow]}}, other: {action: read}}";
    let policy = policy("{}", tools, ALLOW);
    let may_ever = |name: &str| policy.may_ever(&principal(), "github", Offered::Tool(name));
    assert!(!may_ever("read_it"));
    assert!(may_ever("other"));
}

#[test]
fn a_credential_section_that_means_nothing_is_an_error() {
    let problems = |server: &str| {
        let text = format!("version: \"2026-01-27\"\nservers:\n  github:\n    {server}\nrules: []\n");
        read_file(&text).expect_err("refused").to_string()
    };
    assert!(problems("credential: {required_scopes: [\"repo read\"]}").contains("write a list"));
    assert!(problems("credential: {headers: [X-Api-Key]}").contains("lower-case"));
    assert!(problems("credential: {forwards: true}").contains("did you mean `forward`"));
    assert!(problems("tools: {a: {action: read, credential: {headers: [x-a]}}}").contains("unknown field `headers`"));
    assert!(problems("bind_headers: [authorization]").contains("holds credentials"));
    assert!(problems("{credential: {headers: [x-key]}, bind_headers: [x-key]}").contains("holds credentials"));
}

#[test]
fn lint_warns_when_read_and_admin_tools_send_the_same_credential() {
    let findings = |server: &str, admin: &str| {
        let text = format!(
            "version: \"2026-01-27\"\nservers:\n  github:\n    credential: {server}\n    tools:\n      \
             look: {{action: read}}\n      wipe: {{action: admin{admin}}}\nrules: []\n"
        );
        let document = read_file(&text).expect("a policy");
        lint(&document).into_iter().map(|finding| finding.lint).collect::<Vec<_>>()
    };
    assert_eq!(findings("{forward: true}", ""), ["shared-credential"]);
    assert_eq!(findings("{forward: true}", ", credential: {forward: false}"), [""; 0]);
    assert_eq!(findings("{}", ""), [""; 0]);
}

#[test]
fn trace_of_a_call_without_its_scopes_says_so_reading_by_reading() {
    let tools = "{read_it: {action: read}}";
    let denies = "- {id: all, match: {mcp: {allow_servers: [github]}}, decision: deny}\n";
    for (rules, scopes, decided_by) in
        [(ALLOW, "[repo, audit]", "required_scopes"), (denies, "[repo, audit]", "all"), (ALLOW, "[]", "all")]
    {
        let policy = policy(&format!("{{required_scopes: {scopes}}}"), tools, rules);
        for name in ["read_it", "unlisted"] {
            let envelope = seal(&policy, tool(name, "{}"));
            let trace = policy.trace(&envelope, &NoUsage);
            assert_eq!(trace.decision, *policy.evaluate(&envelope, &NoUsage).decision);
            for reading in &trace.readings {
                assert_eq!(reading.decided_by, decided_by, "{name} {rules}");
            }
            let strictest = trace.readings.iter().map(|reading| reading.verdict).max();
            assert_eq!(strictest, Some(trace.decision.verdict), "{name} {rules}");
        }
    }
}
