//! A batch runs whole or not at all, and every message of it is answered.

use super::*;

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn call_with_id(id: u32, tool: &str) -> String {
    call(tool).replace(r#""id":7"#, &format!(r#""id":{id}"#))
}

fn batch(messages: &[String]) -> String {
    format!("[{}]", messages.join(","))
}

#[test]
fn batch_that_may_run_whole_is_forwarded_as_it_came_and_each_message_recorded() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let body = batch(&[call_with_id(1, "list_issues"), call_with_id(2, "list_projects"), NOTE.to_owned()]);
    let did = bench.post(&mut exchange, &body);
    assert_eq!((did.forward().permit.permits().len(), did.forward().body.as_deref()), (3, None));
    bench.give(&mut exchange, HostEvent::ResponseHead(ResponseHead { status: 200, ..ResponseHead::default() }));
    bench.give(&mut exchange, HostEvent::ResponseComplete);
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let targets: Vec<_> = did.entries().iter().map(|entry| entry.target.as_deref()).collect();
    assert_eq!(targets, [Some("list_issues"), Some("list_projects"), None]);
    assert!(did.entries().iter().all(|entry| entry.outcome == Some(Outcome::Committed)));
}

#[test]
fn one_message_that_may_not_run_stops_all_and_each_is_told_why() {
    for (tool, said) in [("delete_project", "Nobody deletes projects"), ("create_issue", "needs a human approval")] {
        let mut bench = Bench::new();
        let mut exchange = bench.exchange();
        let body = batch(&[call_with_id(1, "list_issues"), call_with_id(2, tool), NOTE.to_owned()]);
        let did = bench.post(&mut exchange, &body);
        assert!(!did.forwards() && did.reply().status == 200);
        let answers = did.reply_json();
        let told =
            |index: usize| answers[index]["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (answers.as_array().map(Vec::len), &answers[0]["id"], &answers[1]["id"]),
            (Some(2), &json!(1), &json!(2))
        );
        assert!(told(0).contains("another message of the same batch was refused"), "{answers}");
        assert!(told(1).contains(said), "{answers}");
        assert_eq!(did.entries().len(), 3, "one entry for each message");
    }
}

#[test]
fn list_inside_a_batch_is_told_to_come_alone() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#);
    assert!(!did.forwards() && did.reply().body.contains("ask for it by itself"));
}

#[test]
fn batch_of_notifications_that_is_refused_has_no_answer() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, r#"[{"jsonrpc":"2.0","method":"x/unheard-of"}]"#);
    assert_eq!((did.forwards(), did.reply().status, did.reply().body.as_str()), (false, 202, ""));
}

#[test]
fn credential_that_one_message_may_not_take_along_stays_behind_for_all() {
    let tool = "create_issue: {action: write";
    let forwarding = format!("get_issue: {{action: read, credential: {{forward: true}}}}\n        {tool}");
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&POLICY.replace(tool, &forwarding)));
    let removed = |bench: &mut Bench, tools: [&str; 2]| {
        let mut exchange = bench.exchange();
        bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[("authorization", "Bearer x")])));
        let body = batch(&[call_with_id(1, tools[0]), call_with_id(2, tools[1])]).into_bytes();
        let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
        did.forward().edits.contains(&HeaderEdit::Remove("authorization".to_owned()))
    };
    assert!(!removed(&mut bench, ["get_issue", "get_issue"]));
    assert!(removed(&mut bench, ["get_issue", "list_issues"]));
    assert!(removed(&mut bench, ["list_issues", "get_issue"]));
}
