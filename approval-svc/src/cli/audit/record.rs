//! Where the commands read the record: the database of a data directory, or a file that `audit export` wrote.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::payload::Payload;
use holdpoint_core::audit::verify::Beside;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::DatabaseArgs;
use crate::keys::ServiceSigner;
use crate::store::Store;
use crate::store::payload::EntryBeside;
use crate::store::sql::SqlStore;

/// Rows read at once.
const PAGE_MAX: u32 = 4_096;
/// Entries between two lines of progress.
const PROGRESS_EVERY: u64 = 100_000;

/// Which record.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Directory with the database
    #[arg(long, env = "HOLDPOINT_DATA_DIR", value_name = "DIR", required_unless_present = "file")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Read a file that `audit export` wrote instead
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The record, opened for reading.
pub enum Record {
    Database { store: SqlStore, data_dir: PathBuf },
    File(PathBuf),
}

/// One entry as it was hashed.
pub struct Line {
    pub seq: u64,
    /// The text whose hash is the leaf.
    pub body: String,
    /// What stands beside it, where that was read too.
    pub payload: Option<Payload>,
    /// Whether it was.
    pub has_beside: bool,
}

impl Line {
    /// The entry's fields.
    pub fn entry(&self) -> anyhow::Result<AuditEntry> {
        serde_json::from_str(&self.body).with_context(|| unreadable(self.seq))
    }

    /// The entry as JSON.
    pub fn value(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| unreadable(self.seq))
    }
}

fn unreadable(seq: u64) -> String {
    format!("entry {seq} cannot be read: run `holdpoint audit verify`")
}

/// Tells null from absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Payload>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Line {
    /// What is known of what stands beside it.
    pub fn beside(&self) -> Beside<'_> {
        match &self.payload {
            Some(payload) => Beside::Payload(payload),
            None if self.has_beside => Beside::Nothing,
            None => Beside::Unseen,
        }
    }
}

/// A line of an export: an entry, or the checkpoint at its end.
#[derive(Deserialize)]
#[serde(untagged)]
enum Exported {
    Entry {
        seq: u64,
        entry: Value,
        /// Absent in an export without payloads, null where nothing stands beside the entry.
        #[serde(default, deserialize_with = "present")]
        payload: Option<Option<Payload>>,
    },
    Checkpoint {
        checkpoint: String,
    },
}

impl RecordArgs {
    pub async fn open(&self) -> anyhow::Result<Record> {
        match (&self.file, &self.data_dir) {
            (Some(file), _) => Ok(Record::File(file.clone())),
            (None, Some(dir)) => Ok(Record::Database { store: self.database.open(dir).await?, data_dir: dir.clone() }),
            (None, None) => bail!("name a record with `--data-dir` or `--file`"),
        }
    }
}

impl Record {
    /// The keys that sign this record: those `given`, or the public halves of those in the data directory.
    pub fn keys(&self, given: &[ServiceKey]) -> anyhow::Result<Vec<ServiceKey>> {
        match self {
            _ if !given.is_empty() => Ok(given.to_vec()),
            Self::Database { data_dir, .. } => Ok(ServiceSigner::load(data_dir)?.public_keys()),
            Self::File(_) => bail!("name the key that signs this record with `--key`; `holdpoint keys show` prints it"),
        }
    }

    /// Hands over every entry from `from` on, in order, until `take` breaks off. Tells its progress on a terminal.
    pub async fn each(
        &self,
        from: u64,
        take: impl FnMut(Line) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        self.each_line(from, false, take).await
    }

    /// The same, with what stands beside them.
    pub async fn each_beside(
        &self,
        from: u64,
        take: impl FnMut(Line) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        self.each_line(from, true, take).await
    }

    async fn each_line(
        &self,
        from: u64,
        with_payloads: bool,
        mut take: impl FnMut(Line) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Database { store, .. } => {
                let size = store.head().await?.frontier.size();
                let mut progress = Progress::new(Some(size));
                let mut next = from;
                while next < size {
                    let page = if with_payloads {
                        store.entries_beside(next, PAGE_MAX).await?
                    } else {
                        let rows = store.entries(next, PAGE_MAX).await?;
                        rows.into_iter().map(|entry| EntryBeside { entry, payload: None }).collect()
                    };
                    let Some(last) = page.last().map(|row| row.entry.seq) else { break };
                    for EntryBeside { entry, payload } in page.into_iter().take_while(|row| row.entry.seq < size) {
                        let line = Line { seq: entry.seq, body: entry.body, payload, has_beside: with_payloads };
                        if take(line)?.is_break() {
                            return Ok(());
                        }
                    }
                    next = last + 1;
                    progress.at(next);
                }
                Ok(())
            }
            Self::File(file) => read_export(file, |exported| match exported {
                Exported::Entry { seq, entry, payload } if seq >= from => {
                    let has_beside = payload.is_some();
                    take(Line { seq, body: entry.to_string(), payload: payload.flatten(), has_beside })
                }
                Exported::Entry { .. } | Exported::Checkpoint { .. } => Ok(ControlFlow::Continue(())),
            }),
        }
    }

    /// The checkpoint at the end of an export.
    pub fn exported_checkpoint(&self) -> anyhow::Result<Option<String>> {
        let Self::File(file) = self else { return Ok(None) };
        let mut found = None;
        read_export(file, |exported| {
            if let Exported::Checkpoint { checkpoint } = exported {
                found = Some(checkpoint);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Members of an object are sorted when it is written, as the service sorts them when it hashes: one entry, one text.
fn read_export(file: &Path, mut take: impl FnMut(Exported) -> anyhow::Result<ControlFlow<()>>) -> anyhow::Result<()> {
    let lines = BufReader::new(File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?).lines();
    let mut progress = Progress::new(None);
    for (at, line) in (1_u64..).zip(lines) {
        let line = line.with_context(|| format!("cannot read `{}`", file.display()))?;
        let exported = serde_json::from_str(&line)
            .with_context(|| format!("{}:{at}: no line of an `audit export --format ndjson`", file.display()))?;
        if take(exported)?.is_break() {
            break;
        }
        progress.at(at);
    }
    Ok(())
}

/// Lines on a terminal that say how far a long run has come.
pub struct Progress {
    is_watched: bool,
    of: Option<u64>,
    told: u64,
}

impl Progress {
    /// A run over `of` entries, where that is known.
    pub fn new(of: Option<u64>) -> Self {
        Self { is_watched: std::io::stderr().is_terminal(), of, told: 0 }
    }

    /// `done` entries are done.
    pub fn at(&mut self, done: u64) {
        if !self.is_watched || done < self.told + PROGRESS_EVERY {
            return;
        }
        self.told = done;
        match self.of {
            Some(of) => eprintln!("{done} of {of} entries"),
            None => eprintln!("{done} entries"),
        }
    }
}
