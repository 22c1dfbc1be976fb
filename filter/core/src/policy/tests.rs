//! A policy and one call in, a decision out; broken policies in, located messages out.

use proptest::prelude::*;

use super::*;
use crate::decision::{Decision, Verdict};
use crate::envelope::{Annotations, Call, CallEnvelope, RouteFacts};
use crate::identity::{ActorType, Principal};
use crate::{json, mcp};

mod constraints;
mod credentials;
mod decisions;
mod lints;
mod messages;
mod past;
mod pins;
mod properties;
mod prospects;
mod traces;

const GUIDE: &str = include_str!("../../../../examples/guide/policy.yaml");

/// The guide's rules with a catalogue of their own, so that tests do not move with the example.
const CATALOGUE: &str = r#"
servers:
  github:
    match: {route_metadata: github}
    requires: [github, "network:egress"]
    risk_tags: [external]
    labels: {env: prod}
    unlisted: {risk_tags: [unclassified]}
    bind_headers: [x-mcp-readonly]
    tools:
      create_issue: {action: write, capability: repo.write, resource: "repo:{owner}/{repo}", risk_tags: [prod]}
      delete_project: {action: admin, capability: repo.admin, risk_tags: [prod]}
      "list_*": {action: read, capability: repo.read}
      "*_public": {action: read, capability: repo.read}
      "pub*": {action: write, capability: repo.write}
    resources: {"repo://**": {action: read}, "repo://acme/secrets/*": {action: admin}}
    prompts: {"*": {action: read}}
  intranet:
    match: {route_metadata: intranet}
    tools: {search: {action: read}}
"#;

pub(crate) fn guide() -> String {
    format!("{GUIDE}{CATALOGUE}")
}

/// A policy of `rules` (a YAML list) over the catalogue above.
pub(crate) fn with_rules(rules: &str) -> PolicySnapshot {
    snapshot(&format!("version: \"2026-01-27\"\n{CATALOGUE}rules:\n{rules}"))
}

pub(crate) fn snapshot(text: &str) -> PolicySnapshot {
    let document = read_file(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    compile(&document).unwrap()
}

pub(crate) fn principal() -> Principal {
    Principal {
        issuer: "https://issuer".to_owned(),
        subject: "user_123".to_owned(),
        agent_id: Some("agent-7".to_owned()),
        actor_type: ActorType::Human,
        tenant: Some("acme".to_owned()),
        groups: ["dev".to_owned()].into(),
        scopes: ["repo".to_owned(), "read".to_owned()].into(),
    }
}

/// A message of the given method to the server that the route names.
pub(crate) fn call(server: &str, method: &str, params: &str) -> Call {
    let body = if method.starts_with("notifications/") {
        format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
    } else {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    let headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
    let head = mcp::Head { method: b"POST", path: b"/mcp", headers: &headers };
    let message = mcp::read(&head, body.into_bytes(), &json::Limits::default()).unwrap();
    let route = RouteFacts {
        metadata_server: Some(server.to_owned()),
        host: Some("gateway".to_owned()),
        path: "/mcp?x=1".to_owned(),
        cluster: None,
    };
    Call {
        message,
        principal: principal().into(),
        route,
        headers: Vec::new(),
        annotations: Annotations::default(),
        definition: None,
    }
}

/// A call of `tool` on github with these arguments.
pub(crate) fn tool(name: &str, arguments: &str) -> Call {
    call("github", "tools/call", &format!(r#"{{"name":"{name}","arguments":{arguments}}}"#))
}

pub(crate) fn seal(policy: &PolicySnapshot, call: Call) -> CallEnvelope {
    policy.seal(call).map_err(|(_, error)| error).unwrap()
}

pub(crate) fn decide(policy: &PolicySnapshot, call: Call) -> Decision {
    let envelope = seal(policy, call);
    let evaluated = policy.evaluate(&envelope, &NoUsage);
    assert_eq!(evaluated.permit.is_some(), evaluated.decision.verdict == Verdict::Allow);
    assert_eq!(evaluated.decision.approval.is_some(), evaluated.decision.verdict == Verdict::RequireApproval);
    if let Some(permit) = evaluated.permit {
        assert_eq!(permit.approved_call(), None);
        assert_eq!(permit.constraints(), &evaluated.decision.constraints);
    }
    std::sync::Arc::unwrap_or_clone(evaluated.decision)
}

pub(crate) fn rule_ids(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.rule_id.as_str()).collect()
}
