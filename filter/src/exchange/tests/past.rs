//! Rules that look back: what one exchange leaves behind is what the next one is judged by.

use super::*;

const POLICY: &str = r#"
  version: "2026-01-27"
  servers:
    tracker:
      match: {route_metadata: tracker}
      tools:
        read_customer: {action: read, risk_tags: [confidential]}
        list_issues: {action: read}
        send: {action: write, risk_tags: [egress]}
        export: {action: admin, risk_tags: [confidential]}
  rules:
  - {id: open, match: {mcp: {deny_actions: admin}}, decision: allow}
  - {id: exports, match: {mcp: {allow_actions: admin}}, decision: require_approval, reason: x}
  - id: after-confidential
    match: {risk_tags: [egress], after: {risk_tags: [confidential], within_ms: 60000, before_start: clean}}
    decision: require_approval
    reason: What was read must not leave unseen
"#;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.put_in_force(config_with(POLICY));
    bench
}

impl Bench {
    /// Whether a call of `tool` by alice runs; otherwise it waits.
    fn runs(&mut self, tool: &str) -> bool {
        let mut exchange = self.exchange();
        let did = self.post(&mut exchange, &call(tool));
        assert!(did.forwards() || did.pauses(), "{:?}", did.0);
        did.forwards()
    }
}

#[test]
fn read_of_what_is_confidential_makes_a_later_send_wait_until_it_is_long_enough_ago() {
    let mut bench = bench();
    assert!(bench.runs("send"));
    assert!(bench.runs("list_issues") && bench.runs("send"));
    assert!(bench.runs("read_customer"));
    assert!(!bench.runs("send"), "before any answer came: the mark is written with the forward");
    bench.now_ms += 60_000 + 1_000;
    assert!(bench.runs("send"));
}

#[test]
fn each_part_of_the_answer_counts_as_reading_it() {
    let mut bench = bench();
    let mut reading = bench.exchange();
    assert!(bench.post(&mut reading, &call("read_customer")).forwards());
    for event in [
        HostEvent::ResponseHead(answer_head(AnswerFormat::Json)),
        HostEvent::ResponsePart { bytes: b"{}".to_vec() },
        HostEvent::ResponseComplete,
    ] {
        bench.now_ms += 50_000;
        bench.give(&mut reading, event);
    }
    bench.now_ms += 59_000;
    assert!(!bench.runs("send"));
    bench.now_ms += 2_000;
    assert!(bench.runs("send"));
}

#[test]
fn other_principals_are_not_touched() {
    let mut bench = bench();
    assert!(bench.runs("read_customer"));
    let mut exchange = bench.exchange();
    bench.give(&mut exchange, HostEvent::RequestHead(head("bob", &[])));
    let body = call("send").into_bytes();
    let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
    assert!(did.forwards());
}

#[test]
fn call_that_was_approved_and_one_in_a_batch_leave_their_marks_too() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    let opened = bench.post(&mut exchange, &call("export"));
    let open: OpenApproval = opened.asked_record();
    assert!(bench.runs("send"), "what only waits has brought nothing");
    let approved = bench.answer(&mut exchange, &opened, 200, &state(&open, ApprovalStatus::Approved));
    let request: ClaimRequest = approved.asked_record();
    let signed = signed_with(&service_key(), &claim(&open, &request));
    assert!(bench.answer(&mut exchange, &approved, 200, &signed).forwards());
    assert!(!bench.runs("send"));

    let mut bench = self::bench();
    let mut exchange = bench.exchange();
    let batch = format!("[{}]", call("read_customer"));
    let did =
        bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[("mcp-protocol-version", "2025-03-26")])));
    assert!(did.pauses());
    let body = batch.into_bytes();
    let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
    assert!(did.forwards(), "{:?}", did.0);
    assert!(!bench.runs("send"));
}

#[test]
fn call_whose_marks_cannot_be_written_does_not_run_and_its_answer_is_not_handed_over() {
    let mut bench = bench();
    let mut running = bench.exchange();
    assert!(bench.post(&mut running, &call("read_customer")).forwards());
    bench.shared.0.retain(|key, _| !key.starts_with("holdpoint/past/"));

    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("read_customer"));
    assert!(!did.forwards());
    assert!(did.tool_error().contains("cannot be written down"), "{}", did.tool_error());

    bench.now_ms += 2_000;
    let did = bench.give(&mut running, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
    assert!(did.tool_error().contains("was not delivered"), "{}", did.tool_error());
    assert!(bench.runs("list_issues"), "what no rule looks back for is not touched");
}

#[test]
fn approval_given_before_the_past_came_to_count_is_asked_anew() {
    let policy = POLICY.replace(
        "- {id: open,",
        "- {id: sends, match: {risk_tags: [egress]}, decision: require_approval, reason: x}\n  - {id: open,",
    );
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&policy));
    let mut exchange = bench.exchange();
    let opened = bench.post(&mut exchange, &call("send"));
    let open: OpenApproval = opened.asked_record();
    assert!(bench.runs("read_customer"));
    let did = bench.answer(&mut exchange, &opened, 200, &state(&open, ApprovalStatus::Approved));
    let request: ClaimRequest = did.asked_record();
    assert!(!did.forwards());
    assert_ne!(request.basis, open.basis, "the service supersedes what was approved under less");
}
