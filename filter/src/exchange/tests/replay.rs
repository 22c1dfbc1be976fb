//! What was bound on the stream of a call is bound on the stream that asks for it again.

use super::session::{SESSION, VERSION};
use super::*;

const LIMITS: &str = r#"
  - id: secrets-out
    match: {mcp: {allow_tools: [list_keys]}}
    decision: allow_with_constraints
    constraints: {output: {max_bytes: 400, redact: ["sk-*"]}}
  - id: quick
    match: {mcp: {allow_tools: [list_quick]}}
    decision: allow_with_constraints
    constraints: {budgets: {max_runtime_ms: 1000}}
"#;

/// Under rules of which only `limits` bind answers.
fn bench(limits: &str) -> Bench {
    let mut bench = Bench::new();
    let (rules, rest) = POLICY.split_once("  - id: bounded").expect("the rule that bounds");
    let (_, rest) = rest.split_once("  - id: no-admin").expect("the rule behind it");
    bench.put_in_force(config_with(&format!("{rules}  - id: no-admin{}{limits}", rest.trim_end())));
    bench.initialize("alice");
    bench
}

/// Result of the request with this id; `text` is what it says.
fn result(id: u32, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}).to_string()
}

fn event(id: &str, data: &str) -> String {
    format!("id: {id}\ndata: {data}\n\n")
}

impl Bench {
    /// Everything that reaches the client of one stream.
    fn stream(&mut self, exchange: &mut Exchange, stream: &str) -> String {
        self.give(exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::EventStream)));
        let did = self.give(exchange, HostEvent::ResponsePart { bytes: stream.as_bytes().to_vec() });
        let replaced = did.0.iter().find_map(|command| match command {
            HostCommand::ReplaceBody(bytes) => Some(String::from_utf8(bytes.clone()).expect("text")),
            _ => None,
        });
        replaced.unwrap_or_else(|| stream.to_owned())
    }

    /// Alice calls a tool in her session; its server answers with this stream, of which her client loses the end.
    fn call_in_session(&mut self, tool: &str, stream: &str) -> String {
        let mut exchange = self.exchange();
        self.give(&mut exchange, HostEvent::RequestHead(head("alice", &[SESSION, VERSION])));
        let body = call(tool).into_bytes();
        let did = self.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
        assert!(did.forwards());
        let sent = self.stream(&mut exchange, stream);
        self.give(&mut exchange, HostEvent::Closed);
        sent
    }

    /// Alice opens a stream by GET, with these headers beside her session's; its server sends this.
    fn reopened(&mut self, more: &[(&str, &str)], stream: &str) -> String {
        let mut exchange = self.exchange();
        let more: Vec<_> = [SESSION, VERSION].iter().chain(more).copied().collect();
        self.give(&mut exchange, HostEvent::RequestHead(super::session::by("GET", "alice", &more)));
        let did = self.give(&mut exchange, HostEvent::RequestComplete { body: Vec::new(), has_trailers: false });
        assert!(did.forwards());
        self.stream(&mut exchange, stream)
    }
}

const PRIMING: &str = "id: 1\ndata: \n\n";

fn after(id: &str) -> [(&str, &str); 1] {
    [("last-event-id", id)]
}

#[test]
fn redaction_holds_when_a_stream_is_asked_for_again() {
    let mut bench = bench(LIMITS);
    assert_eq!(bench.call_in_session("list_keys", PRIMING), PRIMING, "the client may ask again");
    let replayed = event("2", &result(7, "the key is sk-abc"));
    let shown = event("2", &result(7, "the key is [redacted]"));
    // The event it saw; one that nobody saw; none at all; one of the stream that was asked for again.
    let forms: [&[(&str, &str)]; 4] = [&after("1"), &after("guessed"), &[], &after("2")];
    for more in forms {
        let seen = bench.reopened(more, &replayed);
        assert!(!seen.contains("sk-abc"), "{more:?}: {seen}");
    }
    let mut bench = super::replay::bench(LIMITS.split("  - id: quick").next().expect("the first rule"));
    bench.call_in_session("list_keys", PRIMING);
    for more in [&after("1")[..], &after("guessed"), &[]] {
        assert_eq!(bench.reopened(more, &replayed), shown, "{more:?}");
    }
}

#[test]
fn free_call_is_replayed_as_it_was() {
    let mut bench = bench(LIMITS);
    let long = "sk-abc ".repeat(100);
    bench.call_in_session("list_all", PRIMING);
    let replayed = event("2", &result(7, &long));
    assert_eq!(bench.reopened(&after("1"), &replayed), replayed);
    assert_eq!(bench.reopened(&after("2"), &replayed), replayed, "and so is what follows on that stream");
    // Nobody's rules bind answers: then nothing is remembered, and nothing is changed.
    let mut bench = super::replay::bench("");
    assert_eq!(bench.reopened(&after("guessed"), &replayed), replayed);
}

#[test]
fn id_that_a_server_gives_twice_has_its_strictest_meaning() {
    for order in [["list_all", "list_keys"], ["list_keys", "list_all"]] {
        let mut bench = bench(LIMITS);
        for tool in order {
            bench.call_in_session(tool, PRIMING);
        }
        let seen = bench.reopened(&after("1"), &event("2", &result(7, "sk-abc")));
        assert!(!seen.contains("sk-abc"), "{order:?}: {seen}");
    }
}

#[test]
fn answer_over_its_length_is_told_and_not_replayed() {
    let mut bench = bench(LIMITS);
    bench.call_in_session("list_keys", PRIMING);
    let long = event("2", &result(7, &"x".repeat(500)));
    for more in [&after("1")[..], &after("guessed"), &[]] {
        let seen = bench.reopened(more, &long);
        assert!(seen.contains("more than 400 bytes") && seen.contains(r#""id":7,"error""#), "{more:?}: {seen}");
        assert!(!seen.contains("xxx"), "{seen}");
    }
    // In pieces of one call it is too long as well; of the open stream every message stands for itself.
    let note = |n: u32| {
        let data =
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "y".repeat(200), "n": n}});
        event(&format!("n{n}"), &data.to_string())
    };
    let notes = note(1) + &note(2) + &note(3);
    assert!(!bench.reopened(&after("1"), &notes).contains("\"n\":2"));
    assert_eq!(bench.reopened(&[], &notes), notes);
}

#[test]
fn answer_after_its_time_is_told_and_not_replayed() {
    let mut bench = bench(LIMITS);
    bench.call_in_session("list_quick", PRIMING);
    let replayed = event("2", &result(7, "late"));
    bench.now_ms += 999;
    assert_eq!(bench.reopened(&after("1"), &replayed), replayed);
    bench.now_ms += 1;
    for more in [&after("1")[..], &after("2")] {
        let seen = bench.reopened(more, &replayed);
        assert!(seen.contains("Ended after 1000 ms") && !seen.contains("late\""), "{more:?}: {seen}");
    }
    for more in [&after("guessed")[..], &[]] {
        let seen = bench.reopened(more, &replayed);
        assert!(seen.contains("nobody knows any more when this one began"), "{more:?}: {seen}");
    }
}

#[test]
fn list_that_is_replayed_shows_what_a_fresh_one_shows() {
    let mut bench = bench("");
    let list = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"list_x"}, {"name":"delete_project"}]}}"#;
    for more in [&after("1")[..], &[]] {
        let seen = bench.reopened(more, &event("2", list));
        assert!(seen.contains("list_x") && !seen.contains("delete_project"), "{more:?}: {seen}");
    }
}
