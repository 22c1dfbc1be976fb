//! Slack, by a stand-in that checks what Slack would: a message asks, is changed in place, and its buttons decide.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use holdpoint_core::digest::{Digest, hex_encode};
use holdpoint_tests::approver::Person;
use holdpoint_tests::upstream::{Answer, Received, Upstream};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::notices::Teller;

const SIGNING_SECRET: &str = "shh";

/// Answers as Slack's API does, and refuses what Slack would.
async fn stand_in() -> anyhow::Result<Upstream> {
    let slack = Upstream::start().await?;
    slack.answer_with(|message| {
        let body = message.json();
        let is_own = message.method == "POST" && message.header("authorization") == Some("Bearer xoxb-token");
        let is_json = message.header("content-type") == Some("application/json; charset=utf-8");
        let blocks_are_whole = body["blocks"].as_array().is_none_or(|blocks| blocks.len() <= 50)
            && body["blocks"][0]["text"]["text"].as_str().is_none_or(|text| text.len() <= 3_000);
        let answer = match message.path.as_str() {
            _ if !is_own => json!({"ok": false, "error": "invalid_auth"}),
            _ if !is_json || !blocks_are_whole => json!({"ok": false, "error": "invalid_blocks"}),
            _ if body["channel"] != "C1" => json!({"ok": false, "error": "channel_not_found"}),
            "/api/chat.postMessage" => json!({"ok": true, "channel": "C1", "ts": "1700000000.000100"}),
            "/api/chat.update" if body["ts"] == "1700000000.000100" => {
                json!({"ok": true, "channel": "C1", "ts": body["ts"]})
            }
            "/api/chat.postEphemeral" if body["user"].is_string() => json!({"ok": true, "message_ts": "1"}),
            _ => json!({"ok": false, "error": "message_not_found"}),
        };
        (Duration::ZERO, Answer::Json { status: 200, body: answer.to_string() })
    });
    Ok(slack)
}

fn settings(port: u16, buttons: &str) -> String {
    format!(
        "channels:\n  chat:\n    slack: {{channel: C1, token: {{file: DIR/token}}, api: 'http://127.0.0.1:{port}/api', \
         allow_private: true{buttons}}}\nroutes:\n- {{channels: [chat], groups: [sre], events: [opened]}}\n\
         delivery: {{tries_max: 3, pause_ms_first: 20, pause_ms_max: 200}}\n"
    )
}

const BUTTONS: &str = ", buttons: {signing_secret: {file: DIR/signing}, people: {U1: {subject: bob, groups: [sre]}, \
                       U2: {subject: carol, groups: [sre]}}}";

fn of(messages: &[Received], method: &str) -> Vec<Value> {
    let path = format!("/api/{method}");
    messages.iter().filter(|message| message.path == path).map(Received::json).collect()
}

/// HMAC-SHA256, written out: an implementation that is not the service's.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with).to_vec();
    let inner = Digest::of(&[pad(0x36), text.to_vec()].concat());
    hex_encode(Digest::of(&[pad(0x5c), inner.as_bytes().to_vec()].concat()).as_bytes())
}

/// Presses a button, as Slack reports it, so many seconds ago and signed with `secret`.
async fn press(teller: &Teller, user: &str, button: &Value, age_s: u64, secret: &str) -> anyhow::Result<StatusCode> {
    let payload = json!({"type": "block_actions", "user": {"id": user}, "channel": {"id": "C1"}, "actions": [button]});
    let mut form = reqwest::Url::parse("http://x/")?;
    form.query_pairs_mut().append_pair("payload", &payload.to_string());
    let body = form.query().context("no form")?.to_owned();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - age_s;
    let signature = format!("v0={}", hmac(secret.as_bytes(), format!("v0:{seconds}:{body}").as_bytes()));
    let answer = reqwest::Client::new()
        .post(teller.service.url("/v1/slack/actions"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", seconds)
        .header("x-slack-signature", signature)
        .body(body);
    Ok(answer.send().await?.status())
}

fn buttons(message: &Value) -> Vec<Value> {
    let blocks = message["blocks"].as_array().cloned().unwrap_or_default();
    let actions = blocks.into_iter().find(|block| block["type"] == "actions").unwrap_or_default();
    actions["elements"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn message_asks_with_a_link_and_is_changed_in_place_when_somebody_decides() -> anyhow::Result<()> {
    let slack = stand_in().await?;
    let teller = Teller::start(&settings(slack.port(), "")).await?;
    let bob = Person::approver(&teller.service, "bob", &["sre"])?;
    let id = teller.asker.hold("<!channel> *x*", json!({"title": "only for approvers"})).await?;
    let posted = of(&slack.wait_for(1).await?, "chat.postMessage").remove(0);
    let text = posted["text"].as_str().context("no text")?;
    assert!(
        text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"),
        "nobody is called by a tool's name: {text}"
    );
    assert_eq!(posted["blocks"][0]["text"]["type"], "plain_text");
    assert!(!posted.to_string().contains("only for approvers"), "arguments stay on the page");
    let links = buttons(&posted);
    assert_eq!((links.len(), &links[0]["url"]), (1, &json!(teller.service.url(&format!("/approvals/{id}")))));
    bob.deny(&bob.show(&id).await?, "not on a friday").await?;
    let changed = of(&slack.wait_for(2).await?, "chat.update").remove(0);
    assert_eq!(changed["ts"], "1700000000.000100");
    let words = changed["blocks"].to_string();
    assert!(
        words.contains("Denied: ") && words.contains("by local bob") && words.contains("not on a friday"),
        "{words}"
    );
    teller.until("delivered", 2).await?;
    Ok(())
}

#[tokio::test]
async fn button_decides_for_whom_the_settings_know_and_for_nobody_else() -> anyhow::Result<()> {
    let slack = stand_in().await?;
    let teller = Teller::start(&settings(slack.port(), BUTTONS)).await?;
    let auditor = Person::auditor(&teller.service)?;
    let id = teller.asker.hold("create_issue", json!({"title": "shown above the buttons"})).await?;
    let posted = of(&slack.wait_for(1).await?, "chat.postMessage").remove(0);
    assert!(posted["blocks"].to_string().contains("shown above the buttons"), "nobody approves what they do not see");
    let approve =
        buttons(&posted).into_iter().find(|one| one["action_id"] == "holdpoint-approve").context("no button")?;

    assert_eq!(press(&teller, "U1", &approve, 0, "guessed").await?, 401);
    assert_eq!(press(&teller, "U1", &approve, 301, SIGNING_SECRET).await?, 401);
    // Slack is answered well; the person hears why nothing happened, and nobody else does.
    for (user, why) in [("U9", "nobody here stands for your user"), ("U2", "you asked for this call yourself")] {
        let before = slack.count();
        assert_eq!(press(&teller, user, &approve, 0, SIGNING_SECRET).await?, 200);
        let whispered = of(&slack.wait_for(before + 1).await?[before..], "chat.postEphemeral").remove(0);
        assert_eq!(whispered["user"], user);
        assert!(whispered["text"].as_str().is_some_and(|text| text.contains(why)), "{whispered}");
    }
    assert_eq!(auditor.show(&id).await?["status"], "pending");

    let before = slack.count();
    assert_eq!(press(&teller, "U1", &approve, 0, SIGNING_SECRET).await?, 200);
    assert_eq!(auditor.show(&id).await?["status"], "approved");
    let changed = of(&slack.wait_for(before + 1).await?[before..], "chat.update").remove(0);
    assert!(changed["blocks"].to_string().contains("Approved: ") && buttons(&changed).len() == 1, "{changed}");
    let review = auditor.entry("the review", |entry| entry["kind"] == "review").await?;
    assert_eq!(review["by"], "local bob");

    let long = teller.asker.hold("create_issue", json!({"body": "x".repeat(4_000)})).await?;
    let before = slack.count();
    let posted = of(&slack.wait_for(before.max(5)).await?, "chat.postMessage");
    let asked = posted.iter().find(|one| one.to_string().contains(&long)).cloned().unwrap_or_default();
    ensure!(buttons(&asked).len() <= 1, "a long call is decided on its page: {asked}");
    Ok(())
}
