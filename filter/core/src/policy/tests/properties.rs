//! What holds for every policy and every call.

use super::*;

fn condition() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        Just("{}".to_owned()),
        Just("{labels: {mcp.action: read}}".to_owned()),
        Just("{labels: {mcp.action: [write, admin]}}".to_owned()),
        Just("{labels: {mcp.resource: \"repo:acme/*\"}}".to_owned()),
        Just("{risk_tags: [prod]}".to_owned()),
        Just("{risk_tags: [x]}".to_owned()),
        Just("{mcp: {allow_tools: \"list_*\"}}".to_owned()),
        Just("{mcp: {allow_actions: admin}}".to_owned()),
        Just("{groups: [dev]}".to_owned()),
        Just("{scopes: [repo, admin]}".to_owned()),
        Just("{arguments: {/n: {gt: 10}}}".to_owned()),
        Just("{arguments: {/owner: {equals: acme}}}".to_owned()),
        Just("{topics: \"job.mcp.*\"}".to_owned()),
    ];
    (simple, any::<bool>()).prop_map(
        |(simple, negated)| {
            if negated && simple != "{}" { format!("{{not: {simple}}}") } else { simple }
        },
    )
}

fn decision_words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("allow".to_owned()),
        Just("require_approval".to_owned()),
        (1..4_u32).prop_map(|min| format!(
            "require_approval, approval: {{approvers: {{all_of: [{{group: sre, min: {min}}}]}}, decide_within_ms: {min}000}}"
        )),
        Just("deny".to_owned()),
        (1..9_u32).prop_map(|n| format!("allow, constraints: {{budgets: {{max_runtime_ms: {n}, max_retries: {n}}}}}")),
    ]
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let rule = (condition(), decision_words());
    proptest::collection::vec(rule, 0..7).prop_map(|rules| {
        let each = rules.into_iter().enumerate();
        each.map(|(n, (matches, decision))| format!("- {{id: r{n}, match: {matches}, decision: {decision}}}\n"))
            .collect()
    })
}

fn params() -> impl Strategy<Value = String> {
    let names =
        prop_oneof![Just("list_x"), Just("create_issue"), Just("delete_project"), Just("odd"), Just("pub_public")];
    let arguments = prop_oneof![
        Just("{}"),
        Just(r#"{"owner":"acme","repo":"site","n":50}"#),
        Just(r#"{"Owner":"acme","n":"50"}"#),
        Just(r#"{"owner":["acme"],"repo":"a/b","n":5}"#),
    ];
    (names, arguments).prop_map(|(name, arguments)| format!(r#""name":"{name}","arguments":{arguments}"#))
}

fn client_tags() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(r#"["prod"]"#),
        Just(r#"["x","y"]"#),
        Just("[]"),
        Just(r#"{"action":"read"}"#),
        Just(r#"{"action":"admin","risk_tags":["x"]}"#),
    ]
}

fn policy_of(rules: &[String]) -> PolicySnapshot {
    let list = if rules.is_empty() { "  []".to_owned() } else { rules.concat() };
    with_rules(&list)
}

fn on(policy: &PolicySnapshot, params: &str) -> Decision {
    decide(policy, call("github", "tools/call", &format!("{{{params}}}")))
}

/// Whether `two` is at least as strict as `one` in every respect.
fn no_looser(one: &Decision, two: &Decision) -> bool {
    let bound = |one: Option<u64>, two: Option<u64>| one.is_none_or(|one| two.is_some_and(|two| two <= one));
    let approval = match (&one.approval, &two.approval) {
        (Some(one), Some(two)) => {
            let met = |group: &str, min: u32| {
                let named = two.all_of.iter().any(|entry| entry.group == group && entry.min >= min);
                named || (group == "*" && min == 1)
            };
            two.decide_within_ms <= one.decide_within_ms
                && two.claim_within_ms <= one.claim_within_ms
                && one.all_of.iter().all(|entry| met(&entry.group, entry.min))
        }
        (Some(_), None) => two.verdict == Verdict::Deny,
        (None, _) => true,
    };
    two.verdict >= one.verdict
        && approval
        && bound(one.constraints.max_runtime_ms, two.constraints.max_runtime_ms)
        && bound(one.constraints.max_retries.map(u64::from), two.constraints.max_retries.map(u64::from))
        && one.constraints.concurrency.is_subset(&two.constraints.concurrency)
}

proptest! {
    #[test]
    fn shuffling_rules_changes_nothing(
        (rules, shuffled) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        params in params(),
    ) {
        prop_assert_eq!(on(&policy_of(&rules), &params), on(&policy_of(&shuffled), &params));
    }

    #[test]
    fn adding_a_deny_rule_never_loosens(rules in rules(), condition in condition(), params in params()) {
        let mut more = rules.clone();
        more.push(format!("- {{id: added, match: {condition}, decision: deny}}\n"));
        let (before, after) = (on(&policy_of(&rules), &params), on(&policy_of(&more), &params));
        prop_assert!(no_looser(&before, &after), "{:?} {:?}", before, after);
    }

    #[test]
    fn adding_an_approval_rule_never_loosens_what_was_allowed(rules in rules(), condition in condition(), params in params()) {
        let mut more = rules.clone();
        more.push(format!("- {{id: added, match: {condition}, decision: require_approval}}\n"));
        let (before, after) = (on(&policy_of(&rules), &params), on(&policy_of(&more), &params));
        prop_assume!(before.verdict != Verdict::Deny || before.rule_id() != "default_decision");
        prop_assert!(no_looser(&before, &after), "{:?} {:?}", before, after);
    }

    #[test]
    fn adding_a_constraint_never_loosens(rules in rules(), condition in condition(), params in params()) {
        // The same grant with and without bounds.
        let with = |constraints: &str| {
            let mut more = rules.clone();
            more.push(format!("- {{id: added, match: {condition}, decision: allow{constraints}}}\n"));
            on(&policy_of(&more), &params)
        };
        let (before, after) = (with(""), with(", constraints: {budgets: {max_retries: 0, max_concurrent_jobs: 1}}"));
        prop_assert!(no_looser(&before, &after), "{:?} {:?}", before, after);
    }

    #[test]
    fn client_tags_never_loosen(rules in rules(), params in params(), tags in client_tags()) {
        let policy = policy_of(&rules);
        let tagged = format!(r#"{params},"_meta":{{"holdpoint.dev/tags":{tags}}}"#);
        let (before, after) = (on(&policy, &params), on(&policy, &tagged));
        prop_assert!(no_looser(&before, &after), "{:?} {:?}", before, after);
    }

    #[test]
    fn reading_a_policy_never_panics(text in "(version|rules|servers|match|id|[-:{}\\[\\], \n\"*&.a0]){0,40}") {
        if let Ok(document) = read_file(&text) {
            let _ = compile(&document);
            let _ = lint(&document);
        }
    }
}
