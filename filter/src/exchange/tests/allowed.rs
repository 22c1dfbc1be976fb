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
