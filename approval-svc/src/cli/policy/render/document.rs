//! The filter's document for a gateway: as it stands, or put together around a policy. Its policy is kept word for word.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use holdpoint_core::config::FilterConfig;
use holdpoint_core::policy::{self, PolicyDocument};

use super::options::ServiceArgs;
use crate::cli::policy::source::{self, Form};

/// The metadata key under which `jwt_authn` writes what it verified.
const METADATA_KEY: &str = "jwt";

/// What the filter is configured with.
pub struct Document {
    /// As it arrives in the filter.
    pub text: String,
    pub config: FilterConfig,
    pub policy: PolicyDocument,
}

/// Reads the file, and puts around a bare policy what the options say.
pub fn read(file: &Path, service: &ServiceArgs) -> anyhow::Result<Document> {
    let (given, form) = source::only_document(file)?;
    let text = match form {
        Form::FilterDocument => {
            ensure!(
                service.service_key.is_none() && service.hold_ms_max.is_none() && service.candidate.is_none(),
                "`{}` is a filter document: change it instead of giving --service-key, --hold-ms-max or --candidate",
                file.display()
            );
            given.clone()
        }
        Form::Policy => around(&given, service)?,
    };
    let config = FilterConfig::read(text.as_bytes()).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the filter would refuse it (`holdpoint policy check` shows where):\n{}", all.join("\n"))
    })?;
    let policy = policy::read_file(&given).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", all.join("\n"))
    })?;
    let alone = policy::compile(&policy).ok().context("the policy cannot be compiled by itself")?;
    ensure!(
        alone.id() == config.policy.id(),
        "the policy reads differently inside the filter's document; write it as plain blocks, without `---` or tags"
    );
    for (name, server) in &policy.servers {
        ensure!(
            !server.recognised_by.route_metadata.is_empty(),
            "server `{name}` is recognised by what a caller chooses alone; add `route_metadata: {name}` to its `match`: \
             the route that leads to it is given that name"
        );
    }
    Ok(Document { text, config, policy })
}

fn around(policy: &str, service: &ServiceArgs) -> anyhow::Result<String> {
    let Some(key) = &service.service_key else {
        bail!("a policy alone does not say whose approvals count: give --service-key, from `holdpoint keys show`");
    };
    key.parse::<holdpoint_core::approval::ServiceKey>().map_err(|error| anyhow::anyhow!("--service-key: {error}"))?;
    let hold_ms_max = service.hold_ms_max.unwrap_or(45_000);
    let indented = indented(policy);
    let candidate = match &service.candidate {
        Some(file) => {
            let (text, form) = source::only_document(file)?;
            ensure!(
                form == Form::Policy,
                "`{}` is a filter document: --candidate takes a policy alone",
                file.display()
            );
            format!("candidate:\n{}", self::indented(&text))
        }
        None => String::new(),
    };
    Ok(format!(
        "approval:\n  cluster: holdpoint\n  service_key: \"{key}\"\n  hold_ms_max: {hold_ms_max}\n  \
         client_patience_ms: {}\nidentity:\n  sources:\n  - jwt: {{metadata_key: {METADATA_KEY}}}\npolicy:\n{indented}{candidate}",
        hold_ms_max.saturating_add(15_000).clamp(1_000, 86_400_000)
    ))
}

/// A policy as a section of the document holds it, word for word.
fn indented(policy: &str) -> String {
    let body = policy.trim_start_matches('\u{feff}');
    let body = body.strip_prefix("---\n").unwrap_or(body);
    body.lines().fold(String::new(), |text, line| if line.is_empty() { text + "\n" } else { text + "  " + line + "\n" })
}
