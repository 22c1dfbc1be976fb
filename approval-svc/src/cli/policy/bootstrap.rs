//! What a whole Envoy configuration needs around the filter, and what somebody who copies the filter alone leaves out: Envoy
//! itself misses none of it. Before step 1.

use std::collections::BTreeSet;

use holdpoint_core::config::{FilterConfig, Proof};
use holdpoint_core::policy;
use holdpoint_core::yaml::{Kind, Node, Place};

use super::finding::Finding;
use super::mesh::items;
use super::plugin::{self, NAME, either, names, route_metadata, text_at, type_of};
use super::source::Value;

/// What one filter of the file reads.
struct Known {
    /// Where its text stands.
    at: Place,
    config: FilterConfig,
    /// Whether every server is recognised by the route. One that is recognised by something else needs no metadata.
    by_route: bool,
}

impl Known {
    fn read(value: &Value) -> Option<Self> {
        let config = FilterConfig::read(value.text.as_bytes()).ok()?;
        let document = policy::read_file(&value.text).ok()?;
        let by_route = document.servers.values().all(|server| !server.recognised_by.route_metadata.is_empty());
        Some(Self { at: value.at, config, by_route })
    }
}

/// Checks a bootstrap; `values` are the filter documents in it.
pub fn check(root: &Node, values: &[Value], findings: &mut Vec<Finding>) {
    let Some(resources) = either(root, "static_resources", "staticResources") else { return };
    if names(resources, NAME) {
        node(root, findings);
    }
    let known: Vec<Known> = values.iter().filter_map(Known::read).collect();
    if either(root, "dynamic_resources", "dynamicResources").is_none() {
        let wanted: BTreeSet<&str> = known.iter().map(|one| one.config.approval.cluster.as_str()).collect();
        wanted.into_iter().for_each(|name| cluster(resources, name, findings));
    }
    managers_below(resources, &known, findings);
}

/// Envoy reads no secret from a file unless it knows its own name.
fn node(root: &Node, findings: &mut Vec<Finding>) {
    let is_named = root.get("node").is_some_and(|node| ["id", "cluster"].iter().all(|key| node.get(key).is_some()));
    if has_key(root, &["path_config_source", "pathConfigSource"]) && !is_named {
        let message = "Envoy reads no secret from a file without a name of its own: add `node: {id: …, cluster: …}`, or start it \
                       with `--service-node` and `--service-cluster`";
        findings.push(Finding::warning("node-missing", root.at, message));
    }
}

fn cluster(resources: &Node, name: &str, findings: &mut Vec<Finding>) {
    let clusters = resources.get("clusters");
    if !items(clusters).any(|cluster| text_at(cluster, "name") == Some(name)) {
        let message = format!(
            "there is no cluster `{name}` (`approval.cluster`): every call that needs an approval would be refused; \
             `envoy/envoy.yaml` has one to copy"
        );
        findings.push(Finding::error("cluster-missing", clusters.unwrap_or(resources).at, &message));
    }
}

/// Every connection manager below that runs the filter.
fn managers_below(node: &Node, known: &[Known], findings: &mut Vec<Finding>) {
    match &node.kind {
        Kind::Map(entries) => {
            if let Some(filters) = either(node, "http_filters", "httpFilters") {
                manager(node, filters, known, findings);
            }
            entries.iter().for_each(|(_, value)| managers_below(value, known, findings));
        }
        Kind::Seq(all) => all.iter().for_each(|item| managers_below(item, known, findings)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => {}
    }
}

fn manager(manager: &Node, filters: &Node, known: &[Known], findings: &mut Vec<Finding>) {
    let chain: Vec<&Node> = items(Some(filters)).collect();
    let Some(at) = chain.iter().position(|filter| plugin::is_ours(filter)) else { return };
    let (before, ours) = chain.split_at(at);
    // Its own document and nobody else's; of one that comes from elsewhere nothing is known.
    let document = ours.first().and_then(|filter| plugin::document(filter));
    let own = document.and_then(|document| known.iter().find(|one| one.at == document.at));
    // What comes from elsewhere may be what verifies.
    let is_all_here = before.iter().all(|filter| either(filter, "config_discovery", "configDiscovery").is_none());
    for source in own.iter().flat_map(|own| &own.config.identity).filter(|_| is_all_here) {
        let Proof::Jwt { metadata_key } = &source.proof else { continue };
        if !before.iter().any(|filter| verifies(filter, metadata_key)) {
            let message = format!(
                "no `jwt_authn` before the filter writes `payload_in_metadata: {metadata_key}`, which `identity` reads: no token \
                 would say who calls"
            );
            findings.push(Finding::error("tokens-unverified", filters.at, &message));
        }
    }
    let remote = either(manager, "use_remote_address", "useRemoteAddress");
    if !remote.is_some_and(|remote| remote.kind == Kind::Bool(true)) {
        let message = "`use_remote_address: true` is missing: a caller chooses its own `x-request-id`, and its `x-envoy-*` headers \
                       may set timeouts and retries";
        findings.push(Finding::warning("caller-headers-believed", remote.unwrap_or(manager).at, message));
    }
    let hosts = either(manager, "route_config", "routeConfig")
        .and_then(|routes| either(routes, "virtual_hosts", "virtualHosts"));
    let by_route = own.is_some_and(|own| own.by_route);
    for route in items(hosts).flat_map(|host| items(host.get("routes"))).filter(|_| by_route) {
        let is_passed =
            route_metadata(route, "passthrough").is_some_and(|passthrough| passthrough.kind == Kind::Bool(true));
        if plugin::route_server(route).is_none() && !is_passed {
            let message = "the route names no server of the policy: everything on it is refused; give it \
                           `metadata: {filter_metadata: {holdpoint: {server: …}}}`, or `passthrough: true` if no MCP server is \
                           behind it";
            findings.push(Finding::warning("route-without-server", route.at, message));
        }
    }
}

/// Whether a filter verifies tokens and writes what they say under this word.
fn verifies(filter: &Node, metadata_key: &str) -> bool {
    let typed = either(filter, "typed_config", "typedConfig");
    let providers = typed.and_then(|typed| typed.get("providers")).map(|providers| &providers.kind);
    let Some(Kind::Map(providers)) = providers else { return false };
    let writes = |provider: &Node| {
        let word = either(provider, "payload_in_metadata", "payloadInMetadata");
        word.and_then(Node::as_str) == Some(metadata_key)
    };
    type_of(filter).ends_with(".JwtAuthentication") && providers.iter().any(|(_, provider)| writes(provider))
}

/// Whether any map below `node` has one of these keys.
fn has_key(node: &Node, keys: &[&str]) -> bool {
    match &node.kind {
        Kind::Map(entries) => entries
            .iter()
            .any(|(key, value)| key.as_str().is_some_and(|key| keys.contains(&key)) || has_key(value, keys)),
        Kind::Seq(all) => all.iter().any(|item| has_key(item, keys)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => false,
    }
}
