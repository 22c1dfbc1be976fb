//! `holdpoint doctor`: looks at the whole installation, service and gateways, and says what to mend.
//!
//! `service` asks the approval service, `envoy` reads what an Envoy says about itself, `gateway` judges it. Nothing is changed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use holdpoint_core::digest::Digest;
use holdpoint_core::policy::{compile, read_file};
use reqwest::Url;
use serde::Serialize;
use serde_json::json;

use super::client::Server;
use super::{Form, Output, is_terminal};
use crate::text::visible;

mod envoy;
mod gateway;
mod service;

const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Check the whole installation, and say what to mend
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint doctor --token-file auditor.token
  holdpoint doctor --envoy http://127.0.0.1:9901 --envoy http://gateway-2:9901 --policy policy.yaml
  holdpoint doctor --envoy http://127.0.0.1:9901 --output json | jq '.checks[] | select(.level != \"ok\")'

Exit code 1 means that something does not do what it promises; a warning alone does not. Without a token the service's key \
cannot be compared with what the gateways trust. Any role's token will do.")]
pub struct DoctorArgs {
    #[command(flatten)]
    server: Server,
    /// Admin interface of an Envoy that runs the filter; may be repeated
    #[arg(long = "envoy", env = "HOLDPOINT_ENVOY_ADMIN", value_delimiter = ',', value_name = "URL")]
    envoys: Vec<Url>,
    /// The policy that should be in force, alone or inside a filter configuration
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    /// Works, and may not for long or not as well as it could.
    Warning,
    /// Does not do what it promises.
    Failed,
    /// Could not be looked at.
    Skipped,
}

/// One check and what it found.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at: the service, or one Envoy.
    of: String,
    check: &'static str,
    level: Level,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// Everything found so far about one part.
#[derive(Debug)]
struct Findings {
    of: String,
    all: Vec<Finding>,
}

impl Findings {
    fn new(of: impl Into<String>) -> Self {
        Self { of: of.into(), all: Vec::new() }
    }

    fn add(&mut self, level: Level, check: &'static str, found: impl Into<String>, mend: Option<String>) {
        self.all.push(Finding { of: self.of.clone(), check, level, found: found.into(), mend });
    }

    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(Level::Ok, check, found, None);
    }

    fn skipped(&mut self, check: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.add(Level::Skipped, check, found, Some(mend.into()));
    }

    fn warning(&mut self, check: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.add(Level::Warning, check, found, Some(mend.into()));
    }

    fn failed(&mut self, check: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.add(Level::Failed, check, found, Some(mend.into()));
    }
}

/// What the gateways are compared with.
#[derive(Debug, Default)]
struct Wanted {
    /// The key that the service signs with, if it could be asked.
    service_key: Option<String>,
    /// The key before that one, while it still signs as well.
    previous_key: Option<String>,
    /// The policy that should be in force, if one was named.
    snapshot_id: Option<Digest>,
}

pub async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let snapshot_id = args.policy.as_ref().map(snapshot_of).transpose()?;
    let http = reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build()?;
    let mut wanted = Wanted { service_key: None, previous_key: None, snapshot_id };
    let mut all = service::look(&http, &args.server, &mut wanted).await?;
    if args.envoys.is_empty() {
        let mut none = Findings::new("gateways");
        none.skipped(
            "envoy",
            "no Envoy was named",
            "name the admin interface of each with `--envoy http://127.0.0.1:9901`",
        );
        all.extend(none.all);
    }
    for admin in &args.envoys {
        all.extend(envoy::look(&http, admin, &wanted).await);
    }
    let count = |level| all.iter().filter(|finding| finding.level == level).count();
    let (failed, warnings, skipped) = (count(Level::Failed), count(Level::Warning), count(Level::Skipped));
    match args.output.output {
        Form::Json => {
            println!("{}", json!({"checks": all, "failed": failed, "warnings": warnings, "skipped": skipped}))
        }
        Form::Text => {
            let mut of = "";
            for finding in &all {
                if finding.of != of {
                    of = &finding.of;
                    println!("{of}");
                }
                println!("  {} {:<22} {}", mark(finding.level), finding.check, visible(&finding.found));
                if let Some(mend) = &finding.mend {
                    println!("    {:<22} → {}", "", visible(mend));
                }
            }
            let passed = count(Level::Ok);
            println!("{passed} in order, {failed} failed, {warnings} to look at, {skipped} not looked at");
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn snapshot_of(file: &PathBuf) -> anyhow::Result<Digest> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let compiled = read_file(&text).and_then(|document| compile(&document));
    let snapshot = compiled.map_err(|_| {
        anyhow::anyhow!("`{0}` is no policy that a filter takes: run `holdpoint policy check {0}`", file.display())
    })?;
    Ok(snapshot.id())
}

fn mark(level: Level) -> String {
    let (sign, colour) = match level {
        Level::Ok => ("✓", "32"),
        Level::Warning => ("!", "33"),
        Level::Failed => ("✗", "31"),
        Level::Skipped => ("-", "2"),
    };
    if is_terminal() { format!("\u{1b}[{colour}m{sign}\u{1b}[0m") } else { sign.to_owned() }
}
