//! The service's key changes under way: calls go on, either key verifies the record, and the old one ends.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::stack::Stack;
use serde_json::Value;

use super::desk;

fn keys(stack: &Stack, step: &str) -> anyhow::Result<Value> {
    let dir = stack.service.data_dir();
    let words = ["keys".as_ref(), step.as_ref(), "--output".as_ref(), "json".as_ref(), "--data-dir".as_ref()];
    let printed = stack.service.cli(&[&words[..], &[dir.as_os_str()]].concat())?;
    Ok(serde_json::from_str(&printed)?)
}

async fn approved(stack: &Stack, bob: &Person, title: &str) -> anyhow::Result<Value> {
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", &format!(r#"{{"title":"{title}"}}"#), &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    Ok(held.answer().await?.json()["result"]["isError"].clone())
}

#[tokio::test]
async fn a_key_is_rotated_without_a_call_lost_and_the_record_verifies_with_either() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let old = stack.service.service_key()?;
    assert_eq!(approved(&stack, &bob, "before").await?, false);

    let rotated = keys(&stack, "rotate")?;
    let new = rotated["service_key"].as_str().expect("the new key").to_owned();
    assert_eq!((rotated["previous_key"].as_str(), new == old), (Some(old.as_str()), false));
    assert!(keys(&stack, "rotate").is_err(), "one rotation at a time");
    let admin = Person::with_token(&stack.service, stack.service.token("admin", "ann", &[])?)?;
    holdpoint_tests::probe::until("the service signs with both", holdpoint_tests::probe::PATIENCE, async || {
        let about = admin.get("/v1/service").await.ok()?;
        (about["service_key"] == new.as_str() && about["previous_key"] == old.as_str()).then_some(())
    })
    .await?;
    assert_eq!(approved(&stack, &bob, "gateway knows the old key").await?, false);

    stack.document.service_key = new.clone();
    let document = stack.document.text();
    stack.envoy.update_filter_document(&document).await?;
    assert_eq!(approved(&stack, &bob, "gateway knows the new key").await?, false);
    keys(&stack, "retire")?;
    holdpoint_tests::probe::until("the old key is gone", holdpoint_tests::probe::PATIENCE, async || {
        let about = admin.get("/v1/service").await.ok()?;
        about["previous_key"].is_null().then_some(())
    })
    .await?;
    assert_eq!(approved(&stack, &bob, "after").await?, false);
    let record = Person::auditor(&stack.service)?.record().await?;
    let said: Vec<&str> = record
        .iter()
        .filter(|entry| entry["kind"] == "key_changed")
        .filter_map(|entry| entry["status"].as_str())
        .collect();
    assert_eq!(said, ["rotated", "retired"]);

    stack.service.restart().await?;
    let dir = stack.service.data_dir();
    for key in [&old, &new] {
        let verified = desk::verify(&dir, &["--key", key])?;
        assert!(verified.is_whole, "{key}: {:?}", verified.findings);
    }
    assert!(desk::verify(&dir, &[])?.is_whole);
    Ok(())
}

#[tokio::test]
async fn a_gateway_with_only_the_retired_key_lets_nothing_run() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    keys(&stack, "rotate")?;
    keys(&stack, "retire")?;
    let admin = Person::with_token(&stack.service, stack.service.token("admin", "ann", &[])?)?;
    let old = stack.document.service_key.clone();
    holdpoint_tests::probe::until("the service signs with the new key", holdpoint_tests::probe::PATIENCE, async || {
        let about = admin.get("/v1/service").await.ok()?;
        (about["service_key"] != old.as_str() && about["previous_key"].is_null()).then_some(())
    })
    .await?;
    assert_eq!(approved(&stack, &bob, "x").await?, true);
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}
