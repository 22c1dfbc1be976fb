//! Calls in, shared facts or facts of their own out.

use super::*;
use crate::envelope::CallEnvelope;
use crate::policy::PolicySnapshot;
use crate::policy::tests::{call, principal, seal, with_rules};

const RULES: &str = "- {id: all, match: {}, decision: allow}\n- {id: big, match: {mcp: {allow_tools: pub_bound}, arguments: {/n: {gt: 10}}}, decision: deny}\n";

fn of(policy: &PolicySnapshot, tool: &str, change: impl FnOnce(&mut Call)) -> CallEnvelope {
    let mut call = call("github", "tools/call", &format!(r#"{{"name":"{tool}","arguments":{{"n":1}}}}"#));
    change(&mut call);
    seal(policy, call)
}

type Change<'a> = &'a dyn Fn(&mut Call);

fn shares(one: &CallEnvelope, two: &CallEnvelope) -> bool {
    Arc::ptr_eq(&one.facts, &two.facts)
}

#[test]
fn facts_are_shared_by_calls_that_differ_in_their_arguments_alone() {
    let policy = with_rules(RULES);
    let first = of(&policy, "list_x", |_| {});
    assert!(shares(&first, &of(&policy, "list_x", |_| {})), "an equal caller");
    let others: [(&str, Change<'_>); 7] = [
        ("subject", &|call| call.principal = Arc::new(Principal { subject: "user_124".to_owned(), ..principal() })),
        ("issuer", &|call| call.principal = Arc::new(Principal { issuer: "https://other".to_owned(), ..principal() })),
        ("agent", &|call| call.principal = Arc::new(Principal { agent_id: None, ..principal() })),
        ("groups", &|call| call.principal = Arc::new(Principal { groups: BTreeSet::new(), ..principal() })),
        ("scopes", &|call| call.principal = Arc::new(Principal { scopes: BTreeSet::new(), ..principal() })),
        ("definition", &|call| call.definition = Some(Digest::of(b"seen"))),
        ("annotations", &|call| call.annotations.destructive = Some(true)),
    ];
    for (what, change) in others {
        // It has its place again, whoever had it meanwhile.
        let first = of(&policy, "list_x", |_| {});
        let other = of(&policy, "list_x", change);
        assert!(!shares(&first, &other), "another {what}");
        assert!(shares(&other, &of(&policy, "list_x", change)), "the same {what}");
    }
    assert!(!shares(&first, &of(&policy, "list_y", |_| {})), "another tool");
}

#[test]
fn nobody_gets_the_facts_of_whoever_has_the_same_place() {
    let policy = with_rules(RULES);
    let all: Vec<CallEnvelope> = (0..4 * SEALED_MAX).map(|n| of(&policy, &format!("list_{n}"), |_| {})).collect();
    for (n, envelope) in all.iter().enumerate() {
        assert_eq!(envelope.labels().get("mcp.tool"), Some(&format!("list_{n}")));
    }
}

#[test]
fn what_one_call_brings_along_is_never_remembered() {
    let policy = with_rules(RULES);
    let tags = r#"{"name":"list_x","arguments":{},"_meta":{"holdpoint.dev/tags":["prod"]}}"#;
    let tagged = || seal(&policy, call("github", "tools/call", tags));
    assert!(!shares(&tagged(), &tagged()), "tags");
    // Its entry names a resource by the arguments.
    assert!(!of(&policy, "create_issue", |_| {}).facts.is_lasting);
    let seeks = with_rules("- {id: s, match: {secrets_present: true}, decision: deny}\n");
    assert!(!of(&seeks, "list_x", |_| {}).facts.is_lasting, "secrets are looked for");
    let read = || seal(&policy, call("github", "resources/read", r#"{"uri":"repo://acme/site"}"#));
    assert!(!shares(&read(), &read()), "no tool");
}

#[test]
fn a_decision_is_settled_only_where_no_rule_that_was_asked_looks_at_the_call() {
    let policy = with_rules(RULES);
    let settled = |tool: &str| {
        let envelope = of(&policy, tool, |_| {});
        let decision = policy.evaluate(&envelope, &crate::policy::NoUsage).decision;
        (envelope.settled().is_some(), decision.verdict)
    };
    assert!(settled("list_x").0);
    assert!(!settled("pub_bound").0, "a rule asks for its arguments");
}
