//! The whole path, put together: service, Envoy with the filter, a recording server, an issuer. Serves every step.

use crate::envoy::Envoy;
use crate::envoy_config::{APPROVAL_CLUSTER, EnvoyConfig, UPSTREAM_CLUSTER};
use crate::filter_document::FilterDocument;
use crate::idp::Idp;
use crate::service::{Service, ServiceSettings};
use crate::upstream::Upstream;
use crate::wasm;

/// How much longer than the longest hold a stream may be quiet, in milliseconds; the base configuration's margin.
const IDLE_MARGIN_MS: u64 = 10_000;

/// A running stack. Everything in it ends when it is dropped.
pub struct Stack {
    /// The gateway with the filter.
    pub envoy: Envoy,
    /// The approval service.
    pub service: Service,
    /// The MCP server behind the gateway; idle when the builder was given another port.
    pub upstream: Upstream,
    /// Who mints the callers' tokens.
    pub idp: Idp,
    /// The filter's document as it was started with; change it and offer it to `envoy` for a policy update.
    pub document: FilterDocument,
}

type Change<T> = Box<dyn FnOnce(&mut T) + Send>;

/// What differs from the default stack.
#[derive(Default)]
pub struct StackBuilder {
    documents: Vec<Change<FilterDocument>>,
    configs: Vec<Change<EnvoyConfig>>,
    upstream_port: Option<u16>,
    settings: ServiceSettings,
    service: Option<Service>,
}

impl Stack {
    /// A stack with the quickstart's policy, to be changed and started.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// The port that clients call.
    pub fn port(&self) -> u16 {
        self.envoy.port()
    }

    /// A token for an agent in no group.
    pub fn agent(&self, subject: &str) -> anyhow::Result<String> {
        self.idp.token(subject, &[])
    }
}

impl StackBuilder {
    /// Another policy document, as YAML text.
    #[must_use]
    pub fn policy(self, text: &str) -> Self {
        let text = text.to_owned();
        self.document(move |document| document.policy = text)
    }

    /// The longest hold, in milliseconds. Envoy's idle timeout follows.
    #[must_use]
    pub fn hold_ms_max(self, hold_ms_max: u64) -> Self {
        self.document(move |document| {
            document.hold_ms_max = hold_ms_max;
            document.client_patience_ms = document.client_patience_ms.max(hold_ms_max * 2);
        })
    }

    /// Any other change of the filter's document.
    #[must_use]
    pub fn document(mut self, change: impl FnOnce(&mut FilterDocument) + Send + 'static) -> Self {
        self.documents.push(Box::new(change));
        self
    }

    /// Any other change of Envoy's configuration, after everything else is in place.
    #[must_use]
    pub fn envoy(mut self, change: impl FnOnce(&mut EnvoyConfig) + Send + 'static) -> Self {
        self.configs.push(Box::new(change));
        self
    }

    /// Envoy reads the filter from a file, so that the policy can be updated while calls are held.
    #[must_use]
    pub fn policy_by_discovery(self) -> Self {
        self.envoy(EnvoyConfig::filter_by_discovery)
    }

    /// The number of Envoy's workers.
    #[must_use]
    pub fn workers(self, workers: u32) -> Self {
        self.envoy(move |config| config.workers(workers))
    }

    /// Another MCP server than the recording one.
    #[must_use]
    pub fn upstream_port(mut self, port: u16) -> Self {
        self.upstream_port = Some(port);
        self
    }

    /// A further argument of `holdpoint serve`.
    #[must_use]
    pub fn service_argument(mut self, argument: &str) -> Self {
        self.settings.arguments.push(argument.to_owned());
        self
    }

    /// Any other change of how the service is started.
    #[must_use]
    pub fn service_settings(mut self, change: impl FnOnce(&mut ServiceSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// A service that runs already, instead of one of its own.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }

    /// Builds what is not built, starts everything, and returns when all of it is ready.
    pub async fn start(self) -> anyhow::Result<Stack> {
        let module = wasm::module()?;
        let service = match self.service {
            Some(service) => service,
            None => Service::start_as(self.settings).await?,
        };
        let upstream = Upstream::start().await?;
        let idp = Idp::new()?;

        let mut document = FilterDocument::quickstart(&service.service_key()?)?;
        for change in self.documents {
            change(&mut document);
        }
        let mut config = EnvoyConfig::base()?;
        config.wasm_file(module)?;
        config.filter_document(&document.text())?;
        config.idle_ms_max(document.hold_ms_max + IDLE_MARGIN_MS)?;
        config.jwks(idp.jwks())?;
        config.cluster_port(APPROVAL_CLUSTER, service.port())?;
        config.cluster_port(UPSTREAM_CLUSTER, self.upstream_port.unwrap_or(upstream.port()))?;
        config.approval_token(&service.token("enforcer", "gateway-1", &[])?);
        for change in self.configs {
            change(&mut config);
        }
        let envoy = Envoy::start(config).await?;
        Ok(Stack { envoy, service, upstream, idp, document })
    }
}
