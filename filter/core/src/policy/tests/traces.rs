//! What a trace tells is what was decided, and it tells it field by field.

use std::collections::BTreeSet;

use super::properties::{client_tags, params, policy_of, rules};
use super::*;

fn trace(policy: &PolicySnapshot, call: Call) -> Trace {
    policy.trace(&seal(policy, call), &NoUsage)
}

/// Each condition of a rule as `field: truth`, with the predicates on arguments behind it.
fn told(rule: &RuleTrace) -> Vec<String> {
    let each = rule.conditions.iter().map(|condition| {
        let inside: Vec<String> =
            condition.inside.iter().map(|inner| format!("{} {:?}", inner.field, inner.truth)).collect();
        format!("{}: {:?} {}", condition.field, condition.truth, inside.join(", ")).trim_end().to_owned()
    });
    each.collect()
}

#[test]
fn a_production_write_shows_both_rules_at_work_and_why_the_third_is_not() {
    let trace = trace(&snapshot(&guide()), tool("create_issue", r#"{"owner":"acme","repo":"site"}"#));
    assert_eq!(trace.readings.len(), 1);
    let reading = &trace.readings[0];
    assert_eq!((reading.verdict, reading.decided_by.as_str()), (Verdict::RequireApproval, "mcp-write-approval"));
    let rules: Vec<(&str, Truth, Effect, Vec<String>)> =
        reading.rules.iter().map(|rule| (rule.rule_id.as_str(), rule.matched, rule.effect, told(rule))).collect();
    let read = vec!["labels[\"mcp.action\"]: False".to_owned(), "mcp.allow_servers: True".to_owned()];
    let expected = [
        ("mcp-prod-constraints", Truth::True, Effect::Grants, vec!["risk_tags: True".to_owned()]),
        ("mcp-read-allow", Truth::False, Effect::Nothing, read),
        ("mcp-write-approval", Truth::True, Effect::Asks, vec!["labels[\"mcp.action\"]: True".to_owned()]),
    ];
    assert_eq!(rules, expected);
    let action = &reading.rules[1].conditions[0];
    assert_eq!(
        (action.wanted.as_slice(), action.found.as_slice()),
        (&["read".to_owned()][..], &["write".to_owned()][..])
    );
}

#[test]
fn arguments_are_told_with_what_was_wanted_what_was_found_and_why_it_is_unknown() {
    let policy = with_rules(
        r#"
- id: r
  match:
    arguments: {/amount: {gt: 1000, not: {equals: 7}}, "/to/*": {every: true, glob: "*@acme"}, /gone: {equals: x}}
    not: {labels: {region: eu}}
  decision: allow"#,
    );
    let trace = trace(&policy, tool("list_x", r#"{"Amount": 5, "to": ["a@acme", 5]}"#));
    let rule = &trace.readings[0].rules[0];
    assert_eq!((rule.matched, rule.effect), (Truth::False, Effect::Nothing));
    assert_eq!(
        told(rule),
        [
            "arguments[\"/amount\"]: Unknown value Unknown",
            "arguments[\"/gone\"]: False equals False",
            "arguments[\"/to/*\"]: Unknown glob True, glob Unknown",
            "not: Unknown labels[\"region\"] Unknown",
        ]
    );
    let whys: Vec<&str> =
        rule.conditions.iter().flat_map(|one| &one.inside).filter_map(|inner| inner.why.as_deref()).collect();
    assert_eq!(
        whys,
        [
            "a near-name stands there, and some servers read names without case, `_` and `-`",
            "it is not there",
            "as an exact number and as a double it compares differently, or another kind is wanted",
            "it is not there, and what is not there helps no rule that allows",
        ]
    );
    assert_eq!(rule.conditions[2].inside[0].found, [r#""a@acme""#]);
}

#[test]
fn a_trace_is_plain_data_and_its_debug_form_shows_no_argument() {
    let policy = with_rules("- {id: r, match: {arguments: {/x: {equals: y}}}, decision: deny}");
    let trace = trace(&policy, tool("list_x", r#"{"x":"hush-hush"}"#));
    let text = serde_json::to_string(&trace).unwrap();
    assert!(text.contains("hush-hush"));
    assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace);
    assert!(!format!("{trace:?}").contains("hush"));
}

#[test]
fn rules_that_plumbing_does_not_ask_are_passed_over() {
    let policy =
        with_rules("- {id: a, match: {}, decision: deny}\n- {id: b, match: {topics: job.mcp.list}, decision: deny}");
    let trace = trace(&policy, call("github", "tools/list", "{}"));
    let effects: Vec<Effect> = trace.readings[0].rules.iter().map(|rule| rule.effect).collect();
    assert_eq!(effects, [Effect::PassedOver, Effect::Denies]);
}

proptest! {
    #[test]
    fn a_trace_always_agrees_with_the_decision(rules in rules(), params in params(), tags in client_tags(), tagged in any::<bool>()) {
        let policy = policy_of(&rules);
        let meta = if tagged { format!(r#","_meta":{{"holdpoint.dev/tags":{tags}}}"#) } else { String::new() };
        let call = call("github", "tools/call", &format!("{{{params}{meta}}}"));
        let (trace, decision) = (trace(&policy, call.clone()), decide(&policy, call));
        prop_assert_eq!(&trace.decision, &decision);
        prop_assert_eq!(trace.readings.iter().map(|reading| reading.verdict).max(), Some(decision.verdict));
        let all: Vec<&RuleTrace> = trace.readings.iter().flat_map(|reading| &reading.rules).collect();
        prop_assert_eq!(all.len(), policy.rule_count() * trace.readings.len());
        let had_a_say: BTreeSet<&str> = all
            .iter()
            .filter(|rule| !rule.observed && !matches!(rule.effect, Effect::Nothing | Effect::PassedOver))
            .map(|rule| rule.rule_id.as_str())
            .collect();
        let reasons: BTreeSet<&str> = rule_ids(&decision).into_iter().filter(|id| !RESERVED_RULE_IDS.contains(id)).collect();
        prop_assert_eq!(had_a_say, reasons);
        for rule in all {
            prop_assert_eq!(rule.matched, Truth::all(rule.conditions.iter().map(|condition| condition.truth)));
            for nested in rule.conditions.iter().filter(|condition| condition.field == "not") {
                let inner = Truth::all(nested.inside.iter().map(|inner| inner.truth));
                prop_assert_eq!(nested.truth, inner.inverted());
            }
        }
    }
}
