//! The commands of a policy author, as they are typed: what they print, and how they exit.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_holdpoint");

const POLICY: &str = r#"version: "2026-01-27"
servers:
  tracker:
    tools:
      list: {action: read}
      create: {action: write, risk_tags: [prod]}
rules:
- id: reads
  match: {labels: {mcp.action: read}, mcp: {allow_servers: [tracker]}}
  decision: allow
  reason: "reading is free"
- id: writes
  match: {labels: {mcp.action: write}}
  decision: require_approval
  reason: "a person looks"
- id: bounded
  match: {risk_tags: [prod], mcp: {allow_servers: [tracker], deny_actions: [admin]}}
  decision: allow_with_constraints
  constraints: {budgets: {max_runtime_ms: 30000}}
"#;

const CASES: &str = "defaults: {server: tracker}
cases:
- name: a read
  call: {method: tools/call, params: {name: list}}
  expect: {verdict: allow, rules: [reads]}
- name: a write <waits>
  call: {method: tools/call, params: {name: create, arguments: {title: x}}}
  expect: {verdict: require_approval, rules: [writes, bounded], constraints: {budgets: {max_runtime_ms: 30000}}}
";

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("holdpoint-policy-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&dir).unwrap();
        let dir = Self(dir);
        dir.file("policy.yaml", POLICY);
        dir.file("cases.yaml", CASES);
        dir
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code, and everything printed.
fn policy(words: &[&str]) -> (i32, String) {
    let output = Command::new(BINARY).arg("policy").args(words).env_remove("HOLDPOINT_DATA_DIR").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn check_tells_every_error_of_a_broken_file_with_place_and_nearest_name() {
    let dir = Dir::new();
    let broken = POLICY.replace("rules:", "rulez:").replace("action: read}", "action: reed}");
    let path = dir.file("broken.yaml", &broken);
    let (code, text) = policy(&["check", path.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    contains(
        &text,
        &["broken.yaml:5:22: error: ", "did you mean `read`?", "broken.yaml:7:1: error: ", "did you mean `rules`?"],
    );
    contains(&text, &["     5 |       list: {action: reed}", "is missing", "3 errors and 0 warnings"]);
    let (code, _) = policy(&["check", &dir.path("absent.yaml")]);
    assert_eq!(code, 2);
}

#[test]
fn warnings_fail_a_check_only_when_they_are_denied() {
    let dir = Dir::new();
    let loose = POLICY.replace(", mcp: {allow_servers: [tracker]}", "");
    let path = dir.file("loose.yaml", &loose);
    let path = path.to_str().unwrap();
    let (code, text) = policy(&["check", path, "--format", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["files"][0]["findings"][0]["severity"]), (0, &json!("warning")));
    assert!(report["files"][0]["policies"][0]["snapshot_id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(policy(&["check", path, "--deny-warnings"]).0, 1);
}

#[test]
fn test_passes_and_fails_by_its_cases_and_says_how_they_differ() {
    let dir = Dir::new();
    let all = dir.0.to_str().unwrap();
    let junit = dir.path("report.xml");
    let (code, text) = policy(&["test", all, "--junit", &junit]);
    assert_eq!(code, 0, "{text}");
    contains(&text, &["2 of 2 cases", "all as expected"]);
    let report = std::fs::read_to_string(&junit).unwrap();
    contains(&report, &["tests=\"2\" failures=\"0\"", "name=\"a write &lt;waits&gt;\""]);

    dir.file("cases.yaml", &CASES.replace("verdict: require_approval", "verdict: allow").replace("30000", "5"));
    let (code, text) = policy(&["test", all, "--junit", &junit]);
    assert_eq!(code, 1, "{text}");
    contains(&text, &["FAILED a write <waits>", "cases.yaml:6)", "expected  allow", "found     require_approval"]);
    contains(&text, &["constraints.budgets.max_runtime_ms", "expected  5", "found     30000", "1 failed"]);
    contains(
        &std::fs::read_to_string(&junit).unwrap(),
        &["failures=\"1\"", "<failure message=\"verdict: expected allow"],
    );

    dir.file("cases.yaml", &CASES.replace("expect:", "expects:"));
    let (code, text) = policy(&["test", all]);
    assert_eq!(code, 2);
    contains(&text, &["cases.yaml:5:3: ", "did you mean `expect`?"]);
}

#[test]
fn rule_that_no_case_reaches_is_named() {
    let dir = Dir::new();
    dir.file("cases.yaml", &CASES[..CASES.find("- name: a write").unwrap()]);
    let all = dir.0.to_str().unwrap();
    let (code, text) = policy(&["test", all]);
    assert_eq!(code, 0);
    contains(&text, &["no case reaches: writes, bounded"]);
    assert_eq!(policy(&["test", all, "--require-coverage"]).0, 1);
}

#[test]
fn explain_shows_both_rules_of_a_production_write_field_by_field() {
    let dir = Dir::new();
    let (code, text) = policy(&["explain", &dir.path("policy.yaml"), "--case", "a write"]);
    assert_eq!(code, 0, "{text}");
    contains(&text, &["+ writes asks people (line 12)", "+ bounded grants (line 16)", "- reads does nothing (line 8)"]);
    contains(&text, &["any of read; the call has write", "require_approval by 1 of * with at most 30000 ms"]);
    assert!(!text.contains('\u{1b}'), "no colours outside a terminal");

    let call = r#"{"method":"tools/call","params":{"name":"unheard-of"}}"#;
    let (code, text) = policy(&["explain", &dir.path("policy.yaml"), "--server", "tracker", "--call", call]);
    assert_eq!(code, 0);
    contains(&text, &["does not name, read as admin: deny", "decision deny"]);
    let hidden = r#"{"method":"tools/call","params":{"name":"unheard\u001bof"}}"#;
    let (_, text) = policy(&["explain", &dir.path("policy.yaml"), "--server", "tracker", "--call", hidden]);
    contains(&text, &["refused: no rule sees this call"]);
    let (_, text) = policy(&["explain", &dir.path("policy.yaml"), "--case", "1", "--format", "json"]);
    let trace: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(trace["decision"]["verdict"], "allow");
    let (code, text) = policy(&["explain", &dir.path("policy.yaml"), "--case", "none"]);
    assert_eq!(code, 2);
    contains(&text, &["no case `none`", "a write <waits>"]);
}

#[test]
fn diff_says_which_calls_become_tighter_or_looser() {
    let dir = Dir::new();
    let old = dir.path("policy.yaml");
    let changed = POLICY
        .replace("max_runtime_ms: 30000", "max_runtime_ms: 60000")
        .replace("decision: allow\n", "decision: deny\n");
    let new = dir.file("new.yaml", &changed);
    let new = new.to_str().unwrap();
    let (code, text) = policy(&["diff", &old, new]);
    assert_eq!(code, 0, "{text}");
    contains(
        &text,
        &["tighter a read", "looser  a write <waits>", "was  require_approval by 1 of * with at most 30000 ms"],
    );
    contains(&text, &["2 calls: 0 the same, 1 tighter, 1 looser, 0 mixed, 0 undecidable"]);
    assert_eq!(policy(&["diff", &old, new, "--fail-on", "looser"]).0, 1);
    assert_eq!(policy(&["diff", &old, &old, "--fail-on", "any"]).0, 0);
}

#[test]
fn simulate_compares_with_the_record_and_guesses_no_argument() {
    let dir = Dir::new();
    let changed = POLICY.replace("decision: allow\n", "decision: deny\n")
        + "- id: long-titles\n  match: {mcp: {allow_tools: [create]}, arguments: {/title: {not: {length_lte: 9}}}}\n  decision: deny\n  reason: x\n";
    let new = dir.file("new.yaml", &changed);
    let record =
        dir.file("audit.ndjson", &ndjson(&[("list", "allow", "reads"), ("create", "require_approval", "writes")]));
    let words = ["simulate", new.to_str().unwrap(), "--record", record.to_str().unwrap()];
    let (code, text) = policy(&words);
    assert_eq!(code, 0, "{text}");
    contains(
        &text,
        &["tighter #7", "was       allow (reads)", "would be  deny (reads)", "allow (reads) → deny (reads)"],
    );
    contains(&text, &["require_approval to deny: open is long-titles; not recorded: arguments"]);
    contains(&text, &["2 calls: 0 as recorded, 1 tighter, 0 looser, 1 undecidable, 0 not judged"]);
    assert_eq!(policy(&[&words[..], &["--fail-on", "tighter"]].concat()).0, 1);
    assert_eq!(policy(&[&["replay"], &words[1..], &["--fail-on", "looser"]].concat()).0, 0);
    let (_, text) = policy(&[&words[..], &["--format", "json"]].concat());
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["rules"]["long-titles"]["open"], 1);
    let (code, text) =
        policy(&["diff", &dir.path("policy.yaml"), new.to_str().unwrap(), "--record", record.to_str().unwrap()]);
    assert_eq!(code, 0);
    contains(&text, &["tighter #7", "1 undecidable"]);

    let broken = dir.file("broken.ndjson", "{\"seq\": 1}\n");
    let (code, text) = policy(&["simulate", new.to_str().unwrap(), "--record", broken.to_str().unwrap()]);
    assert_eq!(code, 2);
    contains(&text, &["broken.ndjson:1"]);
}

/// Decisions of (tool, verdict, rule) as the service exports them; the first has number 7.
fn ndjson(decisions: &[(&str, &str, &str)]) -> String {
    let line = |(index, (tool, verdict, rule)): (usize, &(&str, &str, &str))| {
        let entry = json!({
            "schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": 1_790_000_000_000_u64, "server": "tracker",
            "principal": {"issuer": "https://idp.example", "subject": "ann", "actor_type": "human"},
            "method": "tools/call", "target": tool, "verdict": verdict, "rule_ids": [rule],
        });
        json!({ "seq": index + 7, "entry": entry }).to_string() + "\n"
    };
    decisions.iter().enumerate().map(line).collect()
}

#[test]
fn policy_is_read_out_of_the_base_configuration_by_every_command() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/envoy.yaml");
    let base = base.to_str().unwrap();
    let (code, text) = policy(&["check", base]);
    assert_eq!(code, 0, "{text}");
    contains(&text, &["4 rules, snapshot sha256:"]);
    let call = r#"{"method":"tools/call","params":{"name":"create_issue"}}"#;
    let (code, text) = policy(&["explain", base, "--server", "tracker", "--call", call, "--brief"]);
    assert_eq!(code, 0, "{text}");
    contains(&text, &["+ writes-wait asks people", "+ prod-is-bounded grants"]);
}
