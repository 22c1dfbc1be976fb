//! The one base `envoy/envoy.yaml`, with only that changed which a test or the demo must change. Serves step 1.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use holdpoint_core::yaml;
use serde_json::{Value, json};

use crate::envoy_binary;
use crate::oidc_provider::OidcProvider;
use crate::repository;
use crate::tls::TlsFiles;

/// The name of the filter that checks the route after it.
pub const ROUTE_GUARD: &str = "envoy.filters.http.rbac";
/// The name of the filter in the base configuration.
pub const FILTER: &str = "holdpoint";
/// The cluster of the approval service in the base configuration.
pub const APPROVAL_CLUSTER: &str = "holdpoint";
/// The cluster of the MCP server in the base configuration.
pub const UPSTREAM_CLUSTER: &str = "tracker";

const FILTER_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// An Envoy configuration on its way from the base to a file. Ports are 0, chosen by the system, unless set.
#[derive(Debug, Clone)]
pub struct EnvoyConfig {
    document: Value,
    approval_token: String,
    workers: u32,
    by_discovery: bool,
    environment: Vec<(&'static str, PathBuf)>,
}

/// Where `EnvoyConfig::write` put things.
#[derive(Debug, Clone)]
pub struct WrittenConfig {
    /// The file to start Envoy with.
    pub bootstrap: PathBuf,
    /// The filter's own configuration, when Envoy reads it from a file that may be replaced while it runs.
    pub discovery: Option<PathBuf>,
}

impl EnvoyConfig {
    /// The base configuration on ports that the system chooses, with two workers.
    pub fn base() -> anyhow::Result<Self> {
        let mut config = Self::of_document(read("envoy/envoy.yaml")?)?;
        config.listen_on(0)?;
        Ok(config)
    }

    /// What stands before the approver's pages, `envoy/approvers.yaml`, with this identity provider, on ports that the
    /// system chooses.
    pub fn approvers(provider: &OidcProvider, service_port: u16) -> anyhow::Result<Self> {
        let mut config = Self::of_document(read("envoy/approvers.yaml")?)?;
        config.listen_on(0)?;
        config.cluster_port("idp", provider.port())?;
        config.cluster_port(APPROVAL_CLUSTER, service_port)?;
        let filters = config.http_filters()?;
        let oauth2 = at(filters.first_mut().context("no filters")?, "/typed_config/config")?;
        oauth2["authorization_endpoint"] = json!(provider.url("/authorize"));
        oauth2["token_endpoint"]["uri"] = json!(provider.url("/token"));
        for secret in ["token_secret", "hmac_secret"] {
            let file = at(oauth2, &format!("/credentials/{secret}/sds_config/path_config_source/path"))?;
            *file = json!(repository::path(file.as_str().unwrap_or_default()));
        }
        Ok(config)
    }

    /// A whole configuration of another origin, such as `holdpoint policy render` writes; only the admin port is the system's.
    pub fn rendered(text: &str) -> anyhow::Result<Self> {
        let document = yaml::read(text, &yaml::Limits::default()).map_err(|problems| anyhow!("{problems:?}"))?;
        Self::of_document(yaml::to_json(&document))
    }

    /// The same for a configuration that is not text.
    pub fn of_document(document: Value) -> anyhow::Result<Self> {
        let mut config = Self {
            document,
            approval_token: "no-token".to_owned(),
            workers: 2,
            by_discovery: false,
            environment: Vec::new(),
        };
        config.admin_on(0)?;
        Ok(config)
    }

    /// Sets the loopback port that clients call; 0 lets the system choose.
    pub fn listen_on(&mut self, port: u16) -> anyhow::Result<()> {
        let listener = self.at("/static_resources/listeners/0")?;
        *at(listener, "/address/socket_address/port_value")? = json!(port);
        Ok(())
    }

    /// Sets the loopback port of the admin interface; 0 lets the system choose.
    pub fn admin_on(&mut self, port: u16) -> anyhow::Result<()> {
        *self.at("/admin/address/socket_address/port_value")? = json!(port);
        Ok(())
    }

    /// Sets the number of worker threads.
    pub fn workers(&mut self, workers: u32) {
        self.workers = workers;
    }

    /// Sets the wasm file that the filter runs.
    pub fn wasm_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let filter = self.filter_config()?;
        *at(filter, "/config/vm_config/code/local/filename")? = json!(path);
        Ok(())
    }

    /// Sets the filter's document (DESIGN's `approval`, `identity`, …, `policy`), as it arrives byte for byte.
    pub fn filter_document(&mut self, text: &str) -> anyhow::Result<()> {
        *at(self.filter_config()?, "/config/configuration/value")? = json!(text);
        Ok(())
    }

    /// The filter's document as it stands now.
    pub fn filter_document_text(&mut self) -> anyhow::Result<String> {
        let value = at(self.filter_config()?, "/config/configuration/value")?;
        value.as_str().map(str::to_owned).context("the filter's `configuration` is not a text")
    }

    /// Takes the filter out, and with it the RBAC filter that lets only judged calls through, to prove what stands
    /// around them.
    pub fn without_filter(&mut self) -> anyhow::Result<()> {
        self.http_filters()?.retain(|filter| filter["name"] != FILTER && filter["name"] != ROUTE_GUARD);
        Ok(())
    }

    /// Lets Envoy read the filter from a file that can be replaced while it runs, as a control plane would send it.
    pub fn filter_by_discovery(&mut self) {
        self.by_discovery = true;
    }

    /// Points a cluster at a loopback port.
    pub fn cluster_port(&mut self, cluster: &str, port: u16) -> anyhow::Result<()> {
        let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
        let socket_address = at(self.cluster(cluster)?, endpoint)?;
        *socket_address = json!({"address": "127.0.0.1", "port_value": port});
        Ok(())
    }

    /// Points a cluster at several loopback ports, between which Envoy chooses.
    pub fn cluster_ports(&mut self, cluster: &str, ports: &[u16]) -> anyhow::Result<()> {
        let endpoints = ports.iter().map(
            |port| json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}),
        );
        *at(self.cluster(cluster)?, "/load_assignment/endpoints/0/lb_endpoints")? = endpoints.collect();
        Ok(())
    }

    /// Lets a cluster speak HTTP/2 without TLS.
    pub fn cluster_speaks_http2(&mut self, cluster: &str) -> anyhow::Result<()> {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        self.cluster(cluster)?["typed_extension_protocol_options"][options] = json!({
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        });
        Ok(())
    }

    /// Sets the identity provider's public keys.
    pub fn jwks(&mut self, jwks: &str) -> anyhow::Result<()> {
        let filters = self.http_filters()?;
        let jwt = filters
            .iter_mut()
            .find(|filter| filter["name"] == "envoy.filters.http.jwt_authn")
            .context("the base has no jwt_authn filter")?;
        *at(jwt, "/typed_config/providers/idp/local_jwks/inline_string")? = json!(jwks);
        Ok(())
    }

    /// Lets clients speak TLS and show certificates, as `envoy/mtls.yaml` says.
    pub fn mtls(&mut self, files: &TlsFiles) -> anyhow::Result<()> {
        let added = read("envoy/mtls.yaml")?;
        let chain = self.at("/static_resources/listeners/0/filter_chains/0")?;
        chain["transport_socket"] = added["transport_socket"].clone();
        let context = at(chain, "/transport_socket/typed_config/common_tls_context")?;
        *at(context, "/tls_certificates/0/certificate_chain/filename")? = json!(files.certificate);
        *at(context, "/tls_certificates/0/private_key/filename")? = json!(files.key);
        *at(context, "/validation_context/trusted_ca/filename")? = json!(files.authority);
        let filters = self.http_filters()?;
        let before = filters.iter().position(|filter| filter["name"] == FILTER).context("the base has no filter")?;
        filters.insert(before, added["http_filter"].clone());
        Ok(())
    }

    /// The `DownstreamTlsContext` that `mtls` added, for a test that breaks it on purpose.
    pub fn tls_context(&mut self) -> anyhow::Result<&mut Value> {
        self.at("/static_resources/listeners/0/filter_chains/0/transport_socket/typed_config")
    }

    /// Takes an HTTP filter out by its name, for a test of what happens without it.
    pub fn without_http_filter(&mut self, name: &str) -> anyhow::Result<()> {
        self.http_filters()?.retain(|filter| filter["name"] != name);
        Ok(())
    }

    /// The `requires` of the rule of `jwt_authn`, for a test that weakens it.
    pub fn jwt_requirement(&mut self) -> anyhow::Result<&mut Value> {
        let filters = self.http_filters()?;
        let jwt = filters
            .iter_mut()
            .find(|filter| filter["name"] == "envoy.filters.http.jwt_authn")
            .context("the base has no jwt_authn filter")?;
        at(jwt, "/typed_config/rules/0/requires")
    }

    /// Sets the token with which Envoy speaks to the approval service.
    pub fn approval_token(&mut self, token: &str) {
        token.clone_into(&mut self.approval_token);
    }

    /// Sets how long a stream may be quiet, in milliseconds: it must outlast the longest hold.
    pub fn idle_ms_max(&mut self, idle_ms_max: u64) -> anyhow::Result<()> {
        let seconds = json!(format!("{}.{:03}s", idle_ms_max / 1000, idle_ms_max % 1000));
        self.connection_manager()?["stream_idle_timeout"] = seconds.clone();
        self.route()?["route"]["idle_timeout"] = seconds;
        Ok(())
    }

    /// The route by which messages come, for a test that needs another `metadata` or `timeout`.
    pub fn route(&mut self) -> anyhow::Result<&mut Value> {
        let routes = self.routes()?.iter_mut();
        routes.last().context("the base has no route")
    }

    /// All routes: the one of streams before the one of messages.
    pub fn routes(&mut self) -> anyhow::Result<&mut Vec<Value>> {
        let routes = at(self.connection_manager()?, "/route_config/virtual_hosts/0/routes")?;
        routes.as_array_mut().context("the base's routes are not a list")
    }

    /// The `typed_config` of the HTTP connection manager.
    pub fn connection_manager(&mut self) -> anyhow::Result<&mut Value> {
        self.at("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
    }

    /// The `typed_config` of the filter, for a test that breaks it on purpose.
    pub fn filter_config(&mut self) -> anyhow::Result<&mut Value> {
        self.http_filters()?
            .iter_mut()
            .find(|filter| filter["name"] == FILTER)
            .map(|filter| &mut filter["typed_config"])
            .with_context(|| format!("the configuration has no filter `{FILTER}`"))
    }

    /// A cluster by its name.
    pub fn cluster(&mut self, name: &str) -> anyhow::Result<&mut Value> {
        self.at("/static_resources/clusters")?
            .as_array_mut()
            .and_then(|clusters| clusters.iter_mut().find(|cluster| cluster["name"] == name))
            .with_context(|| format!("the base has no cluster `{name}`"))
    }

    /// The whole document, for what no method above changes.
    pub fn document(&mut self) -> &mut Value {
        &mut self.document
    }

    /// Sets a variable of the environment that Envoy is started in.
    pub fn environment(&mut self, name: &'static str, value: PathBuf) {
        self.environment.push((name, value));
    }

    /// The environment that Envoy is to have beside this process's own.
    pub fn environment_added(&self) -> &[(&'static str, PathBuf)] {
        &self.environment
    }

    /// How many workers Envoy is to have.
    pub fn worker_count(&self) -> u32 {
        self.workers
    }

    /// Writes everything that Envoy needs into `dir`.
    pub fn write(&self, dir: &Path) -> anyhow::Result<WrittenConfig> {
        let mut written = self.clone();
        let token = dir.join("approval-token.json");
        if envoy_binary::lacks_header_value_prefix() {
            // As envoy/README.md says it for such an Envoy.
            written.approval_token.insert_str(0, "Bearer ");
            for filter in written.upstream_filters().into_iter().flatten() {
                let injected = filter.pointer_mut("/typed_config/credential/typed_config");
                if let Some(injected) = injected.and_then(Value::as_object_mut) {
                    injected.remove("header_value_prefix");
                }
            }
        }
        replace(&token, &secret(&written.approval_token))?;
        // A configuration of another origin may have no approval service.
        for filter in written.upstream_filters().into_iter().flatten() {
            let source = "/typed_config/credential/typed_config/credential/sds_config/path_config_source/path";
            if let Some(path) = filter.pointer_mut(source) {
                *path = json!(token);
            }
        }
        let discovery = self.by_discovery.then(|| written.move_filter_out(dir)).transpose()?;
        let bootstrap = dir.join("envoy.json");
        replace(&bootstrap, &written.document)?;
        Ok(WrittenConfig { bootstrap, discovery })
    }

    /// Writes the filter's configuration again, over the file that a running Envoy watches.
    pub fn rewrite_discovery(&mut self, discovery: &Path) -> anyhow::Result<()> {
        let typed_config = self.filter_config()?.clone();
        replace(discovery, &discovered(&typed_config))
    }

    fn move_filter_out(&mut self, dir: &Path) -> anyhow::Result<PathBuf> {
        let path = dir.join("filter.json");
        let typed_config = self.filter_config()?.clone();
        replace(&path, &discovered(&typed_config))?;
        for filter in self.http_filters()? {
            if filter["name"] == FILTER {
                *filter = json!({"name": FILTER, "config_discovery": {
                    "config_source": {"resource_api_version": "V3", "path_config_source": {"path": path}},
                    "type_urls": [FILTER_TYPE],
                }});
            }
        }
        Ok(path)
    }

    fn upstream_filters(&mut self) -> anyhow::Result<&mut Vec<Value>> {
        at(
            self.cluster(APPROVAL_CLUSTER)?,
            "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters",
        )?
        .as_array_mut()
        .context("the approval cluster has no `http_filters`")
    }

    /// The HTTP filters in their order.
    pub fn http_filters(&mut self) -> anyhow::Result<&mut Vec<Value>> {
        at(self.connection_manager()?, "/http_filters")?.as_array_mut().context("`http_filters` is not a list")
    }

    fn at(&mut self, pointer: &str) -> anyhow::Result<&mut Value> {
        at(&mut self.document, pointer)
    }
}

/// A YAML file of the repository, read by the filter's own reader.
fn read(path: &str) -> anyhow::Result<Value> {
    let text = repository::text(path)?;
    let document = yaml::read(&text, &yaml::Limits::default()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(|problem| format!("{path}:{problem}")).collect();
        anyhow!("{}", problems.join("\n"))
    })?;
    Ok(yaml::to_json(&document))
}

fn at<'a>(value: &'a mut Value, pointer: &str) -> anyhow::Result<&'a mut Value> {
    value.pointer_mut(pointer).with_context(|| format!("`envoy/envoy.yaml` has nothing at `{pointer}`"))
}

fn secret(token: &str) -> Value {
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "approval-token",
        "generic_secret": {"secret": {"inline_string": token}},
    }]})
}

fn discovered(typed_config: &Value) -> Value {
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": typed_config,
    }]})
}

/// Envoy watches for renames, and must never read half a file.
fn replace(path: &Path, document: &Value) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, document.to_string())?;
    fs::rename(&beside, path)?;
    Ok(())
}
