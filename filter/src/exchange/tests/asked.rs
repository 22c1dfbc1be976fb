//! What a server asks of its client, and what the client answers; tasks, and whose they are.

use super::*;

/// Elicitation may be answered, and tasks asked for; nothing is said of sampling.
const RULES: &str = r#"
  - id: people-may-be-asked
    match: {topics: [job.mcp.elicitation]}
    decision: allow
    reason: People may be asked
  - id: tasks
    match: {topics: [job.mcp.task]}
    decision: allow
    reason: Tasks may be asked for
"#;

impl Bench {
    fn with_rules() -> Self {
        let mut bench = Self::new();
        bench.put_in_force(config_with(&format!("{}{}", POLICY.trim_end(), RULES)));
        bench
    }

    /// Alice calls a tool, and the server answers with these events.
    fn server_says(&mut self, content_type_is_events: bool, pieces: &[&str]) {
        let mut exchange = self.exchange();
        let body = call("list_issues").replace(r#""name""#, r#""task":{"ttl":1000},"name""#);
        assert!(self.post(&mut exchange, &body).forwards());
        let head = answer_head(if content_type_is_events { AnswerFormat::EventStream } else { AnswerFormat::Json });
        self.give(&mut exchange, HostEvent::ResponseHead(head));
        for piece in pieces {
            self.give(&mut exchange, HostEvent::ResponsePart { bytes: piece.as_bytes().to_vec() });
        }
        self.give(&mut exchange, HostEvent::ResponseComplete);
    }

    fn says(&mut self, subject: &str, body: &str) -> Did {
        let mut exchange = self.exchange();
        self.give(&mut exchange, HostEvent::RequestHead(head(subject, &[])));
        let body = body.as_bytes().to_vec();
        self.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false })
    }
}

fn asks(id: &str, method: &str) -> String {
    format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{}}}}\r\n\r\n")
}

fn answer(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept","content":{{"name":"x"}}}}}}"#)
}

#[test]
fn answer_to_what_the_server_asked_is_judged_and_passes_once() {
    let mut bench = Bench::with_rules();
    let event = asks("3", "elicitation/create");
    let (one, two) = event.split_at(40);
    bench.server_says(true, &[": hello\n\n", one, two]);
    assert!(!bench.says("mallory", &answer("3")).forwards(), "another principal was not asked");
    assert!(!bench.says("alice", &answer("\"3\"")).forwards(), "another id");
    let did = bench.says("alice", &answer("3"));
    assert!(did.forwards());
    assert!(!bench.says("alice", &answer("3")).forwards(), "once");
}

#[test]
fn answer_that_nobody_asked_for_or_no_rule_allows_is_dropped() {
    let mut bench = Bench::with_rules();
    bench.server_says(true, &[&asks("4", "sampling/createMessage"), &asks("5", "ping"), &asks("6", "tasks/get")]);
    for id in ["4", "6", "7"] {
        let did = bench.says("alice", &answer(id));
        assert_eq!((did.forwards(), did.reply().status), (false, 202), "{id}");
        assert_eq!(did.entries().len(), 1, "{id}");
    }
    let did = bench.says("alice", r#"{"jsonrpc":"2.0","id":5,"result":{}}"#);
    assert!(did.forwards(), "a ping is plumbing in both directions");
}

#[test]
fn task_is_asked_for_by_whose_call_began_it() {
    let get = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"786"}}"#;
    for (events, body) in [
        (false, r#"{"jsonrpc":"2.0","id":7,"result":{"task":{"taskId":"786","status":"working"}}}"#),
        (true, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"resultType\":\"task\",\"taskId\":\"786\"}}\n\n"),
    ] {
        let mut bench = Bench::with_rules();
        bench.server_says(events, &[body]);
        assert!(bench.says("alice", get).forwards());
        let did = bench.says("mallory", get);
        assert_eq!(did.reply_json()["error"]["code"], json!(-32602), "{}", did.reply().body);
        assert!(!did.forwards() && !did.reply().body.contains("another"), "it does not tell that there is one");
        assert!(
            bench.says("mallory", &get.replace("786", "787")).forwards(),
            "nobody knows that one: the rules decide"
        );
    }
}
