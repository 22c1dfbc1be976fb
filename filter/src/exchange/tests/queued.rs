//! Held calls that stand in line before the service.

use super::*;
use crate::queue::UNDER_WAY_MAX;

/// Others ask, as many as may.
fn crowd(bench: &mut Bench) {
    while bench.desk.queue.enter(false) {}
}

fn asks(did: &Did) -> bool {
    did.0.iter().any(|command| matches!(command, HostCommand::Ask(_)))
}

/// It is called, so much later.
fn call_after(bench: &mut Bench, exchange: &mut Exchange, ms: u64) -> Did {
    bench.now_ms += ms;
    bench.give(exchange, HostEvent::Turn)
}

fn stands_in_line(did: &Did) -> bool {
    !asks(did) && did.0.iter().any(|command| matches!(command, HostCommand::AwaitTurn))
}

#[test]
fn held_call_asks_when_others_have_their_answers() {
    let mut bench = Bench::new();
    crowd(&mut bench);
    let (mut exchange, did) = bench.hold();
    assert!(stands_in_line(&did), "{:?}", did.0);
    let did = call_after(&mut bench, &mut exchange, 50);
    assert!(stands_in_line(&did), "somebody else took the turn");
    bench.desk.queue.leave();
    let did = bench.wake_after(&mut exchange, 50);
    assert!(!asks(&did) && !stands_in_line(&did), "an alarm is no call: {:?}", did.0);
    let did = call_after(&mut bench, &mut exchange, 50);
    let open: OpenApproval = did.asked_record();
    assert_eq!(open.target.as_deref(), Some("create_issue"));
}

#[test]
fn turn_is_over_with_the_answer_and_polling_takes_none() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    assert_eq!(bench.desk.queue.under_way(), 1);
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
    assert_eq!(bench.desk.queue.under_way(), 0, "it waits for people now");
    crowd(&mut bench);
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert!(stands_in_line(&did), "its claim waits for its turn: {:?}", did.0);
    bench.desk.queue.leave();
    let did = call_after(&mut bench, &mut exchange, 50);
    assert!(did.asked().path.ends_with("/claim"));
    let request: ClaimRequest = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 200, &signed_with(&service_key(), &claim(&open, &request)));
    assert!(did.forwards());
    assert_eq!(bench.desk.queue.under_way(), UNDER_WAY_MAX - 1);
}

#[test]
fn every_end_of_a_hold_gives_its_turn_back() {
    type End = fn(&mut Bench, &mut Exchange, &Did);
    let ends: [(&str, End); 4] = [
        ("client gone", |bench, exchange, _| {
            bench.give(exchange, HostEvent::Closed);
        }),
        ("refused", |bench, exchange, did| {
            bench.answer(exchange, did, 403, &json!({"code": "no-such-gateway"}));
        }),
        ("no answer", |bench, exchange, _| {
            bench.wake_after(exchange, 60_000);
        }),
        ("an unusable answer", |bench, exchange, did| {
            bench.answer(exchange, did, 503, &json!({}));
        }),
    ];
    for (what, end) in ends {
        let mut bench = Bench::new();
        let (mut exchange, did) = bench.hold();
        assert_eq!(bench.desk.queue.under_way(), 1, "{what}");
        end(&mut bench, &mut exchange, &did);
        assert_eq!(bench.desk.queue.under_way(), 0, "{what}");
    }
}

#[test]
fn who_left_the_line_neither_asks_nor_keeps_a_turn() {
    let mut bench = Bench::new();
    crowd(&mut bench);
    let (mut exchange, _) = bench.hold();
    bench.give(&mut exchange, HostEvent::Closed);
    bench.desk.queue.leave();
    let did = call_after(&mut bench, &mut exchange, 50);
    assert!(!asks(&did));
    assert_eq!(bench.desk.queue.under_way(), UNDER_WAY_MAX - 1);
}

#[test]
fn line_before_a_service_that_answers_nobody_ends_in_a_refusal() {
    let mut bench = Bench::new();
    crowd(&mut bench);
    let (mut exchange, _) = bench.hold();
    let did = bench.wake_after(&mut exchange, 2_000);
    assert!(did.tool_error().contains("approval service is unavailable"));
    assert_eq!(did.told().len(), 1, "the service hears that this hold is over");
}

#[test]
fn line_that_moves_is_waited_in_somewhat_past_the_clients_time() {
    let mut bench = Bench::new();
    crowd(&mut bench);
    let (mut exchange, _) = bench.hold();
    for _ in 0..5 {
        bench.desk.queue.note_answer(bench.now_ms + 2_000);
        let did = bench.wake_after(&mut exchange, 2_000);
        assert!(did.0.iter().all(|command| !matches!(command, HostCommand::Reply(_))), "{:?}", did.0);
    }
    bench.desk.queue.note_answer(bench.now_ms + 2_000);
    let did = bench.wake_after(&mut exchange, 2_000);
    assert!(did.tool_error().contains("approval service is unavailable"), "nothing is known of its request");
}

#[test]
fn call_without_time_to_wait_is_put_before_people_all_the_same() {
    let mut bench = Bench::new();
    crowd(&mut bench);
    let (mut exchange, _) = bench.hold();
    bench.desk.queue.note_answer(bench.now_ms + 10_500);
    // Its client's time is over just before its turn comes.
    let did = bench.wake_after(&mut exchange, 10_500);
    assert!(did.0.iter().all(|command| !matches!(command, HostCommand::Reply(_))), "{:?}", did.0);
    bench.desk.queue.leave();
    let did = call_after(&mut bench, &mut exchange, 50);
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
    assert!(did.tool_error().contains("waiting for human approval appr-1"));
}

#[test]
fn claim_that_was_asked_for_once_is_asked_for_again_at_once() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert!(did.asked().path.ends_with("/claim"));
    bench.answer(&mut exchange, &did, 503, &json!({}));
    crowd(&mut bench);
    let did = bench.wake_after(&mut exchange, 250);
    assert!(did.asked().path.ends_with("/claim"), "the grant may be used up by it already");
}
