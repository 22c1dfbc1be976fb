//! Finds the filter inside an Envoy or Kubernetes file, and checks the settings around it that carry weight. Before step 1.

use holdpoint_core::policy;
use holdpoint_core::yaml::{Kind, Node};

use super::finding::Finding;
use super::source::Value;
use super::{bootstrap, mesh};

/// Our name in `name` or `root_id` of a plugin.
pub const NAME: &str = "holdpoint";

/// What was found in one document of a file.
#[derive(Debug, Default)]
pub struct Found {
    /// The texts that reach the filter.
    pub values: Vec<Value>,
    pub findings: Vec<Finding>,
    /// The filter is there, and Envoy reads its document from elsewhere.
    pub is_discovered: bool,
}

/// Walks the whole document: bootstrap, discovery file, `EnvoyFilter` and `EnvoyPatchPolicy` hold the same messages at
/// different depths.
pub fn find(root: &Node) -> Found {
    let mut found = Found::default();
    walk(root, &mut found);
    bootstrap::check(root, &found.values, &mut found.findings);
    mesh::check(root, &found.values, &mut found.findings);
    if text_at(root, "kind") == Some("WasmPlugin") || text_at(root, "kind") == Some("TrafficExtension") {
        let message = "this resource cannot set `allow_on_headers_stop_iteration`, without which no body is read before \
                       the head is forwarded: use an `EnvoyFilter` (`holdpoint policy render --target istio`)";
        found.findings.push(Finding::error("flag-cannot-be-set", root.at, message));
    }
    found
}

fn walk(node: &Node, found: &mut Found) {
    match &node.kind {
        Kind::Map(entries) => {
            if let Some(configuration) = plugin_configuration(node) {
                plugin(node, configuration, found);
            }
            if let Some(filters) = either(node, "http_filters", "httpFilters") {
                connection_manager(node, filters, found);
            }
            for (_, value) in entries {
                walk(value, found);
            }
        }
        Kind::Seq(items) => items.iter().for_each(|item| walk(item, found)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => {}
    }
}

/// Whether an HTTP filter is ours: by what it holds, or by its name where it comes from elsewhere.
pub fn is_ours(filter: &Node) -> bool {
    configuration(filter).is_some() || text_at(filter, "name") == Some(NAME)
}

/// The text that one of our filters reads, where it stands in the filter.
pub fn document(filter: &Node) -> Option<&Node> {
    configuration(filter)?.get("value")
}

fn configuration(filter: &Node) -> Option<&Node> {
    either(filter, "typed_config", "typedConfig")?.get("config").and_then(plugin_configuration)
}

/// The `configuration` of a `PluginConfig` that is ours, by its name or by what it holds.
fn plugin_configuration(node: &Node) -> Option<&Node> {
    let configuration = node.get("configuration")?;
    let is_plugin = either(node, "vm_config", "vmConfig").is_some() || either(node, "root_id", "rootId").is_some();
    let named =
        text_at(node, "name") == Some(NAME) || either(node, "root_id", "rootId").and_then(Node::as_str) == Some(NAME);
    let holds_ours = || {
        let text = text_at(configuration, "value").unwrap_or_default();
        text.contains("policy:") && text.contains("approval:")
    };
    (is_plugin && (named || holds_ours())).then_some(configuration)
}

fn plugin(node: &Node, configuration: &Node, found: &mut Found) {
    let kind = text_at(configuration, "@type").unwrap_or_default();
    let value = configuration.get("value");
    match value.and_then(Value::of) {
        Some(value) if kind.ends_with("google.protobuf.StringValue") => found.values.push(value),
        Some(_) | None => {
            let message = "the filter's configuration must be a text: `\"@type\": \
                           type.googleapis.com/google.protobuf.StringValue` with `value: |`; as a `Struct` it loses \
                           duplicate keys and changes numbers before the filter sees it";
            found.findings.push(Finding::error("not-a-string-value", configuration.at, message));
        }
    }
    let flag = either(node, "allow_on_headers_stop_iteration", "allowOnHeadersStopIteration");
    if !flag.is_some_and(|flag| flag.kind == Kind::Bool(true)) {
        let message = "`allow_on_headers_stop_iteration: true` is missing: without it no body can be judged before the \
                       head has left for the server";
        found.findings.push(Finding::error("flag-missing", flag.map_or(node.at, |flag| flag.at), message));
    }
    let failure = either(node, "failure_policy", "failurePolicy");
    if failure.and_then(Node::as_str) != Some("FAIL_RELOAD") {
        let message = "write `failure_policy: FAIL_RELOAD`: FAIL_OPEN lets every call through on a worker whose VM died, \
                       FAIL_CLOSED (the default) refuses there until Envoy is restarted";
        found.findings.push(Finding::error("failure-policy", failure.map_or(node.at, |failure| failure.at), message));
    }
}

/// What stands behind the filter in the same chain.
fn connection_manager(manager: &Node, filters: &Node, found: &mut Found) {
    let Kind::Seq(chain) = &filters.kind else { return };
    let mut ours = chain.iter().enumerate().filter_map(|(index, filter)| {
        let mut inside = Found::default();
        let config = either(filter, "typed_config", "typedConfig")?;
        let plugin = config.get("config").and_then(plugin_configuration);
        if plugin.is_none() && text_at(filter, "name") != Some(NAME) {
            return None;
        }
        walk(config, &mut inside);
        Some((index, inside.values))
    });
    let discovered = |filter: &Node| {
        text_at(filter, "name") == Some(NAME) && either(filter, "config_discovery", "configDiscovery").is_some()
    };
    let elsewhere = chain.iter().position(discovered);
    found.is_discovered |= elsewhere.is_some();
    let Some((index, values)) = ours.next().or(elsewhere.map(|index| (index, Vec::new()))) else { return };
    let guard =
        chain.iter().skip(index.saturating_add(1)).find(|filter| type_of(filter).ends_with("http.rbac.v3.RBAC"));
    let documents: Vec<_> = values.iter().filter_map(|value| policy::read_file(&value.text).ok()).collect();
    guarded(guard, filters, documents.iter().flat_map(|document| document.servers.keys()), &mut found.findings);
    retries_below(manager, &mut found.findings);
    if let Some(hold_ms_max) = values.iter().find_map(|value| hold_ms_max(&value.text)) {
        idle_timeouts_below(manager, hold_ms_max, &mut found.findings);
    }
}

/// The filter behind ours that has the last word on the route: that it is there, and has a policy for each server.
pub fn guarded<'s>(
    guard: Option<&Node>,
    around: &Node,
    servers: impl Iterator<Item = &'s String>,
    findings: &mut Vec<Finding>,
) {
    match guard {
        None => {
            let message = "no RBAC filter stands behind the filter: after a header has changed, Envoy may choose a route \
                           that was not judged, and only RBAC can see it (see `envoy/README.md`)";
            findings.push(Finding::error("route-guard-missing", around.at, message));
        }
        Some(guard) => {
            for server in servers.filter(|server| !names(guard, server)) {
                let message = format!(
                    "the RBAC filter has no policy for server `{server}`: its calls would be judged and then refused"
                );
                findings.push(Finding::error("route-guard-lacks-server", guard.at, &message));
            }
        }
    }
}

/// The server that a route says it leads to.
pub fn route_server(route: &Node) -> Option<&str> {
    route_metadata(route, "server").and_then(Node::as_str)
}

/// One word of what a route says to the filter.
pub fn route_metadata<'n>(route: &'n Node, word: &str) -> Option<&'n Node> {
    either(route.get("metadata")?, "filter_metadata", "filterMetadata")?.get(NAME)?.get(word)
}

/// Every governed route below: what its retries may repeat.
pub fn retries_below(node: &Node, findings: &mut Vec<Finding>) {
    match &node.kind {
        Kind::Map(entries) => {
            if route_server(node).is_some()
                && let Some(policy) = node.get("route").and_then(|action| either(action, "retry_policy", "retryPolicy"))
            {
                retry_policy(policy, findings);
            }
            entries.iter().for_each(|(_, value)| retries_below(value, findings));
        }
        Kind::Seq(items) => items.iter().for_each(|item| retries_below(item, findings)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => {}
    }
}

/// The causes of one retry policy.
pub fn retry_policy(policy: &Node, findings: &mut Vec<Finding>) {
    let retry_on = either(policy, "retry_on", "retryOn");
    let causes = mesh::unsafe_causes(retry_on.and_then(Node::as_str).unwrap_or_default());
    if !causes.is_empty() {
        let message = format!(
            "Envoy would repeat a call on {}, when the server may have seen it: write \
             `retry_on: \"connect-failure,refused-stream\"`",
            causes.join(", ")
        );
        findings.push(Finding::error("unsafe-retries", retry_on.map_or(policy.at, |node| node.at), &message));
    }
}

/// Everything below that ends a quiet stream must outlast the longest hold.
pub fn idle_timeouts_below(node: &Node, hold_ms_max: u64, findings: &mut Vec<Finding>) {
    const NAMES: [&str; 4] = ["stream_idle_timeout", "streamIdleTimeout", "idle_timeout", "idleTimeout"];
    match &node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                match key.as_str() {
                    // A connection that carries a stream is not idle.
                    Some("common_http_protocol_options" | "commonHttpProtocolOptions") => {}
                    Some(key) if NAMES.contains(&key) => idle_timeout(value, hold_ms_max, findings),
                    _ => idle_timeouts_below(value, hold_ms_max, findings),
                }
            }
        }
        Kind::Seq(items) => items.iter().for_each(|item| idle_timeouts_below(item, hold_ms_max, findings)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => {}
    }
}

/// One such clock.
pub fn idle_timeout(duration: &Node, hold_ms_max: u64, findings: &mut Vec<Finding>) {
    let Some(ms) = duration.as_str().and_then(duration_ms) else { return };
    if ms != 0 && ms <= hold_ms_max {
        let message = format!(
            "a stream may be quiet for {ms} ms, but calls are held for up to {hold_ms_max} ms (`hold_ms_max`): write \
             at least {}s",
            hold_ms_max / 1_000 + 10
        );
        findings.push(Finding::error("idle-timeout-too-short", duration.at, &message));
    }
}

/// `approval.hold_ms_max` of a filter document that the filter would take.
fn hold_ms_max(text: &str) -> Option<u64> {
    let config = holdpoint_core::config::FilterConfig::read(text.as_bytes()).ok()?;
    Some(config.approval.hold_ms_max)
}

/// A duration of protobuf's JSON form, `1.5s`.
fn duration_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1_000.0) as u64)
}

/// Whether any value below `node` is exactly `name`.
pub fn names(node: &Node, name: &str) -> bool {
    match &node.kind {
        Kind::Str(text) => text == name,
        Kind::Map(entries) => entries.iter().any(|(_, value)| names(value, name)),
        Kind::Seq(items) => items.iter().any(|item| names(item, name)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => false,
    }
}

pub fn type_of(filter: &Node) -> &str {
    either(filter, "typed_config", "typedConfig").and_then(|config| text_at(config, "@type")).unwrap_or_default()
}

/// Protobuf's JSON form takes both spellings of a field.
pub fn either<'n>(node: &'n Node, snake: &str, camel: &str) -> Option<&'n Node> {
    node.get(snake).or_else(|| node.get(camel))
}

pub fn text_at<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    node.get(name).and_then(Node::as_str)
}
