//! The pictures of the pages, taken when `HOLDPOINT_SCREENSHOTS` names a directory; and that nothing is wider than a phone.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Desk;
use holdpoint_tests::approver::Person;

/// The page of a tool that changed.
pub(super) const DEFINITION: &str = "/inventory/tracker/definition?kind=tool&name=create_issue";

#[tokio::test]
async fn pages_fit_a_desk_and_a_phone_in_light_and_dark() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    desk.asker.sees_servers().await?;
    desk.asker.tries_a_policy().await?;
    for (title, denied) in [("Rotate the signing keys", false), ("Drop the staging tables", true)] {
        let id = desk.hold("create_issue", json!({"project": "site", "title": title})).await?;
        let view = alice.show(&id).await?;
        if denied { alice.deny(&view, "Ask the owner of staging first.").await? } else { alice.approve(&view).await? }
    }
    let ran = desk.hold("create_issue", json!({"project": "site", "title": "Checkout fails for large carts"})).await?;
    alice.approve(&alice.show(&ran).await?).await?;
    desk.asker.run(&ran, 3, "committed").await?;
    let closing = desk.hold("close_issue", json!({"issue": 41})).await?;
    let body =
        "The checkout page answers 500 for carts with more than 40 lines.\nSeen since the deploy of 14:02. ".repeat(12);
    let call = json!({
        "project": "site", "title": "Checkout fails for large carts \u{202e}gpj.exe", "labels": ["bug", "checkout"],
        "priority": 1, "body": body, "notify": {"channel": "#incidents", "quiet": false},
    });
    let shown = desk.hold("create_issue", call).await?;
    let grants = |asked: &mut serde_json::Value| {
        asked["requirement"]["grants"] = json!({"uses_max": 20, "within_ms_max": 28_800_000});
        asked["requirement"]["all_of"][0]["min"] = json!(2);
    };
    let call = json!({"issue": 57, "project": "site", "text": "Same as in #41: cleared the cache."});
    let wide = desk.asker.hold_as("comment_issue", call, grants).await?;
    alice.approve(&alice.show(&wide).await?).await?;
    let tool = |says: &str, to: serde_json::Value| {
        let properties = json!({"issue": {"type": "integer"}, "to": to});
        json!({"name": "move_issue", "description": says, "inputSchema": {"type": "object", "properties": properties}})
    };
    let pinned = desk.asker.listed(&tool("Moves an issue to another project.", json!({"type": "string"}))).await?;
    let further = json!({"type": "string", "description": "Also takes a webhook that is told of every later change."});
    let seen = desk.asker.listed(&tool("Moves an issue, and tells whoever is named.", further)).await?;
    let changed = |asked: &mut serde_json::Value| asked["definition"] = json!({"seen": seen, "pinned": [pinned]});
    let moved = desk.asker.hold_as("move_issue", json!({"issue": 12, "to": "archive"}), changed).await?;
    desk.sign_in("bob").await?;
    desk.visit("/delegations").await?;
    desk.fill(&[("#subject", "dave"), ("#why", "away until monday")]).await?;
    desk.browser.click(".card button").await?;
    desk.browser.until("document.querySelector('#delegations') !== null").await?;
    let detail = desk.service.url(&format!("/approvals/{shown}"));
    let inbox = desk.service.url("/approvals");
    let history = desk.service.url("/history");
    let batch = desk.service.url(&format!("/approvals/batch?id={wide}&id={closing}"));
    for (name, url, width, height, dark) in [
        ("inbox", &inbox, 1_080, 760, false),
        ("detail", &detail, 1_080, 1_760, false),
        ("detail-dark", &detail, 1_080, 1_080, true),
        ("inbox-phone", &inbox, 390, 844, false),
        ("detail-phone", &detail, 390, 844, false),
        ("inbox-dark", &inbox, 1_080, 760, true),
        ("history", &history, 1_080, 900, false),
        ("history-phone", &history, 390, 844, true),
        ("delegations", &desk.service.url("/delegations"), 1_080, 900, false),
        ("delegations-phone", &desk.service.url("/delegations"), 390, 900, true),
        ("batch", &batch, 1_080, 1_100, false),
        ("batch-phone", &batch, 390, 844, false),
        ("reach", &desk.service.url(&format!("/approvals/{wide}")), 1_080, 1_250, false),
        ("reach-phone", &desk.service.url(&format!("/approvals/{wide}")), 390, 1_900, true),
        ("definition", &desk.service.url(&format!("/approvals/{moved}")), 1_080, 1_400, false),
        ("definition-phone", &desk.service.url(&format!("/approvals/{moved}")), 390, 1_900, true),
        ("freezes", &desk.service.url("/freezes"), 1_080, 600, false),
        ("policies", &desk.service.url("/policies"), 1_080, 900, false),
        ("policies-phone", &desk.service.url("/policies"), 390, 1_100, true),
        ("record", &desk.service.url("/record"), 1_080, 1_000, false),
        ("record-phone", &desk.service.url("/record"), 390, 1_200, true),
        ("timeline", &desk.service.url(&format!("/approvals/{ran}/timeline")), 1_080, 900, false),
        ("timeline-dark", &desk.service.url(&format!("/approvals/{ran}/timeline")), 1_080, 900, true),
        ("timeline-phone", &desk.service.url(&format!("/approvals/{ran}/timeline")), 390, 1_200, false),
        ("inventory", &desk.service.url("/inventory"), 1_080, 500, false),
        ("server", &desk.service.url("/inventory/tracker"), 1_080, 900, false),
        ("server-phone", &desk.service.url("/inventory/tracker"), 390, 1_400, true),
        ("inventory-definition", &desk.service.url(DEFINITION), 1_080, 900, false),
    ] {
        desk.browser.look(width, height, dark).await?;
        desk.browser.open(url).await?;
        if name.starts_with("reach") {
            desk.browser.value("document.querySelector('#reach').open = true; 0").await?;
        }
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
