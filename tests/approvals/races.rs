//! Whoever races for an approval: exactly one of them wins, the record says who, and nothing runs that lost.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call, tools_call_modern};
use holdpoint_tests::probe;
use holdpoint_tests::service::Service;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Reviewer, id};

/// Races that are run at once; more would only warm the machine.
const RACES: u128 = 24;

struct Ground {
    service: Service,
    gateway: Gateway,
    alice: Reviewer,
    auditor: Person,
}

async fn ground() -> anyhow::Result<Ground> {
    let service = Service::start().await?;
    let gateway = Gateway::new(&service).await?;
    let alice = Reviewer::new(&service, "alice", &["sre"])?;
    let auditor = Person::auditor(&service)?;
    Ok(Ground { service, gateway, alice, auditor })
}

/// How often the record says that this approval was closed, and as what.
fn endings(record: &[Value], approval_id: &str) -> Vec<String> {
    let about = record.iter().filter(|entry| entry["approval_id"] == approval_id && entry["kind"] == "approval_closed");
    about.filter_map(|entry| entry["status"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn approve_against_expire_ends_in_one_of_them() -> anyhow::Result<()> {
    let ground = ground().await?;
    let mut races = JoinSet::new();
    for race in 0..RACES {
        let mut asked = Gateway::asked(race, &race.to_string());
        // Around the moment that the approvals arrive, whatever the machine is doing: some before, some after.
        asked["requirement"]["decide_within_ms"] = json!(1 + race * 12);
        let (gateway, alice) = (ground.gateway.clone(), ground.alice.clone());
        races.spawn(async move {
            let opened = gateway.open(&asked).await?;
            let (status, _) = alice.approve(&opened).await?;
            anyhow::Ok((id(&opened)?.to_owned(), status))
        });
    }
    let mut decided = Vec::new();
    while let Some(race) = races.join_next().await {
        decided.push(race??);
    }
    for (id, status) in decided {
        let expected = match status {
            StatusCode::CREATED => "approved",
            StatusCode::GONE => "expired",
            other => anyhow::bail!("{id}: {other}"),
        };
        // Who was expired stays so; who was approved may lapse by now, but was never expired.
        ground
            .auditor
            .entry("the ending", |entry| entry["approval_id"] == *id && entry["kind"] == "approval_closed")
            .await?;
        let endings = endings(&ground.auditor.record().await?, &id);
        assert_eq!(endings, [expected], "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn approve_against_withdraw_never_lets_the_withdrawn_hold_claim() -> anyhow::Result<()> {
    let ground = ground().await?;
    for race in 0..RACES {
        let opened = ground.gateway.open(&Gateway::asked(race, &race.to_string())).await?;
        let (left, decided) = tokio::join!(ground.gateway.withdraw(race), ground.alice.approve(&opened));
        left?;
        let (status, body) = decided?;
        assert!([201, 409].contains(&status.as_u16()), "{status} {body}");
        let (status, body) = ground.gateway.claim(&opened, race, 1).await?;
        assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("hold-withdrawn")), "race {race}");
    }
    let record = ground.auditor.record().await?;
    assert!(record.iter().all(|entry| entry["kind"] != "claim"), "no ghost execution");
    Ok(())
}

#[tokio::test]
async fn of_many_claims_at_once_exactly_one_is_answered() -> anyhow::Result<()> {
    let ground = ground().await?;
    let mut opened = Value::Null;
    for hold in 0..8 {
        opened = ground.gateway.open(&Gateway::asked(hold, "same")).await?;
    }
    assert_eq!(ground.alice.approve(&opened).await?.0, StatusCode::CREATED);
    let mut claims = JoinSet::new();
    for hold in 0..8 {
        let (gateway, opened) = (ground.gateway.clone(), opened.clone());
        claims.spawn(async move { gateway.claim(&opened, hold, hold).await });
    }
    let mut codes = Vec::new();
    while let Some(claim) = claims.join_next().await {
        let (status, body) = claim??;
        codes.push(if status.is_success() { "signed".to_owned() } else { body["code"].to_string() });
    }
    codes.sort();
    assert_eq!(codes, [["\"consumed\""; 7].as_slice(), &["signed"]].concat());
    Ok(())
}

#[tokio::test]
async fn claim_after_a_policy_change_supersedes_and_the_old_basis_stays_void() -> anyhow::Result<()> {
    let ground = ground().await?;
    let opened = ground.gateway.open(&Gateway::asked(1, "x")).await?;
    ground.alice.approve(&opened).await?;
    for basis in ["edited", "basis"] {
        let (status, body) = ground.gateway.claim_under(&opened, 1, 7, basis).await?;
        assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("basis-changed")), "{basis}");
    }
    assert_eq!(endings(&ground.auditor.record().await?, id(&opened)?), ["approved", "superseded"]);
    Ok(())
}

#[tokio::test]
async fn service_killed_between_approve_and_claim_still_owes_the_grant_once() -> anyhow::Result<()> {
    let mut ground = ground().await?;
    for hold in [1, 2] {
        ground.gateway.open(&Gateway::asked(hold, "x")).await?;
    }
    let opened = ground.gateway.open(&Gateway::asked(1, "x")).await?;
    ground.alice.approve(&opened).await?;
    ground.service.kill();
    ground.service.restart().await?;
    let (status, signed) = ground.gateway.claim(&opened, 1, 7).await?;
    assert!(status.is_success(), "{status} {signed}");
    ground.service.kill();
    ground.service.restart().await?;
    let (_, again) = ground.gateway.claim(&opened, 1, 7).await?;
    assert_eq!(again, signed, "an answer that was lost is asked for again");
    let (status, body) = ground.gateway.claim(&opened, 2, 8).await?;
    assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("consumed")));
    Ok(())
}

#[tokio::test]
async fn duplicate_and_reordered_reviews_count_once_and_a_deny_is_final() -> anyhow::Result<()> {
    let ground = ground().await?;
    let mut asked = Gateway::asked(1, "x");
    asked["requirement"]["all_of"] = json!([{"group": "sre", "min": 2}]);
    let opened = ground.gateway.open(&asked).await?;
    let mut copies = JoinSet::new();
    for _ in 0..6 {
        let (alice, opened) = (ground.alice.clone(), opened.clone());
        copies.spawn(async move { alice.approve(&opened).await });
    }
    let mut taken = Vec::new();
    while let Some(copy) = copies.join_next().await {
        taken.push(copy??.0.as_u16());
    }
    taken.sort_unstable();
    assert_eq!(taken, [201, 409, 409, 409, 409, 409], "one person counts once");

    let carol = Reviewer::new(&ground.service, "carol", &["sre"])?;
    let dave = Reviewer::new(&ground.service, "dave", &["sre"])?;
    assert_eq!(carol.approve_version(&opened, 1).await?, StatusCode::PRECONDITION_FAILED, "what carol saw is old");
    assert_eq!(dave.deny(&opened).await?.0, StatusCode::CREATED);
    let (status, body) = carol.approve(&opened).await?;
    assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("already-decided")));
    assert_eq!(endings(&ground.auditor.record().await?, id(&opened)?), ["denied"]);
    Ok(())
}

#[tokio::test]
async fn approval_and_departure_at_the_same_moment_run_the_call_at_most_once_and_never_as_a_ghost() -> anyhow::Result<()>
{
    let stack = Stack::builder().document(|document| document.leg_ms_max = 500).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let auditor = Person::auditor(&stack.service)?;
    let token = stack.agent("agent-7")?;
    for race in 0..6 {
        let arguments = format!(r#"{{"title":"race {race}"}}"#);
        let call = if race % 2 == 0 { tools_call } else { tools_call_modern };
        let held = call("create_issue", &arguments, &token).begin(stack.port()).await?;
        let view = bob.pending().await?;
        let id = view["id"].as_str().unwrap_or_default().to_owned();
        let leaves = async {
            held.abandon();
            anyhow::Ok(())
        };
        let (approved, _) = tokio::join!(bob.approve(&view), leaves);
        approved?;
        // Either the grant was used, or the hold was withdrawn before: then the grant waits for a repeat, unused.
        auditor
            .entry("the end of the hold", |entry| {
                let ends = entry["kind"] == "claim" || entry["kind"] == "hold_ended";
                ends && entry["approval_id"] == *id
            })
            .await?;
    }
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    let record = auditor.record().await?;
    let claims = record.iter().filter(|entry| entry["kind"] == "claim").count();
    let ran = stack.upstream.received().iter().filter(|one| one.json()["params"]["name"] == "create_issue").count();
    assert!(ran <= claims, "{ran} ran under {claims} claims");
    Ok(())
}

#[tokio::test]
async fn answer_that_never_reached_its_client_is_not_silently_run_again() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(4_000).start().await?;
    stack.upstream.answer_with(|message| (Duration::from_millis(1_500), Answer::tool_result(message, "done")));
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let auditor = Person::auditor(&stack.service)?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"once"}"#, &token);
    let held = call().begin(stack.port()).await?;
    let first = bob.pending().await?;
    bob.approve(&first).await?;
    stack.upstream.wait_for(1).await?;
    held.abandon();
    let outcome = auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    assert_eq!(outcome["outcome"], "unknown", "nobody can tell how far the server came");

    let answer = call().send(stack.port()).await?;
    let text = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(text.contains("waiting for human approval"), "{text}");
    assert!(text.contains("An identical call already ran") && text.contains("unknown"), "the agent is told: {text}");
    let second = bob.pending().await?;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["ran_before"]["approval_id"], first["id"], "the approver is told: {second}");
    assert_eq!(second["ran_before"]["outcome"], "unknown");
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

fn succeeded(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

#[tokio::test]
async fn grant_waits_out_a_restart_of_the_service_for_the_repeated_call() -> anyhow::Result<()> {
    let mut stack = Stack::builder().hold_ms_max(700).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    call().send(stack.port()).await?;
    let view = bob.pending().await?;
    // The hold that was answered "pending" has been withdrawn by now or is about to be: both are the same to the grant.
    bob.approve(&view).await?;
    stack.service.kill();
    stack.service.restart().await?;
    let ran = probe::until("the repeated call runs", probe::PATIENCE, async || {
        let answer = call().send(stack.port()).await.ok()?;
        succeeded(&answer).then_some(())
    });
    ran.await?;
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}
