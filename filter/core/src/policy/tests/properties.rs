//! What holds for every policy and every call.

use super::*;
use crate::digest::Digest;

pub(super) fn condition() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        Just("{}".to_owned()),
        Just("{labels: {mcp.action: read}}".to_owned()),
        Just("{labels: {mcp.action: [write, admin]}}".to_owned()),
        Just("{labels: {env: prod, mcp.server: \"git*\"}}".to_owned()),
        Just("{labels: {region: eu}}".to_owned()),
        Just("{labels: {mcp.resource: \"repo:acme/*\"}}".to_owned()),
        Just("{mcp: {deny_resources: [\"repo:acme/**\", \"repo:*/site\"]}}".to_owned()),
        Just("{mcp: {allow_resources: \"repo:**\"}}".to_owned()),
        Just("{risk_tags: [prod]}".to_owned()),
        Just("{risk_tags: [x]}".to_owned()),
        Just("{mcp: {allow_tools: \"list_*\"}}".to_owned()),
        Just("{mcp: {allow_tools: [create_issue, odd]}}".to_owned()),
        Just("{mcp: {deny_tools: \"*_issue\"}}".to_owned()),
        Just("{mcp: {allow_servers: [intranet]}}".to_owned()),
        Just("{mcp: {allow_actions: admin}}".to_owned()),
        Just("{mcp: {deny_actions: read}}".to_owned()),
        Just("{groups: [dev]}".to_owned()),
        Just("{scopes: [repo, admin]}".to_owned()),
        Just("{tenants: [other]}".to_owned()),
        Just("{actor_ids: [user_123], actor_types: [human]}".to_owned()),
        Just("{capabilities: \"repo.*\"}".to_owned()),
        Just("{arguments: {/n: {gt: 10}}}".to_owned()),
        Just("{arguments: {/n: {lte: 10, not: {equals: 5}}}}".to_owned()),
        Just("{arguments: {/n: {gt: 5, lt: 5}}}".to_owned()),
        Just("{arguments: {/owner: {equals: acme}}}".to_owned()),
        Just("{arguments: {/owner: {one_of: [acme, 5], prefix: b}}}".to_owned()),
        Just("{arguments: {/owner: {not: {glob: \"a*\"}}, /n: {exists: true}}}".to_owned()),
        Just("{arguments: {\"/to/*\": {every: true, glob: \"*@acme\"}}}".to_owned()),
        Just("{arguments: {\"/to/*\": {not: {length_lte: 3}}}}".to_owned()),
        Just("{topics: \"job.mcp.*\"}".to_owned()),
        Just("{topics: job.mcp.resource}".to_owned()),
        Just("{secrets_present: true}".to_owned()),
        Just("{secrets_present: false}".to_owned()),
        Just("{risk_tags: [secrets, destructive]}".to_owned()),
    ];
    (simple, 0..4_u32).prop_map(|(simple, negations)| match negations {
        1 if simple != "{}" => format!("{{not: {simple}}}"),
        2 if simple != "{}" => format!("{{not: {{not: {simple}}}}}"),
        3 if simple.starts_with("{arguments") => simple.replacen('{', "{labels: {mcp.action: [read, write]}, ", 1),
        _ => simple,
    })
}

fn decision_words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("allow".to_owned()),
        Just("require_approval".to_owned()),
        (1..4_u32).prop_map(|min| format!(
            "require_approval, approval: {{approvers: {{all_of: [{{group: sre, min: {min}}}]}}, decide_within_ms: {min}000}}"
        )),
        Just("deny".to_owned()),
        Just("deny, mode: observe".to_owned()),
        Just("allow, mode: observe, audit: full".to_owned()),
        Just("require_approval, audit: metadata".to_owned()),
        (1..9_u32).prop_map(|n| format!("allow, constraints: {{budgets: {{max_runtime_ms: {n}, max_retries: {n}}}}}")),
        Just("allow, constraints: {output: {max_bytes: 9, redact: [\"sk-*\"]}}".to_owned()),
        Just("require_approval, constraints: {output: {redact: [\"pw=*\"]}, redaction_level: secrets}".to_owned()),
        Just("allow, constraints: {toolchain: {allowed_tools: [\"list_*\", pub_x]}}".to_owned()),
        Just("allow, constraints: {arguments: {/n: {lte: 10}}}".to_owned()),
    ]
}

/// One rule; a rule that denies has no `deny_` selections.
fn rule(id: &str, condition: &str, decision: &str) -> String {
    let condition =
        if decision.starts_with("deny") { condition.replace("deny_", "allow_") } else { condition.to_owned() };
    format!("- {{id: {id}, match: {condition}, decision: {decision}}}\n")
}

pub(super) fn rules() -> impl Strategy<Value = Vec<String>> {
    let each = (condition(), decision_words());
    proptest::collection::vec(each, 0..7).prop_map(|rules| {
        let each = rules.into_iter().enumerate();
        each.map(|(n, (matches, decision))| rule(&format!("r{n}"), &matches, &decision)).collect()
    })
}

pub(super) const ARGUMENTS: [&str; 13] = [
    "{}",
    r#"{"owner":"acme","repo":"site","n":50}"#,
    r#"{"owner":"acme","repo":"site","n":7,"to":["x@acme"]}"#,
    r#"{"Owner":"acme","n":"50"}"#,
    r#"{"owner":["acme"],"repo":"a/b","n":5}"#,
    r#"{"owner":"bcme","repo":"site","n":5}"#,
    r#"{"owner":"beta","repo":"other","n":-1,"to":["long one"]}"#,
    r#"{"owner":"other","repo":"b","n":null,"to":[]}"#,
    r#"{"owner":5,"repo":6,"n":1e1}"#,
    r#"{"n":9,"to":["a@acme","b@evil"]}"#,
    r#"{"to":"a@acme"}"#,
    r#"{"owner":"","repo":"","n":[11]}"#,
    r#"{"owner":"acme","repo":"site","to":["ghp_0123456789abcdefghijABCDEFGHIJ012345"]}"#,
];

pub(super) fn params() -> impl Strategy<Value = String> {
    let names =
        prop_oneof![Just("list_x"), Just("create_issue"), Just("delete_project"), Just("odd"), Just("pub_public")];
    let arguments = proptest::sample::select(&ARGUMENTS);
    (names, arguments).prop_map(|(name, arguments)| format!(r#""name":"{name}","arguments":{arguments}"#))
}

pub(super) fn client_tags() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(r#"["prod"]"#),
        Just(r#"["x","y"]"#),
        Just("[]"),
        Just(r#"{"action":"read"}"#),
        Just(r#"{"action":"admin","risk_tags":["x"]}"#),
    ]
}

pub(super) fn policy_of(rules: &[String]) -> PolicySnapshot {
    let list = if rules.is_empty() { "  []".to_owned() } else { rules.concat() };
    with_rules(&list)
}

pub(super) fn on(policy: &PolicySnapshot, params: &str) -> Decision {
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
        && one.audit.is_none_or(|one| two.audit.is_some_and(|two| two <= one))
}

/// Writes `value` in one of the ways it can be written, as `choices` say.
fn respell(value: &serde_json::Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    use serde_json::Value;
    let space = |choice: u8| if choice & 1 == 1 { " \n\t" } else { "" };
    let text = |text: &str, choice: u8| {
        if choice & 2 == 0 {
            return Value::String(text.to_owned()).to_string();
        }
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{escaped}\"")
    };
    let mut choice = || choices.next().unwrap_or_default();
    match value {
        Value::Number(number) if number.is_i64() => match choice() % 4 {
            0 => out.push_str(&format!("{number}.0")),
            1 => out.push_str(&format!("{number}e0")),
            2 => out.push_str(&format!("{number}00e-2")),
            _ => out.push_str(&number.to_string()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(string) => out.push_str(&text(string, choice())),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { space(choices.next().unwrap_or_default()) });
                respell(item, choices, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                let choice = choices.next().unwrap_or_default();
                out.push_str(if index > 0 { "," } else { space(choice) });
                let key = if choice % 8 == 7 { key.to_uppercase() } else { key.clone() };
                out.push_str(&text(&key, choice));
                out.push(':');
                respell(member, choices, out);
            }
            out.push('}');
        }
    }
}

/// Fields that rules are indexed by, each with the name it stands under.
fn looked_up() -> impl Strategy<Value = (&'static str, &'static str)> {
    proptest::sample::select(vec![
        ("mcp", "mcp: {allow_tools: [list_x, odd]}"),
        ("mcp", "mcp: {allow_tools: [\"list_*\", \"pub**\"]}"),
        ("mcp", "mcp: {allow_tools: \"*_x\"}"),
        ("mcp", "mcp: {allow_prompts: [p, \"q*\"]}"),
        ("mcp", "mcp: {allow_servers: [github, intranet]}"),
        ("mcp", "mcp: {allow_servers: intranet, allow_actions: read}"),
        ("mcp", "mcp: {allow_actions: [read, admin]}"),
        ("mcp", "mcp: {allow_resources: \"repo:**\"}"),
        ("labels", "labels: {mcp.method: \"tools/*\"}"),
        ("labels", "labels: {mcp.method: resources/read, mcp.action: \"*\"}"),
        ("labels", "labels: {mcp.tool: list_x, mcp.server: \"git*\"}"),
        ("labels", "labels: {mcp.action: [write, \"r*\"]}"),
        ("labels", "labels: {env: prod}"),
        ("risk_tags", "risk_tags: [prod, nothing]"),
        ("risk_tags", "risk_tags: [unclassified, external]"),
        ("requires", "requires: [github, \"network:egress\"]"),
        ("requires", "requires: [gpu]"),
        ("capabilities", "capabilities: [repo.read, \"repo.w*\"]"),
        ("topics", "topics: [job.mcp.tool, \"job.mcp.l*\"]"),
        ("topics", "topics: job.mcp.resource"),
        ("tenants", "tenants: [acme, other]"),
        ("scopes", "scopes: [read, repo]"),
        ("groups", "groups: [dev, ops]"),
        ("groups", "groups: [none]"),
        ("actor_ids", "actor_ids: [user_123, user_9]"),
        ("actor_types", "actor_types: [agent]"),
        ("not", "not: {mcp: {allow_tools: list_x}}"),
        ("not", "not: {groups: [dev]}"),
    ])
}

const METHODS: [(&str, &str); 9] = [
    ("tools/call", r#"{"name":"list_x"}"#),
    ("tools/call", r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site"}}"#),
    ("tools/call", r#"{"name":"odd"}"#),
    ("tools/call", r#"{"name":"pub_x"}"#),
    ("prompts/get", r#"{"name":"p"}"#),
    ("resources/read", r#"{"uri":"repo://acme/site"}"#),
    ("tools/list", "{}"),
    ("ping", "{}"),
    ("odd/method", "{}"),
];

fn principals() -> impl Strategy<Value = Principal> {
    let sets = proptest::sample::subsequence(vec!["dev", "ops", "repo", "read", "x", "y"], 0..=6);
    (any::<bool>(), any::<bool>(), sets).prop_map(|(is_known, has_tenant, names)| Principal {
        subject: if is_known { "user_123" } else { "user_4" }.to_owned(),
        tenant: has_tenant.then(|| "acme".to_owned()),
        groups: names.iter().map(|name| (*name).to_owned()).collect(),
        scopes: names.iter().map(|name| (*name).to_owned()).collect(),
        ..principal()
    })
}

proptest! {
    /// Whatever a call's answer is bound to, an answer of which nobody knows the call is bound to as well.
    #[test]
    fn no_answer_is_under_stricter_limits_than_the_strictest(rules in rules(), params in params()) {
        let policy = policy_of(&rules);
        let decision = on(&policy, &params);
        let strictest = policy.strictest_answer(&principal(), "github");
        if decision.verdict != Verdict::Deny {
            let own = &decision.constraints;
            let both = strictest.united(own);
            prop_assert_eq!((both.max_runtime_ms, &both.output), (strictest.max_runtime_ms, &strictest.output));
        }
        let elsewhere = Principal { groups: Default::default(), scopes: Default::default(), ..principal() };
        prop_assert_eq!(policy.strictest_answer(&elsewhere, "github"), strictest, "groups and scopes come and go");
    }

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
        more.push(rule("added", &condition, "deny"));
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
    fn what_a_server_says_of_its_tool_never_loosens(
        rules in rules(),
        params in params(),
        hints in any::<[Option<bool>; 3]>(),
        tags in client_tags(),
    ) {
        let policy = policy_of(&rules);
        let [read_only, destructive, open_world] = hints;
        for params in [params.clone(), format!(r#"{params},"_meta":{{"holdpoint.dev/tags":{tags}}}"#)] {
            let plain = call("github", "tools/call", &format!("{{{params}}}"));
            let mut hinted = plain.clone();
            hinted.annotations = Annotations { read_only, destructive, open_world };
            let (before, after) = (decide(&policy, plain), decide(&policy, hinted));
            prop_assert!(no_looser(&before, &after), "{:?} {:?}", before, after);
        }
    }

    #[test]
    fn a_secret_in_an_argument_never_loosens(rules in rules(), params in params(), escaped in any::<bool>()) {
        let policy = policy_of(&rules);
        let token = if escaped { r"gh\u0070_0123456789abcdefghijABCDEFGHIJ012345" } else { "ghp_0123456789abcdefghijABCDEFGHIJ012345" };
        // The same call with a text that no rule asks about, once harmless and once not.
        let with = |text: &str| on(&policy, &params.replacen('{', &format!(r#"{{"other":"{text}","#), 1).replace(",}", "}"));
        let (before, after) = (with("harmless"), with(token));
        prop_assert!(no_looser(&before, &after), "{:?} {:?}", before, after);
    }

    #[test]
    fn a_rule_in_mode_observe_changes_nothing_but_what_is_observed(
        rules in rules(),
        condition in condition(),
        words in decision_words(),
        params in params(),
    ) {
        prop_assume!(!words.contains("mode"));
        let mut more = rules.clone();
        more.push(rule("added", &condition, &format!("{words}, mode: observe")));
        let (before, after) = (on(&policy_of(&rules), &params), on(&policy_of(&more), &params));
        let mut enforced = rules.clone();
        enforced.push(rule("added", &condition, &words));
        let if_enforced = on(&policy_of(&enforced), &params);
        if let Some(observed) = &after.observed {
            let of_others = rules.concat().contains("mode: observe");
            prop_assert!(of_others || observed.verdict == if_enforced.verdict, "{:?} {:?}", after, if_enforced);
        }
        let same = Decision { observed: before.observed.clone(), snapshot_id: before.snapshot_id, ..after };
        prop_assert_eq!(same, before);
    }

    #[test]
    fn judging_never_fails_whatever_the_bytes(rules in rules(), body in proptest::collection::vec(any::<u8>(), 0..80), text in "[\\\\\"{}\\[\\]:,0-9a-z._/ -]{0,60}") {
        let policy = policy_of(&rules);
        let framed = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"list_x","arguments":{{{text}}}}}}}"#);
        for body in [body, framed.into_bytes()] {
            let headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
            let head = mcp::Head { method: b"POST", path: b"/mcp", headers: &headers };
            if let Ok(message) = mcp::read(&head, body, &json::Limits::default())
                && let Ok(envelope) = policy.seal(Call { message, ..tool("x", "{}") })
            {
                let evaluated = policy.evaluate(&envelope, &NoUsage);
                prop_assert_eq!(evaluated.permit.is_some(), evaluated.decision.verdict == Verdict::Allow);
                prop_assert_eq!(&policy.trace(&envelope, &NoUsage).decision, &*evaluated.decision);
            }
        }
    }

    /// Escapes, white space and forms of numbers say the same; keys in another case may say the same to some servers.
    #[test]
    fn however_arguments_are_spelled_nothing_loosens(
        rules in rules(),
        name in proptest::sample::select(vec!["list_x", "create_issue", "delete_project", "odd"]),
        arguments in proptest::sample::select(&ARGUMENTS),
        choices in proptest::collection::vec(any::<u8>(), 1..24),
    ) {
        let policy = policy_of(&rules);
        let value: serde_json::Value = serde_json::from_str(arguments).unwrap();
        let mut spelled = String::new();
        respell(&value, &mut choices.iter().copied().cycle(), &mut spelled);
        let (before, after) = (decide(&policy, tool(name, arguments)), decide(&policy, tool(name, &spelled)));
        prop_assert!(no_looser(&before, &after), "{} as {}: {:?} {:?}", arguments, spelled, before, after);
    }

    /// A trace asks every rule, a decision only those that the index finds.
    #[test]
    fn the_index_leaves_out_no_rule_that_matches(
        rules in proptest::collection::vec((looked_up(), looked_up(), decision_words()), 0..12),
        calls in proptest::collection::vec((proptest::sample::select(&METHODS), principals()), 4),
    ) {
        let rules = rules.iter().enumerate().map(|(n, (one, two, words))| {
            let condition = if one.0 == two.0 { format!("{{{}}}", one.1) } else { format!("{{{}, {}}}", one.1, two.1) };
            rule(&format!("r{n}"), &condition, words)
        });
        let policy = policy_of(&rules.collect::<Vec<_>>());
        for ((method, params), principal) in calls {
            let envelope = seal(&policy, Call { principal: principal.into(), ..call("github", method, params) });
            let decided = policy.evaluate(&envelope, &NoUsage).decision;
            prop_assert_eq!(&policy.trace(&envelope, &NoUsage).decision, &*decided);
        }
    }

    /// What was found out for one call answers another exactly as if nobody had ever called.
    #[test]
    fn what_is_remembered_changes_no_decision(
        one in rules(),
        others in proptest::collection::vec((looked_up(), decision_words()), 0..4),
        calls in proptest::collection::vec(
            (params(), principals(), any::<[Option<bool>; 3]>(), proptest::option::of(client_tags()), 0..3_u8, any::<bool>()),
            1..12,
        ),
    ) {
        let others = others.iter().enumerate().map(|(n, (fields, words))| rule(&format!("s{n}"), &format!("{{{}}}", fields.1), words));
        let policy = policy_of(&one.into_iter().chain(others).collect::<Vec<_>>());
        let mut again = calls.clone();
        again.reverse();
        for (params, principal, [read_only, destructive, open_world], tags, seen, is_elsewhere) in calls.into_iter().chain(again) {
            let tags = tags.map(|tags| format!(r#","_meta":{{"holdpoint.dev/tags":{tags}}}"#)).unwrap_or_default();
            let server = if is_elsewhere { "intranet" } else { "github" };
            let call = Call {
                principal: principal.into(),
                annotations: Annotations { read_only, destructive, open_world },
                definition: (seen > 0).then(|| Digest::of(&[seen])),
                ..call(server, "tools/call", &format!("{{{params}{tags}}}"))
            };
            // A copy remembers nothing.
            match (policy.seal(call.clone()), policy.clone().seal(call)) {
                (Ok(warm), Ok(cold)) => {
                    prop_assert_eq!(warm.record(), cold.record());
                    prop_assert_eq!((warm.credential(), warm.bound_headers()), (cold.credential(), cold.bound_headers()));
                    prop_assert_eq!((warm.call_text(), warm.definition()), (cold.call_text(), cold.definition()));
                    let anew = policy.trace(&cold, &NoUsage).decision;
                    prop_assert_eq!(&*policy.evaluate(&warm, &NoUsage).decision, &anew);
                    prop_assert_eq!(&*policy.evaluate(&warm, &NoUsage).decision, &anew);
                }
                (warm, cold) => prop_assert_eq!(warm.map_err(|(_, error)| error).err(), cold.map_err(|(_, error)| error).err()),
            }
        }
    }

    #[test]
    fn reading_a_policy_never_panics(text in "(version|rules|servers|match|id|[-:{}\\[\\], \n\"*&.a0]){0,40}") {
        if let Ok(document) = read_file(&text) {
            let _ = compile(&document);
            let _ = lint(&document);
        }
    }
}
