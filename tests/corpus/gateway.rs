//! The gateways that the corpus is played to, each in front of a server that records what reaches it, and what one of
//! them did with one case. Steps 1 to 10.

use anyhow::Context;
use holdpoint_tests::client::{HttpBody, HttpCall};
use holdpoint_tests::corpus::{Case, Expect, Framing, shown};
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::{EnvoyConfig, FILTER, ROUTE_GUARD, UPSTREAM_CLUSTER};
use holdpoint_tests::idp::Idp;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Received, Upstream};
use holdpoint_tests::wire::Wire;
use serde_json::{Value, json};

/// What stands between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The Holdpoint filter with the quickstart's policy.
    Holdpoint,
    /// Envoy's own `mcp` filter as it comes, and `rbac` with one rule that denies `delete_project`.
    PassThrough,
    /// The same with `REJECT_NO_MCP`, duplicate keys rejected and bodies of 1 MiB read.
    RejectNoMcp,
    /// The same, and `rbac` lets through only what the quickstart's policy allows.
    AllowList,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::Holdpoint, Self::PassThrough, Self::RejectNoMcp, Self::AllowList];

    /// Its column in the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Holdpoint => "holdpoint",
            Self::PassThrough => "native PASS_THROUGH",
            Self::RejectNoMcp => "native REJECT_NO_MCP",
            Self::AllowList => "native REJECT_NO_MCP, allow-list",
        }
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    port: u16,
    token: String,
    upstream: Upstream,
    envoy: Envoy,
    canaries: u32,
    // Keeps the service and the issuer of Holdpoint's gateway alive.
    _rest: Option<(holdpoint_tests::service::Service, Idp)>,
}

/// What became of one case.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The statuses that came back for it.
    pub(crate) statuses: Vec<u16>,
    /// The bodies that came back for it.
    pub(crate) answers: Vec<String>,
    /// What reached the server.
    pub(crate) reached: Vec<Received>,
    /// What went wrong beside it.
    pub(crate) trouble: Option<String>,
}

impl Gateway {
    pub(crate) async fn start(variant: Variant) -> anyhow::Result<Self> {
        match variant {
            Variant::Holdpoint => Self::holdpoint(false).await,
            Variant::PassThrough => Self::native("PASS_THROUGH", deny_list()).await,
            Variant::RejectNoMcp => Self::native("REJECT_NO_MCP", deny_list()).await,
            Variant::AllowList => Self::native("REJECT_NO_MCP", allow_list()).await,
        }
    }

    /// The filter on one worker, so that a VM that dies is missed at once.
    pub(crate) async fn holdpoint(server_speaks_http2: bool) -> anyhow::Result<Self> {
        let stack = Stack::builder().workers(1).envoy(move |config| {
            if server_speaks_http2 {
                config.cluster_speaks_http2(UPSTREAM_CLUSTER).expect("the cluster");
            }
        });
        let Stack { envoy, service, upstream, idp, .. } = stack.start().await?;
        let token = idp.token("agent-7", &[])?;
        Ok(Self { port: envoy.port(), token, upstream, envoy, canaries: 0, _rest: Some((service, idp)) })
    }

    async fn native(traffic_mode: &str, rbac: Value) -> anyhow::Result<Self> {
        let idp = Idp::new()?;
        let upstream = Upstream::start().await?;
        let mut config = EnvoyConfig::base()?;
        config.workers(1);
        config.jwks(idp.jwks())?;
        config.cluster_port(UPSTREAM_CLUSTER, upstream.port())?;
        let mut mcp = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.mcp.v3.Mcp",
            "traffic_mode": traffic_mode,
        });
        if traffic_mode == "REJECT_NO_MCP" {
            mcp["max_request_body_size"] = json!(1_048_576);
            mcp["reject_duplicate_keys"] = json!(true);
        }
        let filters =
            config.connection_manager()?["http_filters"].as_array_mut().context("`http_filters` is no list")?;
        filters.retain(|filter| filter["name"] != ROUTE_GUARD);
        let at =
            filters.iter().position(|filter| filter["name"] == FILTER).context("the base has no filter of ours")?;
        filters.splice(
            at..=at,
            [
                json!({"name": "envoy.filters.http.mcp", "typed_config": mcp}),
                json!({"name": "envoy.filters.http.rbac", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                    "rules": rbac,
                }}),
            ],
        );
        let envoy = Envoy::start(config).await?;
        let token = idp.token("agent-7", &[])?;
        Ok(Self { port: envoy.port(), token, upstream, envoy, canaries: 0, _rest: None })
    }

    /// The gateway's own statistics and log.
    pub(crate) fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Sends a case over HTTP/1.1, then an honest message on the same connection if it is still open, else on another. It is
    /// trouble when that one does not get its own answer: the connection is out of step, or the gateway is broken.
    pub(crate) async fn play(&mut self, case: &Case) -> anyhow::Result<Outcome> {
        let seen = self.upstream.count();
        let mut outcome = Outcome { statuses: Vec::new(), answers: Vec::new(), reached: Vec::new(), trouble: None };
        let mut wire = Wire::connect(self.port).await?;
        wire.write(&case.http1(&self.token)).await;
        if case.closes {
            wire.finish().await;
        }
        let mut is_open = true;
        while is_open && outcome.statuses.len() < case.answers {
            match wire.answer().await {
                Ok(Some(answer)) => {
                    outcome.statuses.push(answer.status);
                    outcome.answers.push(answer.text());
                    is_open = !answer.closes;
                }
                Ok(None) => is_open = false,
                Err(error) => {
                    outcome.trouble = Some(format!("no answer: {error:#}"));
                    is_open = false;
                }
            }
        }
        if !is_open || case.closes {
            // Envoy keeps a connection that it wants to close open for a second, unless the other side has finished.
            wire.finish().await;
            let rest = wire.rest().await.unwrap_or_default();
            if rest.windows(7).any(|seven| seven == b"HTTP/1.") {
                outcome.trouble = Some(format!("answers that nobody asked for: {}", shown(&rest)));
            }
            wire = Wire::connect(self.port).await?;
        }
        let mut canary = self.canary();
        wire.write(&canary.request(&self.token)).await;
        let answer = wire.answer().await;
        let in_step = matches!(&answer, Ok(Some(answer)) if answer.status == 200 && answer.text().contains(&canary.id));
        if !in_step {
            outcome.trouble = Some(format!("the honest message after it got {answer:?}"));
            canary = self.canary();
            let mut wire = Wire::connect(self.port).await?;
            wire.write(&canary.request(&self.token)).await;
            wire.answer().await.with_context(|| format!("the gateway is broken: {}", self.envoy.log()))?;
        }
        outcome.reached = self.reached_since(seen);
        Ok(outcome)
    }

    /// The same over HTTP/2, where the framing is not the case's own.
    pub(crate) async fn play_http2(&mut self, case: &Case, call: HttpCall) -> anyhow::Result<Outcome> {
        let seen = self.upstream.count();
        let answer = call.bearer(&self.token).over_http2().send(self.port).await;
        let answer = answer.with_context(|| format!("case `{}`", case.name))?;
        let canary = self.canary();
        let after = HttpCall::post(canary.body.clone()).bearer(&self.token).over_http2().send(self.port).await?;
        let in_step = after.text().contains(&canary.id);
        Ok(Outcome {
            statuses: vec![answer.status.as_u16()],
            answers: vec![answer.text()],
            reached: self.reached_since(seen),
            trouble: (!in_step).then(|| format!("the honest message after it got {after:?}")),
        })
    }

    fn reached_since(&self, seen: usize) -> Vec<Received> {
        let mut reached = self.upstream.received().split_off(seen);
        reached.retain(|received| !received.body.starts_with(CANARY.as_bytes()));
        reached
    }

    fn canary(&mut self) -> Canary {
        self.canaries += 1;
        let id = format!("{}-", self.canaries);
        let body = format!(r#"{CANARY}{id}","method":"ping"}}"#);
        Canary { id, body }
    }
}

/// How every honest message begins, and no case.
const CANARY: &str = r#"{"jsonrpc":"2.0","id":"canary-"#;

/// An honest message that no other is like.
struct Canary {
    id: String,
    body: String,
}

impl Canary {
    fn request(&self, token: &str) -> Vec<u8> {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{}",
            self.body.len(),
            self.body
        )
        .into_bytes()
    }
}

/// The case as a call of an HTTP/2 client; nothing where no such client could send it.
pub(crate) fn http2_call(case: &Case) -> Option<HttpCall> {
    let message = case.message()?;
    message.path.parse::<hyper::Uri>().ok()?;
    message.method.parse::<hyper::Method>().ok()?;
    let mut headers = Vec::new();
    for (name, value) in message.headers {
        match name.as_slice() {
            b"host" => {}
            // HTTP/2 knows none of these.
            b"connection" | b"upgrade" | b"http2-settings" | b"expect" => return None,
            _ => headers.push((String::from_utf8(name).ok()?, value)),
        }
    }
    if case.line.starts_with("CONNECT") {
        return None;
    }
    let body = match case.framing {
        Framing::Chunked => {
            let pieces = message.body.iter().map(|byte| (std::time::Duration::ZERO, vec![*byte])).collect();
            HttpBody::Pieces { pieces, trailers: Vec::new() }
        }
        Framing::Length | Framing::None => HttpBody::Whole(message.body),
    };
    Some(HttpCall { method: message.method, path: message.path, headers, body, http2: true })
}

/// What is wrong with what Holdpoint did; nothing when it is as the case says.
pub(crate) fn complaint(case: &Case, outcome: &Outcome) -> Option<String> {
    let first = outcome.statuses.first().copied();
    let said = outcome.answers.first().map(String::as_str).unwrap_or_default();
    let passed_whole = outcome.reached.len() == 1
        && outcome.reached.iter().all(|received| {
            let is_whole = case.framing == Framing::None || received.body == case.body;
            received.complete && is_whole && case.body.starts_with(&received.body)
        });
    if let Some(trouble) = &outcome.trouble {
        return Some(format!("{}/{}: {trouble}", case.file, case.name));
    }
    let is_right = match &case.expect {
        Expect::Passes => passed_whole && first == Some(200),
        _ if !outcome.reached.is_empty() => false,
        Expect::Denied => first == Some(200) && (said.contains(r#""isError":true"#) || said.contains(r#""error""#)),
        Expect::Refused { status, .. } => first == Some(*status) && said.contains(r#""error""#),
        Expect::Envoy { status } => first == Some(*status),
        Expect::Stopped => true,
    };
    (!is_right).then(|| {
        let reached: Vec<String> = outcome.reached.iter().map(|received| shown(&received.body)).collect();
        format!(
            "{}/{}: expected {:?}, got {:?} {said:.200}, reached {reached:?}",
            case.file, case.name, case.expect, outcome.statuses
        )
    })
}

fn from_message(path: &[&str], value: &str) -> Value {
    let path: Vec<Value> = path.iter().map(|key| json!({"key": key})).collect();
    let value = json!({"string_match": {"exact": value}});
    json!({"sourced_metadata": {"metadata_matcher": {"filter": "envoy.filters.http.mcp", "path": path, "value": value}}})
}

fn call_of(tool: &str) -> Value {
    json!({"and_rules": {"rules": [from_message(&["method"], "tools/call"), from_message(&["params", "name"], tool)]}})
}

/// The quickstart's one unconditional denial.
fn deny_list() -> Value {
    json!({"action": "DENY", "policies": {"admin-never": {
        "principals": [{"any": true}],
        "permissions": [call_of("delete_project")],
    }}})
}

/// What the quickstart's policy lets through without asking anybody.
fn allow_list() -> Value {
    let mut permissions = vec![call_of("list_issues"), call_of("get_issue")];
    let plumbing = [
        "initialize",
        "notifications/initialized",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "prompts/list",
        "prompts/get",
        "completion/complete",
    ];
    permissions.extend(plumbing.map(|method| from_message(&["method"], method)));
    permissions.push(json!({"and_rules": {"rules": [
        from_message(&["method"], "resources/read"),
        {"sourced_metadata": {"metadata_matcher": {
            "filter": "envoy.filters.http.mcp",
            "path": [{"key": "params"}, {"key": "uri"}],
            "value": {"string_match": {"prefix": "tracker://"}},
        }}},
    ]}}));
    json!({"action": "ALLOW", "policies": {"as-the-quickstart": {
        "principals": [{"any": true}],
        "permissions": permissions,
    }}})
}
