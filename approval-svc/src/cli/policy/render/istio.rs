//! An Istio `EnvoyFilter`: the pieces of the one emitter as patches of what istiod makes. Before step 1.
//!
//! Nothing in it may be skipped and leave a call ungoverned: what istiod skips without a word (a route or a host that is not
//! there) carries the metadata by which the filter recognises a server, so that a call on such a route is refused.

use anyhow::{Context, ensure};
use holdpoint_core::yaml::Node;

use super::document::Document;
use super::gateway::{Gateway, discovered_filter};
use super::options::{KubernetesArgs, Proxy, ServiceArgs, Target, per_server};
use super::tree::{at, list, map, set, snippet, text, whole};

/// What is to be known before it is applied.
pub const HEAD: &str = "\
Made by `holdpoint policy render --target istio`. Needs Envoy 1.37 or later.
* The filter governs everything that these proxies serve, and refuses what leads to no server of the policy: use a gateway
  of its own for MCP, not one that other traffic shares.
* The gateway's pod needs the token file (and the filter, if it is a file): mount them, for a sidecar by the annotation
  sidecar.istio.io/userVolumeMount.
* Statistics and their labels are part of the bootstrap: restart these proxies once after the first time.
* Large policies: `kubectl apply --server-side` keeps no copy in an annotation; `policy check` tells when that is needed.";

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";
const GUARD: &str = "envoy.filters.http.rbac";

/// The resource.
pub fn envoy_filter(
    mut gateway: Gateway,
    document: &Document,
    service: &ServiceArgs,
    args: &KubernetesArgs,
) -> anyhow::Result<Node> {
    let mut patches = Vec::new();
    // A cluster of our own: gateways leave out those that no route names, and a MERGE into one that is not there is skipped
    // without a word.
    for mut cluster in gateway.own_clusters()? {
        let is_service = cluster.get("name").and_then(Node::as_str) == Some(&document.config.approval.cluster);
        if let (true, Some(identity)) = (is_service, &service.service_identity) {
            set(&mut cluster, "transport_socket", mesh_tls(identity)?)?;
        }
        watch_mounted_file(&mut cluster, service.token_file(Target::Istio));
        patches.push(patch("CLUSTER", matching(args, None)?, "ADD", cluster));
    }
    for mut filter in gateway.http_filters()? {
        let before = matching(args, Some(ROUTER))?;
        let name = filter.get("name").and_then(Node::as_str).unwrap_or_default().to_owned();
        match name.as_str() {
            // By discovery, so that a new policy does not end what is held; and only there can the agent fetch a module.
            "holdpoint" => {
                let source = snippet("{ads: {}, initial_fetch_timeout: 0s}")?;
                patches.push(patch("HTTP_FILTER", before, "INSERT_BEFORE", discovered_filter(source)?));
                patches.push(patch("EXTENSION_CONFIG", matching(args, None)?, "ADD", filter));
            }
            // Istio's own authorisation has that name.
            GUARD => {
                set(&mut filter, "name", text("holdpoint.route_guard"))?;
                patches.push(patch("HTTP_FILTER", before, "INSERT_BEFORE", filter));
            }
            _ => patches.push(patch("HTTP_FILTER", before, "INSERT_BEFORE", filter)),
        }
    }
    patches.push(manager(&mut gateway, args)?);
    if document.config.identity.iter().any(|source| source.proof.reads_certificate()) {
        patches.push(no_resumption(args)?);
    }
    for (name, place) in per_server("--host", "mcp.example:80", &args.hosts, &document.policy)? {
        let server = document.policy.servers.get(&name).context("the catalogue has changed")?;
        let metadata = server.recognised_by.route_metadata.first().context("a server without a name")?;
        // One patch with the metadata and the retries: Istio's default would repeat a call that had a 503.
        let route = gateway.route(document, metadata)?;
        patches.push(patch("HTTP_ROUTE", route_match(args, &name, place)?, "MERGE", route));
    }
    patches.push(statistics(&mut gateway)?);
    let mut spec = vec![selection(args)?];
    spec.push(("configPatches", list(patches)));
    Ok(map([
        ("apiVersion", text("networking.istio.io/v1alpha3")),
        ("kind", text("EnvoyFilter")),
        ("metadata", map([("name", text(&args.name)), ("namespace", text(&args.namespace))])),
        ("spec", map(spec)),
    ]))
}

/// Which proxies. Never all of a namespace: one selector too few would govern, and refuse, other people's traffic.
fn selection(args: &KubernetesArgs) -> anyhow::Result<(&'static str, Node)> {
    if args.context == Proxy::Waypoint {
        ensure!(args.workload.is_empty(), "--workload has no effect for a waypoint: leave it out");
        let name = args.gateway.as_ref().context("say which waypoint: --gateway NAME")?;
        let target =
            map([("group", text("gateway.networking.k8s.io")), ("kind", text("Gateway")), ("name", text(name))]);
        return Ok(("targetRefs", list([target])));
    }
    ensure!(args.gateway.is_none(), "--gateway has no effect here: say which proxies by --workload");
    ensure!(
        !args.workload.is_empty(),
        "say which proxies run the filter, `--workload istio=mcp-gateway`: without it every proxy of namespace `{}` would",
        args.namespace
    );
    let labels = args.workload.iter().map(|label| (label.name.as_str(), text(&label.value)));
    Ok(("workloadSelector", map([("labels", map(labels))])))
}

fn patch(apply_to: &'static str, matching: Node, operation: &'static str, value: Node) -> Node {
    map([
        ("applyTo", text(apply_to)),
        ("match", matching),
        ("patch", map([("operation", text(operation)), ("value", value)])),
    ])
}

fn context_of(args: &KubernetesArgs) -> (&'static str, Node) {
    let word = match args.context {
        Proxy::Gateway => "GATEWAY",
        Proxy::Sidecar => "SIDECAR_INBOUND",
        Proxy::Waypoint => "WAYPOINT",
    };
    ("context", text(word))
}

/// A match of the connection manager, or of one HTTP filter in it; of everything for what is no part of a listener.
fn matching(args: &KubernetesArgs, http_filter: Option<&str>) -> anyhow::Result<Node> {
    let mut filter = map([("name", text(MANAGER))]);
    if let Some(name) = http_filter {
        set(&mut filter, "subFilter", map([("name", text(name))]))?;
    }
    Ok(match (args.context, http_filter) {
        (Proxy::Waypoint, Some(_)) => map([context_of(args), ("waypoint", map([("filter", filter)]))]),
        (Proxy::Waypoint, None) => map([context_of(args), ("waypoint", snippet("{}")?)]),
        (_, Some(_)) => {
            let chain = map([("filter", filter)]);
            map([context_of(args), ("listener", map([("filterChain", chain)]))])
        }
        (_, None) => map([context_of(args)]),
    })
}

fn manager(gateway: &mut Gateway, args: &KubernetesArgs) -> anyhow::Result<Node> {
    let filter = map([("name", text(MANAGER))]);
    let matching = match args.context {
        Proxy::Waypoint => map([context_of(args), ("waypoint", map([("filter", filter)]))]),
        Proxy::Gateway | Proxy::Sidecar => {
            map([context_of(args), ("listener", map([("filterChain", map([("filter", filter)]))]))])
        }
    };
    let settings = gateway.manager()?;
    let kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let settings = settings.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let typed = map([("@type", text(kind))].into_iter().chain(settings));
    Ok(patch("NETWORK_FILTER", matching, "MERGE", map([("name", text(MANAGER)), ("typed_config", typed)])))
}

/// See envoy/mtls.yaml: a resumed session repeats no proof.
fn no_resumption(args: &KubernetesArgs) -> anyhow::Result<Node> {
    let value = snippet(
        "transport_socket:\n  name: envoy.transport_sockets.tls\n  typed_config:\n    \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext\n    \
         disable_stateless_session_resumption: true\n    disable_stateful_session_resumption: true\n",
    )?;
    Ok(patch("FILTER_CHAIN", matching(args, None)?, "MERGE", value))
}

/// Every route of a host, or of a port. Hosts of a gateway are called `host:port`.
fn route_match(args: &KubernetesArgs, name: &str, place: &str) -> anyhow::Result<Node> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .map(|port| whole(port.into()))
            .with_context(|| format!("--host {name}={place}: expected the port of the server, such as {name}=8080"))
    };
    Ok(match args.context {
        Proxy::Gateway => {
            let (host, number) = place.rsplit_once(':').unwrap_or((place, "80"));
            port(number)?;
            let vhost = map([("name", text(format!("{host}:{number}")))]);
            map([context_of(args), ("routeConfiguration", map([("vhost", vhost)]))])
        }
        Proxy::Sidecar => map([context_of(args), ("routeConfiguration", map([("portNumber", port(place)?)]))]),
        Proxy::Waypoint => map([context_of(args), ("waypoint", map([("portNumber", port(place)?)]))]),
    })
}

/// Istio counts only what its list names, and gives the filter's counters no labels.
fn statistics(gateway: &mut Gateway) -> anyhow::Result<Node> {
    let mut value = snippet(
        "stats_config:\n  stats_tags: []\n  stats_matcher:\n    inclusion_list:\n      patterns:\n      - {prefix: \
         wasmcustom.holdpoint}\n      - {prefix: wasm.holdpoint}\n      - {prefix: extension_config_discovery}\n",
    )?;
    *at(&mut value, "stats_config/stats_tags")? = gateway.stats_tags()?;
    let bootstrap = map([("operation", text("MERGE")), ("value", value)]);
    Ok(map([("applyTo", text("BOOTSTRAP")), ("patch", bootstrap)]))
}

/// The mesh's certificates, and one identity on the other side.
fn mesh_tls(identity: &str) -> anyhow::Result<Node> {
    ensure!(
        identity.starts_with("spiffe://"),
        "--service-identity: expected the whole identity, such as spiffe://cluster.local/ns/holdpoint/sa/holdpoint"
    );
    let source = "sds_config: {api_config_source: {api_type: GRPC, transport_api_version: V3, set_node_on_first_message_only: \
                  true, grpc_services: [{envoy_grpc: {cluster_name: sds-grpc}}]}, initial_fetch_timeout: 0s, \
                  resource_api_version: V3}";
    let mut socket = snippet(&format!(
        "name: envoy.transport_sockets.tls\ntyped_config:\n  \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n  common_tls_context:\n    \
         alpn_protocols: [istio-h2, h2]\n    tls_certificate_sds_secret_configs:\n    - {{name: default, {source}}}\n    \
         combined_validation_context:\n      default_validation_context:\n        match_typed_subject_alt_names: \
         [{{san_type: URI, matcher: {{exact: \"\"}}}}]\n      validation_context_sds_secret_config: {{name: ROOTCA, \
         {source}}}\n"
    ))?;
    let exact = "typed_config/common_tls_context/combined_validation_context/default_validation_context/\
                 match_typed_subject_alt_names/0/matcher/exact";
    *at(&mut socket, exact)? = text(identity);
    Ok(socket)
}

/// A mounted secret changes by a link beside the file, which Envoy notices only by watching the directory.
pub fn watch_mounted_file(cluster: &mut Node, token_file: &str) {
    let source = "typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters/0/\
                  typed_config/credential/typed_config/credential/sds_config/path_config_source";
    let directory = token_file.rsplit_once('/').map_or(".", |(directory, _)| directory);
    if let Ok(source) = at(cluster, source) {
        let _ = set(source, "watched_directory", map([("path", text(directory))]));
    }
}
