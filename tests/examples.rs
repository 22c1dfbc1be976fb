//! Every `examples/*/cases.yaml` holds: each call is judged by the core as Envoy would judge it. Steps 3 to 6.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdpoint_core::decision::{Decision, Verdict};
use holdpoint_core::envelope::{Annotations, Call, RouteFacts};
use holdpoint_core::identity::{ActorType, Principal};
use holdpoint_core::policy::{self, NoUsage, PolicySnapshot};
use holdpoint_core::{json, mcp, yaml};
use serde_json::{Value, json};

#[test]
fn every_case_of_every_example_is_decided_as_written() {
    let mut judged = 0;
    for file in case_files() {
        let cases = read(&file);
        let policy = file.with_file_name(cases["policy"].as_str().expect("`policy:` names the policy's file"));
        let snapshot = snapshot(&policy);
        for case in cases["cases"].as_array().expect("`cases:` is a list") {
            let name = case["name"].as_str().expect("a case has a name");
            check(&snapshot, case).unwrap_or_else(|difference| panic!("{}: {name}: {difference}", file.display()));
            judged += 1;
        }
    }
    assert!(judged > 0, "no case was found");
}

#[test]
fn guides_literal_policy_loads_unchanged() {
    let literal = root().join("examples/guide/policy.yaml");
    assert_eq!(snapshot(&literal).rule_count(), 3);
}

fn check(snapshot: &PolicySnapshot, case: &Value) -> Result<(), String> {
    let decision = decide(snapshot, case);
    let expected = &case["expect"];
    let found = json!({
        "verdict": decision.verdict.as_str(),
        "rules": rules(&decision),
    });
    let listed = expected["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = json!({
        "verdict": expected["verdict"],
        "rules": listed.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(),
    });
    if found != wanted {
        return Err(format!("decided {found}, expected {wanted}"));
    }
    let bounds = &expected["constraints"]["budgets"];
    let constraints = &decision.constraints;
    let jobs_max = constraints.concurrency.iter().map(|limit| limit.jobs_max).min();
    let found = json!({
        "max_runtime_ms": constraints.max_runtime_ms,
        "max_retries": constraints.max_retries,
        "max_concurrent_jobs": jobs_max,
    });
    let wanted = json!({
        "max_runtime_ms": bounds["max_runtime_ms"],
        "max_retries": bounds["max_retries"],
        "max_concurrent_jobs": bounds["max_concurrent_jobs"],
    });
    if found == wanted { Ok(()) } else { Err(format!("constrained to {found}, expected {wanted}")) }
}

/// The policy's own rules that took part; the fixed word for "no rule" is not one of them.
fn rules(decision: &Decision) -> BTreeSet<&str> {
    let all = decision.reasons.iter().map(|reason| reason.rule_id.as_str());
    all.filter(|rule| *rule != "default_decision").collect()
}

fn decide(snapshot: &PolicySnapshot, case: &Value) -> Decision {
    let mut body = json!({"jsonrpc": "2.0", "id": 1});
    for member in ["method", "params"] {
        body[member] = case["call"][member].clone();
    }
    let headers = [(b"content-type".to_vec(), b"application/json".to_vec())];
    let head = mcp::Head { method: b"POST", path: b"/mcp", headers: &headers };
    let message = match mcp::read(&head, body.to_string().into_bytes(), &json::Limits::default()) {
        Ok(message) => message,
        Err(found) => panic!("the call of a case is malformed: {}", found.detail),
    };
    let principal = Principal {
        issuer: "https://idp.example".to_owned(),
        subject: "agent-7".to_owned(),
        agent_id: None,
        actor_type: ActorType::Agent,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    };
    let route = RouteFacts {
        metadata_server: case["server"].as_str().map(str::to_owned),
        path: "/mcp".to_owned(),
        ..RouteFacts::default()
    };
    let call = Call { message, principal, route, headers: Vec::new(), annotations: Annotations::default() };
    match snapshot.seal(call) {
        Ok(envelope) => {
            let evaluated = snapshot.evaluate(&envelope, &NoUsage);
            assert_eq!(evaluated.permit.is_some(), evaluated.decision.verdict == Verdict::Allow);
            evaluated.decision
        }
        Err((_, error)) => panic!("the call of a case cannot be sealed: {error}"),
    }
}

fn snapshot(file: &Path) -> PolicySnapshot {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let compiled = policy::read_file(&text).and_then(|document| policy::compile(&document));
    compiled.unwrap_or_else(|problems| panic!("{}:\n{problems}", file.display()))
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    match yaml::read(&text, &yaml::Limits::default()) {
        Ok(node) => yaml::to_json(&node),
        Err(errors) => panic!("{}: {errors:?}", file.display()),
    }
}

fn case_files() -> Vec<PathBuf> {
    let examples = fs::read_dir(root().join("examples")).expect("the examples");
    let files = examples.filter_map(|entry| Some(entry.ok()?.path().join("cases.yaml")));
    files.filter(|file| file.is_file()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
