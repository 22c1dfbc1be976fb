//! The one emitter: the embedded base, edited as nodes into the gateway of a policy. Every target takes its pieces from here.

use anyhow::{Context, bail, ensure};
use holdpoint_core::config::Proof;
use holdpoint_core::yaml::{Kind, Node};

use super::document::Document;
use super::options::{Endpoint, EnvoyArgs, ServiceArgs, Target, TokenArgs, per_server};
use super::tree::{at, items, list, map, named, seconds, set, snippet, text, whole};

/// The same files that tests, demo and users start from.
const BASE: &str = include_str!("../../../../../envoy/envoy.yaml");
const MTLS: &str = include_str!("../../../../../envoy/mtls.yaml");

const LISTENER: &str = "static_resources/listeners/0";
const CHAIN: &str = "static_resources/listeners/0/filter_chains/0";
const MANAGER: &str = "static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const CLUSTERS: &str = "static_resources/clusters";
const UPSTREAM_OPTIONS: &str =
    "typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

const FILTER: &str = "holdpoint";
const TOKENS: &str = "envoy.filters.http.jwt_authn";
const GUARD: &str = "envoy.filters.http.rbac";
const IDP_CLUSTER: &str = "holdpoint-idp";
/// Envoy's own default; what is read whole must fit in it.
const BUFFER_BYTES_DEFAULT: u64 = 1_048_576;
/// How much later than the longest hold a quiet stream ends.
const IDLE_MARGIN_MS: u64 = 10_000;

/// The base on its way to a target.
pub struct Gateway {
    root: Node,
}

impl Gateway {
    /// The base with filter, token check, route guard, approval service and clocks as the document needs them; its
    /// servers and its listener are still those of the base.
    pub fn assemble(
        target: Target,
        document: &Document,
        service: &ServiceArgs,
        token: &TokenArgs,
    ) -> anyhow::Result<Self> {
        let mut gateway = Self { root: snippet(BASE)? };
        gateway.filter(document, service.module(target).map(|module| code(module, service)).transpose()?)?;
        if target != Target::Ecds {
            gateway.callers(document, token)?;
        }
        gateway.guard(document)?;
        gateway.approval_cluster(document, service, service.token_file(target))?;
        let idle = seconds(gateway.idle_ms(document));
        set(at(&mut gateway.root, MANAGER)?, "stream_idle_timeout", idle)?;
        let bytes = Self::buffer_bytes(document);
        if bytes > BUFFER_BYTES_DEFAULT {
            set(at(&mut gateway.root, LISTENER)?, "per_connection_buffer_limit_bytes", whole(bytes))?;
        }
        Ok(gateway)
    }

    /// What Envoy has to buffer for one stream.
    pub fn buffer_bytes(document: &Document) -> u64 {
        document.config.limits.answer_bytes_max.max(BUFFER_BYTES_DEFAULT)
    }

    fn idle_ms(&self, document: &Document) -> u64 {
        document.config.approval.hold_ms_max.saturating_add(IDLE_MARGIN_MS)
    }

    fn filter(&mut self, document: &Document, code: Option<Node>) -> anyhow::Result<()> {
        let config = at(self.filter_named(FILTER)?, "typed_config/config")?;
        set(at(config, "configuration")?, "value", text(&document.text))?;
        match code {
            Some(code) => set(at(config, "vm_config")?, "code", code),
            None => Ok(()),
        }
    }

    /// `jwt_authn` for the document's token source, and what shows the filter a client certificate.
    fn callers(&mut self, document: &Document, token: &TokenArgs) -> anyhow::Result<()> {
        let keys: Vec<&String> = document
            .config
            .identity
            .iter()
            .filter_map(|source| match &source.proof {
                Proof::Jwt { metadata_key } => Some(metadata_key),
                Proof::MtlsUriSan | Proof::Header { .. } => None,
            })
            .collect();
        match keys[..] {
            [] => {
                ensure!(
                    token.issuer.is_none(),
                    "`identity.sources` has no `jwt`, so --issuer would have no effect: leave it out"
                );
                items(self.filters()?)?.retain(|filter| filter.get("name").and_then(Node::as_str) != Some(TOKENS));
            }
            [key] => self.tokens(key, token)?,
            _ => bail!("`identity.sources` has several `jwt` sources; one is rendered: add further providers by hand"),
        }
        if document.config.identity.iter().any(|source| source.proof.reads_certificate()) {
            let mut mtls = snippet(MTLS)?;
            let peer = at(&mut mtls, "http_filter")?.clone();
            let filters = items(self.filters()?)?;
            let before = filters.iter().position(|filter| filter.get("name").and_then(Node::as_str) == Some(FILTER));
            filters.insert(before.context("the base has no filter")?, peer);
        }
        Ok(())
    }

    fn tokens(&mut self, metadata_key: &str, token: &TokenArgs) -> anyhow::Result<()> {
        let (Some(issuer), false) = (&token.issuer, token.audiences.is_empty()) else {
            bail!("the document believes tokens: say whose and for whom, --issuer and --audience");
        };
        let keys = match (&token.jwks_file, &token.jwks_uri) {
            (Some(file), None) => {
                let keys =
                    std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
                let read: serde_json::Value = serde_json::from_str(&keys)
                    .with_context(|| format!("`{}` is no JWKS: expected JSON", file.display()))?;
                ensure!(read["keys"].is_array(), "`{}` is no JWKS: it has no list `keys`", file.display());
                ("local_jwks", map([("inline_string", text(read.to_string()))]))
            }
            (None, Some(uri)) => {
                items(at(&mut self.root, CLUSTERS)?)?.push(idp_cluster(uri)?);
                let http_uri = map([("uri", text(uri)), ("cluster", text(IDP_CLUSTER)), ("timeout", seconds(5_000))]);
                ("remote_jwks", map([("http_uri", http_uri), ("cache_duration", seconds(300_000))]))
            }
            _ => bail!("the document believes tokens: say by which keys, --jwks-file or --jwks-uri"),
        };
        let provider = at(self.filter_named(TOKENS)?, "typed_config/providers/idp")?;
        if let Kind::Map(entries) = &mut provider.kind {
            entries.retain(|(key, _)| key.as_str() != Some("local_jwks"));
        }
        set(provider, "issuer", text(issuer))?;
        set(provider, "audiences", list(token.audiences.iter().map(text)))?;
        set(provider, "payload_in_metadata", text(metadata_key))?;
        set(provider, keys.0, keys.1)
    }

    /// One policy for each server; the one for passthrough routes stays as the base has it.
    fn guard(&mut self, document: &Document) -> anyhow::Result<()> {
        let policies = at(self.filter_named(GUARD)?, "typed_config/rules/policies")?;
        let passthrough = policies.get("passthrough").context("the base guards no passthrough routes")?.clone();
        let of_server = |(name, server): (&String, &holdpoint_core::policy::Server)| {
            let permissions = server.recognised_by.route_metadata.iter().map(|metadata| {
                let exact = map([("string_match", map([("exact", text(metadata))]))]);
                let matcher = map([
                    ("filter", text("holdpoint")),
                    ("path", list([map([("key", text("server"))])])),
                    ("value", exact),
                ]);
                map([("sourced_metadata", map([("metadata_matcher", matcher), ("metadata_source", text("ROUTE"))]))])
            });
            let judged_for =
                map([("key", text("wasm.holdpoint.server")), ("string_match", map([("exact", text(name))]))]);
            let policy =
                map([("permissions", list(permissions)), ("principals", list([map([("filter_state", judged_for)])]))]);
            // A prefix, so that no server's name is that of the other policy.
            (format!("server {name}"), policy)
        };
        let servers: Vec<(String, Node)> = document.policy.servers.iter().map(of_server).collect();
        let all = servers.iter().map(|(name, policy)| (name.as_str(), policy.clone()));
        *policies = map(all.chain([("passthrough", passthrough)]));
        Ok(())
    }

    fn approval_cluster(&mut self, document: &Document, service: &ServiceArgs, token_file: &str) -> anyhow::Result<()> {
        let cluster = named(at(&mut self.root, CLUSTERS)?, FILTER)?;
        let name = &document.config.approval.cluster;
        set(cluster, "name", text(name))?;
        set(at(cluster, "load_assignment")?, "cluster_name", text(name))?;
        endpoint(cluster, &service.service)?;
        let options = at(cluster, UPSTREAM_OPTIONS)?;
        let injector = named(at(options, "http_filters")?, "envoy.filters.http.credential_injector")?;
        let source = at(injector, "typed_config/credential/typed_config/credential/sds_config/path_config_source")?;
        set(source, "path", text(watchable(token_file)))
    }

    /// A whole Envoy configuration: listener, routes and clusters of each server.
    pub fn envoy(mut self, document: &Document, args: &EnvoyArgs) -> anyhow::Result<Node> {
        let upstreams = per_server("--server", "mcp.internal:8080", &args.servers, &document.policy)?;
        *at(&mut self.root, &format!("{LISTENER}/address"))? = address(&args.listen);
        self.listener_tls(document, args)?;
        let idle = seconds(self.idle_ms(document));
        let base_host = at(&mut self.root, &format!("{MANAGER}/route_config/virtual_hosts/0"))?.clone();
        let base_cluster = named(at(&mut self.root, CLUSTERS)?, "tracker")?.clone();
        let mut reached = Vec::new();
        let mut clusters = Vec::new();
        for (name, upstream) in upstreams {
            let upstream: Endpoint = upstream.parse().map_err(|error| anyhow::anyhow!("--server {name}: {error}"))?;
            let server = document.policy.servers.get(&name).context("the catalogue has changed")?;
            // A catalogue may recognise its server by the cluster too.
            let cluster_name =
                server.recognised_by.clusters.first().cloned().unwrap_or_else(|| format!("server-{name}"));
            ensure!(cluster_name != document.config.approval.cluster, "the approval cluster has a server's name");
            let mut cluster = base_cluster.clone();
            set(&mut cluster, "name", text(&cluster_name))?;
            set(at(&mut cluster, "load_assignment")?, "cluster_name", text(&cluster_name))?;
            endpoint(&mut cluster, &upstream)?;
            clusters.push(cluster);

            let (host, prefix) = reached_by(&name, args, document.policy.servers.len())?;
            let metadata = server.recognised_by.route_metadata.first().context("a server without a name")?;
            let mut routes = at(&mut base_host.clone(), "routes")?.clone();
            for route in items(&mut routes)? {
                let was = route.get("name").and_then(Node::as_str).unwrap_or_default().replace("tracker", &name);
                set(route, "name", text(was))?;
                set(at(route, "match")?, "prefix", text(&prefix))?;
                *at(route, "metadata/filter_metadata/holdpoint/server")? = text(metadata);
                set(at(route, "route")?, "cluster", text(&cluster_name))?;
                if route.get("route").is_some_and(|action| action.get("retry_policy").is_some()) {
                    set(at(route, "route")?, "idle_timeout", idle.clone())?;
                    let bytes = document.config.limits.body_bytes_max.saturating_mul(2);
                    set(route, "request_body_buffer_limit", whole(bytes))?;
                }
            }
            reached.push(Reached { host, prefix, routes: std::mem::take(items(&mut routes)?) });
        }
        *at(&mut self.root, &format!("{MANAGER}/route_config/virtual_hosts"))? = virtual_hosts(reached);
        let all = items(at(&mut self.root, CLUSTERS)?)?;
        all.retain(|cluster| cluster.get("name").and_then(Node::as_str) != Some("tracker"));
        all.splice(0..0, clusters);
        if let Some(path) = &args.ecds_file {
            *self.filter_named(FILTER)? =
                discovered_filter(map([("path_config_source", map([("path", text(watchable(path)))]))]))?;
        }
        Ok(self.root)
    }

    fn listener_tls(&mut self, document: &Document, args: &EnvoyArgs) -> anyhow::Result<()> {
        let reads_certificates = document.config.identity.iter().any(|source| source.proof.reads_certificate());
        let (Some(certificate), Some(key), Some(roots)) = (&args.certificate, &args.private_key, &args.client_ca)
        else {
            ensure!(
                !reads_certificates,
                "`identity.sources` believes client certificates: give --certificate, --private-key and --client-ca"
            );
            return Ok(());
        };
        ensure!(
            reads_certificates,
            "`identity.sources` reads no client certificate, so --client-ca would have no effect"
        );
        let mut mtls = snippet(MTLS)?;
        let socket = at(&mut mtls, "transport_socket")?;
        let context = at(socket, "typed_config/common_tls_context")?;
        *at(context, "tls_certificates/0/certificate_chain/filename")? = text(certificate);
        *at(context, "tls_certificates/0/private_key/filename")? = text(key);
        *at(context, "validation_context/trusted_ca/filename")? = text(roots);
        let socket = socket.clone();
        set(at(&mut self.root, CHAIN)?, "transport_socket", socket)
    }

    /// The HTTP filters in front of the router, in their order, ours among them.
    pub fn http_filters(&mut self) -> anyhow::Result<Vec<Node>> {
        let mut filters = self.filters()?.clone();
        let mut filters = std::mem::take(items(&mut filters)?);
        filters.retain(|filter| filter.get("name").and_then(Node::as_str) != Some("envoy.filters.http.router"));
        Ok(filters)
    }

    /// The settings of the connection manager that carry weight, without filters, routes and names.
    pub fn manager(&mut self) -> anyhow::Result<Vec<(String, Node)>> {
        const NOT_SETTINGS: [&str; 5] = ["@type", "stat_prefix", "codec_type", "http_filters", "route_config"];
        let manager = at(&mut self.root, MANAGER)?;
        let Kind::Map(entries) = &manager.kind else { bail!("the base has no connection manager") };
        let settings = entries.iter().filter_map(|(key, value)| Some((key.as_str()?, value)));
        Ok(settings
            .filter(|(key, _)| !NOT_SETTINGS.contains(key))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect())
    }

    /// What a route to a server of this metadata says besides its match and its cluster.
    pub fn route(&mut self, document: &Document, metadata: &str) -> anyhow::Result<Node> {
        let idle = seconds(self.idle_ms(document));
        let routes = at(&mut self.root, &format!("{MANAGER}/route_config/virtual_hosts/0/routes"))?;
        let mut route = items(routes)?.last().context("the base has no route")?.clone();
        if let Kind::Map(entries) = &mut route.kind {
            entries.retain(|(key, _)| !matches!(key.as_str(), Some("name" | "match")));
        }
        *at(&mut route, "metadata/filter_metadata/holdpoint/server")? = text(metadata);
        set(&mut route, "request_body_buffer_limit", whole(document.config.limits.body_bytes_max.saturating_mul(2)))?;
        let action = at(&mut route, "route")?;
        if let Kind::Map(entries) = &mut action.kind {
            entries.retain(|(key, _)| key.as_str() != Some("cluster"));
        }
        set(action, "idle_timeout", idle)?;
        Ok(route)
    }

    /// The clusters that are not the MCP servers': the approval service, and the issuer's where keys are fetched.
    pub fn own_clusters(&mut self) -> anyhow::Result<Vec<Node>> {
        let mut clusters = items(at(&mut self.root, CLUSTERS)?)?.clone();
        clusters.retain(|cluster| cluster.get("name").and_then(Node::as_str) != Some("tracker"));
        Ok(clusters)
    }

    /// Rules by which the filter's metrics get labels.
    pub fn stats_tags(&mut self) -> anyhow::Result<Node> {
        Ok(at(&mut self.root, "stats_config/stats_tags")?.clone())
    }

    /// The filter as a discovery resource.
    pub fn discovery(mut self) -> anyhow::Result<Node> {
        let typed = at(self.filter_named(FILTER)?, "typed_config")?.clone();
        let resource = map([
            ("@type", text("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig")),
            ("name", text(FILTER)),
            ("typed_config", typed),
        ]);
        Ok(map([("resources", list([resource]))]))
    }

    fn filters(&mut self) -> anyhow::Result<&mut Node> {
        at(&mut self.root, &format!("{MANAGER}/http_filters"))
    }

    fn filter_named(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        named(self.filters()?, name)
    }
}

/// The filter, to be read from elsewhere. Until it has come, Envoy does not listen.
pub fn discovered_filter(source: Node) -> anyhow::Result<Node> {
    let mut source = source;
    set(&mut source, "resource_api_version", text("V3"))?;
    let discovery = map([
        ("config_source", source),
        ("type_urls", list([text("type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm")])),
    ]);
    Ok(map([("name", text(FILTER)), ("config_discovery", discovery)]))
}

fn code(module: &str, service: &ServiceArgs) -> anyhow::Result<Node> {
    if !module.contains("://") {
        ensure!(service.module_sha256.is_none(), "--module-sha256 belongs to a module that is fetched from an address");
        return Ok(map([("local", map([("filename", text(module))]))]));
    }
    let is_digest = |hex: &&String| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sha256 = service.module_sha256.as_ref().filter(is_digest);
    let sha256 = sha256.context("a module from an address needs --module-sha256, 64 hexadecimal digits")?;
    // Istio's agent fetches it and hands Envoy a file, so that the cluster is never used; Envoy wants one all the same.
    let uri = map([("uri", text(module)), ("cluster", text("_")), ("timeout", seconds(30_000))]);
    Ok(map([("remote", map([("http_uri", uri), ("sha256", text(sha256))]))]))
}

/// How clients reach one server.
struct Reached {
    host: String,
    prefix: String,
    routes: Vec<Node>,
}

/// One virtual host for each host. Envoy takes the first route that fits, so that the longest prefix comes first.
fn virtual_hosts(mut reached: Vec<Reached>) -> Node {
    reached.sort_by(|a, b| a.host.cmp(&b.host).then(b.prefix.len().cmp(&a.prefix.len())));
    let of_host = |all: &[Reached]| {
        let host = all.first().map_or("*", |one| one.host.as_str());
        let name = if host == "*" { "any" } else { host };
        let routes = list(all.iter().flat_map(|one| one.routes.iter().cloned()));
        map([("name", text(name)), ("domains", list([text(host)])), ("routes", routes)])
    };
    list(reached.chunk_by(|a, b| a.host == b.host).map(of_host))
}

/// `[host]/prefix` of a server: everything, when it is the only one.
fn reached_by(name: &str, args: &EnvoyArgs, servers: usize) -> anyhow::Result<(String, String)> {
    let mut given = args.routes.iter().filter(|route| route.name == name);
    let (route, again) = (given.next(), given.next());
    ensure!(again.is_none(), "--route {name}: given twice");
    let Some(route) = route else {
        ensure!(
            servers == 1,
            "server `{name}`: say how clients reach it, `--route {name}=/{name}` or `--route {name}={name}.example/`"
        );
        return Ok(("*".to_owned(), "/".to_owned()));
    };
    let (host, prefix) = route.value.split_once('/').with_context(|| {
        format!("--route {name}={}: expected [host]/prefix, such as /{name} or mcp.example/", route.value)
    })?;
    Ok((if host.is_empty() { "*".to_owned() } else { host.to_owned() }, format!("/{prefix}")))
}

fn address(endpoint: &Endpoint) -> Node {
    let socket = map([("address", text(&endpoint.host)), ("port_value", whole(endpoint.port.into()))]);
    map([("socket_address", socket)])
}

fn endpoint(cluster: &mut Node, to: &Endpoint) -> anyhow::Result<()> {
    *at(cluster, "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address")? = address(to);
    Ok(())
}

/// Envoy refuses to watch a path without a directory.
fn watchable(path: &str) -> String {
    if path.contains('/') { path.to_owned() } else { format!("./{path}") }
}

/// Envoy fetches the keys itself, over TLS that is checked.
fn idp_cluster(uri: &str) -> anyhow::Result<Node> {
    let rest = uri
        .strip_prefix("https://")
        .context("--jwks-uri: an https address; keys that anybody could change prove nothing")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let to: Endpoint = if authority.contains(':') { authority.parse() } else { format!("{authority}:443").parse() }
        .map_err(|error| anyhow::anyhow!("--jwks-uri: {error}"))?;
    let mut cluster = snippet(
        "name: \"\"\ntype: STRICT_DNS\nconnect_timeout: 2s\nload_assignment:\n  cluster_name: \"\"\n  endpoints:\n  - \
         lb_endpoints:\n    - endpoint: {address: {}}\ntransport_socket:\n  name: envoy.transport_sockets.tls\n  \
         typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n    \
         sni: \"\"\n    common_tls_context:\n      validation_context:\n        \
         trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}\n        \
         match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: \"\"}}]\n",
    )?;
    set(&mut cluster, "name", text(IDP_CLUSTER))?;
    set(at(&mut cluster, "load_assignment")?, "cluster_name", text(IDP_CLUSTER))?;
    endpoint(&mut cluster, &to)?;
    let tls = at(&mut cluster, "transport_socket/typed_config")?;
    set(tls, "sni", text(&to.host))?;
    *at(tls, "common_tls_context/validation_context/match_typed_subject_alt_names/0/matcher/exact")? = text(&to.host);
    Ok(cluster)
}
