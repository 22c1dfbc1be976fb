//! Documents in, ids or located messages out.

use super::*;

fn check(text: &str) -> Vec<String> {
    read_file(text).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_guides_literal_file_loads_unchanged() {
    let document = read_file(GUIDE).unwrap();
    let ids: Vec<&str> = document.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["mcp-read-allow", "mcp-write-approval", "mcp-prod-constraints"]);
    assert_eq!(document.default_decision, Verdict::Deny);
    assert!(compile(&document).is_ok());
}

#[test]
fn one_policy_has_one_id_whatever_its_form() {
    let yaml = guide();
    let id = snapshot(&yaml).id();
    let node = crate::yaml::read(&yaml, &crate::yaml::Limits::default()).unwrap();
    let json = crate::yaml::to_json(&node);
    assert_eq!(snapshot(&json.to_string()).id(), id);
    assert_eq!(snapshot(&serde_json::to_string_pretty(&json).unwrap()).id(), id);
    let section = serde_json::json!({"approval": {"cluster": "x"}, "policy": json});
    assert_eq!(snapshot(&section.to_string()).id(), id);
    assert_eq!(snapshot(&format!("# a comment\n{yaml}\n# another\n")).id(), id);
    assert_eq!(snapshot(snapshot(&yaml).canonical()).id(), id);
    assert_ne!(snapshot(&yaml.replace("30000", "30001")).id(), id);
    // As Envoy hands it over: the text of a block, or JSON where a control plane wrote that.
    let key = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let around = serde_json::json!({
        "approval": {"cluster": "x", "service_key": key},
        "identity": {"sources": [{"jwt": {"metadata_key": "jwt"}}]},
    });
    let mut in_json = around.clone();
    in_json["policy"] = json;
    let block: String = yaml.lines().map(|line| format!("  {line}\n")).collect();
    let in_yaml = format!("approval: {}\nidentity: {}\npolicy:\n{block}", around["approval"], around["identity"]);
    for text in [in_json.to_string(), in_yaml] {
        let config = crate::config::FilterConfig::read(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.policy.id(), id, "{text}");
        assert_eq!(snapshot(&text).id(), id);
    }
}

#[test]
fn the_canonical_form_reads_back_with_every_part_of_the_grammar() {
    let policy = with_rules(
        r#"
- id: everything
  match:
    labels: {env: [prod, "stag*"], mcp.method: tools/call}
    risk_tags: [b, a]
    requires: x
    capabilities: "repo.*"
    topics: job.mcp.tool
    tenants: acme
    scopes: [s1, s2]
    groups: [g]
    actor_ids: [u]
    actor_types: [agent, human]
    mcp: {allow_servers: github, deny_tools: ["x*"], allow_actions: [write], deny_actions: admin, deny_prompts: p}
    arguments:
      /a: {equals: 5, one_of: ["x", 1.50, true, null], glob: "a*", prefix: p, not: {lt: 1}}
      "/b/*/c~1d": {every: true, lte: 1e3, gt: -1, gte: 0, exists: true, length_lte: 9}
    secrets_present: true
    not: {labels: {env: dev}}
  decision: require_approval
  mode: observe
  audit: redacted
  remediation: "say \"please\""
  constraints: {budgets: {max_runtime_ms: 1, max_retries: 0, max_concurrent_jobs: 2}}
- {id: hidden, match: {}, decision: deny, conceal: true}"#,
    );
    let again = snapshot(policy.canonical());
    assert_eq!(again.canonical(), policy.canonical());
    assert_eq!(again.id(), policy.id());
}

#[test]
fn every_problem_is_told_at_once_with_place_path_and_the_nearest_name() {
    let text = r#"version: "2026-01-72"
servres: {}
rules:
- id: prod-writes
  match:
    labels: {mcp.action: wirte, mcp.tol: x}
    mcp: {allow_tool: [a]}
    topics: job.mcp.tols
  decision: alow
- id: prod-writes
  match: {arguments: {amount: {gt: "5"}, /a: {gtt: 1}, /b: {every: true, equals: 1}}}
  decision: deny
  approval: {}
- match: {}
  decision: allow_with_constraints
"#;
    let expected = [
        "1:10: version: unknown grammar version `2026-01-72` (did you mean `2026-01-27`?)",
        "2:1: unknown field `servres` (did you mean `servers`?)",
        "6:26: rules[0].match.labels[\"mcp.action\"]: rule `prod-writes`: unknown action `wirte` (did you mean `write`?)",
        "6:42: rules[0].match.labels[\"mcp.tol\"]: rule `prod-writes`: unknown label `mcp.tol` (did you mean `mcp.tool`?)",
        "7:11: rules[0].match.mcp: rule `prod-writes`: unknown field `allow_tool` (did you mean `allow_tools`?)",
        "8:13: rules[0].match.topics: rule `prod-writes`: unknown topic `job.mcp.tols` (did you mean `job.mcp.tool`?)",
        "9:13: rules[0].decision: rule `prod-writes`: unknown decision `alow` (did you mean `allow`?)",
        "10:3: rules[1]: rule `prod-writes`: another rule has this id, at 4:3; ids are unique",
        "11:31: rules[1].match.arguments.amount: rule `prod-writes`: expected a JSON pointer such as `/amount`",
        "11:36: rules[1].match.arguments.amount.gt: rule `prod-writes`: expected a number, found the string `5`",
        "11:46: rules[1].match.arguments[\"/a\"]: rule `prod-writes`: expected at least one of equals, one_of, glob, \
         prefix, lt, lte, gt, gte, exists, length_lte, not",
        "11:47: rules[1].match.arguments[\"/a\"]: rule `prod-writes`: unknown field `gtt` (did you mean `gt`?)",
        "11:60: rules[1].match.arguments[\"/b\"]: rule `prod-writes`: `every` needs a `*` segment in the pointer",
        "13:13: rules[1].approval: rule `prod-writes`: `approval` belongs to `decision: require_approval`",
        "14:3: rules[2]: field `id` is missing",
        "14:3: rules[2]: `decision: allow_with_constraints` needs `constraints`",
    ];
    let found = check(text);
    assert_eq!(found, expected, "{}", found.join("\n"));
}

#[test]
fn what_has_no_meaning_is_an_error_and_never_dropped() {
    let rule = |rest: &str| format!("version: \"2026-01-27\"\nrules: [{{id: r, {rest}}}]");
    let server = |rest: &str| format!("version: \"2026-01-27\"\nservers: {{s: {{{rest}}}}}\nrules: []");
    for (text, expected) in [
        (rule("match: {}, decision: allow, mode: observ"), "unknown mode `observ` (did you mean `observe`?)"),
        (rule("match: {}, decision: allow, audit: all"), "unknown audit level `all` (known: metadata, digest"),
        (rule("match: {secrets_present: \"yes\"}, decision: deny"), "expected `true` or `false`"),
        (rule("decision: allow"), "field `match` is missing"),
        (rule("match: {}"), "field `decision` is missing"),
        (rule("match: {risk_tags: []}, decision: allow"), "an empty list never matches"),
        (rule("match: {not: {}}, decision: allow"), "`not: {}` never holds"),
        (rule("match: {mcp: {deny_tools: x}}, decision: deny"), "write `allow_tools`"),
        (rule("match: {not: {mcp: {deny_tools: x}}}, decision: block"), "write `allow_tools`"),
        (rule("match: {}, decision: allow, conceal: true"), "only a rule that denies can conceal"),
        (
            rule("match: {}, decision: deny, constraints: {budgets: {max_retries: 1}}"),
            "a denied call runs under no constraints",
        ),
        (rule("match: {}, decision: allow, constraints: {}"), "none of them constrains nothing"),
        (rule("match: {}, decision: allow, constraints: {budgets: {}}"), "expected max_runtime_ms"),
        (rule("match: {}, decision: allow, constraints: {budgets: {max_calls: 1}}"), "`max_calls` and `per_ms` belong"),
        (rule("match: {}, decision: allow, constraints: {budgets: {key: tool, max_retries: 1}}"), "which is missing"),
        (
            rule("match: {}, decision: allow, constraints: {budgets: {max_calls: 1, per_ms: 5, key: host}}"),
            "known: actor, tool, server, tenant",
        ),
        (rule("match: {}, decision: allow, constraints: {toolchain: {}}"), "field `allowed_tools` is missing"),
        (rule("match: {}, decision: allow, constraints: {toolchain: {allowed_tools: []}}"), "an empty list"),
        (
            rule("match: {}, decision: allow, constraints: {arguments: {/a: {optional: true}}}"),
            "at least one of equals",
        ),
        (rule("match: {}, decision: allow, constraints: {arguments: {a: {lte: 1}}}"), "expected a JSON pointer"),
        (rule("match: {}, decision: allow, constraints: {budgets: {max_concurrent_jobs: 0}}"), "from 1 to 1000000"),
        (rule("match: {}, decision: require_approval, approval: {decide_within_ms: 999}"), "from 1000 to 86400000"),
        (rule("match: {}, decision: require_approval, approval: {approvers: {all_of: []}}"), "name a group"),
        (
            rule(
                "match: {}, decision: require_approval, approval: {escalate: {after_ms: 900000, approvers: {all_of: [{group: a}]}}}",
            ),
            "less than `decide_within_ms`",
        ),
        (rule("match: {}, decision: require_approval, approval: {escalate: {after_ms: 1000}}"), "`approvers`"),
        (
            rule("match: {}, decision: require_approval, approval: {grants: {uses_max: 1, within_ms_max: 1000}}"),
            "from 2 to 1000",
        ),
        (rule("match: {arguments: {/a: {equals: 012}}}, decision: deny"), "is not a number as JSON writes it"),
        (rule("match: {arguments: {/a~: {exists: true}}}, decision: deny"), "`~` is written `~0`"),
        (server("tools: {x: {capability: y}}"), "field `action` is missing"),
        (server("tools: {x: {action: read, definition: d}}"), "64 lower-case hex digits"),
        (server("tools: {x: {action: write, resource: \"a{b\"}}"), "`{` without `}`"),
        (server("prompts: {x: {action: read, resource: a}}"), "only tools have a resource template"),
        (server("labels: {mcp.action: read}"), "not start with `mcp.`"),
        (server("labels: {env: true}"), "expected a string (in quotes), found `true`"),
        (server("bind_headers: [X-Mode]"), "header names are written lower-case"),
        (server("match: {}"), "expected at least one of route_metadata"),
        (server("match: {hosts: [\"API:443\"]}"), "hosts are lower-case"),
        (server("match: {path_prefixes: [mcp]}"), "a prefix starts with `/`"),
        ("rules: []".to_owned(), "field `version` is missing"),
        ("version: \"2026-01-27\"".to_owned(), "field `rules` is missing"),
        (
            "version: \"2026-01-27\"\nrules: [{id: default_decision, match: {}, decision: allow}]".to_owned(),
            "choose another id",
        ),
        ("[]".to_owned(), "expected a mapping, found a list"),
        (String::new(), "expected a mapping, found nothing"),
    ] {
        let found = check(&text).join("\n");
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn duplicate_keys_are_refused_at_every_level_of_a_policy() {
    for text in [
        "version: \"2026-01-27\"\nrules: []\nrules: []",
        "version: \"2026-01-27\"\nrules: [{id: a, id: b, match: {}, decision: deny}]",
        "version: \"2026-01-27\"\nrules: [{id: a, match: {mcp: {allow_tools: x, allow_tools: y}}, decision: deny}]",
        "{\"version\": \"2026-01-27\", \"rules\": [], \"servers\": {\"s\": {\"tools\": {\"t\": {\"action\": \"read\", \"action\": \"write\"}}}}}",
    ] {
        assert!(check(text).iter().any(|line| line.contains("stands twice in one mapping")), "{text}");
    }
}

#[test]
fn lint_warns_of_what_was_hardly_meant() {
    let findings = |text: &str| {
        let document = read_file(text).unwrap();
        lint(&document).into_iter().map(|finding| (finding.lint, finding.subject)).collect::<Vec<_>>()
    };
    let text = r#"
version: "2026-01-27"
default_decision: allow
servers: {s: {tools: {"get_*": {action: read}, "*_get": {action: read}, send_mail: {action: read}, sendMail2: {action: read}}}}
rules:
- {id: a, match: {mcp: {allow_servers: s, deny_actions: admin}}, decision: allow}
- {id: b, match: {mcp: {allow_servers: "*"}}, decision: allow}
- {id: c, match: {mcp: {allow_servers: s}}, decision: deny}
"#;
    let named = |lint: &'static str, subject: &str| (lint, subject.to_owned());
    assert_eq!(
        findings(text),
        [
            named("default-allow", "default_decision"),
            named("admin-without-human", "default_decision"),
            named("patterns-tie", "server `s`"),
            named("name-says-otherwise", "server `s`"),
            named("name-says-otherwise", "server `s`"),
            named("shadowed", "rule `a`"),
            named("allow-under-default-allow", "rule `a`"),
            named("allow-under-default-allow", "rule `b`"),
            named("unbounded-allow", "rule `b`"),
            named("admin-without-human", "rule `b`"),
            named("no-reason", "rule `c`"),
        ]
    );
    let gated =
        format!("{text}- {{id: d, match: {{labels: {{mcp.action: admin}}}}, decision: require_human, reason: r}}\n");
    assert!(!findings(&gated).iter().any(|(lint, _)| *lint == "admin-without-human"));
}
