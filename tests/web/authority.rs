//! What else people do in the browser: approve further calls, lend their say, break glass, stop everything; and see who was told.

use holdpoint_tests::approver::Person;
use holdpoint_tests::probe;
use holdpoint_tests::upstream::{Answer, Upstream};
use serde_json::{Value, json};

use super::{Desk, row};

/// A request that rules let be granted further.
fn grantable(asked: &mut Value) {
    asked["requirement"]["grants"] = json!({"uses_max": 5, "within_ms_max": 3_600_000});
}

#[tokio::test]
async fn approval_reaches_further_calls_as_far_as_its_form_says_until_it_is_taken_back() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    let id = desk.asker.hold_as("create_issue", json!({"project": "site", "n": 1}), grantable).await?;
    desk.sign_in("bob").await?;
    desk.visit(&format!("/approvals/{id}")).await?;
    desk.browser.click("#reach summary").await?;
    desk.fill(&[
        ("#uses", "3"),
        ("#minutes", "20"),
        ("[name='differs:/n']", "lte"),
        ("[name='value:/n']", "9"),
        ("#why", "the same for a while"),
    ])
    .await?;
    desk.browser.click("#approve").await?;
    desk.browser.until("document.querySelector('#confirm').open").await?;
    // Whoever thinks again has decided nothing.
    desk.browser.click("#confirm button[value=no]").await?;
    desk.browser.until("!document.querySelector('#confirm').open").await?;
    assert_eq!(bob.show(&id).await?["status"], "pending");
    desk.browser.click("#approve").await?;
    desk.confirm().await?;
    bob.until_status(&id, "approved").await?;
    let within = desk.asker.hold_as("create_issue", json!({"project": "site", "n": 9}), grantable).await?;
    let beyond = desk.asker.hold_as("create_issue", json!({"project": "site", "n": 10}), grantable).await?;
    assert_eq!(
        (&bob.show(&within).await?["status"], &bob.show(&beyond).await?["status"]),
        (&json!("approved"), &json!("pending"))
    );
    desk.visit("/grants").await?;
    let listed = desk.browser.value("document.querySelector('#grants').innerText").await?;
    let listed = listed.as_str().unwrap_or_default();
    assert!(listed.contains("n is a whole number up to 9") && listed.contains("once more"), "{listed}");
    desk.browser.click("#grants button").await?;
    desk.confirm().await?;
    desk.browser.until("document.body.innerText.includes('No grant is in force')").await?;
    let after = desk.asker.hold_as("create_issue", json!({"project": "site", "n": 8}), grantable).await?;
    assert_eq!(bob.show(&after).await?["status"], "pending");
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn without_scripts_a_page_asks_once_more_and_leaving_it_decides_nothing() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    desk.browser.without_scripts().await?;
    let id = desk.asker.hold_as("create_issue", json!({"n": 1}), grantable).await?;
    desk.sign_in("bob").await?;
    desk.visit(&format!("/approvals/{id}")).await?;
    desk.browser.click("#reach summary").await?;
    desk.fill(&[("#uses", "9"), ("#minutes", "20"), ("#why", "again")]).await?;
    desk.browser.value("document.querySelector('#uses').removeAttribute('max')").await?;
    desk.browser.click("#approve").await?;
    desk.browser.until("document.body.innerText.includes('Are you sure?')").await?;
    desk.browser.until("document.body.innerText.includes('Approve 9 calls within 20 min?')").await?;
    assert_eq!(bob.show(&id).await?["status"], "pending");
    desk.browser.click("main form button").await?;
    desk.browser.until("document.body.innerText.includes('reaches beyond what the rules allow')").await?;
    desk.browser.click("#reach summary").await?;
    desk.fill(&[("#uses", "2"), ("#minutes", "20"), ("#why", "again")]).await?;
    desk.browser.click("#approve").await?;
    desk.browser.until("document.body.innerText.includes('Approve 2 calls within 20 min?')").await?;
    desk.browser.click("main form button").await?;
    bob.until_status(&id, "approved").await?;
    let admin = desk
        .asker
        .hold_as("drop_all", json!({}), |asked| asked["envelope"]["labels"]["mcp.action"] = json!("admin"))
        .await?;
    desk.visit(&format!("/approvals/{admin}")).await?;
    assert_eq!(desk.browser.value("document.querySelector('#reach') === null").await?, true);
    desk.browser.click("#approve").await?;
    desk.browser.until("document.body.innerText.includes('what cannot be brought back')").await?;
    assert_eq!(bob.show(&admin).await?["status"], "pending");
    Ok(())
}

#[tokio::test]
async fn lent_authority_counts_in_the_browser_of_whom_it_was_lent_to_until_it_is_ended() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    desk.sign_in("bob").await?;
    desk.visit("/delegations").await?;
    desk.fill(&[("#subject", "bob"), ("#why", "away")]).await?;
    desk.browser.click(".card button").await?;
    desk.browser.until("document.querySelector('.error')?.innerText.includes('somebody else')").await?;
    desk.fill(&[("#subject", "dave"), ("#why", "away until monday")]).await?;
    desk.browser.click(".card button").await?;
    desk.browser.until("document.querySelector('#delegations')?.innerText.includes('local dave')").await?;

    let (first, second) =
        (desk.hold("create_issue", json!({"n": 1})).await?, desk.hold("create_issue", json!({"n": 2})).await?);
    let dave = desk.link_as("dave", &["--group", "dev"])?;
    desk.sign_in_by(&dave).await?;
    desk.visit(&format!("/approvals/{first}")).await?;
    desk.browser.click("#approve").await?;
    let view = alice.until_status(&first, "approved").await?;
    assert_eq!(view["reviews"][0]["on_behalf_of"], "local bob");
    let bob = desk.link("bob")?;
    desk.sign_in_by(&bob).await?;
    desk.visit("/delegations").await?;
    desk.browser.click("#delegations button").await?;
    desk.confirm().await?;
    desk.browser.until("document.body.innerText.includes('Nothing is lent')").await?;
    let dave = desk.link_as("dave", &["--group", "dev"])?;
    desk.sign_in_by(&dave).await?;
    desk.visit(&format!("/approvals/{second}")).await?;
    desk.browser.until("document.querySelector('#forms .barrier')?.innerText.includes('your groups (dev)')").await?;
    Ok(())
}

#[tokio::test]
async fn glass_is_broken_with_a_reason_after_one_more_question_and_everybody_sees_it() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    let two = |asked: &mut Value| asked["requirement"]["all_of"][0]["min"] = json!(2);
    let id = desk.asker.hold_as("create_issue", json!({"n": 1}), two).await?;
    let link = desk.link_as("carla", &["--role", "break-glass"])?;
    desk.sign_in_by(&link).await?;
    desk.visit(&format!("/approvals/{id}")).await?;
    desk.browser.until("document.querySelector('.glass')?.innerText.includes('You break the glass')").await?;
    desk.browser.click("#approve").await?;
    assert_eq!(desk.browser.value("document.querySelector('#confirm').open").await?, false, "a reason comes first");
    desk.fill(&[("#why-glass", "the site is down and nobody else is awake")]).await?;
    desk.browser.click("#approve").await?;
    desk.confirm().await?;
    let view = alice.until_status(&id, "approved").await?;
    assert_eq!(view["reviews"][0]["break_glass"], true);
    let bob = desk.link("bob")?;
    desk.sign_in_by(&bob).await?;
    desk.visit(&format!("/approvals/{id}")).await?;
    desk.browser.until("document.querySelector('.reviews').innerText.includes('breaking glass')").await?;
    Ok(())
}

#[tokio::test]
async fn administrator_stops_and_lifts_in_the_browser_and_others_only_look() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    let waits = desk.hold("create_issue", json!({"n": 1})).await?;
    let link = desk.link_as("root", &["--role", "admin"])?;
    desk.sign_in_by(&link).await?;
    desk.visit(&format!("/approvals/{waits}")).await?;
    desk.browser.until("document.querySelector('#forms .barrier')?.innerText.includes('cannot approve')").await?;
    desk.visit("/freezes").await?;
    desk.fill(&[("#server", "tracker"), ("#why", "incident 7")]).await?;
    desk.browser.click(".card button").await?;
    desk.confirm().await?;
    desk.browser.until("document.querySelector('#freezes')?.innerText.includes('incident 7')").await?;
    let frozen = alice.get("/v1/freezes").await?;
    assert_eq!(frozen["freezes"][0]["scope"], json!({"server": "tracker"}));
    let bob = desk.link("bob")?;
    desk.sign_in_by(&bob).await?;
    desk.visit("/freezes").await?;
    desk.browser.until("document.querySelector('#freezes')?.innerText.includes('tracker')").await?;
    assert_eq!(desk.browser.value("document.querySelectorAll('main button').length").await?, 0);
    let link = desk.link_as("root", &["--role", "admin"])?;
    desk.sign_in_by(&link).await?;
    desk.visit("/freezes").await?;
    desk.browser.click("#freezes button").await?;
    desk.confirm().await?;
    desk.browser.until("document.body.innerText.includes('Nothing is stopped')").await?;
    assert_eq!(alice.get("/v1/freezes").await?["freezes"], json!([]));
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn page_says_who_was_notified_and_that_nobody_was() -> anyhow::Result<()> {
    let receiver = Upstream::start().await?;
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    let file = dir.path().join("notify.yaml");
    let notify = format!(
        "channels: {{pager: {{webhook: {{url: 'http://127.0.0.1:{}/', allow_private: true, secrets: [{{file: {}}}]}}}}}}\n\
         routes: [{{channels: [pager], groups: [sre]}}]\ndelivery: {{tries_max: 1}}\n",
        receiver.port(),
        dir.path().join("secret").display()
    );
    std::fs::write(&file, notify)?;
    let Some(mut desk) = Desk::open_with(&["--notify", &file.to_string_lossy()]).await? else { return Ok(()) };
    let told = desk.hold("create_issue", json!({"n": 1})).await?;
    receiver.wait_for(1).await?;
    let untold = desk
        .asker
        .hold_as("create_issue", json!({"n": 2}), |asked| asked["requirement"]["all_of"][0]["group"] = json!("dba"))
        .await?;
    desk.sign_in("bob").await?;
    desk.browser.until(&format!("document.querySelector('{} .untold') !== null", row(&untold))).await?;
    let auditor = Person::auditor(&desk.service)?;
    probe::until("it is delivered", probe::PATIENCE, async || {
        let page = auditor.get("/v1/notices?state=delivered").await.ok()?;
        page["notices"].as_array().filter(|all| !all.is_empty()).map(drop)
    })
    .await?;
    desk.visit(&format!("/approvals/{told}")).await?;
    desk.browser.until("document.querySelector('.told')?.innerText.includes('Notified: pager')").await?;
    desk.visit(&format!("/approvals/{untold}")).await?;
    desk.browser.until("document.querySelector('#progress .untold')?.innerText === 'Nobody was notified.'").await?;
    receiver.answer_with(|_| (std::time::Duration::ZERO, Answer::Json { status: 500, body: String::new() }));
    let failed = desk.hold("create_issue", json!({"n": 3})).await?;
    receiver.wait_for(2).await?;
    probe::until("it is given up", probe::PATIENCE, async || {
        let page = auditor.get("/v1/notices?state=dead").await.ok()?;
        page["notices"].as_array().filter(|all| !all.is_empty()).map(drop)
    })
    .await?;
    desk.visit(&format!("/approvals/{failed}")).await?;
    desk.browser.until("document.querySelector('.told .dead')?.innerText.includes('Given up: pager')").await?;
    Ok(())
}
