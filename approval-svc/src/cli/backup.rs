//! `holdpoint backup`: a copy of the database, taken while the service runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use super::{DataDir, Form, Output};
use crate::data_dir;
use crate::store::sqlite::backup;

/// Copy the database while the service runs
#[derive(Debug, Args)]
#[command(after_help = "Example:
  holdpoint backup /var/backups/holdpoint-2026-11-26.db --data-dir /var/lib/holdpoint

The copy holds everything of one moment: approvals, tokens (hashed), policies, the record. Nobody waits meanwhile. It does not \
hold the service key: whoever has both can rewrite the record. Keep `service-key.hex` of the data directory (and, while keys \
are rotated, `service-key.previous.hex` and `log-origin`) apart from it, once. `holdpoint restore` puts a copy in place.

With PostgreSQL, use pg_dump.")]
pub struct BackupArgs {
    /// File to make; one that exists is not touched
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let BackupArgs { file, data_dir: DataDir { data_dir, database }, output } = args;
    database.refuse_server("it is copied with `pg_dump`")?;
    let database = data_dir::database(&data_dir);
    ensure!(database.exists(), "there is no database in `{}`: check `--data-dir`", data_dir.display());
    ensure!(!file.exists(), "`{}` is there already: name another file", file.display());
    let copied = backup::copy(&database, &file).await.context("no copy was made")?;
    match output.output {
        Form::Text => println!(
            "{} entries, {} bytes in `{}`; the service key is not in it: keep `service-key.hex` apart",
            copied.entries,
            copied.bytes,
            file.display()
        ),
        Form::Json => println!("{}", json!({ "file": file, "entries": copied.entries, "bytes": copied.bytes })),
    }
    Ok(ExitCode::SUCCESS)
}
