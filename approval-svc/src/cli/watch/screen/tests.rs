//! What is on the screen and what keys do, without a terminal.

use serde_json::{Value, json};

use super::*;

const NOW_MS: u64 = 1_000_000;

fn view(id: &str, status: &str, argument: &str) -> Value {
    let digest = Digest::of(id.as_bytes());
    json!({
        "schema": "holdpoint/approval/v1", "id": id, "status": status, "version": 1, "call_digest": digest,
        "expires_at_ms": NOW_MS + 600_000, "sentence": format!("agent-7 for carol wants `create_issue` {id}"),
        "principal": {"issuer": "https://idp", "subject": "carol", "agent_id": "agent-7", "actor_type": "agent"},
        "server": "tracker", "method": "tools/call", "target": "create_issue", "rule_id": "writes-wait",
        "call_text": json!({"params": {"arguments": {"title": argument}}}).to_string(),
        "envelope": {"topic": "job.mcp.tool", "labels": {}, "meta": {"actor_id": "carol", "actor_type": "agent", "risk_tags": ["prod"]}},
        "reasons": [{"rule_id": "writes-wait", "text": "A person looks"}], "constraints": {"max_runtime_ms": 30_000},
        "requirement": {"all_of": [{"group": "sre", "min": 1}], "decide_within_ms": 900_000, "claim_within_ms": 300_000},
        "still_needed": [{"group": "sre", "min": 1}], "reviews": [], "holds_waiting": 1,
        "snapshot_id": digest, "basis": digest, "gateway": "edge", "opened_at_ms": NOW_MS - 5_000,
    })
}

fn line(id: &str) -> ApprovalLine {
    serde_json::from_value(view(id, "pending", "x")).unwrap()
}

fn opened(id: &str, status: &str, argument: &str) -> Input {
    Input::Shown(Box::new(Ok(serde_json::from_value(view(id, status, argument)).unwrap())))
}

fn happened(id: &str, kind: &str, status: Option<&str>) -> Input {
    let status = status.map(str::to_owned);
    Input::News(News::Happened(Happening { seq: 1, kind: kind.to_owned(), approval_id: id.to_owned(), status }))
}

/// A screen on which these wait.
fn screen(ids: &[&str]) -> Screen {
    let mut screen = Screen::new("http://service".to_owned());
    assert_eq!(screen.handle(Input::News(News::Up)), [Effect::List]);
    assert_eq!(listed(&mut screen, ids), []);
    screen
}

fn listed(screen: &mut Screen, ids: &[&str]) -> Vec<Effect> {
    screen.handle(Input::Listed(Ok((ids.iter().map(|id| line(id)).collect(), false))))
}

fn keys(screen: &mut Screen, text: &str) -> Vec<Effect> {
    text.chars()
        .flat_map(|character| {
            screen.handle(Input::Key(if character == '\n' { Key::Enter } else { Key::Character(character) }))
        })
        .collect()
}

fn text(screen: &mut Screen, columns: usize, rows: usize) -> String {
    let (lines, _) = screen.draw(columns, rows, NOW_MS);
    assert_eq!(lines.len(), rows);
    let lines = lines.iter().map(|line| line.iter().map(|span| span.text.as_str()).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn broken_glass_and_lent_authority_stand_beside_who_decided() {
    let mut screen = screen(&["a"]);
    keys(&mut screen, "\n");
    let mut shown = view("a", "pending", "x");
    shown["reviews"] = json!([
        {"by": "local dora", "verdict": "approve", "at_ms": NOW_MS, "on_behalf_of": "local alice"},
        {"by": "local zoe", "verdict": "approve", "at_ms": NOW_MS, "reason": "fire", "break_glass": true},
    ]);
    screen.handle(Input::Shown(Box::new(Ok(serde_json::from_value(shown).unwrap()))));
    let drawn = text(&mut screen, 100, 40);
    assert!(drawn.contains("local dora (for local alice) at"), "{drawn}");
    assert!(drawn.contains("local zoe (breaking glass) at") && drawn.contains(": fire"), "{drawn}");
}

#[test]
fn list_says_what_waits_and_how_long_and_hides_nothing() {
    let mut screen = screen(&["b", "a"]);
    let mut odd = line("c");
    odd.sentence = "agent\u{202e}7\u{1b}[2J".to_owned();
    screen.handle(Input::Listed(Ok((vec![odd], true))));
    let shown = text(&mut screen, 100, 20);
    assert!(shown.contains("1+ wait") && shown.contains("● live") && shown.contains("10 min left"), "{shown}");
    assert!(shown.contains("agent\\u{202e}7\\u{1b}[2J") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn choice_stays_with_its_approval_while_others_come_and_go() {
    let mut screen = screen(&["c", "b", "a"]);
    keys(&mut screen, "j");
    listed(&mut screen, &["e", "d", "c", "b", "a"]);
    assert_eq!(screen.chosen.as_deref(), Some("b"));
    screen.handle(happened("b", "approval_closed", Some("denied")));
    listed(&mut screen, &["e", "d", "c", "a"]);
    assert_eq!(screen.chosen.as_deref(), Some("a"), "its neighbour takes its place");
    let shown = text(&mut screen, 80, 24);
    assert!(shown.contains("Left this list") && shown.contains("denied"), "{shown}");
}

#[test]
fn approving_shows_the_digest_and_needs_the_end_of_the_call_on_the_screen() {
    let mut screen = screen(&["a"]);
    assert_eq!(keys(&mut screen, "a"), [Effect::Show { id: "a".to_owned() }]);
    assert_eq!(keys(&mut screen, "y"), [], "nothing is approved that is not there yet");
    let long = format!("{} the end", "word ".repeat(400));
    screen.handle(opened("a", "pending", &long));
    assert_eq!(keys(&mut screen, "y"), [], "nothing is approved that was not drawn");
    let shown = text(&mut screen, 60, 20);
    assert!(shown.contains("more lines") && shown.contains("Scroll to the end") && !shown.contains("the end\""));
    assert_eq!(keys(&mut screen, "y"), []);
    assert!(text(&mut screen, 60, 20).contains("first see the whole call"));
    keys(&mut screen, "G");
    let shown = text(&mut screen, 60, 20);
    let digest = Digest::of(b"a");
    assert!(shown.contains("Approve exactly this call") && shown.contains("the end\""), "{shown}");
    assert!(shown.replace(['\n', ' '], "").contains(&digest.to_string()), "{shown}");
    let approve =
        Effect::Review { id: "a".to_owned(), verdict: ReviewVerdict::Approve, call_digest: digest, reason: None };
    assert_eq!(keys(&mut screen, "yy"), [approve], "once, however often it is pressed");
}

#[test]
fn denying_takes_every_letter_as_a_reason_and_sends_none_without_one() {
    let mut screen = screen(&["a"]);
    keys(&mut screen, "d");
    screen.handle(opened("a", "pending", "x"));
    assert_eq!(keys(&mut screen, "  \n"), []);
    assert!(text(&mut screen, 80, 24).contains("a denial needs a reason"));
    screen.handle(Input::Pasted("not\nnow\u{1b}".to_owned()));
    assert_eq!(keys(&mut screen, "? qy"), [], "no key is a command here");
    let shown = text(&mut screen, 80, 24);
    assert!(shown.contains(">   not now? qy"), "{shown}");
    let sent = keys(&mut screen, "\n");
    let reason = Some("not now? qy".to_owned());
    let call_digest = Digest::of(b"a");
    assert_eq!(sent, [Effect::Review { id: "a".to_owned(), verdict: ReviewVerdict::Deny, call_digest, reason }]);
}

#[test]
fn decision_of_somebody_else_ends_the_question() {
    let mut screen = screen(&["a"]);
    keys(&mut screen, "a");
    screen.handle(opened("a", "pending", "x"));
    text(&mut screen, 80, 40);
    let effects = screen.handle(happened("a", "approval_closed", Some("denied")));
    assert_eq!(effects, [Effect::List, Effect::Show { id: "a".to_owned() }]);
    screen.handle(opened("a", "denied", "x"));
    assert!(text(&mut screen, 80, 40).contains("nothing was sent: by now it is denied"));
    assert_eq!(keys(&mut screen, "y"), []);
    assert_eq!(keys(&mut screen, "ay"), [], "there is nothing left to approve");
}

#[test]
fn burst_of_events_reads_the_list_once_more_not_once_each() {
    let mut screen = screen(&["a"]);
    assert_eq!(screen.handle(happened("b", "approval_opened", None)), [Effect::List]);
    for _ in 0..50 {
        assert_eq!(screen.handle(happened("c", "approval_opened", None)), []);
    }
    assert_eq!(listed(&mut screen, &["c", "b", "a"]), [Effect::List]);
    assert_eq!(listed(&mut screen, &["c", "b", "a"]), []);
}

#[test]
fn lost_connection_shows_and_what_was_missed_is_read_when_it_is_back() {
    let mut screen = screen(&["a"]);
    let again_in = std::time::Duration::from_secs(1);
    screen.handle(Input::News(News::Down { why: "connection refused".to_owned(), again_in }));
    assert!(text(&mut screen, 100, 20).contains("connection lost: connection refused"));
    assert_eq!(screen.handle(Input::News(News::Up)), [Effect::List]);
    assert!(text(&mut screen, 100, 20).contains("● live"));
}

#[test]
fn any_size_can_be_drawn() {
    let mut screen = screen(&["c", "b", "a"]);
    for open in [false, true] {
        if open {
            keys(&mut screen, "a");
            screen.handle(opened("c", "pending", &"日本 ".repeat(50)));
        }
        for columns in 0..30 {
            for rows in 0..12 {
                text(&mut screen, columns, rows);
            }
        }
    }
}
