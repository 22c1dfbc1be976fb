//! Several calls, looked at on one page and decided together: each by exactly what was shown.

use holdpoint_tests::approver::Person;
use serde_json::json;

use super::{Desk, row};

#[tokio::test]
async fn chosen_calls_are_shown_whole_and_decided_together_but_for_those_that_need_a_look_of_their_own()
-> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    let first = desk.hold("create_issue", json!({"title": "first of two"})).await?;
    let second = desk.hold("create_issue", json!({"title": "second of two", "body": "x".repeat(500)})).await?;
    let admin = desk
        .asker
        .hold_as("drop_all", json!({}), |asked| asked["envelope"]["labels"]["mcp.action"] = json!("admin"))
        .await?;
    desk.sign_in("bob").await?;
    assert_eq!(desk.browser.value(&format!("document.querySelector('{} .pick')", row(&admin))).await?, json!(null));
    for id in [&first, &second] {
        desk.browser.click(&format!("{} .pick input", row(id))).await?;
    }
    desk.browser.click("#batch button").await?;
    desk.browser.until("document.body.dataset.page === 'batch' && document.readyState === 'complete'").await?;
    let shown = desk.browser.value("document.querySelector('.evidence').innerText").await?;
    let shown = shown.as_str().unwrap_or_default();
    assert!(shown.contains("first of two") && shown.contains("second of two"), "{shown}");
    desk.browser.until("document.querySelector('#approve').disabled").await?;
    desk.browser.click(".fold summary").await?;
    desk.browser.until("!document.querySelector('#approve').disabled").await?;
    desk.browser.click("#approve").await?;
    desk.browser.until("document.querySelectorAll('#done li.approved').length === 2").await?;
    bob.until_status(&first, "approved").await?;
    bob.until_status(&second, "approved").await?;

    let third = desk.hold("create_issue", json!({"n": 3})).await?;
    desk.visit(&format!("/approvals/batch?id={third}&id={admin}")).await?;
    desk.browser.until("document.querySelector('.evidence .barrier')?.innerText.includes('one by one')").await?;
    // Somebody else is faster: what they decided stays, and the reader is told.
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    alice.deny(&alice.show(&third).await?, "not today").await?;
    desk.browser.click("#approve").await?;
    desk.browser
        .until("document.querySelector('#done').innerText.includes('Not done: the approval is denied already')")
        .await?;
    assert_eq!(bob.show(&admin).await?["status"], "pending");
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn without_scripts_calls_are_denied_together_with_one_reason() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    desk.browser.without_scripts().await?;
    let ids = [desk.hold("create_issue", json!({"n": 1})).await?, desk.hold("create_issue", json!({"n": 2})).await?];
    desk.sign_in("bob").await?;
    for id in &ids {
        desk.browser.click(&format!("{} .pick input", row(id))).await?;
    }
    desk.browser.click("#batch button").await?;
    desk.browser.until("document.querySelector('#reason') !== null").await?;
    desk.fill(&[("#reason", "both belong in one issue")]).await?;
    desk.browser.click("button.no").await?;
    desk.browser.until("document.querySelectorAll('#done li.denied').length === 2").await?;
    for id in &ids {
        assert_eq!(bob.show(id).await?["reason"], "both belong in one issue");
    }
    Ok(())
}
