//! `audit.required`: no record, no call.

use holdpoint_core::trace_parent::{UPSTREAM_SPAN, span_below};

use super::*;

const REQUIRED: &str = "\naudit: {required: true, wait_ms_max: 1500}\n";

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&format!("{POLICY}{REQUIRED}")));
    bench
}

impl Did {
    /// Counter of the entry that the exchange waits for.
    fn awaited(&self) -> u64 {
        let awaited = self.0.iter().find_map(|command| match command {
            HostCommand::AwaitRecord(counter) => Some(*counter),
            _ => None,
        });
        awaited.unwrap_or_else(|| panic!("nothing awaited: {:?}", self.0))
    }
}

/// The entries that wait for the service, which answers for them.
fn sent(bench: &mut Bench) -> Vec<AuditEntry> {
    let batch = bench.desk.audit.next_batch().expect("a batch");
    let batch: holdpoint_core::audit::EntryBatch = serde_json::from_str(&batch).expect("a batch");
    bench.desk.audit.batch_answered(crate::audit_buffer::BatchAnswer::Acknowledged);
    batch.entries
}

fn settled(counter: u64, is_durable: bool) -> HostEvent {
    HostEvent::Recorded { counters: counter..counter + 1, is_durable }
}

#[test]
fn an_allowed_call_runs_when_its_entry_is_durable_and_its_outcome_is_a_second_entry_of_the_same_span() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("list_issues"));
    assert!(did.pauses() && !did.forwards());
    let intents = sent(&mut bench);
    assert_eq!((intents.len(), intents[0].kind, intents[0].outcome), (1, EntryKind::Decision, None));
    let counter = did.awaited();
    assert!(!bench.give(&mut exchange, settled(counter + 1, true)).forwards(), "another entry");
    bench.now_ms += 40;
    let did = bench.give(&mut exchange, settled(counter, true));
    assert!(did.forwards());
    bench.now_ms += 7;
    bench.give(&mut exchange, HostEvent::ResponseHead(ResponseHead { status: 200, ..ResponseHead::default() }));
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [outcome] = did.entries()[..] else { panic!("one entry") };
    assert_eq!((outcome.kind, outcome.outcome), (EntryKind::Outcome, Some(Outcome::Committed)));
    assert_eq!(outcome.latency_ms, Some(7), "the wait for the record is not the server's");
    assert!(outcome.span_id.is_some() && outcome.span_id == intents[0].span_id);
    // Each has a salt of its own, so what stands beside one can be erased without the other.
    assert!(intents[0].arguments.is_some() && outcome.arguments.is_none());
}

#[test]
fn without_a_durable_entry_nothing_runs() {
    let refused = |event: &dyn Fn(u64, &mut Bench) -> HostEvent| {
        let mut bench = bench();
        let mut exchange = bench.exchange();
        let did = bench.post(&mut exchange, &call("list_issues"));
        let event = event(did.awaited(), &mut bench);
        let did = bench.give(&mut exchange, event);
        assert!(!did.forwards());
        let is_counted = did.0.iter().any(|command| matches!(command, HostCommand::Count(Metric::NotRecorded, 1)));
        assert_eq!(is_counted, !did.tool_error().contains("the policy changed"), "only what the record refuses is");
        let [entry] = did.entries()[..] else { panic!("one entry") };
        assert_eq!((entry.kind, entry.outcome), (EntryKind::Outcome, Some(Outcome::Refused)));
        let late = bench.give(&mut exchange, settled(0, true));
        assert!(!late.forwards(), "too late");
        did.tool_error()
    };
    let away = refused(&|_, bench| {
        bench.now_ms += 1_500;
        HostEvent::Wake
    });
    assert!(away.contains("recorded first"), "{away}");
    assert!(refused(&|counter, _| settled(counter, false)).contains("recorded first"));
    let changed = refused(&|counter, bench| {
        bench.put_in_force(config_with(&format!("{POLICY}{REQUIRED}")));
        settled(counter, true)
    });
    assert!(changed.contains("the policy changed"), "{changed}");
}

#[test]
fn a_full_buffer_refuses_at_once() {
    let mut bench = bench();
    while bench.desk.audit.push(AuditEntry::new(EntryKind::Gap, 1)) {}
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("list_issues"));
    assert!(!did.forwards() && did.tool_error().contains("recorded first"));
}

#[test]
fn a_client_that_leaves_before_its_entry_is_durable_has_nothing_run() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    let counter = bench.post(&mut exchange, &call("list_issues")).awaited();
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(did.entries()[0].outcome, Some(Outcome::Refused));
    assert!(!bench.give(&mut exchange, settled(counter, true)).forwards());
}

#[test]
fn calls_that_wait_for_the_record_take_room_like_held_ones_and_give_it_back() {
    let mut bench = bench();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut exchange = bench.exchange();
        let counter = bench.post(&mut exchange, &call("list_issues")).awaited();
        waiting.push((exchange, counter));
    }
    let mut fourth = bench.exchange();
    assert!(bench.post(&mut fourth, &call("list_issues")).tool_error().contains("recorded first"), "`holds_max` is 3");
    let (mut first, counter) = waiting.remove(0);
    assert!(bench.give(&mut first, settled(counter, true)).forwards());
    let mut fifth = bench.exchange();
    assert!(bench.post(&mut fifth, &call("list_issues")).pauses());
}

#[test]
fn of_a_batch_every_message_is_recorded_before_any_runs() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    let second = call("list_projects").replace(r#""id":7"#, r#""id":8"#);
    let did = bench.post(&mut exchange, &format!("[{},{second}]", call("list_issues")));
    assert_eq!((did.awaited(), sent(&mut bench).len()), (1, 2));
    assert!(bench.give(&mut exchange, HostEvent::Recorded { counters: 0..2, is_durable: true }).forwards());
}

#[test]
fn what_is_denied_does_not_wait_and_what_is_held_waits_for_its_claim_alone() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    assert!(bench.post(&mut exchange, &call("delete_project")).tool_error().contains("Nobody deletes"));
    let (_, did) = bench.hold();
    assert_eq!(did.asked().path, "/v1/approvals");
}

#[test]
fn the_clients_trace_goes_on_to_the_server_under_the_filters_own_span() {
    let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let said = "00-11111111111111111111111111111111-2222222222222222-00";
    let with_meta =
        call("list_issues").replace(r#""arguments""#, &format!(r#""_meta":{{"traceparent":"{said}"}},"arguments""#));
    for (body, trace_id, parent, flags) in [
        (call("list_issues"), "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01"),
        (with_meta, "11111111111111111111111111111111", "2222222222222222", "00"),
    ] {
        let mut bench = Bench::new();
        let mut exchange = bench.exchange();
        bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[("traceparent", header)])));
        let did =
            bench.give(&mut exchange, HostEvent::RequestComplete { body: body.into_bytes(), has_trailers: false });
        let sent = did.forward().edits.iter().find_map(|edit| match edit {
            HeaderEdit::Set("traceparent", value) => Some(value.clone()),
            HeaderEdit::Set(..) | HeaderEdit::Remove(_) => None,
        });
        let entries = bench.give(&mut exchange, HostEvent::Closed);
        let entry = entries.entries()[0];
        assert_eq!((entry.trace_id.as_deref(), entry.parent_span_id.as_deref()), (Some(trace_id), Some(parent)));
        let span = entry.span_id.as_deref().expect("a span");
        let below = span_below(span, UPSTREAM_SPAN);
        assert_eq!(sent.as_deref(), Some(format!("00-{trace_id}-{below}-{flags}").as_str()));
    }
}

#[test]
fn what_an_administrator_stops_while_its_entry_is_under_way_does_not_run() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    let counter = bench.post(&mut exchange, &call("list_issues")).awaited();
    let list = json!({"schema": holdpoint_core::freeze::FREEZE_SCHEMA, "version": 4, "freezes": [
        {"id": "f-1", "scope": {"server": "tracker"}, "reason": "an incident", "by": "local ann", "since_ms": 1}
    ]})
    .to_string();
    let signature = hex_encode(&service_key().sign(&holdpoint_core::freeze::signed_bytes(&list)).to_bytes());
    let signed = holdpoint_core::freeze::SignedFreezes { list, signature, also: Vec::new() };
    let config = Rc::clone(&bench.config);
    bench.desk.freezes.take(&signed, &config.approval.service_keys).expect("signed");
    let did = bench.give(&mut exchange, settled(counter, true));
    assert!(!did.forwards() && did.tool_error().contains("an incident"));
}

#[test]
fn an_entry_that_is_durable_only_after_another_call_got_the_slot_lets_nothing_run() {
    let limit = "  - id: one\n    match: {mcp: {allow_tools: [list_issues]}}\n    decision: allow_with_constraints\n    \
                 constraints: {budgets: {max_concurrent_jobs: 1}}\n";
    for is_taken in [false, true] {
        let mut bench = Bench::new();
        bench.put_in_force(config_with(&format!("{POLICY}{limit}\naudit: {{required: true, wait_ms_max: 60000}}\n")));
        let mut exchange = bench.exchange();
        let counter = bench.post(&mut exchange, &call("list_issues")).awaited();
        bench.now_ms += crate::usage::LEASE_MS;
        if is_taken {
            let mut other = bench.exchange();
            bench.post(&mut other, &call("list_issues")).awaited();
        }
        let did = bench.give(&mut exchange, settled(counter, true));
        assert_eq!(did.forwards(), !is_taken);
        assert!(!is_taken || did.tool_error().contains("`one`"), "{:?}", did.0);
    }
}
