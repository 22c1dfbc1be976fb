//! `holdpoint policy`: the tools of whoever writes a policy. All of them read and decide exactly as the filter does.

use std::process::ExitCode;

use clap::Subcommand;

mod bootstrap;
mod check;
mod finding;
mod mesh;
mod offered;
mod plugin;
mod roster;
mod source;
mod untold;

mod case_files;
mod explain;
mod run_cases;

mod diff;
mod record;
mod rollout;
mod simulate;

mod schema;

mod render;

mod paint;

/// Exit code when the question could not even be put: a file that cannot be read, a policy that is none.
const CANNOT_ANSWER: u8 = 2;

/// Where the language stands that all of them read.
pub(super) const AFTER_HELP: &str = "Examples:
  holdpoint policy check policy.yaml
  holdpoint policy test examples/

The whole language, every field of a policy and of the filter's document, stands in envoy/POLICY.md of the source.";

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Find everything that is wrong with a policy, in whatever file it is kept
    Check(check::CheckArgs),
    /// Judge the calls of cases.yaml and compare with what is expected of them
    Test(run_cases::TestArgs),
    /// Tell of one call, field by field, why each rule matched it or did not
    Explain(explain::ExplainArgs),
    /// Compare two policies call by call: tighter, looser, or the same
    Diff(diff::DiffArgs),
    /// Tell what a policy would have made of recorded calls
    #[command(visible_alias = "replay")]
    Simulate(simulate::SimulateArgs),
    /// Tell what a policy that gateways try would decide otherwise of the calls that they see
    Rollout(rollout::RolloutArgs),
    /// Print the JSON Schema by which editors complete and check a policy
    Schema(schema::SchemaArgs),
    /// Write the Envoy, Istio or Envoy Gateway configuration that a policy runs in
    Render(Box<render::RenderArgs>),
}

/// Runs one command. Exit code 1 means that what was asked came out badly; 2 that it could not be asked.
pub async fn run(command: &PolicyCommand) -> ExitCode {
    let ran = match command {
        PolicyCommand::Check(args) => check::run(args),
        PolicyCommand::Test(args) => run_cases::run(args),
        PolicyCommand::Explain(args) => explain::run(args),
        PolicyCommand::Diff(args) => diff::run(args).await,
        PolicyCommand::Simulate(args) => simulate::run(args).await,
        PolicyCommand::Rollout(args) => rollout::run(args).await,
        PolicyCommand::Schema(args) => schema::run(args),
        PolicyCommand::Render(args) => render::run(args),
    };
    ran.unwrap_or_else(|error| {
        eprintln!("holdpoint: {error:#}");
        ExitCode::from(CANNOT_ANSWER)
    })
}
