//! `holdpoint policy`: reads a file exactly as the filter does, and says everything that is wrong with it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use holdpoint_core::policy::{PolicySnapshot, compile, lint, read_file};
use holdpoint_core::yaml::Problems;
use serde_json::json;

use super::{Form, Output};
use crate::text::visible;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a policy, alone or inside a filter configuration; prints its snapshot id
    #[command(after_help = "Example:
  holdpoint policy check policy.yaml

Exit code 1 means that the filter would refuse it. Warnings do not change the exit code.")]
    Check {
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

pub fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    let PolicyCommand::Check { file, output } = command;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let (checked, warnings) = check(&text);
    match (output.output, &checked) {
        (Form::Text, Ok(snapshot)) => {
            for warning in &warnings {
                println!("{}:{}", file.display(), visible(warning));
            }
            println!("{}: {} rules, snapshot {}", file.display(), snapshot.rule_count(), snapshot.id());
        }
        (Form::Text, Err(problems)) => {
            for problem in problems.iter() {
                println!("{}:{}", file.display(), visible(&problem.to_string()));
            }
        }
        (Form::Json, Ok(snapshot)) => {
            let rules = snapshot.rule_count();
            println!("{}", json!({ "snapshot_id": snapshot.id(), "rules": rules, "warnings": warnings }));
        }
        (Form::Json, Err(problems)) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            println!("{}", json!({ "problems": problems }));
        }
    }
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(text: &str) -> (Result<PolicySnapshot, Problems>, Vec<String>) {
    match read_file(text) {
        Err(problems) => (Err(problems), Vec::new()),
        Ok(document) => {
            let warn = |finding: holdpoint_core::policy::Finding| {
                format!("{}: warning: {}: {} ({})", finding.at, finding.subject, finding.message, finding.lint)
            };
            (compile(&document), lint(&document).into_iter().map(warn).collect())
        }
    }
}
