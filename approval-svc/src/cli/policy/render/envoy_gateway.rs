//! An `EnvoyPatchPolicy` of Envoy Gateway: the pieces of the one emitter as JSON patches of its xDS. Before step 1.
//!
//! A path that is not there fails the whole patch, which the resource's status says; nothing is skipped in silence.

use anyhow::{Context, ensure};
use holdpoint_core::yaml::Node;

use super::document::Document;
use super::gateway::Gateway;
use super::istio::watch_mounted_file;
use super::options::{KubernetesArgs, ServiceArgs, Target, per_server};
use super::tree::{at, list, map, text, whole};

/// What is to be known before it is applied.
pub const HEAD: &str = "\
Made by `holdpoint policy render --target envoy-gateway`. Needs Envoy 1.37 or later, and
`extensionApis: {enableEnvoyPatchPolicy: true}` in Envoy Gateway's own configuration.
* The filter governs everything on this listener, and refuses what leads to no server of the policy: use a listener of its
  own for MCP.
* The proxy's pod needs the filter and the token file: mount them by an EnvoyProxy resource.
* `kubectl get envoypatchpolicy` must say Programmed: a patch that fits nothing is refused there, and then nothing applies.
* Large policies: `kubectl apply --server-side` keeps no copy in an annotation; `policy check` tells when that is needed.";

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const MANAGER: &str = r#"..filters[?(@.name == "envoy.filters.network.http_connection_manager")].typed_config"#;
const ROUTER: &str = r#"..http_filters[?(@.name == "envoy.filters.http.router")]"#;

/// The resource.
pub fn patch_policy(
    mut gateway: Gateway,
    document: &Document,
    service: &ServiceArgs,
    args: &KubernetesArgs,
) -> anyhow::Result<Node> {
    let gateway_name = args.gateway.as_ref().context("say which Gateway: --gateway NAME")?;
    let listener = format!("{}/{gateway_name}/{}", args.namespace, args.listener);
    let mut patches = Vec::new();
    for mut cluster in gateway.own_clusters()? {
        watch_mounted_file(&mut cluster, service.token_file(Target::EnvoyGateway));
        let name = cluster.get("name").and_then(Node::as_str).unwrap_or_default().to_owned();
        patches.push(patch(CLUSTER, &name, None, Some(""), cluster));
    }
    // Its default of 32 KiB would refuse ordinary calls.
    let bytes = whole(Gateway::buffer_bytes(document));
    patches.push(patch(LISTENER, &listener, None, Some("/per_connection_buffer_limit_bytes"), bytes));
    // Each in front of the router, so that the first stays the first.
    for filter in gateway.http_filters()? {
        patches.push(patch(LISTENER, &listener, Some(ROUTER), None, filter));
    }
    for (key, value) in gateway.manager()? {
        patches.push(patch(LISTENER, &listener, Some(MANAGER), Some(&format!("/{key}")), value));
    }
    for (name, host) in per_server("--host", "mcp.example", &args.hosts, &document.policy)? {
        ensure!(!host.contains([':', '"', '\\']), "--host {name}={host}: expected the hostname of the HTTPRoute alone");
        let server = document.policy.servers.get(&name).context("the catalogue has changed")?;
        let metadata = server.recognised_by.route_metadata.first().context("a server without a name")?;
        let vhost = format!("{listener}/{}", host.replace('.', "_"));
        let routes = format!(r#"$.virtual_hosts[?(@.name == "{vhost}")].routes[*]"#);
        let mut route = gateway.route(document, metadata)?;
        // Value by value: whatever else Envoy Gateway has put on the route stays there.
        for path in [
            "metadata/filter_metadata/holdpoint",
            "request_body_buffer_limit",
            "route/timeout",
            "route/idle_timeout",
            "route/retry_policy",
        ] {
            let value = at(&mut route, path)?.clone();
            patches.push(patch(ROUTES, &listener, Some(&routes), Some(&format!("/{path}")), value));
        }
    }
    let target =
        map([("group", text("gateway.networking.k8s.io")), ("kind", text("Gateway")), ("name", text(gateway_name))]);
    Ok(map([
        ("apiVersion", text("gateway.envoyproxy.io/v1alpha1")),
        ("kind", text("EnvoyPatchPolicy")),
        ("metadata", map([("name", text(&args.name)), ("namespace", text(&args.namespace))])),
        ("spec", map([("targetRef", target), ("type", text("JSONPatch")), ("jsonPatches", list(patches))])),
    ]))
}

fn patch(kind: &'static str, name: &str, json_path: Option<&str>, path: Option<&str>, value: Node) -> Node {
    let operation = [
        Some(("op", text("add"))),
        json_path.map(|json_path| ("jsonPath", text(json_path))),
        path.map(|path| ("path", text(path))),
        Some(("value", value)),
    ];
    map([("type", text(kind)), ("name", text(name)), ("operation", map(operation.into_iter().flatten()))])
}
