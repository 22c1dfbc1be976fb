//! `holdpoint policy rollout`: what a candidate would decide otherwise of the calls that gateways see. Step 6, twice, live.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use holdpoint_core::candidate::CandidateDifference;
use serde_json::json;

use super::diff::FailOn;
use crate::candidates::CandidateView;
use crate::cli::Form;
use crate::cli::client::Server;
use crate::http::candidates::Candidates;
use crate::text::{time, visible};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy rollout --token-file viewer.token
  holdpoint policy rollout --candidate sha256:62180ec42f --fail-on any     # before it is put in force

A candidate stands beside the policy in the filter's document, as `candidate:`. Gateways judge each call by both, act on the \
policy alone, and tell the service where the candidate would have decided otherwise. `holdpoint audit search` finds the sample \
of a difference by its call digest. To put a candidate in force, write it as `policy:` and take `candidate:` out. \
Exit code 0; 1: --fail-on met such a change, or --candidate names none that was tried; 2: the service cannot be asked.")]
pub struct RolloutArgs {
    /// Only the candidate whose id begins so
    #[arg(long, value_name = "ID")]
    candidate: Option<String>,
    /// Exit with 1 when a call would change so, or when some are not told apart
    #[arg(long, value_enum, value_name = "CHANGE")]
    fail_on: Option<FailOn>,
    #[command(flatten)]
    server: Server,
    /// Form of the output
    #[arg(id = "output", long = "format", visible_alias = "output", value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub async fn run(args: &RolloutArgs) -> anyhow::Result<ExitCode> {
    let Candidates { mut candidates } = args.server.client()?.get("/v1/policies/candidates").await?;
    if let Some(id) = &args.candidate {
        ensure!(!id.is_empty(), "--candidate names no id");
        let id = if id.starts_with("sha256:") { id.clone() } else { format!("sha256:{id}") };
        candidates.retain(|view| view.candidate_id.to_string().starts_with(&id));
    }
    match args.format {
        Form::Text if candidates.is_empty() && args.candidate.is_some() => {
            println!("no candidate whose id begins so was tried in the last 30 days");
        }
        Form::Text if candidates.is_empty() => println!("no candidate was tried in the last 30 days"),
        Form::Text => candidates.iter().for_each(print),
        Form::Json => println!("{}", json!({"candidates": candidates})),
    }
    let nobody = args.candidate.is_some() && candidates.is_empty();
    let fails = args.fail_on.is_some_and(|fail_on| {
        // Those that are not told apart may be anything.
        let any = candidates.iter().any(|view| view.unlisted > 0);
        any || candidates.iter().flat_map(|view| &view.differences).any(|one| fail_on.is_met(one.change))
    });
    Ok(if nobody || fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(view: &CandidateView) {
    println!("candidate {}", view.candidate_id);
    println!("beside    {} in force, plugin `{}`", view.snapshot_id, visible(&view.plugin));
    println!("  {}", visible(&view.summary));
    let names = |names: &[String]| names.iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ");
    println!("  last compared {} on {}", time(view.until_ms), names(&view.gateways));
    if !view.in_force_on.is_empty() {
        println!("  in force by now on {}", names(&view.in_force_on));
    }
    for one in &view.differences {
        println!("  {}", line(one));
    }
    if view.unlisted > 0 {
        println!("  {:>8}  further calls differ that are not told apart", view.unlisted);
    }
    println!();
}

fn line(one: &CandidateDifference) -> String {
    let what = one.tool.as_ref().unwrap_or(&one.method);
    let sample = match &one.sample.call_digest {
        Some(digest) => format!("{digest} at {}", time(one.sample.at_ms)),
        None => format!("at {}", time(one.sample.at_ms)),
    };
    format!(
        "{:>8}  {:7}  {} on {}: {} by `{}`, would {} by `{}` (last: {sample})",
        one.calls,
        one.change.as_str(),
        visible(what),
        visible(&one.server),
        one.verdict.as_str(),
        visible(&one.rule_id),
        one.candidate_verdict.as_str(),
        visible(&one.candidate_rule_id),
    )
}
