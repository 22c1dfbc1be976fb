//! One exchange driven event by event: literal messages in, the fate of the call and what the service was asked out.

use ed25519_dalek::{Signer, SigningKey};
use holdpoint_core::approval::{
    APPROVAL_SCHEMA, ApprovalState, ApprovalStatus, CancelHolds, Claim, ClaimRequest, OpenApproval, SignedClaim,
    WithdrawCause, WithdrawHold, signed_bytes,
};
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::digest::hex_encode;
use serde_json::{Value, json};

use super::*;
use crate::identity::metadata::encode;
use crate::usage::in_memory::Shared;

mod allowed;
mod answers;
mod asked;
mod batch;
mod beside;
mod candidate;
mod definitions;
mod fleet;
mod held;
mod lists;
mod past;
mod queued;
mod recorded;
mod refused;
mod replay;
mod session;

const PLUGIN: &str = "holdpoint";

const POLICY: &str = r#"
  version: "2026-01-27"
  servers:
    tracker:
      match: {route_metadata: tracker}
      tools:
        "list_*": {action: read}
        create_issue: {action: write, risk_tags: [prod]}
        delete_project: {action: admin}
  rules:
  - id: reads
    match: {labels: {mcp.action: read}, mcp: {allow_servers: [tracker]}}
    decision: allow
    reason: Reads are fine
  - id: writes
    match: {labels: {mcp.action: write}}
    decision: require_approval
    reason: Writes need a human
  - id: bounded
    match: {risk_tags: [prod]}
    decision: allow_with_constraints
    reason: Production is bounded
    constraints: {budgets: {max_runtime_ms: 5000, max_retries: 1, max_concurrent_jobs: 1}}
  - id: no-admin
    match: {labels: {mcp.action: admin}}
    decision: deny
    reason: Nobody deletes projects
    remediation: Ask an administrator
"#;

fn service_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn config_with(policy: &str) -> Rc<FilterConfig> {
    let key = hex_encode(service_key().verifying_key().as_bytes());
    let text = format!(
        "approval: {{cluster: svc, service_key: \"ed25519:{key}\", hold_ms_max: 10000, leg_ms_max: 4000, \
         outage_ms_max: 2000}}\nidentity: {{sources: [{{jwt: {{metadata_key: jwt}}}}]}}\n\
         limits: {{body_bytes_max: 2000, holds_max: 3}}\npolicy:{policy}"
    );
    match FilterConfig::read(text.as_bytes()) {
        Ok(config) => Rc::new(config),
        Err(problems) => panic!("{problems}"),
    }
}

/// One worker with its exchanges, and a clock that only the test moves.
struct Bench {
    worker: Worker,
    desk: Desk,
    shared: Shared,
    now_ms: u64,
    config: Rc<FilterConfig>,
}

/// What an exchange did in answer to one event.
struct Did(Vec<HostCommand>);

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            worker: Worker::new([1; 32], "gw".to_owned()),
            desk: Desk::new("gw/1".to_owned()),
            shared: Shared::default(),
            now_ms: 1_000_000,
            config: config_with(POLICY),
        };
        bench.put_in_force(config_with(POLICY));
        bench
    }

    fn put_in_force(&mut self, config: Rc<FilterConfig>) {
        usage::prepare(&mut self.shared, PLUGIN, config.policy.concurrency_rules(), config.policy.counts_calls());
        crate::session::prepare(&mut self.shared);
        crate::past::prepare(&mut self.shared, PLUGIN, &config.policy, self.now_ms);
        crate::definitions::prepare(&mut self.shared);
        self.worker.put_in_force(PLUGIN, Rc::clone(&config));
        self.config = config;
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(Rc::from(PLUGIN), Rc::clone(&self.config))
    }

    fn give(&mut self, exchange: &mut Exchange, event: HostEvent) -> Did {
        let Self { worker, desk, shared, now_ms, .. } = self;
        let mut around = Surroundings { now_ms: *now_ms, worker, desk, shared };
        Did(exchange.handle(event, &mut around))
    }

    /// Sends headers and body of one POST by alice.
    fn post(&mut self, exchange: &mut Exchange, body: &str) -> Did {
        let did = self.give(exchange, HostEvent::RequestHead(head("alice", &[])));
        assert!(did.pauses(), "headers are held until the body is judged");
        self.give(exchange, HostEvent::RequestComplete { body: body.as_bytes().to_vec(), has_trailers: false })
    }

    /// Posts a call of `create_issue`, which the policy holds.
    fn hold(&mut self) -> (Exchange, Did) {
        let mut exchange = self.exchange();
        let did = self.post(&mut exchange, &call("create_issue"));
        assert!(did.pauses() && !did.forwards());
        (exchange, did)
    }

    fn answer(&mut self, exchange: &mut Exchange, did: &Did, status: u16, body: &impl serde::Serialize) -> Did {
        let answer = CalloutAnswer { status: Some(status), body: serde_json::to_vec(body).expect("JSON") };
        let ask = did.asked().ask;
        self.give(exchange, HostEvent::CalloutAnswered { ask, answer })
    }

    fn wake_after(&mut self, exchange: &mut Exchange, ms: u64) -> Did {
        self.now_ms += ms;
        self.give(exchange, HostEvent::Wake)
    }
}

impl Did {
    fn pauses(&self) -> bool {
        self.0.iter().any(|command| matches!(command, HostCommand::Pause))
    }

    fn forwards(&self) -> bool {
        self.0.iter().any(|command| matches!(command, HostCommand::Forward(_)))
    }

    fn forward(&self) -> &Forward {
        let forward = self.0.iter().find_map(|command| match command {
            HostCommand::Forward(forward) => Some(forward),
            _ => None,
        });
        forward.unwrap_or_else(|| panic!("not forwarded: {:?}", self.0))
    }

    fn reply(&self) -> &LocalReply {
        let reply = self.0.iter().find_map(|command| match command {
            HostCommand::Reply(reply) => Some(reply),
            _ => None,
        });
        reply.unwrap_or_else(|| panic!("no reply: {:?}", self.0))
    }

    fn reply_json(&self) -> Value {
        serde_json::from_str(&self.reply().body).expect("JSON")
    }

    /// The sentence of an `isError` tool result.
    fn tool_error(&self) -> String {
        let reply = self.reply_json();
        assert_eq!(self.reply().status, 200);
        assert_eq!(reply["result"]["isError"], json!(true), "{reply}");
        reply["result"]["content"][0]["text"].as_str().expect("a sentence").to_owned()
    }

    fn asked(&self) -> &Callout {
        let asked = self.0.iter().find_map(|command| match command {
            HostCommand::Ask(callout) => Some(callout),
            _ => None,
        });
        asked.unwrap_or_else(|| panic!("nothing asked: {:?}", self.0))
    }

    fn told(&self) -> Vec<&Callout> {
        self.0
            .iter()
            .filter_map(|command| match command {
                HostCommand::Tell(callout) => Some(callout),
                _ => None,
            })
            .collect()
    }

    fn asked_record<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.asked().body).expect("a record")
    }

    fn entries(&self) -> Vec<&AuditEntry> {
        self.0
            .iter()
            .filter_map(|command| match command {
                HostCommand::Record(entry) | HostCommand::RecordRefusal(entry) => Some(&**entry),
                _ => None,
            })
            .collect()
    }
}

fn head(subject: &str, more: &[(&str, &str)]) -> RequestHead {
    let mut headers = vec![
        (":method", "POST"),
        (":path", "/mcp"),
        (":authority", "tracker.example"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    headers.extend_from_slice(more);
    RequestHead {
        headers: headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
        dynamic_metadata: encode::metadata(
            "envoy.filters.http.jwt_authn",
            &json!({"jwt": {"iss": "https://idp", "sub": subject}}),
        ),
        certificate: None,
        route: RouteMetadata { server: Some("tracker".to_owned()), ..RouteMetadata::default() },
        cluster: Some("up".to_owned()),
    }
}

/// How a server begins an answer of status 200.
fn answer_head(format: AnswerFormat) -> ResponseHead {
    ResponseHead { status: 200, format, has_body: true, ..ResponseHead::default() }
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
           "params": {"name": tool, "arguments": {"title": "x"}}})
    .to_string()
}

fn state(open: &OpenApproval, status: ApprovalStatus) -> ApprovalState {
    ApprovalState {
        schema: APPROVAL_SCHEMA.to_owned(),
        id: "appr-1".to_owned(),
        status,
        version: 1,
        call_digest: open.call_digest,
        reason: None,
        decided_by: None,
        expires_at_ms: u64::MAX,
        ran_before: None,
        come_back: None,
    }
}

/// What the service would sign for this claim.
fn claim(open: &OpenApproval, request: &ClaimRequest) -> Claim {
    Claim {
        approval_id: "appr-1".to_owned(),
        hold_id: request.hold_id.clone(),
        nonce: request.nonce.clone(),
        call_digest: open.call_digest,
        basis: open.basis,
        snapshot_id: open.snapshot_id,
        constraints: open.constraints.clone(),
        approved_by: vec!["local bob".to_owned()],
        expires_at_ms: u64::MAX,
    }
}

fn signed_with(key: &SigningKey, claim: &Claim) -> SignedClaim {
    let text = serde_json::to_string(claim).expect("JSON");
    let signature = hex_encode(&key.sign(&signed_bytes(&text)).to_bytes());
    SignedClaim { claim: text, signature, also: Vec::new() }
}
