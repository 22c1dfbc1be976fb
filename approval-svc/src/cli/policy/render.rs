//! `holdpoint policy render`: the Envoy side of a policy, for plain Envoy, Istio and Envoy Gateway. Before step 1.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;

mod document;
mod envoy_gateway;
mod gateway;
mod istio;
mod options;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use gateway::Gateway;
use options::{EnvoyArgs, KubernetesArgs, ServiceArgs, Target, TokenArgs};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy render --target envoy policy.yaml --service-key ed25519:… --server tracker=127.0.0.1:8931 \\
      --issuer https://idp.example --audience mcp-gateway --jwks-file jwks.json > envoy.yaml
  holdpoint policy render --target ecds filter.yaml > new.yaml && mv new.yaml /etc/envoy/holdpoint.yaml
  holdpoint policy render --target istio filter.yaml … -n mcp --workload istio=mcp-gateway \\
      --host tracker=tracker.example:80 --service holdpoint.holdpoint.svc.cluster.local:7437 | kubectl apply -f -
  holdpoint policy render --target envoy-gateway filter.yaml … -n mcp --gateway mcp --host tracker=tracker.example

FILE is a policy (then --service-key and --issuer say what is missing), or a filter document with `approval`, `identity` \
and `policy`, which is taken as it is. Everything else is that of envoy/envoy.yaml. `holdpoint policy check` reads every \
form back, and names the same snapshot as for FILE. Exit code 2: something is missing or contradicts itself.")]
pub struct RenderArgs {
    /// Policy or filter document; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For whom
    #[arg(long, value_enum)]
    target: Target,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    envoy: EnvoyArgs,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
}

pub fn run(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    print!("{}", render(args)?);
    Ok(ExitCode::SUCCESS)
}

/// The whole text of the target.
fn render(args: &RenderArgs) -> anyhow::Result<String> {
    args.nothing_without_effect()?;
    let document = document::read(&args.file, &args.service)?;
    let gateway = Gateway::assemble(args.target, &document, &args.service, &args.token)?;
    let node = match args.target {
        Target::Envoy => gateway.envoy(&document, &args.envoy)?,
        Target::Ecds => gateway.discovery()?,
        Target::Istio => istio::envoy_filter(gateway, &document, &args.service, &args.kubernetes)?,
        Target::EnvoyGateway => envoy_gateway::patch_policy(gateway, &document, &args.service, &args.kubernetes)?,
    };
    let head = match args.target {
        Target::Envoy => "Made by `holdpoint policy render --target envoy`.".to_owned(),
        Target::Ecds => "Made by `holdpoint policy render --target ecds`. Replace the old file by a rename.".to_owned(),
        Target::Istio => istio::HEAD.to_owned(),
        Target::EnvoyGateway => envoy_gateway::HEAD.to_owned(),
    };
    let head: String = head.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
    Ok(format!("{head}# Policy: snapshot {}\n{}", document.config.policy.id(), write::yaml(&node)))
}

impl RenderArgs {
    /// What another target would have used is a mistake, not a wish that may be forgotten.
    fn nothing_without_effect(&self) -> anyhow::Result<()> {
        let (envoy, kubernetes) = (&self.envoy, &self.kubernetes);
        let is_kubernetes = matches!(self.target, Target::Istio | Target::EnvoyGateway);
        let given = [
            ("--server", self.target == Target::Envoy, !envoy.servers.is_empty()),
            ("--route", self.target == Target::Envoy, !envoy.routes.is_empty()),
            ("--ecds-file", self.target == Target::Envoy, envoy.ecds_file.is_some()),
            ("--certificate", self.target == Target::Envoy, envoy.certificate.is_some()),
            ("--issuer", self.target != Target::Ecds, self.token.issuer.is_some()),
            ("--workload", self.target == Target::Istio, !kubernetes.workload.is_empty()),
            ("--service-identity", self.target == Target::Istio, self.service.service_identity.is_some()),
            ("--host", is_kubernetes, !kubernetes.hosts.is_empty()),
            ("--gateway", is_kubernetes, kubernetes.gateway.is_some()),
        ];
        for (flag, has_effect, is_given) in given {
            ensure!(has_effect || !is_given, "{flag} has no effect with --target {}: leave it out", self.target.word());
        }
        ensure!(
            self.target == Target::Istio || !self.service.module.as_ref().is_some_and(|module| module.contains("://")),
            "--module: only Istio's agent fetches a module; put the file on the gateway and name its path"
        );
        Ok(())
    }
}

impl Target {
    fn word(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Ecds => "ecds",
            Self::Istio => "istio",
            Self::EnvoyGateway => "envoy-gateway",
        }
    }
}
