//! What stands around a policy, as the command line says it. Before step 1.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Args, ValueEnum};
use holdpoint_core::policy::PolicyDocument;

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected host:port, such as 127.0.0.1:7437");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(expected());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| expected())? })
    }
}

/// `name=value`.
#[derive(Clone, Debug)]
pub struct Assigned {
    pub name: String,
    pub value: String,
}

impl std::str::FromStr for Assigned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(format!("`{text}`: expected name=value")),
        }
    }
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// A whole Envoy configuration
    Envoy,
    /// Only the filter, as the discovery file that `--target envoy --ecds-file` reads
    Ecds,
    /// An Istio EnvoyFilter
    Istio,
    /// An EnvoyPatchPolicy of Envoy Gateway
    EnvoyGateway,
}

/// The kind of Istio proxy that runs the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proxy {
    /// A gateway of its own for MCP
    Gateway,
    /// The sidecar of one MCP server
    Sidecar,
    /// A waypoint of ambient mode (Istio with `context: WAYPOINT`)
    Waypoint,
}

/// Who calls, by token.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who calls")]
pub struct TokenArgs {
    /// Issuer of the tokens
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// Audience that a token must be for; may be repeated
    #[arg(long = "audience", value_name = "NAME")]
    pub audiences: Vec<String>,
    /// File with the issuer's public keys (JWKS)
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    pub jwks_file: Option<std::path::PathBuf>,
    /// https address of the issuer's public keys, fetched by Envoy
    #[arg(long, value_name = "URL")]
    pub jwks_uri: Option<String>,
}

/// The approval service and the filter itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "The service and the filter")]
pub struct ServiceArgs {
    /// Where the approval service is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7437")]
    pub service: Endpoint,
    /// Its public key, from `holdpoint keys show`; not beside a filter document, which has it
    #[arg(long, value_name = "KEY")]
    pub service_key: Option<String>,
    /// Speak to it over the mesh's mTLS, to nobody but this identity (Istio)
    #[arg(long, value_name = "SPIFFE-URI")]
    pub service_identity: Option<String>,
    /// The longest hold, in milliseconds; not beside a filter document, which has it
    #[arg(long, value_name = "MS")]
    pub hold_ms_max: Option<u64>,
    /// A policy that is tried beside this one and decides nothing; not beside a filter document, which may have one
    #[arg(long, value_name = "FILE")]
    pub candidate: Option<std::path::PathBuf>,
    /// File on the gateway with the enforcer token, as envoy/secrets/approval-token.yaml shows it, which is also the default;
    /// in Kubernetes /etc/holdpoint/approval-token.yaml
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<String>,
    /// The filter: a file on the gateway, or with Istio also an https or oci address. Default: where `cargo build` leaves it;
    /// in Kubernetes /etc/holdpoint/filter.wasm
    #[arg(long, value_name = "PATH|URL")]
    pub module: Option<String>,
    /// SHA-256 of the filter, in hexadecimal; needed for an address
    #[arg(long, value_name = "HEX")]
    pub module_sha256: Option<String>,
}

/// Listener and servers of a plain Envoy.
#[derive(Debug, Args)]
#[command(next_help_heading = "Plain Envoy")]
pub struct EnvoyArgs {
    /// Where clients call
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    pub listen: Endpoint,
    /// Where a server of the catalogue is; one for each
    #[arg(long = "server", value_name = "NAME=HOST:PORT")]
    pub servers: Vec<Assigned>,
    /// How clients reach it, by host, path prefix or both. Needed for all but one of several servers
    #[arg(long = "route", value_name = "NAME=[HOST]/PREFIX")]
    pub routes: Vec<Assigned>,
    /// Read the filter from this discovery file (`--target ecds`), so that policies change without a restart
    #[arg(long, value_name = "PATH")]
    pub ecds_file: Option<String>,
    /// Certificate chain of the listener, where callers have client certificates
    #[arg(long, value_name = "PATH", requires_all = ["private_key", "client_ca"])]
    pub certificate: Option<String>,
    /// Key of that certificate
    #[arg(long, value_name = "PATH")]
    pub private_key: Option<String>,
    /// Roots by which client certificates are validated
    #[arg(long, value_name = "PATH")]
    pub client_ca: Option<String>,
}

/// Where in a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Namespace of the gateway or workload
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// Name of the resource
    #[arg(long, value_name = "NAME", default_value = "holdpoint")]
    pub name: String,
    /// Istio: labels of the proxies that run the filter; may be repeated
    #[arg(long = "workload", value_name = "LABEL=VALUE")]
    pub workload: Vec<Assigned>,
    /// Istio: what kind of proxy they are
    #[arg(long, value_enum, default_value_t = Proxy::Gateway)]
    pub context: Proxy,
    /// Gateway's name (Envoy Gateway, and a waypoint of Istio)
    #[arg(long, value_name = "NAME")]
    pub gateway: Option<String>,
    /// Envoy Gateway: the listener of the Gateway
    #[arg(long, value_name = "NAME", default_value = "http")]
    pub listener: String,
    /// Which host, or for a sidecar or waypoint which port, leads to which server; one for each
    #[arg(long = "host", value_name = "NAME=HOST[:PORT]|PORT")]
    pub hosts: Vec<Assigned>,
}

impl ServiceArgs {
    /// Where the gateway finds the enforcer token.
    pub fn token_file(&self, target: Target) -> &str {
        let default = match target {
            Target::Envoy | Target::Ecds => "envoy/secrets/approval-token.yaml",
            Target::Istio | Target::EnvoyGateway => "/etc/holdpoint/approval-token.yaml",
        };
        self.token_file.as_deref().unwrap_or(default)
    }

    /// Where it finds the filter; `None` for where the base has it.
    pub fn module(&self, target: Target) -> Option<&str> {
        let default = match target {
            Target::Envoy | Target::Ecds => None,
            Target::Istio | Target::EnvoyGateway => Some("/etc/holdpoint/filter.wasm"),
        };
        self.module.as_deref().or(default)
    }
}

/// The values of `flag` by server: one for each server of the catalogue, and for nothing else.
pub fn per_server<'a>(
    flag: &str,
    example: &str,
    given: &'a [Assigned],
    document: &PolicyDocument,
) -> anyhow::Result<BTreeMap<String, &'a str>> {
    let mut values = BTreeMap::new();
    for one in given {
        anyhow::ensure!(
            document.servers.contains_key(&one.name),
            "{flag} {}: the catalogue has no server `{}` (it has: {})",
            one.name,
            one.name,
            document.servers.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        );
        anyhow::ensure!(
            values.insert(one.name.clone(), one.value.as_str()).is_none(),
            "{flag} {}: given twice",
            one.name
        );
    }
    for name in document.servers.keys() {
        values
            .get(name)
            .with_context(|| format!("server `{name}` of the catalogue: say where it is, `{flag} {name}={example}`"))?;
    }
    Ok(values)
}
