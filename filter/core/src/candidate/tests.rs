//! One call, two policies: what is told of it.

use super::*;
use crate::envelope::{Annotations, Call, RouteFacts};
use crate::identity::{ActorType, Principal};
use crate::mcp::{self, Head};
use crate::policy::{self, NoUsage};

fn snapshot(server: &str, rules: &str) -> PolicySnapshot {
    let text = format!(
        "version: \"2026-01-27\"\nservers: {{{server}: {{match: {{route_metadata: {server}}}, tools: {{list: {{action: read}}}}}}}}\n\
         rules:\n{rules}"
    );
    policy::compile(&policy::read_file(&text).unwrap_or_else(|problems| panic!("{problems}")))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// The same route leads to a server of another name.
const POLICY_OF_ANOTHER_NAME: &str = "version: \"2026-01-27\"\nservers: {NAME: {match: {route_metadata: s}, tools: {list: {action: read}}}}\nrules:\n- {id: reads, match: {}, decision: allow}\n";

fn call() -> Call {
    let headers = [(b"content-type".to_vec(), b"application/json".to_vec())];
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list","arguments":{}}}"#;
    let head = Head { method: b"POST", path: b"/", headers: &headers };
    let message = mcp::read(&head, body.to_vec(), &crate::json::Limits::default()).expect("a call");
    let principal = Principal {
        issuer: "https://idp.example".to_owned(),
        subject: "ann".to_owned(),
        agent_id: None,
        actor_type: ActorType::Human,
        tenant: None,
        groups: Default::default(),
        scopes: Default::default(),
    };
    let route = RouteFacts { metadata_server: Some("s".to_owned()), path: "/".to_owned(), ..RouteFacts::default() };
    Call {
        message,
        principal: principal.into(),
        route,
        headers: Vec::new(),
        annotations: Annotations::default(),
        definition: None,
    }
}

fn told(in_force: &str, candidate: &PolicySnapshot) -> Option<(Change, Verdict, String)> {
    let policy = snapshot("s", in_force);
    let mut envelope = policy.seal(call()).unwrap_or_else(|(_, error)| panic!("{error}"));
    let decision = policy.evaluate(&envelope, &NoUsage).decision;
    let (text, digest) = (envelope.call_text().to_owned(), envelope.call_digest());
    let other = judge(candidate, &decision, &mut envelope, &NoUsage);
    assert_eq!((envelope.call_text(), envelope.call_digest()), (text.as_str(), digest), "sealed as before");
    assert_eq!(policy.evaluate(&envelope, &NoUsage).decision, decision, "and decided as before");
    let other = other?;
    assert_eq!(other.snapshot_id, candidate.id());
    Some((other.change, other.verdict, other.rule_id))
}

#[test]
fn only_what_would_be_otherwise_for_the_caller_is_told() {
    let reads = "- {id: reads, match: {}, decision: allow}\n";
    let renamed = snapshot("s", "- {id: renamed, match: {}, decision: allow}\n");
    assert_eq!(told(reads, &renamed), None, "by another rule, and alike");
    let asks = snapshot("s", "- {id: asks, match: {}, decision: require_approval}\n");
    assert_eq!(told(reads, &asks), Some((Change::Tighter, Verdict::RequireApproval, "asks".to_owned())));
    let none = snapshot("s", "- {id: other, match: {actor_ids: [ben]}, decision: allow}\n");
    assert_eq!(told(reads, &none), Some((Change::Tighter, Verdict::Deny, "default_decision".to_owned())));
    let denies = "- {id: no, match: {}, decision: deny}\n";
    assert_eq!(told(denies, &renamed), Some((Change::Looser, Verdict::Allow, "renamed".to_owned())));
    let bounded = snapshot(
        "s",
        "- {id: b, match: {}, decision: allow_with_constraints, constraints: {budgets: {max_runtime_ms: 5}}}\n",
    );
    assert_eq!(told(reads, &bounded), Some((Change::Tighter, Verdict::Allow, "b".to_owned())));
}

/// A call may be a megabyte long, and everybody's calls are judged twice while a candidate is tried.
#[test]
fn call_is_judged_by_the_candidate_where_it_is_and_under_its_names() {
    let policy = snapshot("s", "- {id: reads, match: {}, decision: allow}\n");
    let renamed = POLICY_OF_ANOTHER_NAME.replace("NAME", "another");
    let other = policy::compile(&policy::read_file(&renamed).unwrap_or_else(|problems| panic!("{problems}")))
        .unwrap_or_else(|problems| panic!("{problems}"));
    let mut envelope = policy.seal(call()).unwrap_or_else(|(_, error)| panic!("{error}"));
    let (place, digest) = (std::ptr::from_ref(envelope.message()).addr(), envelope.call_digest());
    let bytes = envelope.message().document().bytes().as_ptr().addr();
    let seen = envelope.sealed_under(&other, |envelope| {
        assert_eq!(std::ptr::from_ref(envelope.message()).addr(), place, "the message itself");
        assert_eq!(envelope.message().document().bytes().as_ptr().addr(), bytes, "and what was read of it");
        (envelope.server().to_owned(), envelope.snapshot_id(), envelope.call_digest())
    });
    let (server, snapshot_id, other_digest) = seen.expect("it is sealed");
    assert_eq!((server.as_str(), snapshot_id), ("another", other.id()));
    assert_ne!(other_digest, digest, "of a call to another server");
    assert_eq!((envelope.server(), envelope.snapshot_id()), ("s", policy.id()));
    assert_eq!(envelope.call_digest(), digest);
}

#[test]
fn a_server_that_the_candidate_does_not_know_is_one_that_it_would_refuse() {
    let elsewhere = snapshot("elsewhere", "- {id: reads, match: {}, decision: allow}\n");
    let refused = told("- {id: reads, match: {}, decision: allow}\n", &elsewhere);
    assert_eq!(refused, Some((Change::Tighter, Verdict::Deny, UNSUPPORTED.to_owned())));
    assert_eq!(told("- {id: no, match: {}, decision: deny}\n", &elsewhere), None);
}
