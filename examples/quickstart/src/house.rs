//! Everything the demo runs, started in order and ended together.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::bail;
use holdpoint_tests::approver::Person;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::{APPROVAL_CLUSTER, EnvoyConfig, UPSTREAM_CLUSTER};
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::idp::Idp;
use holdpoint_tests::service::Service;
use holdpoint_tests::{ports, wasm};
use quickstart::mcp_server::McpServer;

/// The agent of the story.
pub(crate) const AGENT: &str = "agent-7";

/// The approver of the story.
pub(crate) const APPROVER: &str = "bob";

/// The loopback ports to use; 0 lets the system choose.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) gateway: u16,
    pub(crate) admin: u16,
    pub(crate) service: u16,
    pub(crate) server: u16,
}

/// A running demo. Everything in it ends when it is dropped.
pub(crate) struct House {
    pub(crate) envoy: Envoy,
    pub(crate) service: Service,
    pub(crate) server: McpServer,
    pub(crate) idp: Idp,
    pub(crate) document: FilterDocument,
    pub(crate) approver: Person,
    pub(crate) auditor: Person,
    /// The approver's own token, for the terminal.
    pub(crate) approver_token: String,
}

impl House {
    /// Starts all parts and says so, a line each.
    pub(crate) async fn start(mut wanted: Ports) -> anyhow::Result<Self> {
        check_free(&wanted)?;
        if wanted.service == 0 {
            wanted.service = ports::free()?;
        }
        let module = wasm::module()?;
        let service = Service::start_with(wanted.service, &[]).await?;
        say("approval service", &service.url("/"));
        let server = McpServer::start(wanted.server).await?;
        say("MCP server (issue tracker)", &server.mcp_url());

        let idp = Idp::new()?;
        let document = FilterDocument::quickstart(&service.service_key()?)?;
        let mut config = gateway(&idp, &service, &document, module)?;
        config.listen_on(wanted.gateway)?;
        config.admin_on(wanted.admin)?;
        config.cluster_port(APPROVAL_CLUSTER, service.port())?;
        config.cluster_port(UPSTREAM_CLUSTER, server.port())?;
        let envoy = Envoy::start(config).await?;
        say("gateway (Envoy with the filter)", &envoy.mcp_url());

        let approver_token = service.token("approver", APPROVER, &["sre"])?;
        Ok(Self {
            approver: Person::with_token(&service, approver_token.clone())?,
            auditor: Person::auditor(&service)?,
            approver_token,
            envoy,
            service,
            server,
            idp,
            document,
        })
    }

    /// The agent's token, as its identity provider would give it.
    pub(crate) fn agent_token(&self) -> anyhow::Result<String> {
        self.idp.token(AGENT, &["dev"])
    }

    /// A link that signs the approver's browser in, as an operator prints it.
    pub(crate) fn sign_in_link(&self) -> anyhow::Result<String> {
        let data_dir = self.service.data_dir();
        let words = ["login", "--subject", APPROVER, "--group", "sre", "--data-dir"].map(OsStr::new);
        let printed = self.service.cli(&[&words[..], &[data_dir.as_os_str()]].concat())?;
        Ok(printed.trim().to_owned())
    }

    /// A second gateway in front of the same server, whose approval cluster leads to `approval_port` instead.
    pub(crate) async fn gateway_with_other_approvals(&self, approval_port: u16) -> anyhow::Result<Envoy> {
        let mut config = gateway(&self.idp, &self.service, &self.document, wasm::module()?)?;
        config.cluster_port(APPROVAL_CLUSTER, approval_port)?;
        config.cluster_port(UPSTREAM_CLUSTER, self.server.port())?;
        Envoy::start(config).await
    }
}

/// The base configuration with this house's keys, token and policy.
fn gateway(
    idp: &Idp,
    service: &Service,
    document: &FilterDocument,
    module: &std::path::Path,
) -> anyhow::Result<EnvoyConfig> {
    let mut config = EnvoyConfig::base()?;
    config.wasm_file(module)?;
    config.filter_document(&document.text())?;
    config.jwks(idp.jwks())?;
    config.approval_token(&service.token("enforcer", "gateway-1", &[])?);
    Ok(config)
}

fn say(what: &str, place: &str) {
    println!("  {what:<32} {place}");
}

/// Says which of the wanted ports are taken, all at once, before anything is started.
fn check_free(wanted: &Ports) -> anyhow::Result<()> {
    let all = [
        ("--gateway-port", wanted.gateway),
        ("--admin-port", wanted.admin),
        ("--service-port", wanted.service),
        ("--server-port", wanted.server),
    ];
    let mut taken = Vec::new();
    for (option, port) in all {
        if port != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            taken.push(format!("port {port} is taken (choose another with `{option}`, or 0 for any)"));
        }
    }
    if !taken.is_empty() {
        bail!("{}", taken.join("; "));
    }
    Ok(())
}
