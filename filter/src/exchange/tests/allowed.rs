//! Calls that run without a human.

use super::*;

#[test]
fn an_allowed_call_is_forwarded_at_once_and_its_outcome_recorded_when_it_ends() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("list_issues"));
    assert!(did.forward().edits.is_empty());
    bench.now_ms += 12;
    bench.give(&mut exchange, HostEvent::ResponseHead(ResponseHead { status: 200, ..ResponseHead::default() }));
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry") };
    assert_eq!(
        (entry.kind, entry.outcome, entry.latency_ms),
        (EntryKind::Decision, Some(Outcome::Committed), Some(12))
    );
    assert_eq!(entry.rule_ids, ["reads"]);
}

#[test]
fn an_answer_that_breaks_off_has_an_unknown_outcome() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.post(&mut exchange, &call("list_issues"));
    bench.give(&mut exchange, HostEvent::ResponseHead(ResponseHead { status: 200, ..ResponseHead::default() }));
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(did.entries()[0].outcome, Some(Outcome::Unknown));
}

#[test]
fn a_route_that_says_passthrough_is_not_read_at_all() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let mut head = head("alice", &[]);
    head.route.passthrough = true;
    head.dynamic_metadata = Vec::new();
    let did = bench.give(&mut exchange, HostEvent::RequestHead(head));
    assert!(did.0.iter().any(|command| matches!(command, HostCommand::Continue)));
    assert!(!did.pauses());
}

#[test]
fn a_body_is_judged_when_it_is_whole_and_not_before() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[])));
    let did = bench.give(&mut exchange, HostEvent::RequestPart { buffered_bytes: 100 });
    assert!(did.pauses() && !did.forwards());
}

#[test]
fn what_looks_like_mcp_on_a_passthrough_route_is_counted() {
    let counted = |more: &[(&str, &str)], keep_accept: bool| {
        let mut bench = Bench::new();
        let mut exchange = bench.exchange();
        let mut head = head("alice", more);
        head.route.passthrough = true;
        head.headers.retain(|(name, _)| keep_accept || name != b"accept");
        let did = bench.give(&mut exchange, HostEvent::RequestHead(head));
        did.0.iter().any(|command| matches!(command, HostCommand::Count(Metric::PassthroughMcp, 1)))
    };
    assert!(counted(&[], true), "it accepts what clients of MCP accept");
    assert!(counted(&[("mcp-protocol-version", "2025-11-25")], false));
    assert!(!counted(&[("accept", "application/json")], false));
}

#[test]
fn what_a_client_answers_to_holdpoint_itself_reaches_no_server() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let with = |more: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"list_issues","arguments":{{}}{more}}}}}"#
        )
    };
    let came = with(
        r#","inputResponses":{"holdpoint.dev/approval":{"action":"accept"},"theirs":{"n":1.0}},"requestState":"theirs""#,
    );
    let did = bench.post(&mut exchange, &came);
    let forwarded = did.forward().body.as_deref().map(String::from_utf8_lossy);
    let expected = with(r#","requestState":"theirs","inputResponses":{"theirs":{"n":1.0}}"#);
    assert_eq!(forwarded.as_deref(), Some(expected.as_str()));

    let theirs = with(r#","requestState":"theirs""#);
    let mut exchange = bench.exchange();
    assert_eq!(bench.post(&mut exchange, &theirs).forward().body, None, "what is not ours is not touched");
}

#[test]
fn cluster_is_read_where_a_policy_looks_at_it() {
    let looks = POLICY.replace("match: {route_metadata: tracker", "match: {clusters: [up], route_metadata: tracker");
    assert_ne!(looks, POLICY);
    let reads = |policy: &str| Exchange::new(Rc::from(PLUGIN), config_with(policy)).reads_cluster();
    assert!(!reads(POLICY));
    assert!(reads(&looks) && reads(&format!("{POLICY}\ncandidate:{looks}")));
}
