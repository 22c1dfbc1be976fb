//! A filter that remembers lists beside one that does not: whatever a server does to its list, both do the same.

use holdpoint_core::edits::Edits;

use super::*;
use crate::lists::{Lists, Onlooker, Shown};

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

const LIST: &str = r#"{"tools":[{"name":"list_x","description":"Lists \u00e9"},{"name":"delete_project"},{"name":"create_issue","annotations":{"destructiveHint":true}}],"nextCursor":"2","cacheScope":"public"}"#;

fn answer(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)
}

/// All that was done: to the client, to the record, and what the service would be told.
fn list(bench: &mut Bench, format: AnswerFormat, text: &[u8], subject: &str) -> String {
    let mut exchange = bench.exchange();
    let mut did = Vec::new();
    did.push(bench.give(&mut exchange, HostEvent::RequestHead(head(subject, &[]))));
    let asked = HostEvent::RequestComplete { body: ASK.as_bytes().to_vec(), has_trailers: false };
    did.push(bench.give(&mut exchange, asked));
    did.push(bench.give(&mut exchange, HostEvent::ResponseHead(answer_head(format))));
    did.push(bench.give(&mut exchange, HostEvent::ResponsePart { bytes: text.to_vec() }));
    did.push(bench.give(&mut exchange, HostEvent::ResponseComplete));
    did.push(bench.give(&mut exchange, HostEvent::Closed));
    let told = bench.desk.inventory.next_batch("gw/1").map(|batch| String::from_utf8(batch).expect("text"));
    bench.desk.inventory.batch_answered(crate::audit_buffer::BatchAnswer::Acknowledged);
    let did: Vec<Vec<HostCommand>> = did.into_iter().map(|did| did.0).collect();
    format!("{did:?} {told:?}")
}

/// What is known of tools afterwards.
fn learned(bench: &mut Bench) -> String {
    let names = ["list_x", "delete_project", "create_issue"];
    format!("{:?}", names.map(|name| crate::definitions::of(&mut bench.shared, "tracker", name)))
}

/// Two benches that differ in nothing but that one forgets every list.
struct Pair {
    remembering: Bench,
    forgetful: Bench,
}

impl Pair {
    fn new(policy: &str) -> Self {
        let bench = || {
            let mut bench = Bench::new();
            bench.put_in_force(config_with(policy));
            bench
        };
        Self { remembering: bench(), forgetful: bench() }
    }

    fn list(&mut self, text: &[u8], subject: &str) {
        self.list_as(AnswerFormat::Json, text, subject);
    }

    fn list_as(&mut self, format: AnswerFormat, text: &[u8], subject: &str) {
        self.forgetful.worker.lists = Lists::default();
        let one = list(&mut self.remembering, format, text, subject);
        let other = list(&mut self.forgetful, format, text, subject);
        assert_eq!(one, other, "{}", String::from_utf8_lossy(text));
        assert_eq!(learned(&mut self.remembering), learned(&mut self.forgetful));
    }

    fn remembers(&mut self, text: &str) -> bool {
        self.remembering.worker.lists.find(text.as_bytes()).is_some()
    }
}

#[test]
fn a_list_that_came_again_is_answered_by_what_is_remembered_and_one_that_came_once_is_not_remembered() {
    let mut pair = Pair::new(POLICY);
    let text = answer(LIST);
    pair.list(text.as_bytes(), "alice");
    assert!(!pair.remembers(&text), "it may never come again");
    pair.list(text.as_bytes(), "alice");
    assert!(pair.remembers(&text));
    pair.list(text.as_bytes(), "alice");
    // What could not have been found anew shows that it was not looked for.
    let worker = &mut pair.remembering.worker;
    let found = worker.lists.find(text.as_bytes()).expect("remembered");
    let (policy, principal) = (pair.remembering.config.policy.id(), alice());
    let onlooker = Onlooker { principal: &principal, server: "tracker", policy };
    assert_eq!(worker.lists.shown(&onlooker).map(|shown| shown.hidden), Some(1));
    worker.lists.keep(text.as_bytes(), &found, &onlooker, Shown { edits: Edits::default(), hidden: 77 });
    assert!(list(&mut pair.remembering, AnswerFormat::Json, text.as_bytes(), "alice").contains("77 entries hidden"));
}

/// Alice as her token names her.
fn alice() -> std::sync::Arc<holdpoint_core::identity::Principal> {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.post(&mut exchange, ASK);
    let Phase::Running(running) = &exchange.phase else { panic!("it runs") };
    running.principal()
}

#[test]
fn whatever_byte_of_a_list_changes_is_noticed_as_without_memory() {
    let mut pair = Pair::new(POLICY);
    let text = answer(LIST);
    for _ in 0..3 {
        pair.list(text.as_bytes(), "alice");
    }
    for place in 0..text.len() {
        for byte in [b'x', b'"', 0xc3] {
            let mut changed = text.clone().into_bytes();
            changed[place] = byte;
            pair.list(&changed, "alice");
        }
        pair.list(text.as_bytes(), "alice");
        assert!(pair.remembers(&text));
        let mut longer = text.clone();
        if longer.is_char_boundary(place) {
            longer.insert(place, ' ');
            pair.list(longer.as_bytes(), "alice");
        }
    }
}

#[test]
fn what_stands_around_a_list_that_is_remembered_counts_as_without_memory() {
    let mut pair = Pair::new(POLICY);
    let text = answer(LIST);
    for _ in 0..3 {
        pair.list(text.as_bytes(), "alice");
    }
    for around in [
        format!(r#"{{"jsonrpc":"2.0","id":12345,"result":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"params":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"Result":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"rezult":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"rezult":{LIST},"result":{{"tools":[{{"name":"list_z"}}]}}}}"#),
        format!(r#"{{"result":{LIST},"jsonrpc":"2.0","id":1}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"m"}},"result":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","result":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{}},"result":{LIST}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{LIST}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{LIST}}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{LIST}]}}"#),
        format!(r#"[{{"jsonrpc":"2.0","id":1,"result":{LIST}}}]"#),
        format!(r#"[{{"jsonrpc":"2.0","id":1,"result":{LIST}}},{{"id":2,"result":{{"tools":[]}}}}]"#),
        format!("\u{feff}{}", answer(LIST)),
        LIST.to_owned(),
    ] {
        for _ in 0..3 {
            pair.list(around.as_bytes(), "alice");
        }
        pair.list(text.as_bytes(), "alice");
        assert!(pair.remembers(&text), "{around}");
        pair.list_as(AnswerFormat::EventStream, format!("data: {around}\n\n").as_bytes(), "alice");
        pair.list(text.as_bytes(), "alice");
    }
}

#[test]
fn a_list_that_is_as_deep_as_one_may_be_is_too_deep_in_a_batch() {
    let mut pair = Pair::new(POLICY);
    let deep = LIST.replace("\"2\"", &format!("{}{}", "[".repeat(126), "]".repeat(126)));
    let alone = format!(r#"{{"jsonrpc":"2.0","id":12,"result":{deep}}}"#);
    for _ in 0..3 {
        pair.list(alone.as_bytes(), "alice");
    }
    assert!(pair.remembers(&alone));
    pair.list(format!(r#"[{{"jsonrpc":"2.0","id":1,"result":{deep}}}]"#).as_bytes(), "alice");
}

#[test]
fn a_result_that_asks_or_failed_is_read_every_time() {
    let roots = "\n  - {id: roots, match: {topics: job.mcp.roots}, decision: allow}\n";
    let mut pair = Pair::new(&format!("{}{roots}", POLICY.trim_end_matches([' ', '\n'])));
    let asks = LIST.replace("{\"tools\"", r#"{"inputRequests":{"a":{"method":"roots/list"}},"tools""#);
    let failed = LIST.replace("{\"tools\"", r#"{"isError":true,"tools""#);
    for result in [asks, failed] {
        for _ in 0..4 {
            pair.list(answer(&result).as_bytes(), "alice");
        }
        assert!(!pair.remembers(&answer(&result)));
    }
}

#[test]
fn callers_workers_and_policies_that_change_between_lists_change_as_much_as_without_memory() {
    let mut pair = Pair::new(POLICY);
    let (text, other) = (answer(LIST), answer(&LIST.replace("list_x", "list_y")));
    for _ in 0..3 {
        pair.list(text.as_bytes(), "alice");
    }
    for subject in ["bob", "alice", "bob", "bob", "alice"] {
        pair.list(text.as_bytes(), subject);
    }
    // A sibling worker hears that a tool is another one now, and this one then hears the old list again.
    for bench in [&mut pair.remembering, &mut pair.forgetful] {
        let mut sibling = Bench::new();
        std::mem::swap(&mut bench.shared, &mut sibling.shared);
        list(&mut sibling, AnswerFormat::Json, other.replace("delete_", "remove_").as_bytes(), "alice");
        std::mem::swap(&mut bench.shared, &mut sibling.shared);
    }
    pair.list(text.as_bytes(), "alice");
    // The service would not take what it was told: it is told again.
    for bench in [&mut pair.remembering, &mut pair.forgetful] {
        list(bench, AnswerFormat::Json, other.as_bytes(), "carol");
        bench.desk.inventory.push(&holdpoint_core::inventory::Observation {
            at_ms: 1,
            server: "tracker".to_owned(),
            caller: holdpoint_core::identity::Principal::anonymous(),
            saw: holdpoint_core::inventory::Sighting::Introduced(Default::default()),
        });
        bench.desk.inventory.next_batch("gw/1");
        bench.desk.inventory.batch_answered(crate::audit_buffer::BatchAnswer::Rejected);
    }
    for _ in 0..3 {
        pair.list(text.as_bytes(), "alice");
    }
    let stricter = POLICY.replace("\"list_*\": {action: read}", "\"list_*\": {action: admin}");
    for policy in [stricter.as_str(), POLICY] {
        for bench in [&mut pair.remembering, &mut pair.forgetful] {
            bench.put_in_force(config_with(policy));
        }
        for _ in 0..3 {
            pair.list(text.as_bytes(), "alice");
        }
    }
}

#[test]
fn pins_and_redaction_do_to_a_list_that_comes_again_what_they_did_at_first() {
    let pinned = POLICY.replace(
        "action: write,",
        "action: write, definition: {digest: \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"},",
    );
    let redacted = format!(
        "{}\n  - {{id: clean, match: {{topics: job.mcp.list}}, decision: allow_with_constraints, constraints: {{output: \
         {{redact: [\"Lis*\"]}}}}}}\n",
        POLICY.trim_end_matches([' ', '\n'])
    );
    for policy in [pinned, redacted] {
        let mut pair = Pair::new(&policy);
        for text in [answer(LIST), answer(&LIST.replace("Lists", "Lasts")), answer(LIST)] {
            for _ in 0..4 {
                pair.list(text.as_bytes(), "alice");
            }
        }
    }
}
