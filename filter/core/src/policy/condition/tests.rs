//! One condition and one call in, a truth out: how it stands in a rule that grants and in one that forbids.

use super::*;
use crate::policy::tests::{call, principal, seal, with_rules};
use crate::policy::trace::{Recorder, Untraced};
use crate::policy::{NoUsage, Truth, document::Match};
use Truth::{False, True, Unknown};

/// The condition's truth in a rule that grants, and in one that denies or asks.
fn check(condition: &str, arguments: &str) -> (Truth, Truth) {
    let policy = with_rules(&format!("- {{id: r, match: {condition}, decision: allow}}\n"));
    let params = format!(r#"{{"name":"create_issue","arguments":{arguments}}}"#);
    let envelope = seal(&policy, call("github", "tools/call", &params));
    let matches: &Match = &policy.rules[0].rule.matches;
    let facts = Facts {
        topic: envelope.topic(),
        reading: &envelope.readings()[0],
        principal: envelope.principal(),
        arguments: Arguments::Sent(envelope.message().arguments()),
        before: Before::Told(&NoUsage),
    };
    let truth = |loosens| {
        let plain = holds(matches, &facts, Mode::of_rule(loosens), &mut Untraced);
        let told = holds(matches, &facts, Mode::of_rule(loosens), &mut Recorder::default());
        assert_eq!(plain, told, "{condition} on {arguments}");
        plain
    };
    (truth(true), truth(false))
}

/// As [`check`], for one predicate over `/x`.
fn check_x(test: &str, arguments: &str) -> (Truth, Truth) {
    check(&format!("{{arguments: {{/x: {test}}}}}"), arguments)
}

#[test]
fn type_confusion_is_unknown_and_absence_is_false() {
    for (test, arguments, expected) in [
        ("{gt: 1000}", r#"{"x":5000}"#, True),
        ("{gt: 1000}", r#"{"x":5e3}"#, True),
        ("{gt: 1000}", r#"{"x":1000}"#, False),
        ("{gt: 1000}", r#"{"x":"5000"}"#, Unknown),
        ("{gt: 1000}", r#"{"x":null}"#, Unknown),
        ("{gt: 1000}", r#"{"x":[5000]}"#, Unknown),
        ("{gt: 1000}", r#"{"x":true}"#, Unknown),
        ("{gt: 1000}", r#"{"X":5000}"#, Unknown),
        ("{gt: 1000}", r#"{"x":1,"X":5000}"#, Unknown),
        ("{gt: 1000}", r#"{"y":5000}"#, False),
        ("{gt: 9007199254740992}", r#"{"x":9007199254740993}"#, Unknown),
        ("{lt: 5, gte: 1}", r#"{"x":4}"#, True),
        ("{lt: 5, gte: 1}", r#"{"x":0}"#, False),
        ("{equals: prod}", r#"{"x":"prod"}"#, True),
        ("{equals: prod}", r#"{"x":"pr\u006fd"}"#, True),
        ("{equals: prod}", r#"{"x":"Prod"}"#, False),
        ("{equals: prod}", r#"{"x":["prod"]}"#, Unknown),
        ("{equals: 5}", r#"{"x":5.0}"#, True),
        ("{equals: 5}", r#"{"x":"5"}"#, Unknown),
        ("{equals: true}", r#"{"x":"true"}"#, Unknown),
        ("{equals: true}", r#"{"x":1}"#, Unknown),
        ("{equals: null}", r#"{"x":null}"#, True),
        ("{one_of: [a, 1]}", r#"{"x":"b"}"#, Unknown),
        ("{one_of: [a, b]}", r#"{"x":"b"}"#, True),
        ("{one_of: [a, b]}", r#"{"x":"c"}"#, False),
        ("{glob: \"acme/*\"}", r#"{"x":"acme/site"}"#, True),
        ("{glob: \"acme/*\"}", r#"{"x":"acme/site/x"}"#, False),
        ("{glob: \"acme/*\"}", r#"{"x":7}"#, Unknown),
        ("{prefix: ac}", r#"{"x":"acme"}"#, True),
        ("{prefix: ac}", r#"{"x":{}}"#, Unknown),
        ("{length_lte: 2}", r#"{"x":"éé"}"#, True),
        ("{length_lte: 2}", r#"{"x":[1,2,3]}"#, False),
        ("{length_lte: 2}", r#"{"x":12}"#, Unknown),
        ("{exists: true}", r#"{"x":0}"#, True),
        ("{exists: true}", r#"{"x":null}"#, Unknown),
        ("{exists: true}", "{}", False),
        ("{exists: false}", "{}", True),
        ("{exists: false}", r#"{"X":1}"#, Unknown),
    ] {
        assert_eq!(check_x(test, arguments), (expected, expected), "{test} on {arguments}");
    }
}

#[test]
fn what_is_absent_under_not_or_every_helps_only_rules_that_forbid() {
    for (test, arguments, granting, forbidding) in [
        ("{not: {equals: dev}}", r#"{"x":"prod"}"#, True, True),
        ("{not: {equals: dev}}", r#"{"x":"dev"}"#, False, False),
        ("{not: {equals: dev}}", "{}", Unknown, True),
        ("{not: {equals: dev}}", r#"{"x":1}"#, Unknown, Unknown),
        ("{not: {exists: true}}", "{}", True, True),
    ] {
        assert_eq!(check_x(test, arguments), (granting, forbidding), "{test} on {arguments}");
    }
    for (condition, granting, forbidding) in [
        ("{not: {labels: {region: eu}}}", Unknown, True),
        ("{not: {labels: {env: dev}}}", True, True),
        ("{not: {arguments: {/x: {equals: 1}}}}", Unknown, True),
        ("{not: {risk_tags: [nuclear]}}", True, True),
        ("{not: {mcp: {allow_prompts: p}}}", Unknown, True),
        ("{mcp: {deny_prompts: p}}", False, False),
        ("{mcp: {deny_tools: \"list_*\"}}", True, True),
    ] {
        assert_eq!(check(condition, "{}"), (granting, forbidding), "{condition}");
    }
}

#[test]
fn pointers_lead_through_lists_and_any_element_or_every_one_counts() {
    for (pointer, test, arguments, granting, forbidding) in [
        ("/a/1", "{equals: 2}", r#"{"a":[1,2]}"#, True, True),
        ("/a/9", "{equals: 2}", r#"{"a":[1,2]}"#, False, False),
        ("/a/b", "{equals: 2}", r#"{"a":[1,2]}"#, Unknown, Unknown),
        ("/a/b", "{equals: 2}", r#"{"a":"{\"b\":2}"}"#, Unknown, Unknown),
        ("/a/b", "{equals: 2}", r#"{"a":null}"#, False, False),
        ("/a~1b", "{equals: 2}", r#"{"a/b":2}"#, True, True),
        ("/to/*", "{glob: \"*@evil\"}", r#"{"to":["a@ok","b@evil"]}"#, True, True),
        ("/to/*", "{glob: \"*@evil\"}", r#"{"to":"b@evil"}"#, Unknown, Unknown),
        ("/to/*", "{glob: \"*@evil\"}", r#"{"to":[]}"#, False, False),
        ("/to/*/n", "{every: true, lte: 5}", r#"{"to":[{"n":1},{"n":5}]}"#, True, True),
        ("/to/*/n", "{every: true, lte: 5}", r#"{"to":[{"n":1},{"n":6}]}"#, False, False),
        ("/to/*/n", "{every: true, lte: 5}", r#"{"to":[{"n":1},{}]}"#, Unknown, False),
        ("/to/*/n", "{every: true, lte: 5}", r#"{"to":[]}"#, Unknown, True),
        ("/to/*/n", "{every: true, lte: 5}", "{}", Unknown, False),
        ("/to/*/n", "{lte: 5}", r#"{"to":{"k":{"n":3}}}"#, True, True),
    ] {
        let condition = format!("{{arguments: {{\"{pointer}\": {test}}}}}");
        assert_eq!(check(&condition, arguments), (granting, forbidding), "{condition} on {arguments}");
    }
}

#[test]
fn every_part_of_a_match_is_a_condition() {
    for (condition, expected) in [
        ("{}", True),
        ("{labels: {mcp.action: write, env: \"p*\"}}", True),
        ("{labels: {mcp.action: [read, write]}}", True),
        ("{labels: {mcp.action: read}}", False),
        ("{labels: {mcp.resource: \"repo:acme/*\"}}", True),
        ("{labels: {mcp.method: tools/call, mcp.server: github, mcp.tool: create_issue}}", True),
        ("{risk_tags: [x, prod]}", True),
        ("{risk_tags: [x]}", False),
        ("{requires: [github, \"network:egress\"]}", True),
        ("{requires: [github, gpu]}", False),
        ("{capabilities: \"repo.*\"}", True),
        ("{topics: [job.mcp.tool]}", True),
        ("{topics: [job.mcp.resource]}", False),
        ("{tenants: acme}", True),
        ("{tenants: other}", False),
        ("{scopes: [repo, read]}", True),
        ("{scopes: [repo, write]}", False),
        ("{groups: [dev, ops]}", True),
        ("{groups: [ops]}", False),
        ("{actor_ids: user_123}", True),
        ("{actor_ids: agent-7}", False),
        ("{actor_types: [human]}", True),
        ("{actor_types: [agent]}", False),
        ("{mcp: {allow_servers: [github], allow_tools: \"create_*\", allow_actions: [write, admin]}}", True),
        ("{mcp: {allow_resources: \"repo:acme/**\"}}", True),
        ("{mcp: {deny_servers: github}}", False),
        ("{mcp: {deny_actions: admin}}", True),
        ("{mcp: {deny_actions: write}}", False),
        ("{mcp: {deny_resources: \"repo:*/secret\"}}", True),
        ("{not: {labels: {mcp.action: write}}}", False),
        ("{labels: {mcp.action: write}, groups: [ops]}", False),
    ] {
        let found = check(condition, r#"{"owner":"acme","repo":"site"}"#);
        assert_eq!(found, (expected, expected), "{condition} for {:?}", principal().subject);
    }
}

#[test]
fn a_resource_that_cannot_be_named_with_certainty_is_unknown() {
    let condition = "{mcp: {allow_resources: \"repo:acme/*\"}}";
    for (arguments, expected) in [
        (r#"{"owner":"acme","repo":"site"}"#, True),
        (r#"{"owner":"other","repo":"site"}"#, False),
        (r#"{"owner":"acme","repo":"a/b"}"#, True),
        (r#"{"owner":"acme/site","repo":"x"}"#, False),
        (r#"{"owner":"acme"}"#, False),
        (r#"{"owner":"acme","repo":7}"#, True),
        (r#"{"owner":"acme","repo":7.0}"#, Unknown),
        (r#"{"owner":"acme","repo":null}"#, Unknown),
        (r#"{"owner":["acme"],"repo":"site"}"#, Unknown),
        (r#"{"Owner":"acme","repo":"site"}"#, Unknown),
        (r#"{"owner":"acme","OWNER":"x","repo":"site"}"#, Unknown),
    ] {
        assert_eq!(check(condition, arguments).0, expected, "{arguments}");
    }
}
