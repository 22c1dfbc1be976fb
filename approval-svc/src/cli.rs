//! The command line: one file per subcommand.

use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::data_dir;
use crate::store::postgres::server::Server;
use crate::store::sql::{SqlStore, machine_clock};
use crate::store::sqlite::locked::{self, Writer};
use crate::store::{postgres, sqlite};

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
  holdpoint token create --data-dir data --role approver --subject alice --group sre > alice.token
  holdpoint token create --data-dir data --role enforcer --subject gateway > gateway.token
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
    #[command(subcommand, after_help = policy::AFTER_HELP)]
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
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A server that keeps the state instead of a file in the data directory, which then holds the service key alone.
#[derive(Clone, Debug, Args)]
struct DatabaseArgs {
    /// PostgreSQL instead of a file: postgres://user@host/database; a password is better in this variable or PGPASSFILE
    #[arg(long, env = "HOLDPOINT_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<Hidden>,
    /// The same database past a pooler, for what needs a connection of its own
    #[arg(
        long,
        env = "HOLDPOINT_DATABASE_DIRECT_URL",
        hide_env_values = true,
        requires = "database_url",
        value_name = "URL"
    )]
    database_direct_url: Option<Hidden>,
}

/// A text that is not shown by accident.
#[derive(Clone)]
struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl DatabaseArgs {
    /// The server, if one keeps the state.
    fn server(&self) -> anyhow::Result<Option<Server>> {
        let Some(url) = &self.database_url else { return Ok(None) };
        Ok(Some(Server::new(&url.0, self.database_direct_url.as_ref().map(|url| url.0.as_str()))?))
    }

    /// For commands that know only the file; `instead` says what a server has.
    fn refuse_server(&self, instead: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.database_url.is_none(),
            "`--database-url` (or `HOLDPOINT_DATABASE_URL`) names a PostgreSQL server: {instead}"
        );
        Ok(())
    }

    /// Opens what is there: the server's database, or the file in `dir`, which is not made.
    async fn open(&self, dir: &Path) -> anyhow::Result<SqlStore> {
        if let Some(server) = self.server()? {
            return Ok(postgres::open(&server, postgres::Use::Command, None).await?);
        }
        let file = data_dir::database(dir);
        anyhow::ensure!(
            file.exists(),
            "there is no database in `{}`: check `--data-dir`, or start the service first",
            dir.display()
        );
        let opened = sqlite::open_for_command(&file, machine_clock()).await;
        opened.with_context(|| format!("cannot open `{}`", file.display()))
    }
}

impl DataDir {
    async fn open(&self) -> anyhow::Result<SqlStore> {
        self.database.open(&self.data_dir).await
    }

    /// Does `work` on what is there, and says what is seen of the cause when that takes long.
    async fn patiently<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let began = Instant::now();
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SAID_EVERY) => eprintln!("{}", self.what_is_waited_for(began.elapsed())),
            }
        }
    }

    fn what_is_waited_for(&self, so_far: Duration) -> String {
        let so_far = so_far.as_secs();
        if let Ok(Some(server)) = self.database.server() {
            return format!("waiting for {server}: it has not answered for {so_far} s");
        }
        let dir = self.data_dir.display();
        match locked::writer(&data_dir::database(&self.data_dir)) {
            Writer::Process(process) => format!(
                "waiting for the database of `{dir}`: process {process} writes to it; this gives up after {} s",
                sqlite::COMMAND_BUSY_MS_MAX / 1_000,
            ),
            Writer::Nobody => format!(
                "waiting for the database of `{dir}` for {so_far} s: no other process is seen to write to it, so look at its disk"
            ),
            Writer::Unknown => format!(
                "waiting for the database of `{dir}` for {so_far} s: this system does not tell whether another process writes to it"
            ),
        }
    }
}

/// Said to whoever makes an approver of no group.
const NO_GROUP: &str =
    "without `--group` they decide only what rules let any group (`*`) decide, and what somebody lends them";

/// How often a command that waits for the database says so.
const SAID_EVERY: Duration = Duration::from_secs(3);

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

/// A length of time such as `90s`, `90m`, `24h` or `7d`, in milliseconds.
fn length_ms(text: &str) -> Option<u64> {
    let unit_ms: u64 = match text.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    text.get(..text.len() - 1)?.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// Whether standard output is a person's terminal: only there is anything coloured.
fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
