//! Calls that wait for people.

use super::*;

/// Drives a held call up to its claim.
fn approved(bench: &mut Bench) -> (Exchange, OpenApproval, Did) {
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert!(did.asked().path.ends_with("/appr-1/claim"), "{:?}", did.asked());
    (exchange, open, did)
}

fn denying() -> Rc<FilterConfig> {
    config_with(&POLICY.replace("decision: require_approval", "decision: deny"))
}

#[test]
fn an_approved_call_runs_once_the_signed_claim_is_verified_and_under_its_constraints() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    assert_eq!(open.target.as_deref(), Some("create_issue"));
    let did = bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
    assert!(did.asked().path.ends_with("/v1/approvals/appr-1") && !did.forwards());
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    let request: ClaimRequest = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 200, &signed_with(&service_key(), &claim(&open, &request)));
    let forward = did.forward();
    assert_eq!(forward.permit.permits()[0].approved_call(), Some(open.call_digest));
    assert_eq!(forward.permit.constraints().max_runtime_ms, Some(5_000));
    assert!(forward.edits.contains(&HeaderEdit::Set("x-envoy-upstream-rq-timeout-ms", "6000".to_owned())));

    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
    let answer = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#.to_vec();
    bench.give(&mut exchange, HostEvent::ResponsePart { bytes: answer });
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry") };
    assert_eq!((entry.kind, entry.outcome), (EntryKind::Outcome, Some(Outcome::Failed)));
    assert_eq!(entry.hold_id.as_ref(), Some(&open.hold_id));
}

#[test]
fn only_a_claim_signed_for_this_hold_lets_anything_run() {
    type Tamper = fn(&mut Claim);
    let tampered: [(&str, Tamper); 6] = [
        ("approval", |claim| claim.approval_id = "appr-2".to_owned()),
        ("hold", |claim| claim.hold_id = "another".to_owned()),
        ("nonce", |claim| claim.nonce = "old".to_owned()),
        ("call", |claim| claim.call_digest = holdpoint_core::digest::Digest::of(b"another")),
        ("expiry", |claim| claim.expires_at_ms = 1),
        ("basis", |claim| claim.basis = holdpoint_core::digest::Digest::of(b"another")),
    ];
    for (what, tamper) in tampered {
        let mut bench = Bench::new();
        let (mut exchange, open, did) = approved(&mut bench);
        let mut claim = claim(&open, &did.asked_record());
        tamper(&mut claim);
        let did = bench.answer(&mut exchange, &did, 200, &signed_with(&service_key(), &claim));
        assert!(!did.forwards(), "{what}");
        if what == "basis" {
            assert!(did.asked().path.ends_with(&format!("/{}/withdraw", open.hold_id)), "it is asked anew");
            continue;
        }
        assert!(did.tool_error().contains("approval service is unavailable"), "{what}");
    }
}

#[test]
fn an_answer_in_the_services_place_runs_nothing() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let claim = claim(&open, &did.asked_record());
    let forged = signed_with(&SigningKey::from_bytes(&[8; 32]), &claim);
    let did = bench.answer(&mut exchange, &did, 200, &forged);
    assert!(!did.forwards());
    assert!(did.0.iter().any(|command| matches!(command, HostCommand::Count(Metric::ClaimRefused, 1))));
    assert_eq!(did.told().len(), 1, "the service hears that this hold is over");
}

#[test]
fn a_denial_reaches_the_agent_with_its_reason() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let denied = ApprovalState {
        reason: Some("wrong repository".to_owned()),
        decided_by: Some("bob".to_owned()),
        ..state(&open, ApprovalStatus::Denied)
    };
    let did = bench.answer(&mut exchange, &did, 200, &denied);
    assert_eq!(
        did.tool_error(),
        "Not run: approval appr-1 was denied by bob: wrong repository. Do not repeat the call as it is."
    );
}

#[test]
fn a_client_that_cannot_wait_longer_is_told_to_repeat_the_same_call() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
    let did = bench.wake_after(&mut exchange, 10_000);
    assert!(did.tool_error().contains("waiting for human approval appr-1"));
    assert_eq!(did.reply_json()["result"]["_meta"]["holdpoint.dev/decision"]["may_repeat"], json!(true));
    assert!(did.told()[0].path.ends_with(&format!("/v1/holds/{}/withdraw", open.hold_id)));
}

#[test]
fn an_approval_that_comes_after_the_client_left_runs_nothing() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let claim = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    let gone = bench.give(&mut exchange, HostEvent::Closed);
    assert!(gone.told()[0].path.ends_with("/withdraw"));
    let did = bench.answer(&mut exchange, &did, 200, &claim);
    assert!(did.0.is_empty(), "{:?}", did.0);
}

#[test]
fn a_policy_that_now_denies_stops_a_call_that_people_approved() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    bench.put_in_force(denying());
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert!(did.tool_error().starts_with("Denied by policy rule `writes`"));
}

#[test]
fn a_policy_that_changes_while_the_claim_is_under_way_stops_the_call_too() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let claim = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    bench.put_in_force(denying());
    let did = bench.answer(&mut exchange, &did, 200, &claim);
    assert!(!did.forwards());
    assert!(did.tool_error().starts_with("Denied by policy rule `writes`"));
}

#[test]
fn a_policy_that_comes_to_ask_something_else_while_the_claim_is_under_way_has_people_asked_anew() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let used = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    bench.put_in_force(config_with(&POLICY.replace("Writes need a human", "Writes need two eyes")));
    let did = bench.answer(&mut exchange, &did, 200, &used);
    assert!(!did.forwards());
    let withdrawn: WithdrawHold = did.asked_record();
    assert!(
        did.asked().path.ends_with(&format!("/v1/holds/{}/withdraw", open.hold_id)),
        "what was claimed did not run"
    );
    assert_eq!(withdrawn.cause, WithdrawCause::Refused);
    let did = bench.answer(&mut exchange, &did, 204, &json!({}));
    let anew: OpenApproval = did.asked_record();
    assert_ne!((anew.hold_id.as_str(), anew.basis), (open.hold_id.as_str(), open.basis), "a hold claims once");
    assert_eq!(anew.reasons[0].text, "Writes need two eyes");

    let did = bench.answer(&mut exchange, &did, 200, &state(&anew, ApprovalStatus::Approved));
    let again = bench.answer(&mut exchange, &did, 200, &used);
    assert!(!again.forwards(), "the claim of the hold before lets nothing run");
    let (mut exchange, open, did) = approved(&mut bench);
    let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    assert!(bench.answer(&mut exchange, &did, 200, &signed).forwards(), "its slot was given back");
}

#[test]
fn a_call_that_can_wait_no_longer_when_its_claim_comes_back_changed_is_to_be_repeated() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let used = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    bench.put_in_force(config_with(&POLICY.replace("Writes need a human", "Writes need two eyes")));
    bench.now_ms += 10_000;
    let did = bench.answer(&mut exchange, &did, 200, &used);
    assert!(!did.forwards());
    let told = did.tool_error();
    assert!(told.contains("the policy changed while this call waited; repeat the same call"), "{told}");
}

/// Which cluster its route selects is read at a call's beginning and only where a policy asks. It is not made up afterwards.
#[test]
fn a_policy_that_comes_to_tell_servers_by_cluster_refuses_a_call_that_waited_before_it() {
    let told_by = |how: &str| config_with(&POLICY.replace("match: {route_metadata: tracker}", how));
    let mut bench = Bench::new();
    bench.put_in_force(told_by("match: {hosts: [tracker.example]}"));
    // As the host does.
    let begin = |bench: &mut Bench| {
        let mut exchange = bench.exchange();
        let mut head = head("alice", &[]);
        head.route = RouteMetadata::default();
        head.cluster = head.cluster.filter(|_| exchange.reads_cluster());
        bench.give(&mut exchange, HostEvent::RequestHead(head));
        let body = call("create_issue").into_bytes();
        let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
        (exchange, did)
    };
    let (mut exchange, did) = begin(&mut bench);
    let open: OpenApproval = did.asked_record();
    bench.put_in_force(told_by("match: {clusters: [up]}"));
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert!(!did.forwards(), "though people approved it");
    let told = did.tool_error();
    assert!(told.contains("leads to no server"), "{told}");
    let withdrawn: WithdrawHold = serde_json::from_slice(&did.told()[0].body).expect("a record");
    assert_eq!(withdrawn.cause, WithdrawCause::Refused);

    // One that begins under the new policy is of the server that its cluster says.
    let (mut exchange, did) = begin(&mut bench);
    let open: OpenApproval = did.asked_record();
    assert_eq!(open.server, "tracker");
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    assert!(bench.answer(&mut exchange, &did, 200, &signed).forwards());
}

#[test]
fn a_related_policy_edit_asks_anew_and_an_unrelated_one_does_not() {
    let edited = POLICY.replace("Writes need a human", "Writes need two eyes");
    let unrelated = POLICY.replace("Nobody deletes projects", "Nobody at all");
    for (policy, asks_anew) in [(edited, true), (unrelated, false)] {
        let mut bench = Bench::new();
        let (mut exchange, did) = bench.hold();
        let open: OpenApproval = did.asked_record();
        bench.put_in_force(config_with(&policy));
        let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
        let request: ClaimRequest = did.asked_record();
        assert_eq!(request.basis != open.basis, asks_anew);
        if asks_anew {
            let did = bench.answer(&mut exchange, &did, 409, &json!({"code": "basis-changed"}));
            let again: OpenApproval = did.asked_record();
            assert_eq!(again.basis, request.basis);
            assert_eq!(again.reasons[0].text, "Writes need two eyes");
        } else {
            let signed = signed_with(&service_key(), &claim(&open, &request));
            assert!(bench.answer(&mut exchange, &did, 200, &signed).forwards());
        }
    }
}

#[test]
fn of_two_identical_calls_with_one_approval_the_second_asks_for_its_own() {
    let mut bench = Bench::new();
    let (mut exchange, _, did) = approved(&mut bench);
    let did = bench.answer(&mut exchange, &did, 409, &json!({"code": "consumed"}));
    assert!(!did.forwards());
    assert_eq!((did.asked().method, did.asked().path.as_str()), ("POST", "/v1/approvals"));
}

#[test]
fn a_policy_the_service_has_not_seen_is_registered_and_the_question_asked_again() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 409, &json!({"code": "policy-unknown"}));
    assert_eq!(did.asked().path, format!("/v1/policies/{}", open.snapshot_id));
    assert_eq!(did.asked().body, bench.config.policy.canonical().as_bytes());
    let did = bench.answer(&mut exchange, &did, 201, &json!({}));
    assert_eq!(did.asked().path, "/v1/approvals");
}

#[test]
fn a_service_that_comes_back_in_time_resumes_the_hold_and_one_that_does_not_refuses_it() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let away = bench.answer(&mut exchange, &did, 503, &"upstream connect error");
    assert!(!away.forwards() && away.0.iter().any(|command| matches!(command, HostCommand::WakeAt(_))));
    let did = bench.wake_after(&mut exchange, 300);
    assert_eq!(did.asked().path, "/v1/approvals");
    let again: OpenApproval = did.asked_record();
    assert_eq!(again.hold_id, open.hold_id, "the same hold: the service knows it");
    bench.now_ms += 2_000;
    let did = bench.answer(&mut exchange, &did, 504, &"timeout");
    assert!(did.tool_error().contains("approval service is unavailable"));
}

#[test]
fn an_answer_that_is_not_the_services_own_is_no_answer() {
    let mut bench = Bench::new();
    for body in [json!({"status": "approved"}), json!("approved"), json!({"schema": "other", "status": "approved"})] {
        let (mut exchange, did) = bench.hold();
        let did = bench.answer(&mut exchange, &did, 200, &body);
        assert!(!did.forwards(), "{body}");
        bench.give(&mut exchange, HostEvent::Closed);
    }
}

#[test]
fn an_approved_call_waits_for_a_free_slot_before_it_uses_its_grant() {
    let mut bench = Bench::new();
    let (mut first, open, did) = approved(&mut bench);
    let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    assert!(bench.answer(&mut first, &did, 200, &signed).forwards());

    let (mut second, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut second, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert!(did.0.iter().all(|command| !matches!(command, HostCommand::Ask(_))), "no claim without a slot");
    let did = bench.wake_after(&mut second, 250);
    assert!(did.0.iter().all(|command| !matches!(command, HostCommand::Ask(_))), "still no slot");
    bench.give(&mut first, HostEvent::Closed);
    let did = bench.wake_after(&mut second, 250);
    assert!(did.asked().path.ends_with("/claim"));
}

#[test]
fn calls_beyond_the_room_for_holds_are_answered_pending_at_once() {
    let mut bench = Bench::new();
    let held: Vec<Exchange> = (0..3).map(|_| bench.hold().0).collect();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
    assert!(did.tool_error().contains("waiting for human approval"));
    drop(held);
}

#[test]
fn the_answer_comes_before_the_clients_patience_and_the_runtime_are_used_up() {
    let mut bench = Bench::new();
    let config = config_with(&POLICY.replace("max_runtime_ms: 5000", "max_runtime_ms: 55000"));
    bench.put_in_force(config);
    let (_, did) = bench.hold();
    let wake = did.0.iter().find_map(|command| match command {
        HostCommand::WakeAt(at_ms) => Some(*at_ms - bench.now_ms),
        _ => None,
    });
    assert_eq!(wake, Some(5_000), "60 s of patience less 55 s of runtime");
}

#[test]
fn a_call_that_ran_out_of_time_is_told_so_and_its_outcome_is_unknown() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    bench.answer(&mut exchange, &did, 200, &signed);
    let head = ResponseHead { status: 504, in_place: Some(InPlace::TimedOut), ..ResponseHead::default() };
    let did = bench.give(&mut exchange, HostEvent::ResponseHead(head));
    assert!(did.tool_error().starts_with("Ended after 5000 ms"));
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(did.entries()[0].outcome, Some(Outcome::Unknown));
}

#[test]
fn a_server_that_broke_off_is_told_apart_from_one_that_was_never_reached() {
    for (in_place, sentence, outcome) in [
        (InPlace::BrokeOff, "Do not assume that the call had no effect", Outcome::Unknown),
        (InPlace::NotReached, "Not run: the server cannot be reached", Outcome::Refused),
    ] {
        let mut bench = Bench::new();
        let (mut exchange, open, did) = approved(&mut bench);
        let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
        bench.answer(&mut exchange, &did, 200, &signed);
        let head = ResponseHead { status: 503, in_place: Some(in_place), has_body: true, ..ResponseHead::default() };
        let did = bench.give(&mut exchange, HostEvent::ResponseHead(head));
        assert!(did.tool_error().contains(sentence), "{}", did.tool_error());
        let did = bench.give(&mut exchange, HostEvent::Closed);
        assert_eq!(did.entries()[0].outcome, Some(outcome));
    }
}

#[test]
fn a_service_that_answers_polls_without_waiting_is_not_asked_in_a_loop() {
    let mut bench = Bench::new();
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Pending));
    assert!(did.0.iter().all(|command| !matches!(command, HostCommand::Ask(_))), "{:?}", did.0);
    let did = bench.wake_after(&mut exchange, 250);
    assert!(did.asked().path.ends_with("/v1/approvals/appr-1"));
}

#[test]
fn calls_that_came_together_do_not_ask_together_for_ever() {
    let mut bench = Bench::new();
    let mut legs = Vec::new();
    for _ in 0..3 {
        let (mut exchange, did) = bench.hold();
        let open: OpenApproval = did.asked_record();
        let did = bench.answer(&mut exchange, &did, 202, &state(&open, ApprovalStatus::Pending));
        legs.push(did.asked().timeout_ms);
    }
    assert!(
        legs.iter().all(|leg_ms| (6_000..=7_000).contains(leg_ms)),
        "up to a quarter less than 4 s, and 3 s: {legs:?}"
    );
    assert!(legs.iter().any(|leg_ms| *leg_ms != legs[0]), "{legs:?}");
}

#[test]
fn a_service_that_stays_away_is_asked_more_and_more_seldom_and_once_more_at_the_end() {
    let mut bench = Bench::new();
    let (mut exchange, mut did) = bench.hold();
    let mut asked_after_ms = Vec::new();
    let began_ms = bench.now_ms;
    loop {
        did = bench.answer(&mut exchange, &did, 503, &"upstream connect error");
        let Some(at_ms) = did.0.iter().find_map(|command| match command {
            HostCommand::WakeAt(at_ms) => Some(*at_ms),
            _ => None,
        }) else {
            break;
        };
        let early = bench.wake_after(&mut exchange, at_ms - bench.now_ms - 1);
        assert!(early.0.is_empty(), "{:?}", early.0);
        did = bench.wake_after(&mut exchange, 1);
        asked_after_ms.push(bench.now_ms - began_ms);
    }
    assert_eq!(asked_after_ms, [250, 500, 1_000, 2_000]);
    assert!(did.tool_error().contains("approval service is unavailable"));
}

#[test]
fn a_claim_whose_answer_is_lost_is_sent_again_as_the_same_claim() {
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let request: ClaimRequest = did.asked_record();
    let did = bench.wake_after(&mut exchange, 7_000);
    assert!(did.0.iter().all(|command| !matches!(command, HostCommand::Ask(_))), "paced like any retry");
    let did = bench.wake_after(&mut exchange, 300);
    assert_eq!(did.asked_record::<ClaimRequest>(), request);
    let signed = signed_with(&service_key(), &claim(&open, &request));
    assert!(bench.answer(&mut exchange, &did, 200, &signed).forwards());
}

#[test]
fn a_limit_that_the_policy_gained_while_the_claim_was_under_way_is_not_run_without_a_slot() {
    let unbounded = POLICY.replace(", max_concurrent_jobs: 1", "");
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&unbounded));
    let (mut exchange, open, did) = approved(&mut bench);
    let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
    bench.put_in_force(config_with(POLICY));
    assert!(!bench.answer(&mut exchange, &did, 200, &signed).forwards());
}

#[test]
fn an_event_stream_that_its_client_closes_after_the_answer_has_a_known_outcome() {
    let answers: [(&str, Outcome); 3] = [
        ("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n\n", Outcome::Committed),
        ("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":1}}\r\n\r\n", Outcome::Failed),
        ("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"resu", Outcome::Unknown),
    ];
    for (answer, outcome) in answers {
        let mut bench = Bench::new();
        let (mut exchange, open, did) = approved(&mut bench);
        let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
        bench.answer(&mut exchange, &did, 200, &signed);
        let head = answer_head(AnswerFormat::EventStream);
        bench.give(&mut exchange, HostEvent::ResponseHead(head));
        bench.give(&mut exchange, HostEvent::ResponsePart { bytes: answer.as_bytes().to_vec() });
        let did = bench.give(&mut exchange, HostEvent::Closed);
        assert_eq!(did.entries()[0].outcome, Some(outcome), "{answer}");
    }
}

#[test]
fn a_claim_under_a_policy_that_the_gateway_has_replaced_is_judged_again_when_this_worker_has_the_new_one() {
    let replaced = json!({"code": "policy-replaced"});
    let mut bench = Bench::new();
    let (mut exchange, open, did) = approved(&mut bench);
    let did = bench.answer(&mut exchange, &did, 409, &replaced);
    assert!(!did.forwards() && did.0.iter().all(|command| !matches!(command, HostCommand::Ask(_))), "not at once");
    let did = bench.wake_after(&mut exchange, 250);
    let request: ClaimRequest = did.asked_record();
    assert!(bench.answer(&mut exchange, &did, 200, &signed_with(&service_key(), &claim(&open, &request))).forwards());

    let mut bench = Bench::new();
    let (mut exchange, _, did) = approved(&mut bench);
    bench.answer(&mut exchange, &did, 409, &replaced);
    let deny = "decision: require_approval\n    reason: Writes need a human";
    bench.put_in_force(config_with(&POLICY.replace(deny, "decision: deny\n    reason: Frozen")));
    let did = bench.wake_after(&mut exchange, 250);
    assert!(did.tool_error().contains("Frozen"), "{}", did.tool_error());
}

#[test]
fn service_that_speaks_another_version_of_the_wire_lets_nothing_run() {
    for (said, runs) in [
        (None, true),
        (Some("1.0"), true),
        (Some("1.2"), true),
        (Some("1.3"), false),
        (Some("2.1"), false),
        (Some("x"), false),
    ] {
        let mut bench = Bench::new();
        let (mut exchange, open, did) = approved(&mut bench);
        assert!(did.asked().headers.contains(&("holdpoint-wire", "1.1".to_owned())), "{:?}", did.asked());
        let signed = signed_with(&service_key(), &claim(&open, &did.asked_record()));
        let body = serde_json::to_vec(&signed).expect("JSON");
        let answer = CalloutAnswer::received(Some(200), said.map(str::as_bytes), body);
        let did = bench.give(&mut exchange, HostEvent::CalloutAnswered { ask: did.asked().ask, answer });
        assert_eq!(did.forwards(), runs, "{said:?}");
        let logged = did.0.iter().any(
            |command| matches!(command, HostCommand::Log(LogLevel::Error, line) if line.contains("upgrade the older")),
        );
        assert_eq!(logged, !runs, "{said:?}");
        let told = if runs { String::new() } else { did.tool_error() };
        assert_eq!(told.contains("an operator has to upgrade one of them"), !runs, "{told}");
    }
}

/// The service was away for longer than a slot lasts.
#[test]
fn a_claim_that_comes_after_another_call_got_the_slot_lets_nothing_run() {
    for is_taken in [false, true] {
        let mut bench = Bench::new();
        let (mut exchange, open, did) = approved(&mut bench);
        bench.now_ms += crate::usage::LEASE_MS;
        let other = is_taken.then(|| approved(&mut bench));
        let late = signed_with(&service_key(), &claim(&open, &did.asked_record()));
        let did = bench.answer(&mut exchange, &did, 200, &late);
        assert_eq!(did.forwards(), !is_taken);
        match other {
            Some((mut exchange, open, asked)) => {
                assert!(did.tool_error().contains("rule `bounded` lets no more calls run"), "{}", did.tool_error());
                let claimed = signed_with(&service_key(), &claim(&open, &asked.asked_record()));
                assert!(bench.answer(&mut exchange, &asked, 200, &claimed).forwards(), "it has the slot");
            }
            None => {
                // It is its own from now on, for as long as any.
                bench.now_ms += crate::usage::LEASE_MS - 1;
                let (mut next, did) = bench.hold();
                let open: OpenApproval = did.asked_record();
                let did = bench.answer(&mut next, &did, 200, &state(&open, ApprovalStatus::Approved));
                let asks = did.0.iter().any(|command| matches!(command, HostCommand::Ask(_)));
                assert!(!asks, "no slot is free: {:?}", did.0);
            }
        }
    }
}
