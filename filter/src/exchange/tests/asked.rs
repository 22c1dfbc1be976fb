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

#[test]
fn task_that_a_batch_began_is_its_owners_too() {
    let get = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"786"}}"#;
    let mut bench = Bench::with_rules();
    let mut exchange = bench.exchange();
    let begins = call("list_issues").replace(r#""name""#, r#""task":{"ttl":1000},"name""#);
    let did = bench.post(&mut exchange, &format!("[{},{begins}]", call("list_projects").replace(":7", ":8")));
    assert!(did.forwards());
    bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
    let answers = r#"[{"jsonrpc":"2.0","id":8,"result":{}},{"jsonrpc":"2.0","id":7,"result":{"task":{"taskId":"786","status":"working"}}}]"#;
    bench.give(&mut exchange, HostEvent::ResponsePart { bytes: answers.as_bytes().to_vec() });
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    assert!(!bench.says("mallory", get).forwards());
    assert!(bench.says("alice", get).forwards());
}

/// One list at a time, and tasks.
fn one_at_a_time() -> Bench {
    let rules = format!(
        "{}{RULES}  - id: one\n    match: {{mcp: {{allow_tools: [list_issues]}}}}\n    decision: allow_with_constraints\n    \
         constraints: {{budgets: {{max_concurrent_jobs: 1}}}}\n",
        POLICY.trim_end()
    );
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&rules));
    bench
}

impl Bench {
    /// Alice sends this, and the server answers so; whether it reached the server.
    fn answered(&mut self, body: &str, result: &str) -> bool {
        let mut exchange = self.exchange();
        if !self.post(&mut exchange, body).forwards() {
            return false;
        }
        self.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,{result}}}"#);
        self.give(&mut exchange, HostEvent::ResponsePart { bytes: text.into_bytes() });
        self.give(&mut exchange, HostEvent::ResponseComplete);
        self.give(&mut exchange, HostEvent::Closed);
        true
    }
}

#[test]
fn task_has_the_slot_of_its_call_until_it_has_ended() {
    let begins = call("list_issues").replace(r#""name""#, r#""task":{"ttl":1000},"name""#);
    let begun = r#""result":{"task":{"taskId":"9","status":"working","ttl":120000}}"#;
    let about = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"taskId":"9"}}}}"#);
    for (method, result, frees) in [
        ("tasks/get", r#""result":{"taskId":"9","status":"working"}"#, false),
        ("tasks/get", r#""result":{"taskId":"8","status":"completed"}"#, false),
        ("tasks/get", r#""result":{"taskId":"9","status":"completed"}"#, true),
        ("tasks/get", r#""result":{"taskId":"9","status":"failed"}"#, true),
        ("tasks/get", r#""result":{"taskId":"9","status":"cancelled"}"#, true),
        ("tasks/result", r#""result":{"content":[]}"#, true),
        ("tasks/result", r#""error":{"code":1,"message":"it failed"}"#, true),
    ] {
        let mut bench = one_at_a_time();
        assert!(bench.answered(&begins, begun));
        assert!(!bench.answered(&begins, begun), "the task still has it");
        bench.now_ms += 61_000;
        assert!(!bench.answered(&begins, begun), "no exchange renews it, and it has it all the same");
        assert!(bench.answered(&about(method), result));
        assert_eq!(bench.answered(&begins, begun), frees, "{method} {result}");
    }
    let mut bench = one_at_a_time();
    assert!(bench.answered(&begins, begun));
    bench.now_ms += 120_001;
    assert!(bench.answered(&begins, begun), "its server keeps it no longer");
    bench.now_ms += 120_001;
    let done = r#""result":{"task":{"taskId":"9","status":"completed"}}"#;
    assert!(bench.answered(&begins, done) && bench.answered(&begins, done), "done at once");
}

#[test]
fn result_of_a_task_is_under_what_bounded_its_call_and_under_everything_where_nobody_knows_its_call() {
    const CLEAN: &str = "  - id: clean\n    match: {mcp: {allow_tools: [list_keys]}}\n    decision: allow_with_constraints\n    \
                         constraints: {output: {redact: [\"sk-*\"]}}\n";
    let begins = |tool: &str| call(tool).replace(r#""name""#, r#""task":{"ttl":1000},"name""#);
    let begun = r#""result":{"task":{"taskId":"9","status":"working"}}"#;
    for (began, is_redacted) in [(Some("list_keys"), true), (Some("list_issues"), false), (None, true)] {
        let mut bench = Bench::new();
        bench.put_in_force(config_with(&format!("{}{RULES}{CLEAN}", POLICY.trim_end())));
        if let Some(tool) = began {
            assert!(bench.answered(&begins(tool), begun));
        }
        let mut exchange = bench.exchange();
        let fetch = r#"{"jsonrpc":"2.0","id":7,"method":"tasks/result","params":{"taskId":"9"}}"#;
        assert!(bench.post(&mut exchange, fetch).forwards());
        bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(AnswerFormat::Json)));
        let text = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"sk-live-1"}]}}"#;
        bench.give(&mut exchange, HostEvent::ResponsePart { bytes: text.as_bytes().to_vec() });
        let did = bench.give(&mut exchange, HostEvent::ResponseComplete);
        let replaced = did.0.iter().any(
            |command| matches!(command, HostCommand::ReplaceBody(bytes) if !String::from_utf8_lossy(bytes).contains("sk-live")),
        );
        assert_eq!(replaced, is_redacted, "{began:?}");
    }
}
