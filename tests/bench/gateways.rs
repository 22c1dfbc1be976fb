//! The gateways that are compared: the shipped base configuration, with nothing changed but the filter under test.
//!
//! In all of them alike the upstream is a `direct_response`, so that its cost hides nothing; a `buffer` filter stands
//! before it, because it would otherwise answer before the body has come; and `jwt_authn` stays, with its cache on:
//! checking a signature anew for every call would take longer than any filter.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Value, json};

use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::{APPROVAL_CLUSTER, EnvoyConfig, FILTER, ROUTE_GUARD};
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::idp::Idp;
use holdpoint_tests::wasm;

use crate::calls::{self, CALLERS, Calls, DENIED_TOOL, Kind, UPSTREAM_ANSWER};
use crate::load::{self, Target, Wire};
use crate::served::{Answered, Served};
use crate::{judge, process_usage, record_sink};

/// Any key will do: no call that is measured is held, so nothing is ever verified with it.
const SERVICE_KEY: &str = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";

/// How many rules are many.
const RULES: usize = 1_000;

/// Larger than any body of this run; the native filter refuses bodies over 8 KB unless told.
const BODY_BYTES_MAX: u64 = 1_048_576;

/// How many tokens `jwt_authn` keeps in mind as verified: more than there are callers.
const TOKENS_MAX: usize = 2 * CALLERS;

/// The cluster of the service behind `ext_authz` and `ext_proc`.
pub(crate) const JUDGE_CLUSTER: &str = "judge";

/// Two families of tools beside the quickstart's own, for lists that are longer than it.
const FAMILIES: &str = "      \"list_*\": {action: read}\n      \"delete_*\": {action: admin}\n";

/// What stands between client and upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// Not even an Envoy: how far the load itself comes.
    Direct,
    /// Nothing that reads MCP.
    None,
    /// Envoy's own `mcp` filter, and `rbac` with the quickstart's one unconditional denial.
    Native,
    /// A wasm filter that reads all of a call and its answer, and judges nothing: less no wasm filter can cost.
    Floor,
    /// Envoy's `ext_authz` filter, which sends each call with its body to a service (gRPC).
    ExtAuthz,
    /// Envoy's `ext_proc` filter, which sends each body to a service (gRPC).
    ExtProc,
    /// The Holdpoint filter with a policy that allows everything.
    AllowAll,
    /// The Holdpoint filter with the quickstart's policy.
    Holdpoint,
    /// The same with a thousand further rules, none of which matches.
    Rules,
    /// The same as `Holdpoint`, where each call waits until its entry in the record is acknowledged.
    Required,
    /// The same as `Holdpoint` with a module that was built without the record: what the record costs is the difference.
    Unrecorded,
}

impl Variant {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 11] = [
        Self::Direct,
        Self::None,
        Self::Native,
        Self::Floor,
        Self::ExtAuthz,
        Self::ExtProc,
        Self::AllowAll,
        Self::Holdpoint,
        Self::Rules,
        Self::Required,
        Self::Unrecorded,
    ];

    /// All, each round beginning with another one: whoever comes first finds the machine as the last one left it.
    pub(crate) fn in_turn(round: u32) -> impl Iterator<Item = Self> {
        let first = usize::try_from(round).unwrap_or(0) % Self::ALL.len();
        Self::ALL.into_iter().cycle().skip(first).take(Self::ALL.len())
    }

    /// Those with an Envoy.
    pub(crate) fn with_envoy() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|variant| *variant != Self::Direct)
    }

    /// Whether our filter stands there.
    pub(crate) fn is_holdpoint(self) -> bool {
        match self {
            Self::Direct | Self::None | Self::Native | Self::Floor | Self::ExtAuthz | Self::ExtProc => false,
            Self::AllowAll | Self::Holdpoint | Self::Rules | Self::Required | Self::Unrecorded => true,
        }
    }

    /// Whether the denied call does not come through.
    fn denies(self) -> bool {
        match self {
            Self::Direct | Self::None | Self::Floor | Self::AllowAll => false,
            Self::Native
            | Self::ExtAuthz
            | Self::ExtProc
            | Self::Holdpoint
            | Self::Rules
            | Self::Required
            | Self::Unrecorded => true,
        }
    }

    /// Whether lists show only what their caller may call.
    fn hides(self) -> bool {
        self.is_holdpoint() && self.denies()
    }

    /// Whether calls of this kind are measured here. Who calls is another question to those alone who remember callers: beside
    /// ours, two stand for all who remember nobody.
    pub(crate) fn is_measured(self, kind: Kind) -> bool {
        match self {
            Self::Direct | Self::None | Self::Native | Self::Floor | Self::Holdpoint => true,
            Self::ExtAuthz | Self::ExtProc | Self::AllowAll | Self::Rules | Self::Required | Self::Unrecorded => {
                kind.callers() == 1
            }
        }
    }

    /// Its word in the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::None => "none",
            Self::Native => "native",
            Self::Floor => "wasm, nothing judged",
            Self::ExtAuthz => "ext_authz",
            Self::ExtProc => "ext_proc",
            Self::AllowAll => "holdpoint, allow all",
            Self::Holdpoint => "holdpoint",
            Self::Rules => "holdpoint, 1,000 rules",
            Self::Required => "holdpoint, record required",
            Self::Unrecorded => "holdpoint, no record",
        }
    }
}

/// One running Envoy per variant, and what they need.
pub(crate) struct Gateways {
    /// A caller's token that all of them accept.
    pub(crate) token: String,
    /// Those of the callers who take turns.
    pub(crate) tokens: Vec<String>,
    envoys: BTreeMap<Variant, Envoy>,
    /// What each call must be answered with; a filter that governs lists takes some of it away.
    answers: BTreeMap<(Variant, Kind), Bytes>,
    // The filter sends its record there for as long as it runs.
    sink: Served,
    judge: Served,
    upstream: Served,
}

impl Gateways {
    /// Starts all of them.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let idp = Idp::new()?;
        let sink = Served::start(record_sink::acknowledge)?;
        let judge = Served::start(judge::judge)?;
        let answers: BTreeMap<&'static str, (&'static str, Bytes)> =
            Kind::ALL.map(|kind| (kind.path(), (kind.content_type(), kind.answer().into()))).into();
        let upstream = Served::start(move |call| answer(answers.get(call.uri().path()).cloned(), call))?;
        let mut envoys = BTreeMap::new();
        for variant in Variant::with_envoy() {
            let mut config = config(variant)?;
            config.jwks(idp.jwks())?;
            config.cluster_port(APPROVAL_CLUSTER, sink.port())?;
            config.cluster_port(JUDGE_CLUSTER, judge.port())?;
            envoys.insert(variant, Envoy::start(config).await?);
        }
        let token = idp.token("agent@bench", &[])?;
        let tokens: Vec<String> =
            (0..CALLERS).map(|number| idp.token(&format!("agent-{number}@bench"), &[])).collect::<Result<_, _>>()?;
        Ok(Self { token, tokens, envoys, answers: BTreeMap::new(), sink, judge, upstream })
    }

    /// Where a call goes, and what must come back.
    pub(crate) fn target(&self, variant: Variant, calls: &Calls, kind: Kind, wire: Wire) -> Target {
        let answer = self.answers.get(&(variant, kind)).cloned().unwrap_or_default();
        Target { port: self.port(variant), script: calls.allowed(kind), wire, answer }
    }

    /// How long the Envoy of a variant has worked so far, in nanoseconds on a processor.
    pub(crate) fn envoy_cpu_ns(&self, variant: Variant) -> Option<u64> {
        process_usage::cpu_ns(self.envoys.get(&variant)?.pid())
    }

    /// The same for what stands beside it: the service that judges, or the one that records.
    pub(crate) fn beside_cpu_ns(&self, variant: Variant) -> Option<u64> {
        match variant {
            Variant::Direct => self.upstream.cpu_ns(),
            Variant::None | Variant::Native | Variant::Floor => None,
            Variant::ExtAuthz | Variant::ExtProc => self.judge.cpu_ns(),
            Variant::AllowAll | Variant::Holdpoint | Variant::Rules | Variant::Required | Variant::Unrecorded => {
                self.sink.cpu_ns()
            }
        }
    }

    /// Fails unless every variant lets the allowed calls through and all that judge stop the denied one: a filter that
    /// does not judge is fast. Learns what each of them answers.
    pub(crate) async fn prove(&mut self, calls: &Calls) -> anyhow::Result<()> {
        for variant in Variant::ALL {
            let name = variant.as_str();
            let port = self.port(variant);
            for kind in Kind::ALL {
                for wire in Wire::ALL {
                    let answer = load::call_once(port, &calls.allowed(kind), wire).await?;
                    check_answer(variant, kind, &answer.body).with_context(|| {
                        let log = self.envoys.get(&variant).map(Envoy::log).unwrap_or_default();
                        format!("variant `{name}`, {}, {}: {log}", kind.as_str(), wire.as_str())
                    })?;
                    self.answers.insert((variant, kind), answer.body);
                }
            }
            // Afterwards every token was verified once, and that is not what is measured.
            if variant.is_measured(Kind::Callers) {
                load::call_in_turn(port, &calls.allowed(Kind::Callers), CALLERS).await?;
            }
            let denied = load::call_once(port, &calls.denied(), Wire::Http1).await?;
            if (denied.body == UPSTREAM_ANSWER.as_bytes()) == variant.denies() {
                bail!("variant `{name}` does not treat the denied call as it must");
            }
        }
        Ok(())
    }

    /// Resident memory of each Envoy now, in bytes; none where the system does not say.
    pub(crate) fn rss_bytes(&self) -> BTreeMap<Variant, Option<u64>> {
        self.envoys.iter().map(|(variant, envoy)| (*variant, envoy.process().rss_bytes())).collect()
    }

    /// How many entries of the record the filter had to drop.
    pub(crate) async fn audit_lost(&self) -> anyhow::Result<u64> {
        let mut lost = 0;
        for (_, envoy) in self.envoys.iter().filter(|(variant, _)| variant.is_holdpoint()) {
            lost += envoy.stat("wasmcustom.holdpoint.audit_lost_total").await?;
        }
        Ok(lost)
    }

    /// The loopback port of a variant.
    pub(crate) fn port(&self, variant: Variant) -> u16 {
        self.envoys.get(&variant).map_or(self.upstream.port(), Envoy::port)
    }
}

/// The answer that the upstream has for a path, once the whole call has come.
async fn answer(answer: Option<(&'static str, Bytes)>, call: Request<Incoming>) -> Answered {
    let mut body = call.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let (content_type, answer) = answer.unwrap_or_default();
    let mut answered = Response::new(Full::from(answer).boxed());
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    answered.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    answered
}

/// Tool calls come back as the upstream said; lists too, but for what their caller may never call.
fn check_answer(variant: Variant, kind: Kind, body: &[u8]) -> anyhow::Result<()> {
    let Some(count) = kind.tools().filter(|_| variant.hides()) else {
        ensure!(body == kind.answer().as_bytes(), "an allowed call is answered with {}", String::from_utf8_lossy(body));
        return Ok(());
    };
    let answer: Value = serde_json::from_slice(body).context("a list is no JSON")?;
    let names: Vec<&str> =
        answer["result"]["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
    ensure!(names.len() == calls::visible(count), "a list of {count} tools shows {}", names.len());
    ensure!(names.iter().all(|name| name.starts_with("list_")), "a list shows what nobody may call");
    Ok(())
}

/// The filter's document of a variant.
fn document(variant: Variant) -> anyhow::Result<FilterDocument> {
    let mut document = FilterDocument::quickstart(SERVICE_KEY)?;
    document.audit_required = variant == Variant::Required;
    let last_tool = document.policy.find(DENIED_TOOL).context("the quickstart's policy has no denied tool")?;
    let line = document.policy.get(last_tool..).and_then(|rest| rest.find('\n')).context("a line without an end")?;
    document.policy.insert_str(last_tool + line + 1, FAMILIES);
    if variant == Variant::AllowAll {
        let (catalogue, _) = document.policy.split_once("rules:\n").context("the quickstart's policy has no rules")?;
        document.policy = catalogue.replace("default_decision: deny", "default_decision: allow") + "rules: []\n";
    }
    if variant == Variant::Rules {
        for number in 0..RULES {
            let _ = write!(
                document.policy,
                "- id: team-{number}\n  match: {{labels: {{mcp.tool: tool_{number}}}}}\n  decision: deny\n  \
                 reason: \"Tool {number} is not for agents\"\n"
            );
        }
    }
    Ok(document)
}

/// The configuration of a variant; issuer and service are still those of the base.
pub(crate) fn config(variant: Variant) -> anyhow::Result<EnvoyConfig> {
    let mut config = EnvoyConfig::base()?;
    config.workers(1);
    config.wasm_file(match variant {
        Variant::Floor => wasm::floor()?,
        Variant::Unrecorded => wasm::unrecorded()?,
        Variant::Direct
        | Variant::None
        | Variant::Native
        | Variant::ExtAuthz
        | Variant::ExtProc
        | Variant::AllowAll
        | Variant::Holdpoint
        | Variant::Rules
        | Variant::Required => wasm::module()?,
    })?;
    config.filter_document(&document(variant)?.text())?;

    direct_responses(&mut config)?;
    add_judge(&mut config)?;

    let filters = config.connection_manager()?["http_filters"].as_array_mut().context("`http_filters` is no list")?;
    for filter in filters.iter_mut().filter(|filter| filter["name"] == "envoy.filters.http.jwt_authn") {
        filter["typed_config"]["providers"]["idp"]["jwt_cache_config"] = json!({"jwt_cache_size": TOKENS_MAX});
    }
    if !variant.is_holdpoint() {
        filters.retain(|filter| filter["name"] != ROUTE_GUARD);
    }
    let at = filters.iter().position(|filter| filter["name"] == FILTER).context("the base has no Holdpoint filter")?;
    match variant {
        // The same place and the same VM, another module in it.
        Variant::Floor
        | Variant::AllowAll
        | Variant::Holdpoint
        | Variant::Rules
        | Variant::Required
        | Variant::Unrecorded => {}
        Variant::Direct | Variant::None => {
            filters.remove(at);
        }
        Variant::ExtAuthz => {
            filters.splice(at..=at, [ext_authz()]);
        }
        Variant::ExtProc => {
            filters.splice(at..=at, [ext_proc()]);
        }
        Variant::Native => {
            filters.splice(at..=at, native_filters());
        }
    }
    let router = filters.len().saturating_sub(1);
    filters.insert(
        router,
        json!({
            "name": "envoy.filters.http.buffer",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                "max_request_bytes": BODY_BYTES_MAX,
            },
        }),
    );
    Ok(config)
}

/// One route for each path, with the answer for it; all else of the base's route stays.
fn direct_responses(config: &mut EnvoyConfig) -> anyhow::Result<()> {
    let base = config.route()?.clone();
    let mut answers: Vec<(&str, &str, String)> =
        Kind::ALL.map(|kind| (kind.path(), kind.content_type(), kind.answer())).into();
    answers.dedup_by_key(|(path, _, _)| *path);
    let longest = answers.iter().map(|(_, _, body)| body.len()).max().unwrap_or_default();
    let routes = answers.into_iter().map(|(path, content_type, body)| {
        let mut route = base.clone();
        if let Some(route) = route.as_object_mut() {
            route.remove("route");
        }
        route["name"] = json!(path);
        route["match"] = json!({"path": path});
        route["direct_response"] = json!({"status": 200, "body": {"inline_string": body}});
        route["response_headers_to_add"] = json!([{
            "header": {"key": "content-type", "value": content_type},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }]);
        route
    });
    *config.routes()? = routes.collect();
    config.connection_manager()?["route_config"]["max_direct_response_body_size_bytes"] = json!(longest);
    Ok(())
}

/// The service that judges from outside, whether or not a filter of this variant asks it.
fn add_judge(config: &mut EnvoyConfig) -> anyhow::Result<()> {
    let clusters = config.document()["static_resources"]["clusters"].as_array_mut().context("no list of clusters")?;
    clusters.push(json!({
        "name": JUDGE_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": JUDGE_CLUSTER, "endpoints": [{"lb_endpoints": [{"endpoint": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        }}]}]},
    }));
    config.cluster_speaks_http2(JUDGE_CLUSTER)
}

/// Each call goes out with its body, and on when the service says so.
fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "failure_mode_allow": false,
            "with_request_body": {
                "max_request_bytes": BODY_BYTES_MAX, "allow_partial_message": false, "pack_as_bytes": true,
            },
            "grpc_service": {"envoy_grpc": {"cluster_name": JUDGE_CLUSTER}, "timeout": "30s"},
        },
    })
}

/// Each body goes out whole, and on as it is when the service says so. Heads and answers stay in Envoy.
fn ext_proc() -> Value {
    json!({
        "name": "envoy.filters.http.ext_proc",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "failure_mode_allow": false,
            "message_timeout": "30s",
            "processing_mode": {
                "request_header_mode": "SKIP", "request_body_mode": "BUFFERED", "request_trailer_mode": "SKIP",
                "response_header_mode": "SKIP", "response_body_mode": "NONE", "response_trailer_mode": "SKIP",
            },
            "grpc_service": {"envoy_grpc": {"cluster_name": JUDGE_CLUSTER}, "timeout": "30s"},
        },
    })
}

/// The strictest settings that the native filters have: what they cannot read does not pass.
fn native_filters() -> [Value; 2] {
    let from_message = |path: &[&str], value: &str| {
        let path: Vec<Value> = path.iter().map(|key| json!({"key": key})).collect();
        let matcher = json!({
            "filter": "envoy.filters.http.mcp",
            "path": path,
            "value": {"string_match": {"exact": value}},
        });
        json!({"sourced_metadata": {"metadata_matcher": matcher}})
    };
    let mcp = json!({
        "name": "envoy.filters.http.mcp",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.mcp.v3.Mcp",
            "traffic_mode": "REJECT_NO_MCP",
            "max_request_body_size": BODY_BYTES_MAX,
            "reject_duplicate_keys": true,
        },
    });
    let rules = json!([from_message(&["method"], "tools/call"), from_message(&["params", "name"], DENIED_TOOL)]);
    let rbac = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "DENY", "policies": {"admin-never": {
                "principals": [{"any": true}],
                "permissions": [{"and_rules": {"rules": rules}}],
            }}},
        },
    });
    [mcp, rbac]
}
