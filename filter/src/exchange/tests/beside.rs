//! What of arguments and result goes with the entries of a call, at each level.

use holdpoint_core::audit::payload::{Lost, Part};
use holdpoint_core::decision::AuditLevel;

use super::*;

const SECRET: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";

fn bench(audit: &str) -> Bench {
    bench_for(audit, 2_000)
}

fn bench_for(audit: &str, body_bytes_max: u64) -> Bench {
    let policy = POLICY.replace("    reason: Reads are fine\n", &format!("    reason: Reads are fine\n{audit}"));
    assert!(audit.is_empty() || policy.contains(audit));
    let mut bench = Bench::new();
    let mut config = Rc::try_unwrap(config_with(&policy)).expect("nobody else has it");
    config.limits.body_bytes_max = body_bytes_max;
    bench.put_in_force(Rc::new(config));
    bench
}

fn answer(text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": text}]}}).to_string()
}

/// A read and its answer in two parts; its one entry.
fn read(bench: &mut Bench, text: &str) -> AuditEntry {
    let mut exchange = bench.exchange();
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                      "params": {"name": "list_issues", "arguments": {"note": format!("use {SECRET} for it")}}});
    assert!(bench.post(&mut exchange, &body.to_string()).forwards());
    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
    let (one, two) = text.as_bytes().split_at(text.len() / 2);
    for part in [one, two] {
        bench.give(&mut exchange, HostEvent::ResponsePart { bytes: part.to_vec() });
    }
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry") };
    entry.clone()
}

fn fits(entry: &AuditEntry) -> bool {
    let payload = entry.payload.as_ref().expect("a payload");
    Part::ALL.into_iter().all(|part| payload.misfit(part, entry.said_of(part)).is_none())
}

#[test]
fn without_a_word_of_the_policy_both_are_digested_and_no_text_goes_along() {
    let entry = read(&mut bench(""), &answer("fine"));
    let payload = entry.payload.as_ref().expect("a salt");
    assert_eq!(payload.text_bytes(), 0);
    let arguments = json!({"note": format!("use {SECRET} for it")}).to_string();
    assert_eq!(entry.arguments.expect("arguments").digest, Some(payload.salt.digest(Part::Arguments, &arguments)));
    assert_eq!(entry.result.expect("a result").digest, Some(payload.salt.digest(Part::Result, &answer("fine"))));
}

#[test]
fn long_texts_are_digested_only_where_the_policy_asks() {
    let long = answer(&"x".repeat(super::super::beside::UNASKED_BYTES_MAX));
    let entry = read(&mut bench(""), &long);
    let said = entry.result.expect("a result");
    assert_eq!((said.lost, said.bytes), (Some(Lost::TooLong), long.len() as u64));
    let entry = read(&mut bench("    audit: digest\n"), &long);
    assert!(entry.result.expect("a result").digest.is_some());
    let longer = answer(&"x".repeat(super::super::beside::RESULT_BYTES_MAX));
    let entry = read(&mut bench("    audit: full\n"), &longer);
    assert_eq!(entry.result.expect("a result").lost, Some(Lost::TooLong));
}

#[test]
fn long_arguments_are_digested_only_where_the_policy_asks() {
    let asked = |audit: &str| {
        let mut bench = bench_for(audit, 100_000);
        let mut exchange = bench.exchange();
        let note = "x".repeat(super::super::beside::UNASKED_BYTES_MAX);
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                          "params": {"name": "list_issues", "arguments": {"note": note}}});
        assert!(bench.post(&mut exchange, &body.to_string()).forwards());
        let did = bench.give(&mut exchange, HostEvent::Closed);
        let [entry] = did.entries()[..] else { panic!("one entry") };
        entry.arguments.clone().expect("arguments")
    };
    assert_eq!(asked("").lost, Some(Lost::TooLong));
    assert!(asked("    audit: digest\n").digest.is_some());
}

#[test]
fn full_and_redacted_take_the_texts_along_and_metadata_nothing() {
    let text = answer(&format!("it is {SECRET}"));
    let full = read(&mut bench("    audit: full\n"), &text);
    assert!(fits(&full));
    assert_eq!(full.payload.as_ref().expect("a payload").text(Part::Result), Some(text.as_str()));
    let redacted = read(&mut bench("    audit: redacted\n"), &text);
    assert!(fits(&redacted));
    let payload = redacted.payload.as_ref().expect("a payload");
    assert_eq!(payload.text(Part::Result), Some(text.replace(SECRET, "[redacted]").as_str()));
    assert!(!payload.text(Part::Arguments).expect("arguments").contains(SECRET));
    let nothing = read(&mut bench("    audit: metadata\n"), &text);
    assert_eq!((nothing.payload, nothing.arguments, nothing.result), (None, None, None));
}

#[test]
fn a_result_that_is_no_json_is_not_kept_redacted() {
    let entry = read(&mut bench("    audit: redacted\n"), "password = hunter2, and no JSON");
    assert_eq!(entry.result.expect("a result").lost, Some(Lost::Unreadable));
    assert_eq!(entry.payload.expect("the arguments").text(Part::Result), None);
}

#[test]
fn of_a_stream_the_message_that_answers_is_the_result() {
    let mut bench = bench("    audit: full\n");
    let mut exchange = bench.exchange();
    assert!(bench.post(&mut exchange, &call("list_issues")).forwards());
    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::EventStream)));
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
    let events = format!("data: {progress}\n\ndata: {}\n\n", answer("done"));
    bench.give(&mut exchange, HostEvent::ResponsePart { bytes: events.into_bytes() });
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry") };
    assert!(fits(entry));
    assert_eq!(entry.payload.as_ref().expect("a payload").text(Part::Result), Some(answer("done").as_str()));
}

#[test]
fn an_answer_that_broke_off_is_no_result() {
    let mut bench = bench("    audit: full\n");
    let mut exchange = bench.exchange();
    assert!(bench.post(&mut exchange, &call("list_issues")).forwards());
    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
    bench.give(&mut exchange, HostEvent::ResponsePart { bytes: b"{\"jsonrpc\":\"2.0\",".to_vec() });
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry") };
    assert_eq!(entry.result, None);
    assert_eq!(entry.arguments.as_ref().expect("arguments").level, AuditLevel::Full);
}

#[test]
fn a_refused_call_has_its_arguments_and_no_result() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("delete_project"));
    let [entry] = did.entries()[..] else { panic!("one entry") };
    assert!(entry.arguments.as_ref().is_some_and(|said| said.digest.is_some()) && entry.result.is_none());
}
