//! Answers on their way back: what passes untouched, what is changed, what is refused.

use super::*;

const LIMITS: &str = r#"
  - id: outputs
    match: {mcp: {allow_tools: [list_short]}}
    decision: allow_with_constraints
    constraints: {output: {max_bytes: 200, redact: ["sk-*"]}}
  - id: quick
    match: {mcp: {allow_tools: [list_quick]}}
    decision: allow_with_constraints
    constraints: {budgets: {max_runtime_ms: 1000}}
  - id: roots
    match: {topics: job.mcp.roots}
    decision: allow
"#;

/// What Envoy would send on for the pieces of one answer: bytes, and whether the filter answered or closed instead.
struct Sent {
    body: String,
    headers: Vec<HeaderEdit>,
    reply: Option<Value>,
    is_closed: bool,
    told: Vec<String>,
    is_kept: bool,
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&format!("{}{LIMITS}", POLICY.trim_end_matches([' ', '\n']))));
    bench
}

/// Sends an answer in pieces, as Envoy would: what is kept stays in its buffer.
fn answer(bench: &mut Bench, exchange: &mut Exchange, head: ResponseHead, pieces: &[&str]) -> Sent {
    let mut sent = Sent {
        body: String::new(),
        headers: Vec::new(),
        reply: None,
        is_closed: false,
        told: Vec::new(),
        is_kept: false,
    };
    let mut buffer = Vec::new();
    let mut events = vec![(HostEvent::ResponseHead(head), "")];
    events.extend(pieces.iter().map(|piece| (HostEvent::ResponsePart { bytes: piece.as_bytes().to_vec() }, *piece)));
    events.push((HostEvent::ResponseComplete, ""));
    for (event, piece) in events {
        buffer.extend_from_slice(piece.as_bytes());
        let did = bench.give(exchange, event);
        sent.told.extend(did.told().into_iter().map(|told| String::from_utf8(told.body.clone()).expect("text")));
        for command in did.0 {
            match command {
                HostCommand::Pause => sent.is_kept = true,
                HostCommand::Continue => {
                    sent.is_kept = false;
                    sent.body.push_str(&String::from_utf8(std::mem::take(&mut buffer)).expect("text"));
                }
                HostCommand::ReplaceBody(bytes) => buffer = bytes,
                HostCommand::AppendBody(bytes) => buffer.extend(bytes),
                HostCommand::EditAnswer(edit) => sent.headers.push(edit),
                HostCommand::CloseAnswer => sent.is_closed = true,
                HostCommand::Reply(reply) => {
                    sent.reply = Some(serde_json::from_str(&reply.body).expect("JSON"));
                    return sent;
                }
                _ => {}
            }
        }
    }
    sent
}

fn posted(bench: &mut Bench, body: &str) -> Exchange {
    let mut exchange = bench.exchange();
    assert!(bench.post(&mut exchange, body).forwards());
    exchange
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
const TOOLS: &str =
    r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"list_x"}, {"name":"delete_project"}], "ttlMs":5}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"list_x"}], "ttlMs":5}}"#;

#[test]
fn a_list_shows_only_what_could_ever_be_called_in_json_and_in_events() {
    let mut bench = bench();
    let mut exchange = posted(&mut bench, LIST);
    let (one, two) = TOOLS.split_at(30);
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::Json), &[one, two]);
    assert_eq!(sent.body, SHOWN);
    assert_eq!(sent.headers, [HeaderEdit::Set("content-length", SHOWN.len().to_string())]);
    let entry = bench.give(&mut exchange, HostEvent::Closed);
    assert_eq!(entry.entries()[0].detail.as_deref(), Some("1 entries hidden"));
    assert_eq!(entry.entries()[0].answer_bytes, Some(TOOLS.len() as u64));

    let stream = format!(": hello\n\nid: 4\ndata: {TOOLS}\n\n");
    let mut exchange = posted(&mut bench, LIST);
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::EventStream), &[&stream]);
    assert_eq!(sent.body, format!(": hello\n\nid: 4\ndata: {SHOWN}\n\n"));
}

#[test]
fn a_list_that_cannot_be_read_shows_nothing() {
    let cases = [
        (answer_head(AnswerFormat::Json), r#"{"result":{"tools":[],"Tools":[]}}"#),
        (ResponseHead { is_encoded: true, ..answer_head(AnswerFormat::Json) }, TOOLS),
        (ResponseHead { is_encoded: true, ..answer_head(AnswerFormat::EventStream) }, TOOLS),
        (answer_head(AnswerFormat::Other), TOOLS),
    ];
    for (head, body) in cases {
        let mut bench = bench();
        let mut exchange = posted(&mut bench, LIST);
        let sent = answer(&mut bench, &mut exchange, head, &[body]);
        let reply = sent.reply.expect("refused");
        assert!(reply["error"]["message"].as_str().expect("text").contains("was not delivered"), "{reply}");
        assert_eq!(sent.body, "");
    }
}

#[test]
fn what_is_too_long_is_refused_and_never_cut_short() {
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"{}"}}]}}}}"#,
        "x".repeat(300)
    );
    let known = ResponseHead { content_length: Some(300), ..answer_head(AnswerFormat::Json) };
    for head in [answer_head(AnswerFormat::Json), known] {
        let mut bench = bench();
        let mut exchange = posted(&mut bench, &call("list_short"));
        let sent = answer(&mut bench, &mut exchange, head, &[&long]);
        let reply = sent.reply.expect("refused");
        let said = reply["result"]["content"][0]["text"].as_str().expect("text");
        assert!(said.contains("more than 200 bytes"), "{said}");
    }
    let mut bench = bench();
    let mut exchange = posted(&mut bench, &call("list_short"));
    let event = |n: u32| format!("data: {{\"method\":\"notifications/progress\",\"params\":{{\"n\":{n}}}}}\n\n");
    let (one, rest) = (event(1), event(2).repeat(4));
    let sent =
        answer(&mut bench, &mut exchange, answer_head(AnswerFormat::EventStream), &[&one, &rest, "data: {}\n\n"]);
    let (first, last) = sent.body.split_at(one.len());
    assert_eq!(first, one);
    assert!(last.starts_with("event: message\ndata: ") && last.contains("more than 200 bytes"), "{last}");
    assert!(!last.contains("\"n\":2") && last.ends_with("\n\n"));
    assert!(bench.wake_after(&mut exchange, 200).0.iter().any(|command| matches!(command, HostCommand::CloseAnswer)));
}

#[test]
fn secrets_of_a_pattern_leave_no_string_of_an_answer() {
    let mut bench = bench();
    for (format, body, expected) in [
        (
            AnswerFormat::Json,
            r#"{"id":7,"result":{"content":[{"text":"a sk-1"}],"structuredContent":{"k":"sk-2"}}}"#,
            r#"{"id":7,"result":{"content":[{"text":"a [redacted]"}],"structuredContent":{"k":"[redacted]"}}}"#,
        ),
        (
            AnswerFormat::EventStream,
            "data: {\"method\":\"notifications/message\",\"params\":{\"data\":\"sk-3\"}}\n\ndata: {\"id\":7,\"error\":{\"code\":1,\"message\":\"sk-4\"}}\n\n",
            "data: {\"method\":\"notifications/message\",\"params\":{\"data\":\"[redacted]\"}}\n\ndata: {\"id\":7,\"error\":{\"code\":1,\"message\":\"[redacted]\"}}\n\n",
        ),
    ] {
        let mut exchange = posted(&mut bench, &call("list_short"));
        assert_eq!(answer(&mut bench, &mut exchange, answer_head(format), &[body]).body, expected);
        let did = bench.give(&mut exchange, HostEvent::Closed);
        assert_eq!(did.entries()[0].detail.as_deref(), Some("2 texts redacted"));
    }
}

#[test]
fn a_server_may_ask_only_what_the_policy_lets_it_ask_and_is_told_so() {
    let mut bench = bench();
    let mut exchange = posted(&mut bench, &call("list_x"));
    let stream = "data: {\"id\":\"s1\",\"method\":\"sampling/createMessage\",\"params\":{}}\n\n\
                  data: {\"id\":2,\"method\":\"roots/list\"}\n\ndata: {\"id\":3,\"method\":\"ping\"}\n\n";
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::EventStream), &[stream]);
    assert!(!sent.body.contains("sampling") && sent.body.contains("roots/list") && sent.body.contains("ping"));
    let [told] = &sent.told[..] else { panic!("one answer to the server: {:?}", sent.told) };
    assert!(told.starts_with(r#"{"jsonrpc":"2.0","id":"s1","error":{"code":-31001,"#), "{told}");
    let did = bench.give(&mut exchange, HostEvent::Closed);
    assert!(did.entries()[0].detail.as_deref().is_some_and(|text| text.contains("`sampling/createMessage` denied by")));

    // In a JSON answer of the older eras no request has any business.
    let mut exchange = posted(&mut bench, &call("list_x"));
    let sneaked = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#;
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::Json), &[sneaked]);
    assert!(sent.is_closed && sent.body.is_empty());
}

#[test]
fn a_call_over_its_time_is_ended_whatever_its_server_does() {
    let quick = call("list_quick");
    // The server says nothing, or only its head, or a part of its answer.
    for (head, piece) in [
        (None, ""),
        (Some(answer_head(AnswerFormat::Json)), ""),
        (Some(answer_head(AnswerFormat::Json)), "{\"id\":7,"),
        (Some(answer_head(AnswerFormat::EventStream)), "data: {\"id\""),
    ] {
        let mut bench = bench();
        let mut exchange = posted(&mut bench, &quick);
        if let Some(head) = head {
            bench.give(&mut exchange, HostEvent::ResponseHead(head));
            bench.give(&mut exchange, HostEvent::ResponsePart { bytes: piece.as_bytes().to_vec() });
        }
        assert!(bench.wake_after(&mut exchange, 900).0.is_empty());
        let did = bench.wake_after(&mut exchange, 100);
        assert!(did.tool_error().starts_with("Ended after 1000 ms"));
        let [told] = did.told()[..] else { panic!("the server is told") };
        assert!(String::from_utf8_lossy(&told.body).contains("notifications/cancelled"));
        assert_eq!(told.cluster, None, "where its request went");
        assert_eq!(bench.give(&mut exchange, HostEvent::Closed).entries()[0].outcome, Some(Outcome::Unknown));
    }
    // It keeps sending: the next event is the last.
    let mut bench = bench();
    let mut exchange = posted(&mut bench, &quick);
    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::EventStream)));
    let part = |bytes: &str| HostEvent::ResponsePart { bytes: bytes.as_bytes().to_vec() };
    bench.give(&mut exchange, part(": alive\n\n"));
    bench.now_ms += 1_000;
    let did = bench.give(&mut exchange, part(": alive\n\n"));
    let replaced = did.0.iter().find_map(|command| match command {
        HostCommand::ReplaceBody(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    assert!(replaced.is_some_and(|text| text.contains("Ended after 1000 ms") && !text.contains("alive")));
}

#[test]
fn an_answer_that_clients_could_read_in_two_ways_is_not_delivered() {
    let asks = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#;
    let encoded = ResponseHead { is_encoded: true, ..answer_head(AnswerFormat::Json) };
    for head in [answer_head(AnswerFormat::Unclear), encoded] {
        let mut bench = bench();
        let mut exchange = posted(&mut bench, &call("list_x"));
        let sent = answer(&mut bench, &mut exchange, head, &[asks]);
        assert!(sent.reply.is_some() && sent.body.is_empty());
    }
    for (values, expected) in [
        (&["application/json"][..], AnswerFormat::Json),
        (&["Application/JSON; charset=UTF-8"], AnswerFormat::Json),
        (&["application/problem+json"], AnswerFormat::Json),
        (&["text/event-stream;charset=utf-8"], AnswerFormat::EventStream),
        (&["text/html; charset=iso-8859-1"], AnswerFormat::Other),
        (&[], AnswerFormat::Other),
        (&["text/plain, text/event-stream"], AnswerFormat::Unclear),
        (&["text/plain", "text/event-stream"], AnswerFormat::Unclear),
        (&["text/event-streams"], AnswerFormat::Unclear),
        (&["application/json; x=text/event-stream"], AnswerFormat::Unclear),
        (&["application/jsonl"], AnswerFormat::Unclear),
        (&["text/event-stream; charset=utf-16"], AnswerFormat::Unclear),
        (&["text/event-stream; charset=utf-8; charset=utf-7"], AnswerFormat::Unclear),
    ] {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(AnswerFormat::of(&values), expected, "{values:?}");
    }
}

#[test]
fn no_line_end_of_unicode_hides_an_event_from_the_filter() {
    let asks = r#"data: {"id":1,"method":"sampling/createMessage"}"#;
    let mut bench = bench();
    for end in ["\u{b}", "\u{c}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{85}", "\u{2028}", "\u{2029}"] {
        let mut exchange = posted(&mut bench, &call("list_x"));
        let stream = format!(": {end}{end}{asks}{end}{end}\n\ndata: {{\"x\":\"{end}{asks:?}\"}}\n\n");
        let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::EventStream), &[&stream]);
        assert!(sent.body.contains("sampling") && !sent.body.contains(end), "{:?}", sent.body);
    }
    let mut exchange = posted(&mut bench, &call("list_x"));
    let stream = "data: {\"id\":7,\"result\":\"a\u{2028}\u{e9}\u{20ac}\"}\n\n";
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::EventStream), &[stream]);
    assert_eq!(sent.body, "data: {\"id\":7,\"result\":\"a\\u2028\u{e9}\u{20ac}\"}\n\n");
}

#[test]
fn a_stream_out_of_which_something_is_taken_cannot_be_resumed() {
    let mut bench = bench();
    let mut exchange = posted(&mut bench, &call("list_short"));
    let stream = "id: 1\nretry: 5\ndata: \n\nid: 2\ndata: {\"id\":7,\"result\":{}}\n\n";
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::EventStream), &[stream]);
    assert_eq!(sent.body, "retry: 5\ndata: \n\ndata: {\"id\":7,\"result\":{}}\n\n");
}

#[test]
fn error_page_that_cannot_be_judged_keeps_its_status_and_loses_its_text() {
    let page = "<h1>sk-live-1</h1>";
    let error = |status, content_length| ResponseHead { status, content_length, ..answer_head(AnswerFormat::Other) };
    for (tool, length) in [("list_short", None), ("list_short", Some(18))] {
        for encoded in [false, true] {
            let mut bench = bench();
            let mut exchange = posted(&mut bench, &call(tool));
            let head = ResponseHead { is_encoded: encoded, ..error(500, length) };
            let sent = answer(&mut bench, &mut exchange, head, &[page, "more sk-live-2", ""]);
            assert!(sent.reply.is_none() && !sent.is_closed);
            assert!(!sent.body.contains("sk-") && !sent.body.contains("more"), "{}", sent.body);
            assert_eq!(sent.body.matches("was not delivered").count(), 1, "{}", sent.body);
            assert!(sent.headers.contains(&HeaderEdit::Remove("content-length".to_owned())));
            let did = bench.give(&mut exchange, HostEvent::Closed);
            assert!(did.entries()[0].detail.as_deref().is_some_and(|detail| detail.contains("withheld")));
        }
    }
    // Nothing limits this one.
    let mut bench = bench();
    let mut exchange = posted(&mut bench, &call("list_x"));
    assert_eq!(answer(&mut bench, &mut exchange, error(404, None), &[page]).body, page);
    // A list is no error page.
    let mut exchange = posted(&mut bench, LIST);
    assert!(!answer(&mut bench, &mut exchange, error(404, None), &[TOOLS]).body.contains("delete_project"));
    // JSON is read, whatever the status.
    let mut exchange = posted(&mut bench, &call("list_short"));
    let json = ResponseHead { status: 500, ..answer_head(AnswerFormat::Json) };
    let sent = answer(&mut bench, &mut exchange, json, &[r#"{"id":7,"error":{"code":1,"message":"sk-9"}}"#]);
    assert_eq!(sent.body, r#"{"id":7,"error":{"code":1,"message":"[redacted]"}}"#);
}

#[test]
fn text_of_unknown_length_does_not_slip_past_the_limit_of_an_answer() {
    const SHORT: &str = "\n  - {id: bounded-only, match: {mcp: {allow_tools: [list_bounded]}}, decision: allow_with_constraints, constraints: {output: {max_bytes: 200}}}\n";
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&format!("{}{SHORT}", POLICY.trim_end_matches([' ', '\n']))));
    let long = "x".repeat(1_000);
    let mut exchange = posted(&mut bench, &call("list_bounded"));
    let sent = answer(&mut bench, &mut exchange, answer_head(AnswerFormat::Other), &[&long]);
    assert!(sent.reply.is_some() && sent.body.is_empty());
    let mut exchange = posted(&mut bench, &call("list_bounded"));
    let head = ResponseHead { status: 500, ..answer_head(AnswerFormat::Other) };
    assert!(!answer(&mut bench, &mut exchange, head, &[&long]).body.contains("xx"));
}

#[test]
fn a_server_whose_client_has_left_is_told_to_stop_when_the_time_of_the_call_is_over() {
    let later = |pieces: &[&str]| {
        let mut bench = bench();
        let mut exchange = posted(&mut bench, &call("list_quick"));
        bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::EventStream)));
        for piece in pieces {
            bench.give(&mut exchange, HostEvent::ResponsePart { bytes: piece.as_bytes().to_vec() });
        }
        bench.now_ms += 300;
        let did = bench.give(&mut exchange, HostEvent::Closed);
        let at = did.0.into_iter().find_map(|command| match command {
            HostCommand::TellAt(at_ms, callout) => Some((at_ms, String::from_utf8(callout.body).expect("text"))),
            _ => None,
        });
        at.map(|(at_ms, text)| (at_ms - bench.now_ms, text))
    };
    let (in_ms, told) = later(&[": working\n\n"]).expect("the server works on");
    assert_eq!(in_ms, 700);
    assert!(told.contains("notifications/cancelled") && told.contains(r#""requestId":7"#), "{told}");
    assert!(later(&[]).is_some(), "nor has it begun to answer");
}

#[test]
fn a_server_that_has_answered_is_told_nothing_more() {
    let mut bench = bench();
    for tool in ["list_quick", "list_all"] {
        let mut exchange = posted(&mut bench, &call(tool));
        answer(
            &mut bench,
            &mut exchange,
            answer_head(AnswerFormat::Json),
            &[r#"{"jsonrpc":"2.0","id":7,"result":{}}"#],
        );
        let did = bench.give(&mut exchange, HostEvent::Closed);
        assert!(!did.0.iter().any(|command| matches!(command, HostCommand::TellAt(..))), "{tool}");
    }
}
