//! `scope: fleet`: nothing runs until the service has said, for this call and signed, that there is a place.

use holdpoint_core::fleet::{self, EndLeases, LEASES_SCHEMA, LeasesTaken, RenewLeases, SignedLeases, TakeLeases};

use super::*;
use crate::usage::LEASE_MS;

/// Reads one at a time over all gateways, and writes too, once they are approved.
fn policy() -> String {
    let limit = "  - id: one\n    match: {mcp: {allow_tools: [list_issues, create_issue]}}\n    \
                 decision: allow_with_constraints\n    \
                 constraints: {budgets: {max_concurrent_jobs: 1, max_retries: 1, scope: fleet}}\n";
    format!("{POLICY}{limit}")
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&policy()));
    bench
}

fn signed(seed: u8, asked: &TakeLeases, full: Option<&str>) -> SignedLeases {
    let taken = LeasesTaken { schema: LEASES_SCHEMA.to_owned(), asked: asked.clone(), full: full.map(str::to_owned) };
    let leases = serde_json::to_string(&taken).expect("JSON");
    let key = SigningKey::from_bytes(&[seed; 32]);
    let signature = hex_encode(&key.sign(&fleet::signed_bytes(&leases)).to_bytes());
    SignedLeases { leases, signature, also: Vec::new() }
}

fn ended(did: &Did, holder: &str) -> Option<bool> {
    let path = format!("/v1/leases/{holder}/end");
    let told = did.told().into_iter().find(|callout| callout.path == path)?;
    Some(serde_json::from_slice::<EndLeases>(&told.body).expect("a record").ran)
}

/// Posts a read, which asks for its place.
fn asking(bench: &mut Bench) -> (Exchange, Did, TakeLeases) {
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("list_issues"));
    assert!(did.pauses() && !did.forwards(), "{:?}", did.0);
    assert_eq!(did.asked().path, "/v1/leases");
    let asked = did.asked_record();
    (exchange, did, asked)
}

#[test]
fn an_allowed_call_runs_on_the_place_that_it_was_given_keeps_it_and_gives_it_back() {
    let mut bench = bench();
    let (mut exchange, did, asked) = asking(&mut bench);
    let limits: Vec<_> = asked.limits.iter().map(|limit| (limit.rule_id.as_str(), limit.most)).collect();
    assert_eq!(limits, [("one", 1)]);
    let did = bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None));
    assert!(did.forwards());
    let did = bench.wake_after(&mut exchange, LEASE_MS / 2);
    let renewal = did.told()[0];
    assert_eq!(renewal.path, format!("/v1/leases/{}/renew", asked.holder));
    let renewal: RenewLeases = serde_json::from_slice(&renewal.body).expect("a record");
    assert_eq!(renewal, RenewLeases { ttl_ms: LEASE_MS, to: None });
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(ended(&did, &asked.holder), Some(true));
}

#[test]
fn nothing_runs_on_any_other_answer() {
    type Answer = fn(&TakeLeases) -> Value;
    let answers: [(&str, u16, Answer); 6] = [
        ("Envoy's own answer", 503, |_| json!("upstream connect error")),
        ("an error", 500, |asked| json!(signed(7, asked, None))),
        ("an unsigned answer", 200, |asked| json!({"leases": signed(7, asked, None).leases, "signature": ""})),
        ("another service's", 200, |asked| json!(signed(8, asked, None))),
        ("another call's", 200, |asked| {
            json!(signed(7, &TakeLeases { holder: "x".to_owned(), ..asked.clone() }, None))
        }),
        ("for other limits", 200, |asked| json!(signed(7, &TakeLeases { limits: Vec::new(), ..asked.clone() }, None))),
    ];
    for (what, status, answer) in answers {
        let mut bench = bench();
        let (mut exchange, did, asked) = asking(&mut bench);
        let did = bench.answer(&mut exchange, &did, status, &answer(&asked));
        assert!(!did.forwards(), "{what}");
        assert!(did.tool_error().contains("the service that counts is unavailable"), "{what}");
        assert_eq!(did.entries()[0].outcome, Some(Outcome::Refused), "{what}");
        assert_eq!(ended(&did, &asked.holder), Some(false), "{what}: it may have been taken all the same");
    }
    let mut bench = bench();
    let (mut exchange, did, asked) = asking(&mut bench);
    let late = bench.wake_after(&mut exchange, 30_000);
    assert!(late.tool_error().contains("the service that counts is unavailable"));
    assert!(!bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None)).forwards(), "too late");
}

#[test]
fn a_full_limit_is_said_by_its_rule_and_is_no_try() {
    let mut bench = bench();
    for _ in 0..5 {
        let (mut exchange, did, asked) = asking(&mut bench);
        let did = bench.answer(&mut exchange, &did, 200, &signed(7, &asked, Some("one")));
        assert!(!did.forwards());
        assert!(did.tool_error().contains("rule `one` lets no more calls run"), "{}", did.tool_error());
    }
}

#[test]
fn a_call_whose_client_left_while_it_was_counted_never_runs() {
    let mut bench = bench();
    let (mut exchange, did, asked) = asking(&mut bench);
    let left = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(ended(&left, &asked.holder), Some(false));
    assert!(bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None)).0.is_empty());
}

#[test]
fn a_call_is_not_run_under_a_policy_that_changed_while_it_was_counted() {
    let mut bench = bench();
    let (mut exchange, did, asked) = asking(&mut bench);
    bench.put_in_force(config_with(POLICY));
    let did = bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None));
    assert!(!did.forwards());
    assert!(did.tool_error().contains("the policy changed"));
    assert_eq!(ended(&did, &asked.holder), Some(false));
}

#[test]
fn an_entry_that_is_durable_only_after_the_place_ran_out_lets_nothing_run() {
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&format!("{}\naudit: {{required: true, wait_ms_max: 60000}}\n", policy())));
    let (mut exchange, did, asked) = asking(&mut bench);
    bench.now_ms += 4_000;
    let did = bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None));
    let awaited = did.0.iter().find_map(|command| match command {
        HostCommand::AwaitRecord(counter) => Some(*counter),
        _ => None,
    });
    let counter = awaited.expect("it waits for its entry");
    bench.now_ms += LEASE_MS - 4_000;
    let did = bench.give(&mut exchange, HostEvent::Recorded { counters: counter..counter + 1, is_durable: true });
    assert!(!did.forwards());
    assert!(did.tool_error().contains("the service that counts is unavailable"));
}

/// A write that people approved, and that asks for its place.
fn approved(bench: &mut Bench) -> (Exchange, OpenApproval, Did, TakeLeases) {
    let (mut exchange, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 200, &state(&open, ApprovalStatus::Approved));
    assert_eq!(did.asked().path, "/v1/leases", "before the claim, which uses the grant up");
    let asked = did.asked_record();
    (exchange, open, did, asked)
}

#[test]
fn an_approved_call_claims_its_grant_only_when_it_has_a_place() {
    let mut bench = bench();
    let (mut exchange, open, did, asked) = approved(&mut bench);
    assert_eq!(asked.call_digest, open.call_digest);
    let did = bench.answer(&mut exchange, &did, 200, &signed(7, &asked, Some("one")));
    assert!(!did.0.iter().any(|command| matches!(command, HostCommand::Ask(_))), "the grant stays");
    let did = bench.wake_after(&mut exchange, 1_000);
    let again: TakeLeases = did.asked_record();
    assert_ne!(again.holder, asked.holder);
    let did = bench.answer(&mut exchange, &did, 200, &signed(7, &again, None));
    let request: ClaimRequest = did.asked_record();
    let did = bench.answer(&mut exchange, &did, 200, &signed_with(&service_key(), &claim(&open, &request)));
    assert!(did.forwards());
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(ended(&did, &again.holder), Some(true));
}

#[test]
fn an_approved_call_gets_no_place_from_anybody_but_the_service() {
    let mut bench = bench();
    let (mut exchange, _, did, asked) = approved(&mut bench);
    let did = bench.answer(&mut exchange, &did, 200, &signed(8, &asked, None));
    assert!(!did.0.iter().any(|command| matches!(command, HostCommand::Ask(_))), "it is not claimed");
    assert_eq!(ended(&did, &asked.holder), Some(false));
}

#[test]
fn a_refused_claim_gives_the_place_back() {
    let mut bench = bench();
    let (mut exchange, open, did, asked) = approved(&mut bench);
    let did = bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None));
    let request: ClaimRequest = did.asked_record();
    let forged = signed_with(&SigningKey::from_bytes(&[8; 32]), &claim(&open, &request));
    let did = bench.answer(&mut exchange, &did, 200, &forged);
    assert!(!did.forwards());
    assert_eq!(ended(&did, &asked.holder), Some(false));
}

#[test]
fn a_batch_with_a_call_that_the_service_counts_runs_not_at_all() {
    let mut bench = Bench::new();
    // A call whose repeats are limited is refused there for another reason.
    bench.put_in_force(config_with(
        &policy().replace("max_concurrent_jobs: 1, max_retries: 1, scope", "max_concurrent_jobs: 1, scope"),
    ));
    let mut exchange = bench.exchange();
    let batch = format!("[{}]", call("list_issues"));
    bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[("mcp-protocol-version", "2025-03-26")])));
    let did = bench.give(&mut exchange, HostEvent::RequestComplete { body: batch.into_bytes(), has_trailers: false });
    assert!(!did.forwards());
    assert!(did.reply().body.contains("send it by itself"), "{}", did.reply().body);
}

/// A read that has its place, and asks to go on as a task.
fn tasked(bench: &mut Bench) -> (Exchange, String) {
    let mut exchange = bench.exchange();
    let begins = call("list_issues").replace(r#""name""#, r#""task":{"ttl":1000},"name""#);
    let did = bench.post(&mut exchange, &begins);
    let asked: TakeLeases = did.asked_record();
    assert!(bench.answer(&mut exchange, &did, 200, &signed(7, &asked, None)).forwards());
    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::EventStream)));
    (exchange, asked.holder)
}

fn told_paths(did: &Did) -> Vec<String> {
    did.told().iter().map(|callout| callout.path.clone()).collect()
}

const BEGAN: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"task\":{\"taskId\":\"9\",\"status\":\"working\",\"ttl\":120000}}}\n\n";

fn status(task: &str) -> String {
    let params = json!({"taskId": task, "status": "completed"});
    format!("data: {}\n\n", json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params}))
}

#[test]
fn a_task_has_the_place_from_its_beginning_to_its_end_and_not_longer() {
    let mut bench = bench();
    let (mut exchange, holder) = tasked(&mut bench);
    let did = bench.give(&mut exchange, HostEvent::ResponsePart { bytes: BEGAN.as_bytes().to_vec() });
    assert_eq!(told_paths(&did), [format!("/v1/leases/{holder}/renew")]);
    let handed: RenewLeases = serde_json::from_slice(&did.told()[0].body).expect("a record");
    let task = handed.to.expect("to the task");
    assert_eq!(handed.ttl_ms, 120_000);
    let did = bench.give(&mut exchange, HostEvent::ResponsePart { bytes: status("9").into_bytes() });
    assert_eq!(ended(&did, &task), Some(true));
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert!(told_paths(&did).is_empty(), "it has none any more that could come back to life");
}

#[test]
fn every_task_of_whose_end_an_answer_tells_gives_its_place_back_once() {
    let mut bench = bench();
    let (mut exchange, holder) = tasked(&mut bench);
    let bytes = [BEGAN.to_owned(), status("9"), status("8"), status("8")].concat().into_bytes();
    let did = bench.give(&mut exchange, HostEvent::ResponsePart { bytes });
    let told = told_paths(&did);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|path| path.starts_with("/v1/leases/task-") && path.ends_with("/end")), "{told:?}");
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(ended(&did, &holder), Some(true), "a task that was over at once never had the call's place");
}
