//! The approver's pages in a real browser, against the real service. The human side of step 8.
//!
//! `HOLDPOINT_SCREENSHOTS=DIR` also takes the pictures that `examples/quickstart/screenshots` shows.

use holdpoint_tests::approver::Person;
use holdpoint_tests::asker::Asker;
use holdpoint_tests::service::Service;
use serde_json::{Value, json};

use browser::Browser;

mod accessible;
mod authority;
mod browser;
mod decide;
mod pictures;
mod together;

/// A service, a gateway's way in, and bob's browser.
struct Desk {
    service: Service,
    asker: Asker,
    browser: Browser,
}

impl Desk {
    /// `None` when this machine has no browser, which is said; where nothing may be skipped it fails.
    async fn open() -> anyhow::Result<Option<Self>> {
        Self::open_with(&[]).await
    }

    /// The same with further arguments for `holdpoint serve`.
    async fn open_with(arguments: &[&str]) -> anyhow::Result<Option<Self>> {
        let Some(program) = browser::program() else {
            assert!(std::env::var_os("HOLDPOINT_CI").is_none(), "no Chromium on PATH, and nothing may be skipped");
            eprintln!("skipped: a test of the approver's pages, because there is no Chromium on PATH");
            return Ok(None);
        };
        let port = holdpoint_tests::ports::free()?;
        let url = format!("http://127.0.0.1:{port}");
        let service = Service::start_with(port, &[&["--public-url", &url], arguments].concat()).await?;
        let asker = Asker::new(&service).await?;
        let browser = Browser::start(&program).await?;
        Ok(Some(Self { service, asker, browser }))
    }

    /// A sign-in link for an approver of group `sre`, as an operator prints it.
    fn link(&self, subject: &str) -> anyhow::Result<String> {
        self.link_as(subject, &["--group", "sre"])
    }

    /// The same with these words of `holdpoint login`.
    fn link_as(&self, subject: &str, words: &[&str]) -> anyhow::Result<String> {
        let dir = self.service.data_dir();
        let words = [&["login", "--subject", subject], words, &["--data-dir"]].concat();
        let words: Vec<&std::ffi::OsStr> = words.into_iter().map(std::ffi::OsStr::new).collect();
        Ok(self.service.cli(&[&words[..], &[dir.as_os_str()]].concat())?.trim().to_owned())
    }

    async fn sign_in(&mut self, subject: &str) -> anyhow::Result<()> {
        let link = self.link(subject)?;
        self.sign_in_by(&link).await
    }

    async fn sign_in_by(&mut self, link: &str) -> anyhow::Result<()> {
        self.browser.open(link).await?;
        self.browser.click("main form button").await?;
        self.browser.until("document.body.dataset.page === 'inbox' && document.readyState === 'complete'").await
    }

    /// Holds a call of `tool` and tells the id of its approval.
    async fn hold(&self, tool: &str, arguments: Value) -> anyhow::Result<String> {
        self.asker.hold(tool, arguments).await
    }

    /// Opens a page of the service.
    async fn visit(&mut self, path: &str) -> anyhow::Result<()> {
        let url = self.service.url(path);
        self.browser.open(&url).await
    }

    /// Sets fields of the page by their selector.
    async fn fill(&mut self, fields: &[(&str, &str)]) -> anyhow::Result<()> {
        for (selector, value) in fields {
            self.browser
                .value(&format!("document.querySelector({}).value = {}; 0", json!(selector), json!(value)))
                .await?;
        }
        Ok(())
    }

    /// Answers the question that the page asks once more.
    async fn confirm(&mut self) -> anyhow::Result<()> {
        self.browser.until("document.querySelector('#confirm').open").await?;
        self.browser.click("#confirm-yes").await
    }

    /// Fails when the browser found anything wrong with the pages so far.
    fn check_complaints(&self) {
        assert!(self.browser.complaints().is_empty(), "{:#?}", self.browser.complaints());
    }
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
