//! What a person has to have seen before they can decide, and how they decide by keyboard, with and without scripts.

use holdpoint_tests::approver::Person;
use serde_json::json;

use super::Desk;

#[tokio::test]
async fn long_values_have_to_be_opened_before_the_call_can_be_approved() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    let id = desk.hold("create_issue", json!({"a": "x".repeat(500), "b": "y".repeat(500)})).await?;
    desk.sign_in("bob").await?;
    desk.browser.open(&desk.service.url(&format!("/approvals/{id}"))).await?;
    desk.browser.until("document.querySelector('#approve').disabled").await?;
    let told = desk.browser.value("document.querySelector('#unopened').innerText").await?;
    assert_eq!(told, "Open the 2 long values of the call first.");
    desk.browser.click(".call .fold summary").await?;
    desk.browser.until("document.querySelector('#unopened').innerText.includes('the long value')").await?;
    assert_eq!(desk.browser.value("document.querySelector('#approve').disabled").await?, true);
    // Closing it again takes nothing back: it was seen.
    desk.browser.click(".call .fold summary").await?;
    desk.browser.click(".call .fold:nth-of-type(2) summary").await?;
    desk.browser.until("!document.querySelector('#approve').disabled").await?;
    desk.browser.click("#approve").await?;
    bob.until_status(&id, "approved").await?;
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn without_scripts_the_reader_says_that_long_values_were_read() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    desk.browser.without_scripts().await?;
    let id = desk.hold("create_issue", json!({"a": "x".repeat(500)})).await?;
    desk.sign_in("bob").await?;
    desk.browser.open(&desk.service.url(&format!("/approvals/{id}"))).await?;
    // What the browser itself would insist on is taken away: the service has the last word.
    desk.browser.value("document.querySelector('#opened').required = false").await?;
    desk.browser.click("#approve").await?;
    desk.browser.until("document.body.innerText.includes('open every long value of the call first')").await?;
    assert_eq!(bob.show(&id).await?["status"], "pending");
    desk.browser.click("#opened").await?;
    desk.browser.click("#approve").await?;
    bob.until_status(&id, "approved").await?;
    Ok(())
}

#[tokio::test]
async fn single_keys_do_nothing_until_they_are_turned_on_and_none_of_them_decides() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    let id = desk.hold("create_issue", json!({"n": 1})).await?;
    desk.sign_in("bob").await?;
    let detail = desk.service.url(&format!("/approvals/{id}"));
    desk.browser.open(&detail).await?;
    desk.browser.press("a").await?;
    assert_eq!(desk.browser.value("document.activeElement === document.body").await?, true);
    desk.browser.value("document.querySelector('#keys details').open = true").await?;
    desk.browser.click("#keys-on").await?;
    desk.browser.open(&desk.service.url("/approvals")).await?;
    desk.browser.press("j").await?;
    desk.browser.press("o").await?;
    desk.browser.until("document.body.dataset.page === 'approval' && document.readyState === 'complete'").await?;
    desk.browser.press("d").await?;
    desk.browser.until("document.activeElement.id === 'reason'").await?;
    // In a field a letter is a letter.
    desk.browser.press("u").await?;
    desk.browser.until("document.querySelector('#reason').value === 'u'").await?;
    desk.browser.value("document.activeElement.blur()").await?;
    desk.browser.press("a").await?;
    desk.browser.until("document.activeElement.id === 'approve'").await?;
    assert_eq!(bob.show(&id).await?["status"], "pending", "a key alone decides nothing");
    desk.browser.press("Enter").await?;
    bob.until_status(&id, "approved").await?;
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn history_is_searched_and_shows_what_became_of_calls() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    desk.browser.without_scripts().await?;
    let ran = desk.hold("create_issue", json!({"title": "Rotate keys"})).await?;
    alice.approve(&alice.show(&ran).await?).await?;
    desk.asker.run(&ran, 1, "committed").await?;
    let denied = desk.hold("close_issue", json!({"title": "Drop tables"})).await?;
    alice.deny(&alice.show(&denied).await?, "not on a friday").await?;
    let pending = desk.hold("create_issue", json!({"title": "Rotate keys again"})).await?;
    desk.sign_in("bob").await?;
    desk.browser.open(&desk.service.url(&format!("/approvals/{pending}"))).await?;
    let similar = desk.browser.value("document.querySelector('.similar').innerText").await?;
    let similar = similar.as_str().unwrap_or_default();
    assert!(similar.contains("the server answered with a result") && similar.contains("local alice"), "{similar}");
    assert!(!similar.contains("Drop"), "{similar}");

    desk.browser.open(&desk.service.url("/history")).await?;
    assert_eq!(desk.browser.value("document.querySelectorAll('#found li').length").await?, 3);
    desk.browser.value("document.querySelector('#text').value = 'FRIDAY'").await?;
    desk.browser.click(".search button").await?;
    desk.browser
        .until("location.search.includes('text=FRIDAY') && document.querySelectorAll('#found li').length === 1")
        .await?;
    desk.browser.until("document.querySelector('#found').innerText.includes('close_issue')").await?;
    desk.browser
        .open(&desk.service.url("/history?status=consumed&who=carol&server=tracker&tool=create_issue&text="))
        .await?;
    desk.browser.until("document.querySelectorAll('#found li').length === 1").await?;
    desk.browser.open(&desk.service.url("/history?status=pending&text=tables")).await?;
    desk.browser.until("document.body.innerText.includes('Nothing was found')").await?;
    Ok(())
}
