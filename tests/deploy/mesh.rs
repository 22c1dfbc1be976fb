//! What istiod does with an `EnvoyFilter`, for the few patches that are rendered: each is applied as Istio's documentation
//! says, and one that fits nothing is an error here where Istio would skip it in silence.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

/// The bootstrap, and what discovery would answer.
pub(crate) struct Patched {
    pub(crate) bootstrap: Value,
    /// By name: what `ads` has for the filters that are read by discovery.
    pub(crate) extensions: Map<String, Value>,
}

/// A gateway or sidecar as istiod makes one for a server at `server_port`: names, order of filters and retries are Istio's.
pub(crate) fn proxy(is_gateway: bool, listen: u16, server_port: u16) -> Value {
    let (route_config, host, domains, cluster) = if is_gateway {
        ("http.80", "tracker.example:80", json!(["tracker.example"]), "outbound|8080||tracker.tools.svc.cluster.local")
    } else {
        ("inbound|8080||", "inbound|http|8080", json!(["*"]), "inbound|8080||")
    };
    let filter = |name: &str, kind: &str| {
        let kind = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}");
        json!({"name": format!("envoy.filters.http.{name}"), "typed_config": {"@type": kind}})
    };
    let retries = json!({
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2, "retriable_status_codes": [503],
    });
    let route = json!({
        "name": "default", "match": {"prefix": "/"}, "decorator": {"operation": "tracker"},
        "metadata": {"filter_metadata": {"istio": {"config": "/apis/networking.istio.io/v1/tracker"}}},
        "route": {"cluster": cluster, "timeout": "0s", "retry_policy": retries},
    });
    let endpoint = |port: u16| json!({"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}]});
    json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "node": {"id": "router~10.0.0.1~mcp-gateway.mcp~mcp.svc.cluster.local", "cluster": "mcp-gateway.mcp"},
        // What Istio counts unless it is told more.
        "stats_config": {"use_all_default_tags": false, "stats_tags": [], "stats_matcher": {"inclusion_list": {"patterns": [
            {"prefix": "reporter="}, {"prefix": "listener_manager"}, {"prefix": "component"}, {"prefix": "istio"}]}}},
        "static_resources": {
            "listeners": [{
                "name": "0.0.0.0_8080",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": listen}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "outbound_0.0.0.0_8080", "use_remote_address": is_gateway,
                        "forward_client_cert_details": if is_gateway { "SANITIZE_SET" } else { "APPEND_FORWARD" },
                        "normalize_path": true,
                        "http_filters": [
                            filter("grpc_stats", "grpc_stats.v3.FilterConfig"), filter("fault", "fault.v3.HTTPFault"),
                            filter("cors", "cors.v3.Cors"), filter("router", "router.v3.Router")],
                        "route_config": {"name": route_config, "virtual_hosts": [
                            {"name": host, "domains": domains, "routes": [route]}]},
                    },
                }]}],
            }],
            "clusters": [{
                "name": cluster, "type": "STATIC", "connect_timeout": "10s",
                "load_assignment": {"cluster_name": cluster, "endpoints": [endpoint(server_port)]},
            }],
        },
    })
}

/// Applies every patch of the resource, in its order.
pub(crate) fn apply(resource: &Value, mut bootstrap: Value) -> anyhow::Result<Patched> {
    let mut extensions = Map::new();
    for patch in resource["spec"]["configPatches"].as_array().context("configPatches")? {
        let (matching, value) = (&patch["match"], &patch["patch"]["value"]);
        let what = format!("{} {}", patch["applyTo"], patch["patch"]["operation"]);
        match (patch["applyTo"].as_str(), patch["patch"]["operation"].as_str()) {
            (Some("BOOTSTRAP"), Some("MERGE")) => merge(&mut bootstrap, value),
            (Some("CLUSTER"), Some("ADD")) => array(&mut bootstrap, "/static_resources/clusters")?.push(value.clone()),
            (Some("EXTENSION_CONFIG"), Some("ADD")) => {
                extensions.insert(value["name"].as_str().context("a name")?.to_owned(), value["typed_config"].clone());
            }
            (Some("HTTP_FILTER"), Some("INSERT_BEFORE")) => {
                let name = find(matching, "subFilter").context("a filter before which")?["name"].clone();
                let filters = array(&mut bootstrap, &format!("{MANAGER}/http_filters"))?;
                let at = filters.iter().position(|filter| filter["name"] == name).with_context(|| what.clone())?;
                filters.insert(at, value.clone());
            }
            (Some("NETWORK_FILTER"), Some("MERGE")) => {
                let manager = bootstrap.pointer_mut(MANAGER).context("a manager")?;
                merge(manager, &value["typed_config"]);
            }
            (Some("HTTP_ROUTE"), Some("MERGE")) => {
                let config = bootstrap.pointer_mut(&format!("{MANAGER}/route_config")).context("routes")?;
                let inbound_port = config["name"].as_str().and_then(|name| name.split('|').nth(1)).map(str::to_owned);
                let wanted = &matching["routeConfiguration"];
                let fits_port =
                    wanted["portNumber"].is_null() || Some(wanted["portNumber"].to_string()) == inbound_port;
                let mut merged = 0;
                for host in config["virtual_hosts"].as_array_mut().into_iter().flatten() {
                    let name = &wanted["vhost"]["name"];
                    if fits_port && (name.is_null() || *name == host["name"]) {
                        for route in host["routes"].as_array_mut().into_iter().flatten() {
                            merge(route, value);
                            merged += 1;
                        }
                    }
                }
                ensure!(merged > 0, "{what}: nothing fits {wanted}, and Istio would not say so");
            }
            _ => bail!("{what}: rendered, and not known here"),
        }
    }
    Ok(Patched { bootstrap, extensions })
}

impl Patched {
    /// Puts files in the place of the control plane: for the filter by discovery, and for the mesh's certificates.
    pub(crate) fn without_control_plane(mut self, dir: &Path, secrets: Option<&Path>) -> anyhow::Result<Value> {
        for filter in array(&mut self.bootstrap, &format!("{MANAGER}/http_filters"))? {
            let Some(source) = filter.pointer_mut("/config_discovery/config_source") else { continue };
            ensure!(source["ads"].is_object(), "the filter comes from the control plane: {source}");
            let name = filter["name"].as_str().context("a name")?.to_owned();
            let typed_config =
                self.extensions.remove(&name).with_context(|| format!("nothing is delivered for `{name}`"))?;
            let path = dir.join(format!("{name}.json"));
            let resource = json!({
                "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": name, "typed_config": typed_config,
            });
            std::fs::write(&path, json!({"resources": [resource]}).to_string())?;
            filter["config_discovery"]["config_source"] =
                json!({"resource_api_version": "V3", "path_config_source": {"path": path}});
        }
        ensure!(self.extensions.is_empty(), "delivered and asked for by nobody: {:?}", self.extensions.keys());
        if let Some(secrets) = secrets {
            from_files(&mut self.bootstrap, secrets);
        }
        Ok(self.bootstrap)
    }
}

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// As protobuf merges: messages and maps member by member, lists one behind the other, all else replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(key).or_else(|| members.values().find_map(|value| find(value, key))),
        Value::Array(items) => items.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

fn array<'v>(value: &'v mut Value, pointer: &str) -> anyhow::Result<&'v mut Vec<Value>> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).with_context(|| format!("no list at {pointer}"))
}

/// Every certificate that Istio's agent would hand out, from the file `<name>.json`.
fn from_files(value: &mut Value, dir: &Path) {
    match value {
        Value::Object(members) => {
            let is_agent = members.get("sds_config").is_some_and(|source| source["api_config_source"].is_object());
            if is_agent && let Some(name) = members.get("name").and_then(Value::as_str) {
                let path = dir.join(format!("{name}.json"));
                members.insert(
                    "sds_config".to_owned(),
                    json!({"resource_api_version": "V3", "path_config_source": {"path": path}}),
                );
            }
            members.values_mut().for_each(|value| from_files(value, dir));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| from_files(value, dir)),
        _ => {}
    }
}
