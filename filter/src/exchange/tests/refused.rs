//! Calls that never run, and how the client hears of it.

use holdpoint_core::decision::{AuditLevel, Verdict};

use super::*;

#[test]
fn a_denied_call_explains_itself_as_a_tool_error() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("delete_project"));
    assert_eq!(did.tool_error(), "Denied by policy rule `no-admin`: Nobody deletes projects. Ask an administrator.");
    let meta = &did.reply_json()["result"]["_meta"]["holdpoint.dev/decision"];
    assert_eq!((&meta["rule"], &meta["status"]), (&json!("no-admin"), &json!("denied")));
    assert_eq!(did.entries()[0].kind, EntryKind::Decision);
}

#[test]
fn nobody_without_a_verified_identity_gets_a_body_buffered() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let mut head = head("alice", &[("authorization", "Bearer not-verified")]);
    head.dynamic_metadata = Vec::new();
    let did = bench.give(&mut exchange, HostEvent::RequestHead(head));
    assert_eq!(did.reply().status, 401);
    assert!(did.reply().headers.iter().any(|(name, _)| *name == "www-authenticate"));
    let did = bench.give(
        &mut exchange,
        HostEvent::RequestComplete { body: call("list_issues").into_bytes(), has_trailers: false },
    );
    assert!(!did.forwards());
}

/// Sends a call without any identity over a route that judges such calls.
fn post_anonymously(bench: &mut Bench, tool: &str, more: &[(&str, &str)]) -> Did {
    let mut exchange = bench.exchange();
    let mut head = head("nobody", more);
    head.dynamic_metadata = Vec::new();
    head.route.judges_anonymous = true;
    let did = bench.give(&mut exchange, HostEvent::RequestHead(head));
    if !did.pauses() {
        return did;
    }
    bench.give(&mut exchange, HostEvent::RequestComplete { body: call(tool).into_bytes(), has_trailers: false })
}

#[test]
fn an_anonymous_call_is_judged_where_the_route_says_so_and_never_held() {
    let mut bench = Bench::new();
    assert!(post_anonymously(&mut bench, "list_issues", &[]).forwards());
    let did = post_anonymously(&mut bench, "create_issue", &[]);
    assert!(did.tool_error().contains("authenticate"), "{}", did.tool_error());
    assert!(!did.0.iter().any(|command| matches!(command, HostCommand::Ask(_))), "nobody is asked");
    let did = post_anonymously(&mut bench, "list_issues", &[("authorization", "Bearer not-verified")]);
    assert_eq!(did.reply().status, 401, "who sends a bad proof is not anonymous");
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let mut bench = Bench::new();
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","name":"delete_project"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"x","params":{"name":"list_issues"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues"}}{}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues"}},1]"#,
        "",
        "not json",
    ] {
        let mut exchange = bench.exchange();
        let did = bench.post(&mut exchange, body);
        assert_eq!(did.reply().status, 400, "{body}");
        assert!(!did.forwards(), "{body}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_whole() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[])));
    let did = bench.give(&mut exchange, HostEvent::RequestPart { buffered_bytes: 2_001 });
    assert_eq!(did.reply().status, 413);
}

#[test]
fn other_http_methods_are_not_mcp() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let mut head = head("alice", &[]);
    head.headers[0].1 = b"PATCH".to_vec();
    let did = bench.give(&mut exchange, HostEvent::RequestHead(head));
    assert_eq!(did.reply().status, 405);
}

#[test]
fn a_body_that_never_arrives_names_the_missing_setting() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[])));
    let did = bench.wake_after(&mut exchange, 10_000);
    assert_eq!(did.reply().status, 500);
    assert!(did.reply().body.contains("allow_on_headers_stop_iteration"));
}

#[test]
fn once_bodies_arrive_no_request_is_woken_to_look_for_its_own() {
    let mut bench = Bench::new();
    let wakes = |did: &Did| did.0.iter().any(|command| matches!(command, HostCommand::WakeAt(_)));
    let mut first = bench.exchange();
    assert!(wakes(&bench.give(&mut first, HostEvent::RequestHead(head("alice", &[])))));
    bench.give(&mut first, HostEvent::RequestComplete { body: call("list_issues").into_bytes(), has_trailers: false });
    let mut second = bench.exchange();
    assert!(!wakes(&bench.give(&mut second, HostEvent::RequestHead(head("alice", &[])))));
}

#[test]
fn a_refused_notification_is_dropped_without_an_answer() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, r#"{"jsonrpc":"2.0","method":"x/unheard-of"}"#);
    assert!(!did.forwards());
    assert_eq!((did.reply().status, did.reply().body.as_str()), (202, ""));
}

#[test]
fn a_server_the_catalogue_does_not_know_is_refused() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let mut head = head("alice", &[]);
    head.route.server = Some("unheard-of".to_owned());
    bench.give(&mut exchange, HostEvent::RequestHead(head));
    let did = bench.give(
        &mut exchange,
        HostEvent::RequestComplete { body: call("list_issues").into_bytes(), has_trailers: false },
    );
    assert!(!did.forwards());
    assert!(did.tool_error().starts_with("Not run: "));
}

#[test]
fn a_call_that_needs_an_approval_must_not_carry_trailers() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[])));
    let body = call("create_issue").into_bytes();
    let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: true });
    assert!(did.tool_error().contains("trailers"));
}

#[test]
fn what_observed_rules_would_have_done_is_recorded_and_a_metadata_level_keeps_no_digest() {
    let mut bench = Bench::new();
    bench.put_in_force(config_with(
        r#"
  version: "2026-01-27"
  servers: {tracker: {match: {route_metadata: tracker}, tools: {delete_project: {action: admin}}}}
  rules:
  - {id: some-day, match: {mcp: {allow_actions: admin}}, decision: require_approval, mode: observe}
  - {id: no-admin, match: {mcp: {allow_actions: admin}}, decision: deny, audit: metadata, reason: never}
  - {id: tools, match: {mcp: {allow_servers: tracker}}, decision: allow, audit: full}
"#,
    ));
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("delete_project"));
    let entry = did.entries()[0];
    let observed = entry.observed.clone().unwrap();
    assert_eq!((observed.verdict, observed.rule_ids), (Verdict::Deny, vec!["some-day".to_owned()]));
    assert_eq!(entry.rule_ids, ["no-admin", "tools"]);
    assert_eq!((entry.audit, entry.call_digest), (Some(AuditLevel::Metadata), None));
}
