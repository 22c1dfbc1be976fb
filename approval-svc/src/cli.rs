//! The command line: one file per subcommand.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

// First: its macros reach the files declared after it.
#[macro_use]
mod print;

mod approvals;
mod audit;
mod backup;
mod client;
mod completions;
mod doctor;
mod freeze;
mod inventory;
mod keys;
mod login;
mod notify;
mod policy;
mod restore;
mod serve;
mod token;
mod watch;

#[cfg(test)]
mod tests;

/// Holds risky MCP calls until a human decides, and keeps a record that shows every change.
#[derive(Debug, Parser)]
#[command(
    name = "holdpoint",
    version,
    after_help = "First steps:
  holdpoint token create --data-dir data --role approver --subject alice --group sre
  holdpoint serve --data-dir data
  holdpoint login --data-dir data --subject alice --group sre
  holdpoint approvals watch --token-file alice.token
  holdpoint doctor --token-file alice.token --envoy http://127.0.0.1:9901

Every command takes --help, with examples, and every command that prints takes --output json (or --format)."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::ServeArgs),
    /// Look at approvals and decide them
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    /// Stop a server, a tool or a caller everywhere
    #[command(subcommand)]
    Freeze(freeze::FreezeCommand),
    /// What servers offer, how it changed, and policy for it
    #[command(subcommand)]
    Inventory(inventory::InventoryCommand),
    /// Check the whole installation, and say what to mend
    Doctor(doctor::DoctorArgs),
    /// Make a link that signs somebody's browser in, once
    Login(login::LoginArgs),
    /// Who is told of what waits, and whether it arrived
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// The key that gateways trust
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Read and verify the record
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Copy the database while the service runs
    Backup(backup::BackupArgs),
    /// Put such a copy in place, once it is proven whole
    Restore(restore::RestoreArgs),
    /// Write, check, test and roll out policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Print what a shell needs to complete this command line
    Completions(completions::CompletionsArgs),
}

/// Runs one command; its exit code is 1 when what it checked is not as it should be.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Approvals(command) => approvals::run(command).await,
        Command::Freeze(command) => freeze::run(command).await,
        Command::Inventory(command) => inventory::run(command).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Login(args) => login::run(args).await,
        Command::Notify(command) => notify::run(command).await,
        Command::Token(command) => token::run(command).await,
        Command::Keys(command) => keys::run(&command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Policy(command) => Ok(policy::run(&command).await),
        Command::Completions(args) => Ok(completions::run(&args)),
    }
}

/// Where the service keeps its state.
#[derive(Debug, Args)]
struct DataDir {
    /// Directory with the database and the service key
    #[arg(long, env = "HOLDPOINT_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
struct Output {
    /// How to print: for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Whether standard output is a person's terminal: only there is anything coloured.
fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
