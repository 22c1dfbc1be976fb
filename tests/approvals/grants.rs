//! An approval that reaches further calls, on a real Envoy: as many, as long and with such arguments as people said.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call};
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

use super::gateway::Reviewer;

const POLICY: &str = r#"
version: "2026-01-27"
servers:
  tracker:
    match: {route_metadata: tracker}
    tools:
      create_issue: {action: write}
      drop_project: {action: admin}
rules:
- id: writes-wait
  match: {labels: {mcp.action: [write, admin]}}
  decision: require_approval
  reason: "A person looks at every change"
  approval:
    approvers: {all_of: [{group: sre, min: 1}]}
    decide_within_ms: 900000
    claim_within_ms: 300000
    grants: {uses_max: 5, within_ms_max: 3600000}
"#;

struct Desk {
    stack: Stack,
    bob: Person,
    reviewer: Reviewer,
    token: String,
}

impl Desk {
    async fn open() -> anyhow::Result<Self> {
        let stack = Stack::builder().policy(POLICY).start().await?;
        let bob = Person::approver(&stack.service, "bob", &["sre"])?;
        let reviewer = Reviewer::new(&stack.service, "alice", &["sre"])?;
        let token = stack.agent("agent-7")?;
        Ok(Self { stack, bob, reviewer, token })
    }

    /// Holds a call, approves it with this scope, and waits until it has run.
    async fn granted(&self, arguments: &str, scope: Value) -> anyhow::Result<()> {
        let held = tools_call("create_issue", arguments, &self.token).begin(self.stack.port()).await?;
        let view = self.bob.pending().await?;
        let body =
            json!({"verdict": "approve", "call_digest": view["call_digest"], "reason": "for a while", "scope": scope});
        let (status, answer) = self.reviewer.review(&view, &body).await?;
        anyhow::ensure!(status == 201, "{answer}");
        let answer = held.answer().await?;
        anyhow::ensure!(ran(&answer), "{}", answer.text());
        Ok(())
    }

    /// Whether a call runs without anybody being asked.
    async fn runs(&self, tool: &str, arguments: &str) -> anyhow::Result<bool> {
        self.runs_for(tool, arguments, &self.token).await
    }

    async fn runs_for(&self, tool: &str, arguments: &str, token: &str) -> anyhow::Result<bool> {
        let before = self.stack.upstream.count();
        let held = tools_call(tool, arguments, token).begin(self.stack.port()).await?;
        // Either it reaches the server, or it waits for people.
        let asked = holdpoint_tests::probe::until("it runs or waits", holdpoint_tests::probe::PATIENCE, async || {
            let pending = self.bob.ids("pending").await.ok()?;
            match pending.first() {
                Some(id) => Some(Some(id.clone())),
                None => (self.stack.upstream.count() > before).then_some(None),
            }
        })
        .await?;
        let Some(id) = asked else { return Ok(ran(&held.answer().await?)) };
        self.bob.deny(&self.bob.show(&id).await?, "not under a grant").await?;
        anyhow::ensure!(
            !ran(&held.answer().await?) && self.stack.upstream.count() == before,
            "it ran though it was denied"
        );
        Ok(false)
    }
}

fn ran(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

#[tokio::test]
async fn grant_lets_as_many_calls_run_as_it_says_with_arguments_within_their_bounds() -> anyhow::Result<()> {
    let desk = Desk::open().await?;
    let scope = json!({"uses": 4, "within_ms": 600_000, "arguments": {"/n": {"lte": 9}}});
    desk.granted(r#"{"n":1,"project":"site"}"#, scope).await?;
    assert!(desk.runs("create_issue", r#"{"n":9,"project":"site"}"#).await?, "within its bounds");
    assert!(!desk.runs("create_issue", r#"{"n":10,"project":"site"}"#).await?, "beyond them");
    assert!(!desk.runs("create_issue", r#"{"n":"9","project":"site"}"#).await?, "of another type");
    assert!(!desk.runs("create_issue", r#"{"n":9,"project":"shop"}"#).await?, "what nobody named stays as it is");
    assert!(!desk.runs("create_issue", r#"{"n":9,"project":"site","x":1}"#).await?, "nothing is added");
    let other = desk.stack.agent("agent-8")?;
    assert!(!desk.runs_for("create_issue", r#"{"n":9,"project":"site"}"#, &other).await?, "it is one caller's");
    assert!(desk.runs("create_issue", r#"{"n":0,"project":"site"}"#).await?);
    assert!(desk.runs("create_issue", r#"{"n":1,"project":"site"}"#).await?, "the last of four");
    assert!(!desk.runs("create_issue", r#"{"n":1,"project":"site"}"#).await?, "a fifth is asked for");
    let auditor = Person::auditor(&desk.stack.service)?;
    let record = auditor.record().await?;
    let claims = record.iter().filter(|entry| entry["kind"] == "claim").count();
    let asked = record.iter().filter(|entry| entry["kind"] == "review" && entry["status"] == "approve").count();
    assert_eq!((claims, asked, desk.stack.upstream.count()), (4, 1, 4), "each call leaves its own claim");
    Ok(())
}

#[tokio::test]
async fn grant_whose_time_is_over_or_that_was_taken_back_lets_nothing_run() -> anyhow::Result<()> {
    let desk = Desk::open().await?;
    desk.granted(r#"{"n":1}"#, json!({"uses": 5, "within_ms": 1})).await?;
    assert!(!desk.runs("create_issue", r#"{"n":1}"#).await?, "its millisecond is over");
    desk.granted(r#"{"n":2}"#, json!({"uses": 5, "within_ms": 600_000})).await?;
    assert!(desk.runs("create_issue", r#"{"n":2}"#).await?);
    let grants = desk.bob.get("/v1/grants").await?;
    let grant = grants["grants"].as_array().and_then(|all| all.iter().find(|one| one["uses_left"] == 3)).cloned();
    let id = grant.as_ref().and_then(|grant| grant["id"].as_str()).unwrap_or_default().to_owned();
    let admin = desk.stack.service.token("admin", "root", &[])?;
    let url = desk.stack.service.url(&format!("/v1/grants/{id}/revoke"));
    let revoked = reqwest::Client::new().post(url).bearer_auth(admin).send().await?;
    assert_eq!(revoked.status(), 200, "{grants}");
    assert!(!desk.runs("create_issue", r#"{"n":2}"#).await?, "taken back");
    Ok(())
}

#[tokio::test]
async fn calls_that_may_destroy_are_asked_one_by_one_whatever_a_rule_allows() -> anyhow::Result<()> {
    let desk = Desk::open().await?;
    let held = tools_call("drop_project", r#"{"n":1}"#, &desk.token).begin(desk.stack.port()).await?;
    let view = desk.bob.pending().await?;
    let scope = json!({"uses": 2, "within_ms": 600_000});
    let body =
        json!({"verdict": "approve", "call_digest": view["call_digest"], "reason": "for a while", "scope": scope});
    let (status, answer) = desk.reviewer.review(&view, &body).await?;
    assert_eq!((status.as_u16(), &answer["code"]), (422, &json!("scope")), "{answer}");
    desk.reviewer.approve(&view).await?;
    assert!(ran(&held.answer().await?));
    assert!(!desk.runs("drop_project", r#"{"n":1}"#).await?);
    Ok(())
}
