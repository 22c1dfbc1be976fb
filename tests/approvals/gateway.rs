//! A gateway without Envoy: asks the service as the filter does, so that a test can choose the moment of every message.

use anyhow::Context;
use holdpoint_core::approval::CALL_DIGEST_TAG;
use holdpoint_core::digest::{Digest, hex_encode};
use holdpoint_tests::service::Service;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Tag of the digest that names a policy.
const SNAPSHOT_TAG: &str = "holdpoint/policy/v1";
/// The policy that every gateway here has registered.
const POLICY: &str = "{}";

/// Whoever holds calls and claims grants.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// A status and a JSON body.
pub(crate) type Answer = (StatusCode, Value);

impl Gateway {
    /// One with a token of its own and the policy registered.
    pub(crate) async fn new(service: &Service) -> anyhow::Result<Self> {
        let token = service.token("enforcer", "gateway-2", &[])?;
        let gateway = Self { http: reqwest::Client::new(), base: service.url(""), token };
        let url = format!("{}/v1/policies/{}", gateway.base, snapshot_id());
        let answer = gateway.http.put(url).bearer_auth(&gateway.token).body(POLICY).send().await?;
        anyhow::ensure!(answer.status().is_success(), "the policy was not registered: {}", answer.text().await?);
        Ok(gateway)
    }

    /// A call as it is asked for; `call` tells one call from another.
    pub(crate) fn asked(hold: u128, call: &str) -> Value {
        let call_text = json!({"agent": null, "issuer": "https://idp.example", "method": "tools/call",
            "params": {"arguments": {"call": call}}, "server": "tracker", "subject": "agent-7", "tenant": null})
        .to_string();
        let call_digest = Digest::tagged(CALL_DIGEST_TAG, call_text.as_bytes());
        json!({
            "hold_id": number(hold), "gateway": "edge", "call_text": call_text, "call_digest": call_digest,
            "principal": {"issuer": "https://idp.example", "subject": "agent-7", "actor_type": "agent"},
            "server": "tracker", "method": "tools/call", "target": "create_issue",
            "envelope": {"topic": "job.mcp.tool", "labels": {"mcp.action": "write"},
                         "meta": {"actor_id": "agent-7", "actor_type": "agent"}},
            "reasons": [{"rule_id": "writes-wait", "text": "a person looks at writes"}],
            "requirement": {"all_of": [{"group": "sre", "min": 1}], "decide_within_ms": 600_000,
                            "claim_within_ms": 300_000},
            "constraints": {}, "snapshot_id": snapshot_id(), "basis": Digest::of(b"basis"),
        })
    }

    /// Opens or joins, and answers the state.
    pub(crate) async fn open(&self, asked: &Value) -> anyhow::Result<Value> {
        let (status, body) = self.post("/v1/approvals", asked).await?;
        anyhow::ensure!(status.is_success(), "not opened: {status} {body}");
        Ok(body)
    }

    /// Asks to use the grant that `opened` became, for this hold.
    pub(crate) async fn claim(&self, opened: &Value, hold: u128, nonce: u128) -> anyhow::Result<Answer> {
        self.claim_under(opened, hold, nonce, "basis").await
    }

    /// The same under another basis: the policy has changed.
    pub(crate) async fn claim_under(
        &self,
        opened: &Value,
        hold: u128,
        nonce: u128,
        basis: &str,
    ) -> anyhow::Result<Answer> {
        let body = json!({"hold_id": number(hold), "nonce": number(nonce), "call_digest": opened["call_digest"],
            "basis": Digest::of(basis.as_bytes()), "snapshot_id": snapshot_id()});
        self.post(&format!("/v1/approvals/{}/claim", id(opened)?), &body).await
    }

    /// Says that the client of this hold has left.
    pub(crate) async fn withdraw(&self, hold: u128) -> anyhow::Result<()> {
        let path = format!("/v1/holds/{}/withdraw", number(hold));
        let (status, body) = self.post(&path, &json!({"cause": "client_gone", "rejoin_ms": 0})).await?;
        anyhow::ensure!(status.is_success(), "not withdrawn: {status} {body}");
        Ok(())
    }

    /// POSTs as the gateway.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        post(&self.http, &format!("{}{path}", self.base), &self.token, body).await
    }
}

/// A person who reviews with every header and body chosen by the test.
#[derive(Clone)]
pub(crate) struct Reviewer {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Reviewer {
    /// An approver in `groups`.
    pub(crate) fn new(service: &Service, subject: &str, groups: &[&str]) -> anyhow::Result<Self> {
        let token = service.token("approver", subject, groups)?;
        Ok(Self { http: reqwest::Client::new(), base: service.url(""), token })
    }

    /// Approves what `opened` is about.
    pub(crate) async fn approve(&self, opened: &Value) -> anyhow::Result<Answer> {
        self.review(opened, &json!({"verdict": "approve", "call_digest": opened["call_digest"]})).await
    }

    /// Denies it.
    pub(crate) async fn deny(&self, opened: &Value) -> anyhow::Result<Answer> {
        let body = json!({"verdict": "deny", "call_digest": opened["call_digest"], "reason": "no"});
        self.review(opened, &body).await
    }

    /// Sends any review.
    pub(crate) async fn review(&self, opened: &Value, body: &Value) -> anyhow::Result<Answer> {
        let url = format!("{}/v1/approvals/{}/reviews", self.base, id(opened)?);
        post(&self.http, &url, &self.token, body).await
    }

    /// The same, acting on a version.
    pub(crate) async fn approve_version(&self, opened: &Value, version: u64) -> anyhow::Result<StatusCode> {
        let url = format!("{}/v1/approvals/{}/reviews", self.base, id(opened)?);
        let message = self.http.post(url).bearer_auth(&self.token).header("if-match", format!("\"{version}\""));
        Ok(message.json(&json!({"verdict": "approve"})).send().await?.status())
    }
}

/// A 128-bit number as holds and nonces are written.
pub(crate) fn number(n: u128) -> String {
    hex_encode(&n.to_be_bytes())
}

/// The id of an opened approval.
pub(crate) fn id(opened: &Value) -> anyhow::Result<&str> {
    opened["id"].as_str().with_context(|| format!("no id in {opened}"))
}

fn snapshot_id() -> Digest {
    Digest::tagged(SNAPSHOT_TAG, POLICY.as_bytes())
}

async fn post(http: &reqwest::Client, url: &str, token: &str, body: &Value) -> anyhow::Result<Answer> {
    let answer = http.post(url).bearer_auth(token).json(body).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}
