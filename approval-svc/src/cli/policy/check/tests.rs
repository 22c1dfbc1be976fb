//! Files in, findings out, with the places of the file they were found in.

use super::*;
use crate::cli::policy::mesh::APPLY_ANNOTATION_BYTES_MAX;

const BASE: &str = include_str!("../../../../../envoy/envoy.yaml");

fn checked(text: &str) -> Checked {
    check(source::scan(Path::new("file.yaml"), text.to_owned()), &Beside::default())
}

/// The filter's document by itself, with a policy that allows nothing.
const DOCUMENT: &str = "approval: {cluster: holdpoint, service_key: \"ed25519:\
    d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"}\n\
    identity: {sources: [{jwt: {metadata_key: jwt}}]}\npolicy: {version: \"2026-01-27\", rules: []}\n";

/// Errors only: warnings are the lint's, which has tests of its own.
fn found(text: &str) -> Vec<String> {
    let findings = checked(text).findings;
    findings
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .map(|one| format!("{} {} {}", one.at, one.code, one.full_message()))
        .collect()
}

/// The line and column where `needle` first stands.
fn place(text: &str, needle: &str) -> String {
    let before = &text[..text.find(needle).expect(needle)];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{column}", before.matches('\n').count() + 1)
}

#[test]
fn base_configuration_passes_and_its_policy_is_found() {
    let checked = checked(BASE);
    assert_eq!(found(BASE), [""; 0]);
    assert_eq!(checked.policies.len(), 1);
    assert_eq!(checked.policies[0].rules, 4);
}

#[test]
fn candidate_beside_the_policy_is_read_and_linted_too() {
    let candidate = |rules: &str| format!("{DOCUMENT}candidate:\n  version: \"2026-01-27\"\n  rules: {rules}\n");
    let one = checked(&candidate("[{id: all, match: {}, decision: allow}]"));
    let seen: Vec<_> = one.policies.iter().map(|policy| (policy.rules, policy.is_candidate)).collect();
    assert_eq!(seen, [(0, false), (1, true)]);
    assert!(one.findings.iter().any(|finding| finding.full_message().contains("`all`")), "its rule is linted");
    let text = candidate("[{id: all, match: {}, decison: allow}]");
    let at = place(&text, "decison");
    assert!(found(&text).iter().any(|one| one.starts_with(&at)), "{:?}", found(&text));
    let same = found(&candidate("[]"));
    assert!(same.iter().any(|one| one.contains("the candidate is the policy in force")), "{same:?}");
}

#[test]
fn problem_inside_envoy_yaml_is_told_at_the_line_of_envoy_yaml() {
    let text = BASE.replace("decision: allow\n", "decison: allow\n");
    let at = place(&text, "decison");
    let found = found(&text);
    assert!(found.iter().any(|one| one.starts_with(&at) && one.contains("did you mean `decision`")), "{at}: {found:?}");
}

#[test]
fn problem_of_another_section_than_the_policy_is_told_too() {
    let text = BASE.replace("hold_ms_max: 45000", "hold_ms_max: soon");
    let at = place(&text, "soon");
    let found = found(&text);
    assert!(found.iter().any(|one| one.starts_with(&at) && one.contains("whole number")), "{at}: {found:?}");
}

#[test]
fn block_that_keeps_no_lines_is_told_with_both_places() {
    let text = "resources:\n- name: holdpoint\n  typed_config:\n    config:\n      root_id: holdpoint\n      failure_policy: \
                FAIL_RELOAD\n      allow_on_headers_stop_iteration: true\n      configuration:\n        \"@type\": \
                type.googleapis.com/google.protobuf.StringValue\n        value: \"policy: {version: x, rulez: []}\"\n";
    let found = found(text);
    assert!(
        found.iter().any(|one| one.starts_with("10:16") && one.contains("at 1:") && one.contains("rulez")),
        "{found:?}"
    );
}

#[test]
fn settings_around_the_filter_that_carry_weight_are_checked() {
    let break_it = |from: &str, to: &str| {
        let text = BASE.replace(from, to);
        assert_ne!(text, BASE, "{from}");
        let errors = checked(&text).findings.into_iter().filter(|one| one.severity == Severity::Error);
        errors.map(|one| one.code).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(break_it("allow_on_headers_stop_iteration: true", "fail_open: false"), "flag-missing");
    assert_eq!(break_it("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN"), "failure-policy");
    assert_eq!(break_it("google.protobuf.StringValue", "google.protobuf.Struct"), "not-a-string-value");
    assert_eq!(break_it("http.rbac.v3.RBAC", "http.rbac.v3.Other"), "route-guard-missing");
    assert_eq!(break_it("idle_timeout: 55s", "idle_timeout: 45s"), "idle-timeout-too-short idle-timeout-too-short");
    let lacking = "string_match: {exact: tracker}";
    assert_eq!(break_it(lacking, "string_match: {exact: issues}"), "route-guard-lacks-server");
}

/// Somebody copied the filter into a file of his own, and not what belongs around it.
#[test]
fn what_a_copy_of_the_filter_leaves_out_is_told() {
    let without = |from: &str, to: &str| {
        let text = BASE.replace(from, to);
        assert_ne!(text, BASE, "{from}");
        let known =
            ["node-missing", "cluster-missing", "tokens-unverified", "caller-headers-believed", "route-without-server"];
        let codes =
            checked(&text).findings.into_iter().map(|one| one.code).filter(|code| known.contains(&code.as_str()));
        codes.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(without("stat_prefix: mcp", "stat_prefix: mine"), "");
    assert_eq!(without("node: {id: gateway-1, cluster: mcp-gateway}", "node: {id: gateway-1}"), "node-missing");
    assert_eq!(without("  - name: holdpoint\n    type:", "  - name: approvals\n    type:"), "cluster-missing");
    let elsewhere = "dynamic_resources: {cds_config: {path_config_source: {path: clusters.yaml}}}\nstatic_resources:";
    let text = BASE.replace("  - name: holdpoint\n    type:", "  - name: approvals\n    type:");
    let text = text.replace("\nstatic_resources:", &format!("\n{elsewhere}"));
    assert!(checked(&text).findings.iter().all(|one| one.code != "cluster-missing"), "it may come from elsewhere");
    assert_eq!(without("payload_in_metadata: jwt", "payload_in_metadata: claims"), "tokens-unverified");
    let elsewhere = "payload_in_metadata: claims\n                  header_in_metadata: jwt";
    assert_eq!(without("payload_in_metadata: jwt", elsewhere), "tokens-unverified", "the word alone is not enough");
    assert_eq!(without("use_remote_address: true", "use_remote_address: false"), "caller-headers-believed");
    let named = "metadata: {filter_metadata: {holdpoint: {server: tracker}}}";
    assert_eq!(without(named, "metadata: {}"), "route-without-server route-without-server");
    assert_eq!(without(named, "metadata: {filter_metadata: {holdpoint: {passthrough: true}}}"), "");
}

#[test]
fn each_filter_is_held_against_its_own_chain_and_what_comes_from_elsewhere_against_nothing() {
    let (start, rest) = BASE.split_once("  listeners:\n").unwrap();
    let (listeners, end) = rest.split_once("  clusters:\n").unwrap();
    let other = listeners
        .replace("- name: mcp\n", "- name: other\n")
        .replace("payload_in_metadata: jwt", "payload_in_metadata: claims")
        .replace("metadata_key: jwt", "metadata_key: claims");
    let of = |second: &str| {
        let checked = checked(&format!("{start}  listeners:\n{listeners}{second}  clusters:\n{end}"));
        checked.findings.into_iter().map(|one| one.code).filter(|code| code == "tokens-unverified").count()
    };
    assert_ne!(other.replace("claims", "jwt"), other);
    assert_eq!(of(&other), 0, "each writes what its own filter reads");
    assert_eq!(of(&other.replace("payload_in_metadata: claims", "payload_in_metadata: jwt")), 1, "one does not");
    let unknown = other.replace("http.jwt_authn.v3.JwtAuthentication", "http.other.v3.Other");
    assert_eq!(of(&unknown), 1);
    let name = "- name: envoy.filters.http.jwt_authn\n";
    let elsewhere = "- {name: from-elsewhere, config_discovery: {config_source: {ads: {}}}}\n          ";
    assert_eq!(of(&unknown.replace(name, &format!("{elsewhere}{name}"))), 0, "what comes from elsewhere may verify");
}

#[test]
fn resource_that_cannot_set_the_flag_is_refused() {
    for kind in ["WasmPlugin", "TrafficExtension"] {
        let text = format!("apiVersion: extensions.istio.io/v1alpha1\nkind: {kind}\nmetadata: {{name: holdpoint}}\n");
        assert!(found(&text).iter().any(|one| one.contains("flag-cannot-be-set")), "{:?}", found(&text));
    }
}

#[test]
fn every_document_of_a_kubernetes_file_is_looked_at_and_too_large_ones_are_refused() {
    let value = "version: \"2026-01-27\"\nrulez: []\n";
    let block = |indent: &str| value.lines().fold(String::new(), |text, line| text + indent + line + "\n");
    let resource = format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec:\n  configPatches:\n  - patch:\n      value:\n        \
         root_id: holdpoint\n        failure_policy: FAIL_RELOAD\n        allow_on_headers_stop_iteration: true\n        \
         configuration:\n          \"@type\": type.googleapis.com/google.protobuf.StringValue\n          value: |\n{}",
        block("            policy:").replace("policy:version", "policy: {version").replace("rulez: []", "rulez: []}")
    );
    let text = format!("apiVersion: v1\nkind: Namespace\n---\n{resource}");
    let all = found(&text);
    assert!(!all.is_empty(), "{all:?}");
    let large = format!("{resource}  note: {}\n", "x".repeat(APPLY_ANNOTATION_BYTES_MAX));
    assert!(found(&large).iter().any(|one| one.contains("too-large")), "too large");
}

#[test]
fn file_without_a_policy_says_what_was_looked_for() {
    assert!(found("a: 1\n")[0].contains("no policy found"));
    assert!(found("a: [\n")[0].contains("syntax"));
}

#[test]
fn github_and_sarif_name_file_line_and_column() {
    let checked = [check(
        source::scan(Path::new("a b/policy.yaml"), "version: \"2026-01-27\"\nrulez: []\n".to_owned()),
        &Beside::default(),
    )];
    let github = github(&checked);
    assert!(
        github.contains("::error file=a b/policy.yaml,line=2,col=1,title=holdpoint refused::unknown field `rulez`"),
        "{github}"
    );
    let sarif = sarif(&checked);
    let region = sarif.pointer("/runs/0/results/0/locations/0/physicalLocation").expect("a location");
    assert_eq!(region["artifactLocation"]["uri"], "a%20b/policy.yaml");
    assert!(sarif["runs"][0]["results"].as_array().is_some_and(|results| results.len() >= 2), "{sarif}");
}

#[test]
fn approvers_whom_no_route_tells_are_warned_of() {
    let notify = "channels:\n  chat: {webhook: {url: 'http://10.0.0.1/', allow_private: true, secrets: [{file: SECRET}]}}\n\
                  routes:\n- {channels: [chat], groups: [sre], events: [opened]}\n";
    let dir = crate::store::contract::scratch_dir();
    let secret = dir.join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let notify = NotifySettings::read(&notify.replace("SECRET", &secret.to_string_lossy())).unwrap();
    let policy = "version: \"2026-01-27\"\nservers: {s: {match: {hosts: [h]}}}\nrules:\n\
        - {id: told, match: {}, decision: require_approval, approval: {approvers: {all_of: [{group: sre, min: 1}]}}}\n\
        - {id: untold, match: {}, decision: require_approval, approval: {approvers: {all_of: [{group: dba, min: 1}]}, \
        escalate: {after_ms: 1000, approvers: {all_of: [{group: sre, min: 1}]}}}}\n";
    let checked = check(
        source::scan(Path::new("file.yaml"), policy.to_owned()),
        &Beside { notify: Some(notify), ..Beside::default() },
    );
    let told: Vec<&str> =
        checked.findings.iter().filter(|one| one.code == "nobody-notified").map(|one| one.message.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("`untold`") && told[0].contains("`dba`") && told[0].contains("opened"), "{told:?}");
    assert!(told[1].contains("`sre`") && told[1].contains("escalated"), "{told:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn groups_with_too_few_people_and_tools_that_do_more_than_read_are_warned_of() {
    let dir = std::env::temp_dir().join(format!("holdpoint-check-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let roster = file("people.yaml", "groups: {sre: [alice], empty: []}\n");
    let tools = file(
        "tools.json",
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"peek","annotations":{"destructiveHint":true}},{"name":"look"}]}}"#,
    );
    let policy = "version: \"2026-01-27\"\nservers: {s: {tools: {peek: {action: read}, look: {action: read}}}}\nrules:\n\
                  - {id: two, match: {mcp: {allow_servers: s}}, decision: require_approval, reason: r, approval: {approvers: \
                  {all_of: [{group: sre, min: 2}, {group: dba}]}}}\n\
                  - {id: one, match: {mcp: {allow_servers: s}}, decision: require_approval, reason: r}\n";
    let beside = Beside {
        notify: None,
        roster: Some(Roster::load(&roster).expect("a roster")),
        tools: vec![OfferedTools::read(&format!("s={}", tools.display())).expect("tools")],
    };
    let checked = check(source::scan(Path::new("policy.yaml"), policy.to_owned()), &beside);
    let found: Vec<String> =
        checked.findings.iter().map(|one| format!("{} {}", one.code, one.full_message())).collect();
    let has = |part: &str| assert!(found.iter().any(|one| one.contains(part)), "{part}: {found:#?}");
    has("roster-too-small rule `two`: asks 2 of group `sre`, in which 1 are");
    has("roster-too-small rule `two`: asks group `dba`, in which nobody is");
    has(
        "annotation-says-otherwise server `s`: tool `peek` is classed `read`, but the server says `destructiveHint: true`",
    );
    assert!(!found.iter().any(|one| one.contains("rule `one`: asks") || one.contains("look")), "{found:#?}");
    std::fs::remove_dir_all(dir).expect("removed");
}
