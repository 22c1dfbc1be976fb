//! Every page of the approver, examined by axe-core in light and dark and at two widths. Nothing is excused.

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::installed;
use holdpoint_tests::node::Node;
use serde_json::{Value, json};

use super::Desk;

/// The rules of WCAG 2.0 to 2.2, levels A and AA, and what axe holds for good practice.
const RULES: &str = r#"["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]"#;

fn axe() -> anyhow::Result<String> {
    let home = Node::bring()?.packages("axe", &["axe-core@4.10.3"])?;
    std::fs::read_to_string(home.join("node_modules/axe-core/axe.min.js")).context("axe-core is not where it should be")
}

impl Desk {
    async fn examine(&mut self, axe: &str, what: &str) -> anyhow::Result<()> {
        self.browser.value(&format!("{axe}; 0")).await?;
        let run = format!("axe.run(document, {{runOnly: {RULES}}}).then((seen) => JSON.stringify(seen.violations))");
        let seen = self.browser.awaited(&run).await?;
        let violations: Value = serde_json::from_str(seen.as_str().context("axe said nothing")?)?;
        let found: Vec<String> = violations
            .as_array()
            .context("axe gave no list")?
            .iter()
            .map(|one| {
                format!(
                    "{}: {} at {}",
                    one["id"],
                    one["help"],
                    one["nodes"].to_string().chars().take(600).collect::<String>()
                )
            })
            .collect();
        anyhow::ensure!(found.is_empty(), "{what}:\n{}", found.join("\n"));
        Ok(())
    }
}

impl Desk {
    /// The pages on which people do more than decide one call.
    async fn examine_authority(&mut self, axe: &str) -> anyhow::Result<()> {
        let token = self.service.data_dir().join("axe.token");
        std::fs::write(&token, self.service.token("admin", "root", &[])?)?;
        let (url, token) = (self.service.url(""), token.to_string_lossy().into_owned());
        let freeze = ["freeze", "add", "--for-tool", "drop_all", "--reason", "incident 7", "--server"];
        self.service.cli(&[&freeze[..], &[url.trim_end_matches('/'), "--token-file", &token]].concat())?;
        let grants =
            |asked: &mut Value| asked["requirement"]["grants"] = json!({"uses_max": 5, "within_ms_max": 600_000});
        let id = self.asker.hold_as("create_issue", json!({"project": "site", "n": 1}), grants).await?;
        let other = self.hold("create_issue", json!({"n": 7})).await?;
        self.asker.sees_servers().await?;
        self.asker.tries_a_policy().await?;
        self.sign_in("bob").await?;
        for (dark, width) in [(false, 1_080), (true, 390)] {
            self.browser.look(width, 900, dark).await?;
            for path in [
                "/delegations".to_owned(),
                "/freezes".to_owned(),
                "/grants".to_owned(),
                "/policies".to_owned(),
                "/record".to_owned(),
                "/record?what=kind%3Aclaim&who=nobody".to_owned(),
                format!("/approvals/{id}/timeline"),
                "/inventory".to_owned(),
                "/inventory/tracker".to_owned(),
                super::pictures::DEFINITION.to_owned(),
                format!("/approvals/batch?id={id}&id={other}"),
            ] {
                self.visit(&path).await?;
                self.examine(axe, &format!("{path} ({width} px)")).await?;
            }
            self.visit(&format!("/approvals/{id}")).await?;
            self.browser.click("#reach summary").await?;
            self.examine(axe, "further calls").await?;
            self.fill(&[("#uses", "3"), ("#why", "the same for a while")]).await?;
            self.browser.click("#approve").await?;
            self.browser.until("document.querySelector('#confirm').open").await?;
            self.examine(axe, "the question before it").await?;
        }
        self.browser.click("#confirm-yes").await?;
        self.browser.until("document.body.dataset.page === 'inbox' && document.readyState === 'complete'").await?;
        self.visit("/grants").await?;
        self.examine(axe, "a grant").await?;
        self.visit("/delegations").await?;
        self.fill(&[("#subject", "dave"), ("#why", "away")]).await?;
        self.browser.click(".card button").await?;
        self.browser.until("document.querySelector('#delegations') !== null").await?;
        self.examine(axe, "a delegation").await?;
        for role in ["admin", "break-glass"] {
            let link = self.link_as("root", &["--role", role])?;
            self.sign_in_by(&link).await?;
            for path in ["/freezes".to_owned(), format!("/approvals/{other}")] {
                self.visit(&path).await?;
                self.examine(axe, &format!("{path} as {role}")).await?;
            }
        }
        self.browser.look(1_080, 900, false).await
    }
}

#[tokio::test]
async fn axe_finds_nothing_on_any_page() -> anyhow::Result<()> {
    let Some(axe) = installed::or_skip("axe-core", axe())? else { return Ok(()) };
    let Some(mut desk) = Desk::open().await? else { return Ok(()) };
    let alice = Person::approver(&desk.service, "alice", &["sre"])?;
    let login = desk.link("bob")?;
    desk.browser.open(&login).await?;
    desk.examine(&axe, "the question whether to sign in").await?;
    let inbox = desk.service.url("/approvals");
    desk.browser.open(&inbox).await?;
    desk.examine(&axe, "the page of those who are not signed in").await?;
    desk.sign_in("bob").await?;
    desk.examine(&axe, "an empty inbox").await?;

    let denied = desk.hold("create_issue", json!({"title": "one"})).await?;
    alice.deny(&alice.show(&denied).await?, "ask the owner first").await?;
    let ran = desk.hold("create_issue", json!({"title": "two"})).await?;
    alice.approve(&alice.show(&ran).await?).await?;
    desk.asker.run(&ran, 2, "committed").await?;
    let long = "a long text ".repeat(80);
    let pending = desk.hold("create_issue", json!({"title": "x\u{202e}y", "body": long})).await?;
    let not_for_bob = desk
        .asker
        .hold_as("create_issue", json!({"n": 4}), |asked| asked["requirement"]["all_of"][0]["group"] = json!("dba"))
        .await?;
    for dark in [false, true] {
        for width in [1_080, 390] {
            desk.browser.look(width, 900, dark).await?;
            for (what, path) in [
                ("the inbox", "/approvals".to_owned()),
                ("the inbox after a decision", format!("/approvals?decided={ran}")),
                ("an approval that waits", format!("/approvals/{pending}")),
                ("an approval that is not for the reader", format!("/approvals/{not_for_bob}")),
                ("an approval that was denied", format!("/approvals/{denied}")),
                ("an approval that ran", format!("/approvals/{ran}")),
                ("the history", "/history".to_owned()),
                ("a search without a result", "/history?text=nothing+like+it&status=denied".to_owned()),
                ("a page that is not there", "/approvals/0".to_owned()),
            ] {
                desk.browser.open(&desk.service.url(&path)).await?;
                // Whatever fades in has done so.
                desk.browser.until("document.getAnimations().every((one) => one.playState === 'finished')").await?;
                desk.examine(&axe, &format!("{what} ({width} px, dark: {dark})")).await?;
            }
        }
    }
    let asked = desk.asker.answer_to("close_issue", json!({"n": 5}), |_| {}).await?;
    let status = asked["come_back"]["status_url"].as_str().context("no page for the requester")?;
    desk.browser.open(status).await?;
    desk.examine(&axe, "the page of whoever asked").await?;
    let closed = asked["id"].as_str().context("no id")?;
    alice.deny(&alice.show(closed).await?, "not now").await?;
    desk.browser.until("document.querySelector('#stands .denied') !== null").await?;
    desk.examine(&axe, "the page of whoever asked, after the denial").await?;
    desk.browser.open(&desk.service.url(&format!("/approvals/{pending}"))).await?;
    desk.browser.value("for (const one of document.querySelectorAll('details')) one.open = true").await?;
    desk.examine(&axe, "an approval with everything opened").await?;
    desk.examine_authority(&axe).await?;
    desk.sign_in("bob").await?;
    desk.browser.open(&desk.service.url(&format!("/approvals/{pending}"))).await?;
    // Axe that finds nothing anywhere would prove nothing.
    desk.browser.value("document.querySelector('textarea').previousElementSibling.remove()").await?;
    assert!(desk.examine(&axe, "a page that was broken").await.is_err());
    Ok(())
}
