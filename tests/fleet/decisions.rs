//! A call is held on one replica and decided on another, with hints and without any.

use std::sync::atomic::{AtomicBool, Ordering};

use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use serde_json::json;

use crate::ground::Fleet;

const ARGUMENTS: &str = r#"{"title":"a"}"#;

#[tokio::test]
async fn approved_on_one_replica_runs_what_is_held_on_another() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports()[..1], |stack| stack).await?;
    let held = tools_call("create_issue", ARGUMENTS, &stack.agent("agent-7")?).begin(stack.port()).await?;
    let bob = fleet.approver(1, "bob")?;
    let view = bob.pending().await?;
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert_eq!(answer.json()["result"]["isError"], json!(false), "{}", answer.text());
    assert_eq!(stack.upstream.count(), 1);
    fleet.approver(2, "carol")?.until_status(view["id"].as_str().unwrap_or_default(), "consumed").await?;
    fleet.verify()
}

#[tokio::test]
async fn of_two_people_on_two_replicas_one_denies_and_the_call_never_runs() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports(), |stack| stack).await?;
    let held = tools_call("create_issue", ARGUMENTS, &stack.agent("agent-7")?).begin(stack.port()).await?;
    let (bob, carol) = (fleet.approver(1, "bob")?, fleet.approver(2, "carol")?);
    let view = bob.pending().await?;
    let (approved, denied) = tokio::join!(bob.approve(&view), carol.deny(&view, "not today"));
    assert_ne!(approved.is_ok(), denied.is_ok(), "one of them was first: {approved:?} {denied:?}");
    let answer = held.answer().await?.json();
    assert_eq!(answer["result"]["isError"], json!(denied.is_ok()), "{answer}");
    assert_eq!(stack.upstream.count(), usize::from(approved.is_ok()));
    Ok(())
}

#[tokio::test]
async fn decision_is_heard_of_though_every_notification_is_lost() -> anyhow::Result<()> {
    let Some(fleet) = Fleet::start().await? else { return Ok(()) };
    let stack = fleet.stack(&fleet.ports()[..1], |stack| stack).await?;
    let is_over = AtomicBool::new(false);
    // Nobody listens for longer than it takes to ask for it again.
    let deafen = async {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'holdpoint-listens'";
        let mut ended = 0;
        while !is_over.load(Ordering::SeqCst) {
            ended += fleet.postgres.sql(&fleet.url, end)?.parse::<u64>()?;
            tokio::task::yield_now().await;
        }
        anyhow::Ok(ended)
    };
    let story = async {
        let held = tools_call("create_issue", ARGUMENTS, &stack.agent("agent-7")?).begin(stack.port()).await?;
        let bob = fleet.approver(1, "bob")?;
        bob.approve(&bob.pending().await?).await?;
        let answer = held.answer().await;
        is_over.store(true, Ordering::SeqCst);
        answer
    };
    let (ended, answer) = tokio::join!(deafen, story);
    let answer = answer?;
    assert_eq!(answer.json()["result"]["isError"], json!(false), "{}", answer.text());
    assert!(ended? > 0, "somebody listened");
    probe::until("everybody listens again", probe::PATIENCE, async || {
        let listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdpoint-listens'";
        (fleet.postgres.sql(&fleet.url, listening).ok()? == "3").then_some(())
    })
    .await
}
