//! `holdpoint audit tail`: the end of the record, and what comes after it.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use holdpoint_core::audit::AuditEntry;
use serde_json::json;

use super::record::{Line, Record};
use crate::cli::{DataDir, Form, Output};
use crate::store::Store;
use crate::text::{time, visible};

/// Entries printed at most.
const TAIL_MAX: u32 = 10_000;
/// How often `--follow` looks.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit tail --data-dir data -n 50
  holdpoint audit tail --data-dir data --follow
  holdpoint audit tail --data-dir data --output json | jq .entry.kind")]
pub struct TailArgs {
    #[command(flatten)]
    data_dir: DataDir,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    lines: u32,
    /// Go on with what is appended from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: TailArgs) -> anyhow::Result<ExitCode> {
    let dir = &args.data_dir.data_dir;
    let store = args.data_dir.open().await?;
    let size = store.head().await?.frontier.size();
    let mut next = size.saturating_sub(args.lines.min(TAIL_MAX).into());
    let record = Record::Database { store, data_dir: dir.clone() };
    loop {
        record
            .each(next, |line| {
                next = line.seq + 1;
                print(&line, args.output.output)?;
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

fn print(line: &Line, form: Form) -> anyhow::Result<()> {
    match form {
        Form::Json => println!("{}", json!({ "seq": line.seq, "entry": line.value()? })),
        Form::Text => match line.entry() {
            Ok(entry) => println!("{}", describe(line.seq, &entry)),
            Err(_) => println!("{:>8}  unreadable: run `holdpoint audit verify`", line.seq),
        },
    }
    Ok(())
}

/// One entry on one line.
pub fn describe(seq: u64, entry: &AuditEntry) -> String {
    let mut words = vec![format!("{seq:>8}  {}  {:<17}", time(entry.at_ms), entry.kind.as_str())];
    words.extend(entry.verdict.map(|verdict| verdict.as_str().to_owned()));
    words.extend(entry.outcome.map(|outcome| outcome.as_str().to_owned()));
    words.extend(entry.status.as_deref().map(visible));
    words.extend(entry.server.as_deref().map(visible));
    words.extend(entry.target.as_ref().or(entry.method.as_ref()).map(|target| visible(target)));
    words.extend(entry.principal.as_ref().map(|principal| format!("for {}", visible(&principal.subject))));
    words.extend(entry.by.as_ref().map(|by| format!("by {}", visible(by))));
    words.extend(entry.detail.as_ref().map(|detail| format!("· {}", visible(detail))));
    words.join("  ")
}
