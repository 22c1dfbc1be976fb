//! The pictures of the pages, taken when `HOLDPOINT_SCREENSHOTS` names a directory; and that nothing is wider than a phone.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Desk;
use holdpoint_tests::approver::Person;

#[tokio::test]
async fn pages_fit_a_desk_and_a_phone_in_light_and_dark() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    for (title, denied) in [("Rotate the signing keys", false), ("Drop the staging tables", true)] {
        let id = desk.hold("create_issue", json!({"project": "site", "title": title})).await?;
        let view = alice.show(&id).await?;
        if denied { alice.deny(&view, "Ask the owner of staging first.").await? } else { alice.approve(&view).await? }
    }
    let ran = desk.hold("create_issue", json!({"project": "site", "title": "Checkout fails for large carts"})).await?;
    alice.approve(&alice.show(&ran).await?).await?;
    desk.asker.run(&ran, 3, "committed").await?;
    desk.hold("close_issue", json!({"issue": 41})).await?;
    let body =
        "The checkout page answers 500 for carts with more than 40 lines.\nSeen since the deploy of 14:02. ".repeat(12);
    let call = json!({
        "project": "site", "title": "Checkout fails for large carts \u{202e}gpj.exe", "labels": ["bug", "checkout"],
        "priority": 1, "body": body, "notify": {"channel": "#incidents", "quiet": false},
    });
    let shown = desk.hold("create_issue", call).await?;
    desk.sign_in("bob").await?;
    let detail = desk.service.url(&format!("/approvals/{shown}"));
    let inbox = desk.service.url("/approvals");
    let history = desk.service.url("/history");
    for (name, url, width, height, dark) in [
        ("inbox", &inbox, 1_080, 760, false),
        ("detail", &detail, 1_080, 1_760, false),
        ("detail-dark", &detail, 1_080, 1_080, true),
        ("inbox-phone", &inbox, 390, 844, false),
        ("detail-phone", &detail, 390, 844, false),
        ("inbox-dark", &inbox, 1_080, 760, true),
        ("history", &history, 1_080, 900, false),
        ("history-phone", &history, 390, 844, true),
    ] {
        desk.browser.look(width, height, dark).await?;
        desk.browser.open(url).await?;
        let wide = desk.browser.value("document.documentElement.scrollWidth - innerWidth").await?;
        assert!(wide.as_f64().is_some_and(|wide| wide <= 0.0), "{name} is {wide} px too wide");
        if let Some(dir) = std::env::var_os("HOLDPOINT_SCREENSHOTS") {
            let picture = STANDARD.decode(desk.browser.picture().await?)?;
            std::fs::write(PathBuf::from(dir).join(format!("{name}.png")), picture)?;
        }
    }
    desk.check_complaints();
    Ok(())
}
