//! Envoy Gateway: the rendered `EnvoyPatchPolicy`, applied to what it makes of a Gateway and an HTTPRoute, and run.

use anyhow::{Context, bail, ensure};
use holdpoint_core::yaml;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use serde_json::{Map, Value, json};

use crate::rig::Rig;
use crate::schema;

const WORDS: [&str; 6] = ["-n", "mcp", "--gateway", "edge", "--host", "tracker=tracker.example"];
const NAME: &str = "mcp/edge/http";

#[tokio::test]
async fn rendered_patches_govern_a_listener() -> anyhow::Result<()> {
    let rig = Rig::start().await?;
    let text = rig.render("envoy-gateway", &WORDS)?;
    rig.check(&text)?;
    let node = yaml::read(&text, &yaml::Limits::default()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let resource = yaml::to_json(&node);
    schema::accepts("envoy-gateway-envoypatchpolicy.yaml", &resource)?;

    let (mut listener, mut routes, mut clusters) = translated(rig.upstream.port());
    for patch in resource["spec"]["jsonPatches"].as_array().context("jsonPatches")? {
        let target = match patch["type"].as_str().and_then(|kind| kind.rsplit('.').next()) {
            Some("Cluster") if patch["operation"]["path"] == "" => {
                clusters.push(patch["operation"]["value"].clone());
                continue;
            }
            Some("Listener") => &mut listener,
            Some("RouteConfiguration") => &mut routes,
            _ => bail!("{patch}"),
        };
        ensure!(patch["name"] == NAME, "{patch}");
        apply(&patch["operation"], target)?;
    }
    ensure!(listener["per_connection_buffer_limit_bytes"] == 1_048_576, "32 KiB would refuse ordinary calls");
    let kept = "/virtual_hosts/0/routes/0/metadata/filter_metadata/envoy-gateway/resources/0/name";
    ensure!(routes.pointer(kept) == Some(&json!("tracker")), "what Envoy Gateway put on the route stays");
    // Routes come by discovery there; here they stand in the listener.
    let manager = listener.pointer_mut("/default_filter_chain/filters/0/typed_config").context("a manager")?;
    let members = manager.as_object_mut().context("a mapping")?;
    members.remove("rds");
    members.insert("route_config".to_owned(), routes);
    let config = EnvoyConfig::of_document(json!({
        "node": {"id": "edge-0", "cluster": "mcp/edge"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [listener], "clusters": clusters},
        "stats_config": {"stats_tags": [{"tag_name": "verdict", "regex": "^wasmcustom\\.holdpoint\\.decisions_total(\\.verdict\\.([a-z_]+))$"}]},
    }))?;
    let config = rig.with_token(config)?;
    let (content, said) = Envoy::validate(&config)?;
    ensure!(content, "{said}");
    let envoy = Envoy::start(config).await?;
    rig.tells_the_story(&envoy, "tracker.example").await
}

/// Listener, routes and clusters as Envoy Gateway makes them: names, order and defaults are its own.
fn translated(server_port: u16) -> (Value, Value, Vec<Value>) {
    let cluster = "httproute/mcp/tracker/rule/0";
    let listener = json!({
        "name": NAME,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "per_connection_buffer_limit_bytes": 32_768,
        "default_filter_chain": {"name": NAME, "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true}}],
                "merge_slashes": true, "normalize_path": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
                "rds": {"config_source": {"ads": {}, "resource_api_version": "V3"}, "route_config_name": NAME},
                "stat_prefix": "http-10080", "use_remote_address": true,
            },
        }]},
    });
    let routes = json!({"name": NAME, "ignore_port_in_host_matching": true, "virtual_hosts": [{
        "name": "mcp/edge/http/tracker_example", "domains": ["tracker.example"],
        "routes": [{
            "name": "httproute/mcp/tracker/rule/0/match/0/tracker_example", "match": {"prefix": "/"},
            "metadata": {"filter_metadata": {"envoy-gateway": {"resources": [{"kind": "HTTPRoute", "name": "tracker", "namespace": "mcp"}]}}},
            "route": {"cluster": cluster, "upgrade_configs": [{"upgrade_type": "websocket"}]},
        }],
    }]});
    let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": server_port}}}}]}]);
    let upstream = json!({
        "name": cluster, "type": "STATIC", "connect_timeout": "10s",
        "load_assignment": {"cluster_name": cluster, "endpoints": endpoints},
    });
    (listener, routes, vec![upstream])
}

/// One `add`: at its path, or below everything that its JSONPath finds. Missing objects on the way are made, as there.
fn apply(operation: &Value, target: &mut Value) -> anyhow::Result<()> {
    ensure!(operation["op"] == "add", "{operation}");
    let path = operation["path"].as_str().unwrap_or_default();
    let pointers = match operation["jsonPath"].as_str() {
        Some(json_path) => found(target, json_path)?,
        None => vec![String::new()],
    };
    ensure!(!pointers.is_empty(), "nothing is found: {operation}");
    for pointer in pointers {
        add(target, &format!("{pointer}{path}"), &operation["value"])?;
    }
    Ok(())
}

fn add(target: &mut Value, pointer: &str, value: &Value) -> anyhow::Result<()> {
    let (parent, last) = pointer.rsplit_once('/').context("a pointer")?;
    let mut here = target;
    for step in parent.split('/').skip(1) {
        here = match here {
            Value::Array(items) => items.get_mut(step.parse::<usize>()?).context("an index")?,
            Value::Object(members) => members.entry(step).or_insert_with(|| Value::Object(Map::new())),
            _ => bail!("{pointer} goes through a scalar"),
        };
    }
    match here {
        Value::Array(items) => items.insert(last.parse()?, value.clone()),
        Value::Object(members) => drop(members.insert(last.to_owned(), value.clone())),
        _ => bail!("{pointer} ends in a scalar"),
    }
    Ok(())
}

/// The pointers that one step of a path leads to from a value at a pointer.
type Step<'a> = Box<dyn Fn(&Value, &str) -> Vec<String> + 'a>;

/// The JSON pointers of what a JSONPath of RFC 9535 finds; of its steps only those that are rendered.
fn found(target: &Value, json_path: &str) -> anyhow::Result<Vec<String>> {
    let mut here = vec![String::new()];
    let mut rest = json_path.strip_prefix('$').unwrap_or(json_path);
    while !rest.is_empty() {
        let (step, after): (Step<'_>, &str) = if let Some(after) = rest.strip_prefix("[*]") {
            (
                Box::new(|value, at| {
                    (0..value.as_array().map_or(0, Vec::len)).map(|index| format!("{at}/{index}")).collect()
                }),
                after,
            )
        } else if let Some((name, after)) =
            rest.strip_prefix("[?(@.name == \"").and_then(|rest| rest.split_once("\")]"))
        {
            let step = move |value: &Value, at: &str| {
                let items = value.as_array().into_iter().flatten().enumerate();
                items.filter(|(_, item)| item["name"] == name).map(|(index, _)| format!("{at}/{index}")).collect()
            };
            (Box::new(step), after)
        } else if let Some(after) = rest.strip_prefix("..") {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = &after[..end];
            (Box::new(move |value, at| below(value, at, name)), &after[end..])
        } else {
            let after = rest.strip_prefix('.').context("a step")?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = &after[..end];
            (
                Box::new(move |value, at| value.get(name).map(|_| format!("{at}/{name}")).into_iter().collect()),
                &after[end..],
            )
        };
        here = here.iter().flat_map(|at| target.pointer(at).map(|value| step(value, at)).unwrap_or_default()).collect();
        rest = after;
    }
    Ok(here)
}

fn below(value: &Value, at: &str, name: &str) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (format!("{at}/{index}"), value)).collect()
        }
        _ => Vec::new(),
    };
    let own = value.get(name).map(|_| format!("{at}/{name}"));
    own.into_iter().chain(inside.into_iter().flat_map(|(at, value)| below(value, &at, name))).collect()
}
