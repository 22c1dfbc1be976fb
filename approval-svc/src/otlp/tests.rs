//! The spans of a call, told from its entries; and what a collector is sent when it is away, refuses, or comes back.

use std::collections::BTreeMap;

use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use holdpoint_core::trace_parent::{HOLD_SPAN, UPSTREAM_SPAN, span_below};

use super::spans::{Gatherer, Span, SpanKind};
use crate::trail::Numbered;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";
const CALL: &str = "00f067aa0ba902b7";

fn entry(kind: EntryKind, at_ms: u64) -> AuditEntry {
    AuditEntry {
        server: Some("tracker".to_owned()),
        method: Some("tools/call".to_owned()),
        target: Some("create_issue".to_owned()),
        source: Some("edge/1".to_owned()),
        ..AuditEntry::new(kind, at_ms)
    }
}

fn traced(entry: AuditEntry) -> AuditEntry {
    let (trace_id, span_id) = (Some(TRACE.to_owned()), Some(CALL.to_owned()));
    AuditEntry { trace_id, span_id, parent_span_id: Some(CLIENT.to_owned()), ..entry }
}

/// The spans that follow from these entries, by name and kind.
fn told(entries: Vec<AuditEntry>) -> BTreeMap<String, Span> {
    let mut gatherer = Gatherer::default();
    let spans = (0..).zip(entries).flat_map(|(seq, entry)| gatherer.take(Numbered { seq, entry }));
    let mut all = BTreeMap::new();
    for span in spans {
        let name = format!("{} {:?}", span.name, span.kind);
        assert!(all.insert(name.clone(), span).is_none(), "two spans are called {name}");
    }
    all
}

#[test]
fn held_call_is_one_trace_from_the_client_to_the_server() {
    let of = |kind, at_ms| AuditEntry {
        approval_id: Some("a1".to_owned()),
        source: None,
        parent_span_id: None,
        ..traced(entry(kind, at_ms))
    };
    let mut decision = traced(entry(EntryKind::Decision, 10));
    decision.verdict = Some(Verdict::RequireApproval);
    decision.rule_ids = vec!["writes-wait".to_owned()];
    decision.hold_id = Some("h1".to_owned());
    let opened = of(EntryKind::ApprovalOpened, 12);
    let mut review = of(EntryKind::Review, 500);
    review.by = Some("local alice".to_owned());
    let mut claim = of(EntryKind::Claim, 510);
    claim.hold_id = Some("h1".to_owned());
    let mut outcome = traced(entry(EntryKind::Outcome, 520));
    outcome.approval_id = Some("a1".to_owned());
    outcome.hold_id = Some("h1".to_owned());
    outcome.outcome = Some(Outcome::Committed);
    outcome.latency_ms = Some(30);
    let spans = told(vec![decision, opened, review, claim, outcome]);
    assert_eq!(spans.len(), 4, "{:?}", spans.keys());
    assert!(spans.values().all(|span| span.trace_id == TRACE && span.error.is_none()));
    let call = &spans["tools/call create_issue Server"];
    assert_eq!((call.span_id.as_str(), call.parent_span_id.as_deref()), (CALL, Some(CLIENT)));
    assert_eq!((call.start_ms, call.end_ms), (10, 550));
    let hold = &spans["holdpoint.hold Internal"];
    assert_eq!((&hold.span_id, hold.parent_span_id.as_deref()), (&span_below(CALL, HOLD_SPAN), Some(CALL)));
    assert_eq!((hold.start_ms, hold.end_ms), (10, 510));
    let review = &spans["holdpoint.review Internal"];
    assert_eq!((review.parent_span_id.as_ref(), review.start_ms, review.end_ms), (Some(&hold.span_id), 12, 500));
    let upstream = &spans["tools/call create_issue Client"];
    assert_eq!((&upstream.span_id, upstream.parent_span_id.as_deref()), (&span_below(CALL, UPSTREAM_SPAN), Some(CALL)));
    assert_eq!((upstream.start_ms, upstream.end_ms, upstream.kind), (520, 550, SpanKind::Client));
}

#[test]
fn call_of_no_trace_has_one_of_its_own_and_always_the_same() {
    let mut decision = entry(EntryKind::Decision, 10);
    decision.verdict = Some(Verdict::Allow);
    decision.outcome = Some(Outcome::Failed);
    let (first, second) = (told(vec![decision.clone()]), told(vec![decision]));
    assert_eq!(first, second);
    let call = &first["tools/call create_issue Server"];
    assert_eq!((call.trace_id.len(), call.span_id.len(), call.parent_span_id.as_ref()), (32, 16, None));
    assert_eq!(call.error.as_deref(), Some("tool_error"));
    assert!(first.contains_key("tools/call create_issue Client"));
}

#[test]
fn denied_call_has_no_span_at_the_server_and_one_that_was_recorded_first_ends_with_its_outcome() {
    let mut denied = entry(EntryKind::Decision, 10);
    denied.verdict = Some(Verdict::Deny);
    let spans = told(vec![denied]);
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["tools/call create_issue Server"]);
    assert_eq!(spans["tools/call create_issue Server"].error.as_deref(), Some("holdpoint.denied"));
    let mut intent = traced(entry(EntryKind::Decision, 10));
    intent.verdict = Some(Verdict::Allow);
    let mut outcome = intent.clone();
    outcome.kind = EntryKind::Outcome;
    outcome.outcome = Some(Outcome::Unknown);
    let spans = told(vec![intent, outcome]);
    assert_eq!(spans.len(), 2);
    assert_eq!(spans["tools/call create_issue Client"].error.as_deref(), Some("holdpoint.unknown"));
}

/// A gateway that has claimed and then finds its client gone: the hold ends, and so does the call, in one commit.
#[test]
fn hold_that_ends_between_claim_and_forward_is_told_once() {
    let of_hold = |kind, at_ms| AuditEntry {
        approval_id: Some("a1".to_owned()),
        hold_id: Some("h1".to_owned()),
        ..traced(entry(kind, at_ms))
    };
    let mut decision = of_hold(EntryKind::Decision, 10);
    decision.verdict = Some(Verdict::RequireApproval);
    let mut outcome = of_hold(EntryKind::Outcome, 520);
    outcome.outcome = Some(Outcome::Refused);
    let entries = vec![decision, of_hold(EntryKind::Claim, 510), of_hold(EntryKind::HoldEnded, 520), outcome];
    let spans = told(entries.clone());
    let names: Vec<_> = spans.keys().map(String::as_str).collect();
    assert_eq!(names, ["tools/call create_issue Server"]);
    // Without a claim nothing but the end of the hold tells that the call is over.
    let unclaimed = told(vec![entries[0].clone(), entries[2].clone()]);
    assert!(unclaimed.contains_key("tools/call create_issue Server"), "{:?}", unclaimed.keys());
}

/// An approval is opened in the trace of one call, and another call may wait for it too.
#[test]
fn end_that_the_service_writes_is_told_in_the_trace_of_the_call_and_not_of_the_approval() {
    let mut decision = traced(entry(EntryKind::Decision, 10));
    (decision.verdict, decision.hold_id) = (Some(Verdict::RequireApproval), Some("h2".to_owned()));
    let end = AuditEntry {
        source: None,
        trace_id: Some("f".repeat(32)),
        span_id: Some("f".repeat(16)),
        hold_id: Some("h2".to_owned()),
        ..entry(EntryKind::HoldEnded, 90)
    };
    let call = &told(vec![decision, end])["tools/call create_issue Server"];
    assert_eq!((call.trace_id.as_str(), call.span_id.as_str()), (TRACE, CALL));
    assert_eq!(call.parent_span_id.as_deref(), Some(CLIENT));
}

#[test]
fn logs_and_spans_name_revision_and_session() {
    let session = holdpoint_core::digest::Digest::of(b"s-1");
    let outcome = AuditEntry {
        protocol_version: Some("2025-11-25".to_owned()),
        mcp_session: Some(session),
        verdict: Some(Verdict::Allow),
        outcome: Some(Outcome::Committed),
        ..traced(entry(EntryKind::Decision, 10))
    };
    let log = super::logs::record(0, &outcome, None);
    assert_eq!((&log["traceId"], &log["spanId"]), (&TRACE.into(), &CALL.into()), "a log hangs at its call's span");
    let spans = told(vec![outcome]);
    let names = |attributes: &[serde_json::Value]| {
        let of = |name: &str| {
            attributes.iter().find(|one| one["key"] == name).map(|one| one["value"]["stringValue"].clone())
        };
        (of("mcp.protocol.version"), of("mcp.session.id"))
    };
    let expected = (Some("2025-11-25".into()), Some(session.to_string().into()));
    assert_eq!(names(log["attributes"].as_array().expect("a list")), expected);
    assert_eq!(names(&spans["tools/call create_issue Server"].attributes), expected);
}

#[test]
fn requests_that_nobody_fetches_are_dropped_beyond_a_number_and_counted() {
    let metrics = std::sync::Arc::new(crate::metrics::Metrics::default());
    let requests = super::requests::RequestSpans::new(std::sync::Arc::clone(&metrics));
    let mut decision = entry(EntryKind::Decision, 10);
    decision.verdict = Some(Verdict::Deny);
    let span = told(vec![decision]).into_values().next().expect("a span");
    for at in 0..4_100 {
        requests.push(Span { start_ms: at, ..span.clone() });
    }
    assert_eq!(requests.take(2).iter().map(|span| span.start_ms).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(requests.take(usize::MAX).len(), 4_094);
    let text = metrics.text(&BTreeMap::new(), 0, &[], 0).expect("metrics");
    assert!(text.contains("otlp_records_total{signal=\"traces\",result=\"dropped\"} 4\n"), "{text}");
}

#[test]
fn calls_that_never_end_are_forgotten_beyond_a_number_the_oldest_first() {
    let mut gatherer = Gatherer::default();
    let of_call = |at: u64, kind, at_ms| AuditEntry {
        trace_id: Some(TRACE.to_owned()),
        span_id: Some(format!("{at:016x}")),
        verdict: Some(Verdict::Allow),
        ..entry(kind, at_ms)
    };
    for at in 0..50_001 {
        let spans = gatherer.take(Numbered { seq: at, entry: of_call(at, EntryKind::Decision, 10) });
        assert_eq!(spans, []);
    }
    let mut begins = |at: u64, seq| {
        let outcome = AuditEntry { outcome: Some(Outcome::Committed), ..of_call(at, EntryKind::Outcome, 90) };
        gatherer.take(Numbered { seq, entry: outcome })[0].start_ms
    };
    assert_eq!(begins(50_000, 60_000), 10, "a late one is known from its decision on");
    assert_eq!(begins(0, 60_001), 90, "the oldest by its end alone");
}
