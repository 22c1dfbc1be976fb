//! What a list may show: everything that some call could reach, and nothing that no call can.

use super::properties::{ARGUMENTS, policy_of, rules};
use super::*;
use crate::envelope::Offered;

fn may(policy: &PolicySnapshot, offered: Offered<'_>) -> bool {
    policy.may_ever(&principal(), "github", offered)
}

#[test]
fn a_tool_is_shown_when_some_arguments_could_make_it_callable() {
    for (rules, name, expected) in [
        ("- {id: a, match: {mcp: {allow_actions: read}}, decision: allow}", "list_x", true),
        ("- {id: a, match: {mcp: {allow_actions: read}}, decision: allow}", "create_issue", false),
        ("- {id: a, match: {mcp: {allow_actions: read}}, decision: allow}", "odd", false),
        ("- {id: a, match: {}, decision: require_approval}", "odd", true),
        ("- {id: a, match: {groups: [ops]}, decision: allow}", "list_x", false),
        ("- {id: a, match: {scopes: [repo]}, decision: allow}", "list_x", true),
        // Some arguments pass.
        ("- {id: a, match: {arguments: {/n: {lt: 5}}}, decision: allow}", "list_x", true),
        (
            "- {id: a, match: {}, decision: allow}\n- {id: b, match: {arguments: {/n: {lt: 5}}}, decision: deny}",
            "list_x",
            true,
        ),
        (
            "- {id: a, match: {}, decision: allow}\n- {id: b, match: {not: {arguments: {/n: {equals: 5}}}}, decision: deny}",
            "list_x",
            true,
        ),
        ("- {id: a, match: {arguments: {\"/to/*\": {every: true, prefix: x}}}, decision: allow}", "list_x", true),
        // A list of tools denies all others, whatever their arguments; bounds on arguments deny some.
        (
            "- {id: a, match: {}, decision: allow, constraints: {toolchain: {allowed_tools: \"list_*\"}}}",
            "list_x",
            true,
        ),
        (
            "- {id: a, match: {}, decision: allow, constraints: {toolchain: {allowed_tools: \"list_*\"}}}",
            "pub_x",
            false,
        ),
        (
            "- {id: a, match: {}, decision: allow}\n- {id: b, match: {arguments: {/n: {lt: 5}}}, decision: allow, constraints: {toolchain: {allowed_tools: x}}}",
            "list_x",
            true,
        ),
        ("- {id: a, match: {}, decision: allow, constraints: {arguments: {/n: {lt: 5}}}}", "list_x", true),
        // None do.
        ("- {id: a, match: {arguments: {/n: {lt: 5, gt: 5}}}, decision: allow}", "list_x", false),
        ("- {id: a, match: {arguments: {/n: {equals: x, prefix: y}}}, decision: allow}", "list_x", false),
        (
            "- {id: a, match: {}, decision: allow}\n- {id: b, match: {arguments: {/n: {not: {gt: 5, lt: 5}}}}, decision: deny}",
            "list_x",
            false,
        ),
        (
            "- {id: a, match: {}, decision: allow}\n- {id: b, match: {mcp: {allow_tools: list_x}}, decision: deny}",
            "list_x",
            false,
        ),
        // The resource is made from the arguments.
        ("- {id: a, match: {mcp: {allow_resources: \"repo:acme/*\"}}, decision: allow}", "create_issue", true),
        ("- {id: a, match: {mcp: {allow_resources: \"file:*\"}}, decision: allow}", "create_issue", false),
        ("- {id: a, match: {mcp: {allow_resources: \"repo:acme\"}}, decision: allow}", "create_issue", false),
        ("- {id: a, match: {mcp: {deny_resources: \"repo:**\"}}, decision: allow}", "create_issue", false),
        ("- {id: a, match: {mcp: {deny_resources: \"repo:acme/*\"}}, decision: allow}", "create_issue", true),
        (
            "- {id: a, match: {mcp: {allow_resources: \"repo:**\"}}, decision: allow}\n- {id: b, match: {mcp: {allow_resources: \"repo:*/*\"}}, decision: deny}",
            "create_issue",
            false,
        ),
        (
            "- {id: a, match: {}, decision: allow}\n- {id: b, match: {mcp: {allow_resources: \"**\"}}, decision: deny}",
            "create_issue",
            true,
        ),
        ("- {id: a, match: {mcp: {allow_resources: \"**\"}}, decision: allow}", "list_x", false),
    ] {
        assert_eq!(may(&with_rules(rules), Offered::Tool(name)), expected, "{name} under\n{rules}");
    }
}

#[test]
fn prompts_resources_and_templates_are_shown_by_the_same_rules() {
    let read = with_rules("- {id: a, match: {mcp: {allow_actions: read}}, decision: allow}");
    for (offered, expected) in [
        (Offered::Prompt("p"), true),
        (Offered::Resource("repo://acme/site"), true),
        (Offered::Resource("repo://acme/secrets/key"), false),
        (Offered::Resource("other://x"), false),
        (Offered::Resource("REPO://acme/site"), false),
        (Offered::ResourceTemplate("repo://{owner}/{name}"), true),
        (Offered::ResourceTemplate("repo://acme/secrets/key-{n}"), true),
        (Offered::ResourceTemplate("repo://acme/secrets/{n}.pem"), true),
        (Offered::ResourceTemplate("other://{x}"), false),
        (Offered::ResourceTemplate("{+anything}"), true),
    ] {
        assert_eq!(may(&read, offered), expected, "{offered:?}");
    }
    let only_secrets =
        with_rules("- {id: a, match: {mcp: {allow_resources: \"repo://acme/secrets/*\"}}, decision: require_approval}");
    for (template, expected) in [("repo://acme/{path}", true), ("repo://beta/{path}", false), ("{+uri}", true)] {
        assert_eq!(may(&only_secrets, Offered::ResourceTemplate(template)), expected, "{template}");
    }
    let numbers = with_rules("- {id: a, match: {arguments: {/n: {gt: 5}}}, decision: allow}");
    assert!(!may(&numbers, Offered::Prompt("p")), "arguments of prompts are strings");
    assert!(may(&numbers, Offered::Tool("list_x")));
    let texts = with_rules("- {id: a, match: {arguments: {/n: {prefix: x}}}, decision: allow}");
    assert!(may(&texts, Offered::Prompt("p")));
    let deeper = with_rules("- {id: a, match: {arguments: {/n/m: {equals: x}}}, decision: allow}");
    assert!(!may(&deeper, Offered::Prompt("p")));
    let subscribe = with_rules("- {id: a, match: {topics: job.mcp.subscription}, decision: allow}");
    assert!(may(&subscribe, Offered::Resource("repo://acme/site")));
    assert!(!may(&subscribe, Offered::Prompt("p")));
    assert!(!read.may_ever(&principal(), "nobody", Offered::Tool("list_x")), "a server the catalogue does not know");
}

const TOOLS: [&str; 6] = ["list_x", "create_issue", "delete_project", "odd", "pub_public", "pub_x"];

proptest! {
    /// Sound: what is hidden, no call reaches. Exact where no rule looks at the arguments.
    #[test]
    fn nothing_callable_is_ever_hidden_and_nothing_denied_for_all_is_shown(rules in rules()) {
        let policy = policy_of(&rules);
        let reaches = |name: &str, arguments: &str| decide(&policy, tool(name, arguments)).verdict != Verdict::Deny;
        let text = rules.concat();
        for name in TOOLS {
            let shown = may(&policy, Offered::Tool(name));
            let reached = ARGUMENTS.iter().find(|arguments| reaches(name, arguments));
            prop_assert!(shown || reached.is_none(), "{} is hidden and {:?} reaches it", name, reached);
            if !text.contains("arguments") && !text.contains("resource") {
                prop_assert_eq!(shown, reached.is_some(), "{}", name);
            }
        }
        for prompt in ["p", "q"] {
            let shown = may(&policy, Offered::Prompt(prompt));
            for arguments in ["{}", r#"{"owner":"acme","n":"x"}"#, r#"{"owner":"bcme","n":"9"}"#, r#"{"owner":"z"}"#] {
                let params = format!(r#"{{"name":"{prompt}","arguments":{arguments}}}"#);
                let verdict = decide(&policy, call("github", "prompts/get", &params)).verdict;
                prop_assert!(shown || verdict == Verdict::Deny, "{} {}", prompt, arguments);
            }
        }
        for uri in ["repo://acme/site", "repo://acme/secrets/key", "other://x"] {
            let params = format!(r#"{{"uri":"{uri}"}}"#);
            let reached = ["resources/read", "resources/subscribe"]
                .into_iter()
                .any(|method| decide(&policy, call("github", method, &params)).verdict != Verdict::Deny);
            prop_assert_eq!(may(&policy, Offered::Resource(uri)), reached, "{}", uri);
            for template in ["repo://{+path}", "{scheme}://{+path}", "repo://acme/{+x}", "other://{x}"] {
                if Glob::parse(&template.replace("{+path}", "**").replace("{scheme}", "**").replace("{+x}", "**").replace("{x}", "**")).unwrap().matches(uri) {
                    prop_assert!(may(&policy, Offered::ResourceTemplate(template)) || !reached, "{} {}", template, uri);
                }
            }
        }
    }
}
