//! Recorded calls, from a data directory or an exported file, one after another. Step 12's output as step 6's input.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use serde::Deserialize;

use crate::cli::DatabaseArgs;
use crate::store::Store;
use crate::text::time;

/// Entries read at once.
const PAGE_MAX: u32 = 4_096;
/// Entries between two lines of progress.
const PROGRESS_EVERY: u64 = 50_000;
/// Longest line of an exported file, in bytes.
const LINE_BYTES_MAX: u64 = 1_048_576;

/// Where recorded calls come from.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// An exported record: one entry a line, as `holdpoint audit tail --output json` or `GET /v1/audit` (NDJSON) writes
    /// them; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    record: Option<PathBuf>,
    /// The service's data directory; the service may run meanwhile
    #[arg(long, env = "HOLDPOINT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Entries from this sequence number on
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
}

impl RecordArgs {
    /// Whether there is a record to read.
    pub fn is_given(&self) -> bool {
        self.record.is_some() || self.data_dir.is_some()
    }
}

/// An entry with its place in the log.
#[derive(Debug, Deserialize)]
pub struct Numbered {
    #[serde(default)]
    pub seq: u64,
    pub entry: AuditEntry,
}

/// Hands every entry that reports a decision to `take`. Progress goes to standard error where a person watches.
pub async fn each(args: &RecordArgs, mut take: impl FnMut(&Numbered)) -> anyhow::Result<()> {
    let watched = std::io::stderr().is_terminal();
    let mut done = 0_u64;
    let mut take = |numbered: &Numbered| {
        done += 1;
        if watched && done.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("{done} entries");
        }
        if numbered.entry.kind == EntryKind::Decision && numbered.seq >= args.from {
            take(numbered);
        }
    };
    match (&args.record, &args.data_dir) {
        (Some(file), _) => from_file(file, &mut take),
        (None, Some(dir)) => from_database(args, dir, &mut take).await,
        (None, None) => bail!("name the record with `--record FILE` or `--data-dir DIR`"),
    }
}

async fn from_database(args: &RecordArgs, dir: &Path, take: &mut impl FnMut(&Numbered)) -> anyhow::Result<()> {
    let store = args.database.open(dir).await?;
    let mut next = args.from;
    loop {
        let page = store.entries(next, PAGE_MAX).await?;
        let Some(last) = page.last().map(|row| row.seq) else { return Ok(()) };
        for row in page {
            let entry = serde_json::from_str(&row.body)
                .with_context(|| format!("entry {} cannot be read: run `holdpoint audit verify`", row.seq))?;
            take(&Numbered { seq: row.seq, entry });
        }
        next = last + 1;
    }
}

fn from_file(path: &Path, take: &mut impl FnMut(&Numbered)) -> anyhow::Result<()> {
    let mut input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut line = String::new();
    for number in 1_u64.. {
        line.clear();
        let read = std::io::Read::take(&mut input, LINE_BYTES_MAX).read_line(&mut line)?;
        if read == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let numbered = read_line(&line, number)
            .with_context(|| format!("{}:{number}: expected one entry of the record as JSON", path.display()))?;
        take(&numbered);
    }
    Ok(())
}

/// `{"seq": …, "entry": {…}}`, or the entry alone, which is then numbered by its line.
fn read_line(line: &str, number: u64) -> anyhow::Result<Numbered> {
    match serde_json::from_str::<Numbered>(line) {
        Ok(numbered) => Ok(numbered),
        Err(wrapped) => match serde_json::from_str::<AuditEntry>(line) {
            Ok(entry) => Ok(Numbered { seq: number, entry }),
            Err(bare) if line.contains("\"schema\"") && !line.contains("\"entry\"") => Err(bare.into()),
            Err(_) => Err(wrapped.into()),
        },
    }
}

/// One recorded call, in words.
pub fn describe(numbered: &Numbered) -> String {
    let entry = &numbered.entry;
    let mut words = vec![format!("#{}", numbered.seq), time(entry.at_ms)];
    words.extend(entry.principal.as_ref().map(|principal| principal.subject.clone()));
    words.extend(entry.method.clone());
    words.extend(entry.target.as_ref().map(|target| format!("`{target}`")));
    words.extend(entry.server.as_ref().map(|server| format!("on {server}")));
    words.join(" ")
}
