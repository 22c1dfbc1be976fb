//! `holdpoint audit`: reads the record straight from the database; the service need not run.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use holdpoint_core::audit::AuditEntry;
use serde_json::{Value, json};

use super::{DataDir, Form, Output};
use crate::data_dir;
use crate::keys::ServiceSigner;
use crate::ledger::verify::verify;
use crate::store::Store;
use crate::store::row::LogEntry;
use crate::store::sqlite::{SqliteStore, machine_clock};
use crate::text::{time, visible};

/// Entries printed at most.
const TAIL_MAX: u32 = 10_000;
/// Entries between two lines of progress.
const PROGRESS_EVERY: u64 = 100_000;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the whole record and compare it with its head and every signed checkpoint
    #[command(after_help = "Example:
  holdpoint audit verify --data-dir /var/lib/holdpoint

Exit code 1 means that the record was changed; every finding says where. Somebody who holds both database and key
can rewrite both: keep checkpoints (GET /v1/log/checkpoint) elsewhere.")]
    Verify {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        output: Output,
    },
    /// Print the last entries
    #[command(after_help = "Examples:
  holdpoint audit tail --data-dir data -n 50
  holdpoint audit tail --data-dir data --output json | jq .entry.kind")]
    Tail {
        #[command(flatten)]
        data_dir: DataDir,
        /// How many
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        lines: u32,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify { data_dir, output } => verify_record(&data_dir, output.output).await,
        AuditCommand::Tail { data_dir, lines, output } => tail(&data_dir, lines.min(TAIL_MAX), output.output).await,
    }
}

async fn open(dir: &DataDir) -> anyhow::Result<SqliteStore> {
    let file = data_dir::database(&dir.data_dir);
    anyhow::ensure!(file.exists(), "there is no record in `{}`: check `--data-dir`", dir.data_dir.display());
    SqliteStore::open(&file, machine_clock()).await.with_context(|| format!("cannot open `{}`", file.display()))
}

async fn verify_record(dir: &DataDir, form: Form) -> anyhow::Result<ExitCode> {
    let store = open(dir).await?;
    let signer = ServiceSigner::load(&dir.data_dir)?;
    let watched = std::io::stderr().is_terminal();
    let mut told = 0;
    let verified = verify(&store, &signer, |done| {
        if watched && done >= told + PROGRESS_EVERY {
            told = done;
            eprintln!("{done} entries");
        }
    })
    .await?;
    match form {
        Form::Json => println!(
            "{}",
            json!({
                "entries": verified.entries, "checkpoints": verified.checkpoints, "root": verified.root,
                "findings": verified.findings,
            })
        ),
        Form::Text => {
            for finding in &verified.findings {
                println!("{finding}");
            }
            if verified.findings.is_empty() {
                println!(
                    "the record is whole: {} entries, {} signed checkpoints, root {}",
                    verified.entries, verified.checkpoints, verified.root
                );
            } else {
                println!("the record was changed: keep this database, and compare it with a copy");
            }
        }
    }
    Ok(if verified.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn tail(dir: &DataDir, lines: u32, form: Form) -> anyhow::Result<ExitCode> {
    let store = open(dir).await?;
    let from = store.head().await?.frontier.size().saturating_sub(u64::from(lines));
    for row in store.entries(from, lines).await? {
        match form {
            Form::Json => {
                let entry: Value =
                    serde_json::from_str(&row.body).context("an entry cannot be read: run `holdpoint audit verify`")?;
                println!("{}", json!({ "seq": row.seq, "entry": entry }));
            }
            Form::Text => println!("{}", describe(&row)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(row: &LogEntry) -> String {
    let Ok(entry) = serde_json::from_str::<AuditEntry>(&row.body) else {
        return format!("{:>8}  unreadable: run `holdpoint audit verify`", row.seq);
    };
    let mut words = vec![format!("{:>8}  {}  {:<17}", row.seq, time(entry.at_ms), entry.kind.as_str())];
    words.extend(entry.verdict.map(|verdict| verdict.as_str().to_owned()));
    words.extend(entry.outcome.map(|outcome| outcome.as_str().to_owned()));
    words.extend(entry.status.as_deref().map(visible));
    words.extend(entry.server.as_deref().map(visible));
    words.extend(entry.target.or(entry.method).as_deref().map(visible));
    words.extend(entry.principal.map(|principal| format!("for {}", visible(&principal.subject))));
    words.extend(entry.by.map(|by| format!("by {}", visible(&by))));
    words.extend(entry.detail.map(|detail| format!("· {}", visible(&detail))));
    words.join("  ")
}
