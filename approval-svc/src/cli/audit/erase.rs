//! `holdpoint audit erase`: takes away what stands beside entries, and writes down that it was done. The entries stay.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::filter::When;
use crate::cli::{DataDir, Form, Output};
use crate::ledger::payloads::{ERASED_AT_ONCE_MAX, erasing};
use crate::store::payload::PayloadFilter;
use crate::store::sql::SqlStore;
use crate::store::{Store, StoreError};
use crate::text::visible;

/// Longest name of whoever erases, in characters.
const BY_CHARS_MAX: usize = 200;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit erase --data-dir data 1204 1207 --by 'dana (privacy)' --reason 'ticket 88'
  holdpoint audit erase --data-dir data --subject alice --by 'dana (privacy)' --reason 'asked to be forgotten'
  holdpoint audit erase --data-dir data --before 2026-01-01 --by ops --reason 'end of the retention period'

Erases arguments, results and salts; entries and proofs stay as they are, and `audit verify` says what was erased. What \
approvals keep of a held call has its own time: `holdpoint serve --arguments-keep-days`.")]
pub struct EraseArgs {
    /// Sequence numbers of entries
    #[arg(required_unless_present_any = ["before", "subject"], value_name = "SEQ")]
    seq: Vec<u64>,
    /// What was taken in before then: a time, a date, or how long ago (`90d`)
    #[arg(long, value_name = "TIME", conflicts_with = "seq")]
    before: Option<When>,
    /// What stands beside entries of calls for this subject; with `--before`, only what was taken in before then
    #[arg(long, value_name = "SUBJECT", conflicts_with = "seq")]
    subject: Option<String>,
    /// Who erases it, as the record will say
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why, as the record will say
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: EraseArgs) -> anyhow::Result<ExitCode> {
    let is_plain =
        !args.by.trim().is_empty() && visible(&args.by) == args.by && args.by.chars().count() <= BY_CHARS_MAX;
    ensure!(is_plain, "`--by` is a name of at most {BY_CHARS_MAX} characters, none of them hidden");
    ensure!(!args.reason.trim().is_empty(), "`--reason` says why: the record keeps it");
    let store = args.data_dir.open().await?;
    let by = format!("command line: {}", args.by.trim());
    let mut erased = 0;
    // Each round is one change with one entry; whatever ends this between two of them leaves the record whole.
    loop {
        let seqs = next(&store, &args).await?;
        if seqs.is_empty() {
            break;
        }
        erased += seqs.len();
        store.commit(erasing(seqs, &by, &args.reason, store.now_ms().await?)).await?;
    }
    match args.output.output {
        Form::Text if erased == 0 => eprintln!("nothing stands beside such entries"),
        Form::Text => println!("erased what stood beside {erased} entries"),
        Form::Json => println!("{}", json!({ "erased": erased })),
    }
    Ok(ExitCode::SUCCESS)
}

/// The next entries of which something is to be erased.
async fn next(store: &SqlStore, args: &EraseArgs) -> Result<Vec<u64>, StoreError> {
    let before_ms = args.before.map_or(u64::MAX, |before| before.at_ms);
    if let Some(subject) = args.subject.clone() {
        return store.find_payloads(PayloadFilter::Of { subject, before_ms }, ERASED_AT_ONCE_MAX).await;
    }
    if args.before.is_some() {
        for level in ["full", "redacted", "digest"] {
            let found = store.find_payloads(PayloadFilter::Older { level, before_ms }, ERASED_AT_ONCE_MAX).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        return Ok(Vec::new());
    }
    let most = usize::try_from(ERASED_AT_ONCE_MAX).unwrap_or(usize::MAX);
    let mut seqs = Vec::new();
    for seq in &args.seq {
        let row = store.entries_beside(*seq, 1).await?.into_iter().next();
        if row.is_some_and(|row| row.entry.seq == *seq && row.payload.is_some()) && seqs.len() < most {
            seqs.push(*seq);
        }
    }
    Ok(seqs)
}
