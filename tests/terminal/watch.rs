//! `holdpoint approvals watch` on a real terminal, against the real service, and without a terminal.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::asker::Asker;
use holdpoint_tests::service::Service;
use holdpoint_tests::service_binary;
use serde_json::{Value, json};

use crate::pty::Terminal;

fn watch(service: &Service, token: &str, more: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(service_binary::holdpoint()?);
    command.args(["approvals", "watch", "--server", &service.url("")]).args(more).env("HOLDPOINT_TOKEN", token);
    Ok(command)
}

#[tokio::test]
async fn calls_are_seen_live_approved_and_denied_by_keyboard() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let asker = Asker::new(&service).await?;
    let bob = service.token("approver", "bob", &["sre"])?;
    let alice = Person::approver(&service, "alice", &["sre"])?;
    let mut terminal = Terminal::start(watch(&service, &bob, &[])?, 100, 30)?;
    terminal.shows("Nothing waits for a decision").await?;
    terminal.shows("● live").await?;

    let first = asker.hold("create_issue", json!({"title": "one\u{202e}"})).await?;
    terminal.shows("1 waits").await?;
    let second = asker.hold("close_issue", json!({"issue": 2})).await?;
    terminal
        .until("both are listed", |screen| screen.contains("create_issue") && screen.contains("close_issue"))
        .await?;

    // The first one stays chosen though a newer one came above it.
    terminal.keys("a")?;
    terminal.shows("Scroll to the end of the call").await?;
    terminal.keys("G")?;
    let shown = terminal.shows("Approve exactly this call").await?;
    assert!(shown.contains(r#""title": "one\u{202e}""#), "{shown}");
    let view = alice.show(&first).await?;
    assert!(shown.contains(view["call_digest"].as_str().context("no digest")?), "{shown}");
    terminal.keys("n\x1b")?;
    terminal.shows("d deny · r refresh").await?;
    assert_eq!(alice.show(&first).await?["status"], "pending", "no is no");
    terminal.keys("a")?;
    terminal.shows("Scroll to the end of the call").await?;
    terminal.keys("G")?;
    terminal.shows("Approve exactly this call").await?;
    terminal.keys("y")?;
    alice.until_status(&first, "approved").await?;
    terminal
        .until("it left the list", |screen| screen.contains("1 waits") && screen.contains("Left this list"))
        .await?;

    terminal.keys("d")?;
    terminal.shows("Why not?").await?;
    terminal.keys("not on a friday\r")?;
    terminal.shows("nothing waits").await?;
    let denied = alice.until_status(&second, "denied").await?;
    assert_eq!(denied["reason"], "not on a friday");
    assert_eq!(alice.show(&first).await?["status"], "approved");

    terminal.keys("q")?;
    assert!(terminal.ended().await?.success());
    terminal.until_given_back().await
}

#[tokio::test]
async fn one_call_is_shown_whole_before_it_is_approved_on_a_terminal() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let asker = Asker::new(&service).await?;
    let bob = service.token("approver", "bob", &["sre"])?;
    let alice = Person::approver(&service, "alice", &["sre"])?;
    let id = asker.hold("create_issue", json!({"title": "one"})).await?;
    for (key, status) in [("\r", "pending"), ("n\r", "pending"), ("y\r", "approved")] {
        let mut command = Command::new(service_binary::holdpoint()?);
        command.args(["approvals", "approve", &id, "--server", &service.url("")]).env("HOLDPOINT_TOKEN", &bob);
        let mut terminal = Terminal::start(command, 120, 60)?;
        let shown = terminal.shows("Approve exactly this call, once? [y/N]").await?;
        assert!(shown.contains("\"title\": \"one\""), "{shown}");
        terminal.keys(key)?;
        assert_eq!(terminal.ended().await?.success(), status == "approved", "{key:?}");
        assert_eq!(alice.show(&id).await?["status"], status, "{key:?}");
    }
    Ok(())
}

#[tokio::test]
async fn terminal_is_given_back_however_the_watch_ends() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let bob = service.token("approver", "bob", &["sre"])?;
    for end in ["\x03", "TERM", "HUP"] {
        let mut terminal = Terminal::start(watch(&service, &bob, &[])?, 60, 12)?;
        terminal.shows("● live").await?;
        assert!(!terminal.is_given_back()?, "the watch takes the terminal while it runs");
        if end.len() == 1 {
            terminal.keys(end)?;
        } else {
            let sent = Command::new("kill").args(["-s", end, &terminal.pid().to_string()]).status()?;
            assert!(sent.success());
        }
        let ended = terminal.ended().await?;
        assert!(ended.success(), "after {end:?}: {ended}, {}", terminal.text());
        terminal.until_given_back().await.with_context(|| format!("after {end:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn window_may_change_its_size_and_the_service_may_come_and_go() -> anyhow::Result<()> {
    let mut service = Service::start().await?;
    let asker = Asker::new(&service).await?;
    let bob = service.token("approver", "bob", &["sre"])?;
    asker.hold("create_issue", json!({"n": 1})).await?;
    let terminal = Terminal::start(watch(&service, &bob, &[])?, 100, 30)?;
    terminal.shows("create_issue").await?;
    terminal.resize(44, 10)?;
    let shown = terminal
        .until("it fits the small window", |screen| screen.lines().count() <= 10 && screen.contains('…'))
        .await?;
    assert!(shown.contains("holdpoint"), "{shown}");
    terminal.resize(120, 20)?;
    terminal.shows("? help · q quit").await?;

    service.kill();
    terminal.shows("connection lost").await?;
    service.restart().await?;
    asker.hold("close_issue", json!({"n": 2})).await?;
    terminal
        .until("what was missed is there", |screen| screen.contains("● live") && screen.contains("close_issue"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn without_a_terminal_each_event_is_a_line_and_json_when_asked() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let asker = Asker::new(&service).await?;
    let bob = service.token("approver", "bob", &["sre"])?;
    let alice = Person::approver(&service, "alice", &["sre"])?;
    let before = asker.hold("create_issue", json!({"n": 1})).await?;
    for json_wanted in [true, false] {
        let mut command = watch(&service, &bob, if json_wanted { &["--output", "json"] } else { &[] })?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let (sender, mut heard) = tokio::sync::mpsc::channel(64);
        std::thread::spawn(move || {
            while lines.next().is_some_and(|line| line.is_ok_and(|line| sender.blocking_send(line).is_ok())) {}
        });
        let mut next = async || heard.recv().await.context("the watch ended");
        let first = next().await?;
        assert!(first.contains(&before) && first.contains("waiting"), "{first}");
        let id = asker.hold("create_issue", json!({"n": 2, "json": json_wanted})).await?;
        alice.deny(&alice.show(&id).await?, "no").await?;
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let line = next().await?;
            if line.contains(&id) {
                seen.push(line);
            }
        }
        if json_wanted {
            let events: Vec<Value> = seen.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
            let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
            assert_eq!(kinds, ["approval_opened", "review", "approval_closed"]);
            assert_eq!(events[2]["status"], "denied");
            assert!(events[0]["approval"]["sentence"].as_str().is_some_and(|text| text.contains("create_issue")));
        } else {
            assert!(seen[0].contains("opened") && seen[2].contains("denied"), "{seen:?}");
            assert!(seen.iter().all(|line| !line.contains('\u{1b}')), "no colours where nobody sees them: {seen:?}");
        }
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

#[tokio::test]
async fn no_color_is_respected() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let asker = Asker::new(&service).await?;
    asker.hold("create_issue", json!({"n": 1})).await?;
    let bob = service.token("approver", "bob", &["sre"])?;
    for (no_color, coloured) in [("", true), ("1", false)] {
        let mut command = Command::new("env");
        command.arg(format!("NO_COLOR={no_color}")).arg(service_binary::holdpoint()?);
        command.args(["approvals", "watch", "--server", &service.url("")]).env("HOLDPOINT_TOKEN", &bob);
        let terminal = Terminal::start(command, 100, 20)?;
        terminal.shows("● live").await?;
        // The palette: 38;5;n of `xterm-256color`, or 3n.
        let has_colour = terminal.written().contains("\u{1b}[38;5;");
        assert_eq!(has_colour, coloured, "NO_COLOR={no_color:?}: {:?}", terminal.written());
    }
    Ok(())
}
