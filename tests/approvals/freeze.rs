//! An administrator stops a server, a tool or a caller: on every worker, within seconds, without a policy update.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call};
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

/// What the project promises; the probe below waits longer, for a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(20);

struct Admin {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Admin {
    fn of(stack: &Stack) -> anyhow::Result<Self> {
        let token = stack.service.token("admin", "root", &[])?;
        Ok(Self { http: reqwest::Client::new(), base: stack.service.url(""), token })
    }

    async fn freeze(&self, scope: Value) -> anyhow::Result<String> {
        let body = json!({"scope": scope, "reason": "incident 7"});
        let url = format!("{}/v1/freezes", self.base);
        let answer = self.http.post(url).bearer_auth(&self.token).json(&body).send().await?;
        anyhow::ensure!(answer.status() == 201, "{}", answer.text().await?);
        Ok(answer.json::<Value>().await?["id"].as_str().unwrap_or_default().to_owned())
    }

    async fn lift(&self, id: &str) -> anyhow::Result<()> {
        let url = format!("{}/v1/freezes/{id}/lift", self.base);
        let answer = self.http.post(url).bearer_auth(&self.token).send().await?;
        anyhow::ensure!(answer.status() == 200, "{}", answer.text().await?);
        Ok(())
    }
}

fn succeeded(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

/// Waits until `tries` new connections in a row, which Envoy spreads over its workers, see the same.
async fn everywhere(what: &str, stack: &Stack, token: &str, runs: bool) -> anyhow::Result<()> {
    const TRIES: usize = 12;
    probe::until(what, WITHIN, async || {
        for _ in 0..TRIES {
            let answer = tools_call("list_issues", "{}", token).send(stack.port()).await.ok()?;
            if succeeded(&answer) != runs {
                return None;
            }
        }
        Some(())
    })
    .await
}

#[tokio::test]
async fn frozen_server_stops_on_every_worker_and_goes_on_when_lifted() -> anyhow::Result<()> {
    let stack = Stack::builder().workers(2).start().await?;
    let admin = Admin::of(&stack)?;
    let token = stack.agent("agent-7")?;
    everywhere("reads run", &stack, &token, true).await?;
    let id = admin.freeze(json!({"server": "tracker"})).await?;
    everywhere("reads are stopped", &stack, &token, false).await?;
    let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    let said = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(said.contains("an administrator has stopped this (incident 7)"), "{said}");
    let auditor = Person::auditor(&stack.service)?;
    let frozen = auditor.entry("the freeze", |entry| entry["kind"] == "freeze_changed").await?;
    assert_eq!(
        (&frozen["status"], &frozen["by"], &frozen["server"]),
        (&json!("frozen"), &json!("local root"), &json!("tracker"))
    );
    let rule = format!("freeze:{id}");
    let refused = auditor.entry("a refusal", |entry| entry["rule_ids"][0] == *rule).await?;
    assert_eq!(refused["verdict"], "deny");
    admin.lift(&id).await?;
    everywhere("reads run again", &stack, &token, true).await
}

#[tokio::test]
async fn held_call_that_comes_to_be_frozen_never_runs_though_it_is_approved() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let admin = Admin::of(&stack)?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let (token, other) = (stack.agent("agent-7")?, stack.agent("agent-8")?);
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    admin.freeze(json!({"principal": "agent-7"})).await?;
    everywhere("agent-7 is stopped", &stack, &token, false).await?;
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert!(answer.text().contains("an administrator has stopped this"), "{}", answer.text());
    let before = stack.upstream.count();
    everywhere("others go on", &stack, &other, true).await?;
    let ran = stack.upstream.received();
    assert!(ran.iter().all(|one| one.json()["params"]["name"] != "create_issue"), "{before}");
    Ok(())
}

#[tokio::test]
async fn freeze_outlives_the_service_that_signed_it() -> anyhow::Result<()> {
    let stack = Stack::builder().workers(2).start().await?;
    let admin = Admin::of(&stack)?;
    let token = stack.agent("agent-7")?;
    admin.freeze(json!({"tool": "list_issues"})).await?;
    everywhere("the tool is stopped", &stack, &token, false).await?;
    stack.service.kill();
    for _ in 0..12 {
        let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
        assert!(!succeeded(&answer), "a service that is away lifts nothing");
    }
    assert!(succeeded(&tools_call("get_issue", "{}", &token).send(stack.port()).await?), "other tools run");
    Ok(())
}
