//! The Envoys that are compared: the shipped base configuration, with nothing changed but the filter under test.
//!
//! In all of them alike the upstream is a `direct_response`, so that its cost hides nothing; a `buffer` filter stands
//! before it, because it would otherwise answer before the body has come; and `jwt_authn` stays, with its cache on:
//! checking a signature anew for every call would take longer than any filter.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::{APPROVAL_CLUSTER, EnvoyConfig, FILTER, ROUTE_GUARD};
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::idp::Idp;
use holdpoint_tests::wasm;

use crate::calls::{BodySize, Calls};
use crate::load::{self, Target};
use crate::process_usage;
use crate::record_sink::RecordSink;

/// What the upstream answers to every call.
pub(crate) const UPSTREAM_ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#;

/// Any key will do: no call that is measured is held, so nothing is ever verified with it.
const SERVICE_KEY: &str = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";

/// How many rules are many.
const RULES: usize = 1_000;

/// Larger than any body of this run; the native filter refuses bodies over 8 KB unless told.
const BODY_BYTES_MAX: u64 = 1_048_576;

/// What stands between client and upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// Nothing that reads MCP.
    None,
    /// The Holdpoint filter with the quickstart's policy.
    Holdpoint,
    /// The same with a thousand further rules, none of which matches.
    Rules,
    /// The same as `Holdpoint`, where each call waits until its entry in the record is acknowledged.
    Required,
    /// Envoy's own `mcp` filter, and `rbac` with the quickstart's one unconditional denial.
    Native,
}

impl Variant {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Native, Self::Holdpoint, Self::Rules, Self::Required];

    /// All, each round beginning with another one: whoever comes first finds the machine as the last one left it.
    pub(crate) fn in_turn(round: u32) -> impl Iterator<Item = Self> {
        let first = usize::try_from(round).unwrap_or(0) % Self::ALL.len();
        Self::ALL.into_iter().cycle().skip(first).take(Self::ALL.len())
    }

    /// Whether our filter stands there.
    pub(crate) fn is_holdpoint(self) -> bool {
        match self {
            Self::None | Self::Native => false,
            Self::Holdpoint | Self::Rules | Self::Required => true,
        }
    }

    /// Its word in the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Holdpoint => "holdpoint",
            Self::Rules => "holdpoint, 1,000 rules",
            Self::Required => "holdpoint, record required",
            Self::Native => "native",
        }
    }
}

/// One running Envoy per variant, and what they need.
pub(crate) struct Gateways {
    /// A caller's token that all of them accept.
    pub(crate) token: String,
    envoys: BTreeMap<Variant, Envoy>,
    // The filter sends its record there for as long as it runs.
    _sink: RecordSink,
}

impl Gateways {
    /// Starts all of them.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let idp = Idp::new()?;
        let sink = RecordSink::start()?;
        let mut envoys = BTreeMap::new();
        for variant in Variant::ALL {
            let mut config = config(variant)?;
            config.jwks(idp.jwks())?;
            config.cluster_port(APPROVAL_CLUSTER, sink.port())?;
            envoys.insert(variant, Envoy::start(config).await?);
        }
        Ok(Self { token: idp.token("agent@bench", &[])?, envoys, _sink: sink })
    }

    /// The Envoy of a variant.
    pub(crate) fn envoy(&self, variant: Variant) -> &Envoy {
        &self.envoys[&variant]
    }

    /// Fails unless every variant lets the allowed calls through and all but `none` stop the denied one: a filter that
    /// does not judge is fast.
    pub(crate) async fn prove(&self, calls: &Calls) -> anyhow::Result<()> {
        for (variant, envoy) in &self.envoys {
            let name = variant.as_str();
            let reaches = async |message| -> anyhow::Result<bool> {
                let answer = load::call_once(&Target { port: envoy.port(), message }).await?;
                Ok(answer.body == UPSTREAM_ANSWER.as_bytes())
            };
            for size in BodySize::ALL {
                if !reaches(calls.allowed(size)).await? {
                    bail!("variant `{name}` refuses the {} call that it must allow: {}", size.as_str(), envoy.log());
                }
            }
            let must_reach = match variant {
                Variant::None => true,
                Variant::Native | Variant::Holdpoint | Variant::Rules | Variant::Required => false,
            };
            if reaches(calls.denied()).await? != must_reach {
                bail!("variant `{name}` does not treat the denied call as it must");
            }
        }
        Ok(())
    }

    /// Resident memory of each Envoy now, in bytes; none where the system does not say.
    pub(crate) fn rss_bytes(&self) -> BTreeMap<Variant, Option<u64>> {
        self.envoys.iter().map(|(variant, envoy)| (*variant, process_usage::rss_bytes(envoy.pid()))).collect()
    }

    /// How many entries of the record the filter had to drop.
    pub(crate) async fn audit_lost(&self) -> anyhow::Result<u64> {
        self.envoy(Variant::Holdpoint).stat("wasmcustom.holdpoint.audit_lost_total").await
    }
}

/// The filter's document of a variant.
fn document(variant: Variant) -> anyhow::Result<FilterDocument> {
    let mut document = FilterDocument::quickstart(SERVICE_KEY)?;
    document.audit_required = variant == Variant::Required;
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
    config.wasm_file(wasm::module()?)?;
    config.filter_document(&document(variant)?.text())?;

    let route = config.route()?.as_object_mut().context("the base's route is not an object")?;
    route.remove("route");
    route.insert("direct_response".to_owned(), json!({"status": 200, "body": {"inline_string": UPSTREAM_ANSWER}}));

    let filters = config.connection_manager()?["http_filters"].as_array_mut().context("`http_filters` is no list")?;
    for filter in filters.iter_mut().filter(|filter| filter["name"] == "envoy.filters.http.jwt_authn") {
        filter["typed_config"]["providers"]["idp"]["jwt_cache_config"] = json!({"jwt_cache_size": 100});
    }
    if !variant.is_holdpoint() {
        filters.retain(|filter| filter["name"] != ROUTE_GUARD);
    }
    let at = filters.iter().position(|filter| filter["name"] == FILTER).context("the base has no Holdpoint filter")?;
    match variant {
        Variant::Holdpoint | Variant::Rules | Variant::Required => {}
        Variant::None => {
            filters.remove(at);
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
    let rules = json!([from_message(&["method"], "tools/call"), from_message(&["params", "name"], "delete_project")]);
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
