//! The approver's pages in a real browser, against the real service. The human side of step 8.
//!
//! `HOLDPOINT_SCREENSHOTS=DIR` also takes the pictures that `examples/quickstart/screenshots` shows.

use anyhow::Context;
use holdpoint_core::approval::CALL_DIGEST_TAG;
use holdpoint_core::digest::Digest;
use holdpoint_tests::approver::Person;
use holdpoint_tests::service::Service;
use serde_json::{Value, json};

use browser::Browser;

mod browser;
mod pictures;

/// Tag of the digest that names a policy.
const SNAPSHOT_TAG: &str = "holdpoint/policy/v1";

/// A service, a gateway's way in, and bob's browser.
struct Desk {
    service: Service,
    edge: String,
    http: reqwest::Client,
    browser: Browser,
    held: u32,
}

impl Desk {
    /// `None` when this machine has no browser, which is said; where nothing may be skipped it fails.
    async fn open() -> anyhow::Result<Option<Self>> {
        let Some(program) = browser::program() else {
            assert!(std::env::var_os("HOLDPOINT_CI").is_none(), "no Chromium on PATH, and nothing may be skipped");
            eprintln!("skipped: a test of the approver's pages, because there is no Chromium on PATH");
            return Ok(None);
        };
        let service = Service::start().await?;
        let edge = service.token("enforcer", "edge", &[])?;
        let browser = Browser::start(&program).await?;
        let desk = Self { service, edge, http: reqwest::Client::new(), browser, held: 0 };
        let url = desk.service.url(&format!("/v1/policies/{}", snapshot_id()));
        let answer = desk.http.put(url).bearer_auth(&desk.edge).body("{}").send().await?;
        assert!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(Some(desk))
    }

    /// A sign-in link, as an operator prints it.
    fn link(&self, subject: &str) -> anyhow::Result<String> {
        let dir = self.service.data_dir();
        let words = ["login", "--subject", subject, "--group", "sre", "--data-dir"].map(std::ffi::OsStr::new);
        Ok(self.service.cli(&[&words[..], &[dir.as_os_str()]].concat())?.trim().to_owned())
    }

    async fn sign_in(&mut self, subject: &str) -> anyhow::Result<()> {
        let link = self.link(subject)?;
        self.browser.open(&link).await?;
        self.browser.click("main form button").await?;
        self.browser.until("document.body.dataset.page === 'inbox' && document.readyState === 'complete'").await
    }

    /// Holds a call of `tool` and tells the id of its approval.
    async fn hold(&mut self, tool: &str, arguments: Value) -> anyhow::Result<String> {
        self.held += 1;
        let call = json!({
            "agent": "agent-7", "issuer": "https://idp.example.com", "method": "tools/call", "params": {"arguments": arguments, "name": tool},
            "server": "tracker", "subject": "carol", "tenant": null,
        });
        let call_text = call.to_string();
        let body = json!({
            "hold_id": format!("{:032x}", self.held), "gateway": "gateway-1", "call_text": call_text,
            "call_digest": Digest::tagged(CALL_DIGEST_TAG, call_text.as_bytes()),
            "principal": {"issuer": "https://idp.example.com", "subject": "carol", "agent_id": "agent-7",
                          "actor_type": "agent", "groups": ["dev"]},
            "server": "tracker", "method": "tools/call", "target": tool,
            "envelope": {"topic": "job.mcp.tool", "labels": {"mcp.action": "write"},
                         "meta": {"actor_id": "carol", "actor_type": "agent", "risk_tags": ["prod", "external"]}},
            "reasons": [{"rule_id": "mcp-write-approval", "text": "Human approval required for write actions"},
                        {"rule_id": "mcp-prod-constraints", "text": "Production writes must be bounded"}],
            "requirement": {"all_of": [{"group": "sre", "min": 1}], "decide_within_ms": 900_000,
                            "claim_within_ms": 300_000},
            "constraints": {"max_runtime_ms": 30_000, "max_retries": 1},
            "snapshot_id": snapshot_id(), "basis": snapshot_id(),
        });
        let opened = self.http.post(self.service.url("/v1/approvals")).bearer_auth(&self.edge).json(&body);
        let state: Value = opened.send().await?.json().await?;
        Ok(state["id"].as_str().with_context(|| state.to_string())?.to_owned())
    }

    /// Fails when the browser found anything wrong with the pages so far.
    fn check_complaints(&self) {
        assert!(self.browser.complaints().is_empty(), "{:#?}", self.browser.complaints());
    }
}

fn snapshot_id() -> Digest {
    Digest::tagged(SNAPSHOT_TAG, b"{}")
}

fn row(id: &str) -> String {
    format!("#approval-{id}")
}

#[tokio::test]
async fn approver_signs_in_by_link_approves_what_came_meanwhile_and_sees_it_leave() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    desk.sign_in("bob").await?;
    desk.browser.until("getComputedStyle(document.querySelector('.empty')).display === 'block'").await?;
    desk.browser.value("window.sameLoad = true").await?;
    let id = desk.hold("create_issue", json!({"title": "a\u{202e}b<script>"})).await?;
    desk.browser.until(&format!("document.querySelector('#waiting {}') !== null", row(&id))).await?;
    desk.browser.until("window.sameLoad && document.title.startsWith('(1) ')").await?;

    desk.browser.click(&format!("{} a", row(&id))).await?;
    desk.browser.until("document.body.dataset.page === 'approval' && document.readyState === 'complete'").await?;
    let call = desk.browser.value("document.querySelector('.call').innerText").await?;
    assert!(call.as_str().is_some_and(|call| call.contains(r#""title": "a\u{202e}b<script>""#)), "{call}");
    desk.browser.click("button.approve").await?;
    desk.browser.until("document.body.dataset.page === 'inbox' && document.readyState === 'complete'").await?;
    desk.browser.until("document.querySelectorAll('#waiting li').length === 0").await?;
    desk.browser.until(&format!("document.querySelector('#recent {}') !== null", row(&id))).await?;
    let bob = Person::approver(&desk.service, "bob", &["sre"])?;
    assert_eq!(bob.show(&id).await?["status"], "approved");
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn decision_of_somebody_else_reaches_open_pages_and_moves_no_focus() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    let first = desk.hold("create_issue", json!({"n": 1})).await?;
    let second = desk.hold("create_issue", json!({"n": 2})).await?;
    let third = desk.hold("create_issue", json!({"n": 3})).await?;
    desk.sign_in("bob").await?;
    desk.browser
        .value(&format!("window.sameLoad = true; document.querySelector('{} a').focus()", row(&second)))
        .await?;
    alice.deny(&alice.show(&first).await?, "not today").await?;
    desk.browser.until(&format!("document.querySelector('#recent {}') !== null", row(&first))).await?;
    let kept =
        format!("window.sameLoad && document.querySelector('{}').contains(document.activeElement)", row(&second));
    desk.browser.until(&kept).await?;
    alice.deny(&alice.show(&second).await?, "not today").await?;
    let next = format!("document.querySelector('#waiting {}').contains(document.activeElement)", row(&third));
    desk.browser.until(&next).await?;

    desk.browser.open(&desk.service.url(&format!("/approvals/{third}"))).await?;
    desk.browser.value("window.sameLoad = true; document.querySelector('textarea').value = 'because'").await?;
    alice.approve(&alice.show(&third).await?).await?;
    desk.browser.until("window.sameLoad && document.querySelector('#forms textarea') === null").await?;
    desk.browser.until("document.querySelector('#progress').innerText.includes('local alice')").await?;
    desk.check_complaints();
    Ok(())
}

#[tokio::test]
async fn every_page_works_without_scripts() -> anyhow::Result<()> {
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    desk.browser.without_scripts().await?;
    let id = desk.hold("create_issue", json!({"n": 1})).await?;
    desk.sign_in("bob").await?;
    desk.browser.click(&format!("{} a", row(&id))).await?;
    desk.browser.until("document.querySelector('textarea') !== null").await?;
    desk.browser.value("document.querySelector('textarea').value = 'not on a friday'").await?;
    desk.browser.click("button.no").await?;
    desk.browser.until(&format!("document.querySelector('#recent {}.denied') !== null", row(&id))).await?;
    desk.browser.click(".person button").await?;
    desk.browser.until("document.body.innerText.includes('You are not signed in')").await?;
    Ok(())
}
