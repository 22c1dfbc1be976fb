//! A person with a token who decides, and an auditor who reads the record. The human side of step 8.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::probe;
use crate::service::Service;

/// Somebody who talks to the service's API with a token of one role.
#[derive(Debug, Clone)]
pub struct Person {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Person {
    /// An approver in `groups`.
    pub fn approver(service: &Service, subject: &str, groups: &[&str]) -> anyhow::Result<Self> {
        Self::with_token(service, service.token("approver", subject, groups)?)
    }

    /// An auditor.
    pub fn auditor(service: &Service) -> anyhow::Result<Self> {
        Self::with_token(service, service.token("auditor", "auditor", &[])?)
    }

    /// Whoever owns `token`.
    pub fn with_token(service: &Service, token: String) -> anyhow::Result<Self> {
        Ok(Self { http: reqwest::Client::new(), base: service.url(""), token })
    }

    /// GETs a path; fails on any status but 200.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if status != 200 {
            bail!("GET {path} answered {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("GET {path} answered `{body}`"))
    }

    /// The ids of all approvals in `status`, newest first.
    pub async fn ids(&self, status: &str) -> anyhow::Result<Vec<String>> {
        let page = self.get(&format!("/v1/approvals?status={status}&limit=100")).await?;
        let lines = page["approvals"].as_array().context("no list of approvals")?;
        Ok(lines.iter().filter_map(|line| line["id"].as_str()).map(str::to_owned).collect())
    }

    /// Waits until `count` approvals are in `status` and answers their ids.
    pub async fn wait_for(&self, status: &str, count: usize) -> anyhow::Result<Vec<String>> {
        probe::until(&format!("{count} approvals are {status}"), probe::PATIENCE, async || {
            let ids = self.ids(status).await.ok()?;
            (ids.len() >= count).then_some(ids)
        })
        .await
    }

    /// Waits for one pending approval and answers its whole view.
    pub async fn pending(&self) -> anyhow::Result<Value> {
        let ids = self.wait_for("pending", 1).await?;
        self.show(&ids[0]).await
    }

    /// The whole view of one approval.
    pub async fn show(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/approvals/{id}")).await
    }

    /// Waits until `id` is in `status` and answers its view.
    pub async fn until_status(&self, id: &str, status: &str) -> anyhow::Result<Value> {
        probe::until(&format!("approval {id} is {status}"), probe::PATIENCE, async || {
            let view = self.show(id).await.ok()?;
            (view["status"] == status).then_some(view)
        })
        .await
    }

    /// Approves what `view` showed.
    pub async fn approve(&self, view: &Value) -> anyhow::Result<()> {
        self.review(view, json!({"verdict": "approve", "call_digest": view["call_digest"]})).await
    }

    /// Denies what `view` showed.
    pub async fn deny(&self, view: &Value, reason: &str) -> anyhow::Result<()> {
        self.review(view, json!({"verdict": "deny", "call_digest": view["call_digest"], "reason": reason})).await
    }

    /// POSTs a JSON text; fails on any status but 2xx.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body);
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("POST {path} answered {status}: {text}");
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn review(&self, view: &Value, body: Value) -> anyhow::Result<()> {
        let id = view["id"].as_str().context("the view has no id")?;
        let url = format!("{}/v1/approvals/{id}/reviews", self.base);
        let answer = self.http.post(url).bearer_auth(&self.token).json(&body).send().await?;
        if !answer.status().is_success() {
            bail!("the review was refused with {}: {}", answer.status(), answer.text().await?);
        }
        Ok(())
    }

    /// All entries of the record, oldest first.
    pub async fn record(&self) -> anyhow::Result<Vec<Value>> {
        let page = self.get("/v1/audit?limit=1000").await?;
        let entries = page["entries"].as_array().context("no list of entries")?;
        Ok(entries.iter().map(|numbered| numbered["entry"].clone()).collect())
    }

    /// Waits for an entry that `matches`.
    pub async fn entry(&self, what: &str, matches: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        probe::until(&format!("the record has {what}"), probe::PATIENCE, async || {
            self.record().await.ok()?.into_iter().find(|entry| matches(entry))
        })
        .await
    }
}
