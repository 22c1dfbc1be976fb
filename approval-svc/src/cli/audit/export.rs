//! `holdpoint audit export`: the record as others read it. What is kept is the service's own form; these are views of it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::filter::Filter;
use super::record::{Line, Record, RecordArgs};
use crate::keys::ServiceSigner;
use crate::otlp::spans::Gatherer;
use crate::otlp::{logs, spans};
use crate::store::Store;
use crate::trail::Numbered;

mod ocsf;
#[cfg(test)]
mod tests;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit export --data-dir data --out record.ndjson      the whole record, verifiable by itself
  holdpoint audit export --data-dir data --format ocsf --since 24h | siem-forwarder
  holdpoint audit export --data-dir data --format otlp --out logs.jsonl
  holdpoint audit export --data-dir data --format otlp-traces --since 1h --out traces.jsonl

With `--payloads` whoever reads it reads arguments and results: keep it as you keep those. \
A whole export as ndjson ends with a signed checkpoint: `holdpoint audit verify --file record.ndjson --key …`.")]
pub struct ExportArgs {
    #[command(flatten)]
    record: RecordArgs,
    /// ndjson: as kept. ocsf: OCSF 1.3 API Activity, a line an event. otlp: OTLP/JSON logs, a line a request. otlp-traces:
    /// the spans of calls that ended, likewise
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// File to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With the arguments and results that stand beside entries, as far as they are kept
    #[arg(long)]
    payloads: bool,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Ndjson,
    Ocsf,
    Otlp,
    OtlpTraces,
}

pub async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let record = args.record.open().await?;
    match &args.out {
        None => ended(export(&args, &record, &mut BufWriter::new(io::stdout().lock())).await),
        Some(file) => {
            let out = File::create_new(file)
                .with_context(|| format!("cannot write `{}`; name a file that is not there yet", file.display()))?;
            let mut out = BufWriter::new(out);
            let written = export(&args, &record, &mut out).await?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            eprintln!("{written} entries in `{}`", file.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A reader that has seen enough is no failure.
fn ended(written: anyhow::Result<u64>) -> anyhow::Result<ExitCode> {
    match written {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// How many entries were written.
async fn export(args: &ExportArgs, record: &Record, out: &mut dyn Write) -> anyhow::Result<u64> {
    let mut written = 0;
    let mut is_whole = true;
    let mut batch = Vec::new();
    let mut told = Vec::new();
    let mut gatherer = Gatherer::default();
    let take = |line: Line| {
        let entry = line.entry()?;
        let holds = args.filter.holds(&entry);
        if args.format == Format::OtlpTraces {
            // Of a call that ended in the period, also what happened before it.
            let ended = gatherer.take(Numbered { seq: line.seq, entry: entry.clone() });
            told.extend(ended.into_iter().filter(|_| holds));
            if told.len() >= spans::SPANS_MAX {
                writeln!(out, "{}", spans::request(&std::mem::take(&mut told)))?;
            }
        }
        if !holds {
            is_whole = false;
            return Ok(ControlFlow::Continue(()));
        }
        written += 1;
        match args.format {
            // Verbatim: this text is what the leaf is the hash of.
            Format::Ndjson if args.payloads => {
                let payload = serde_json::to_string(&line.payload)?;
                writeln!(out, "{{\"seq\":{},\"entry\":{},\"payload\":{payload}}}", line.seq, line.body)?;
            }
            Format::Ndjson => writeln!(out, "{{\"seq\":{},\"entry\":{}}}", line.seq, line.body)?,
            Format::Ocsf => writeln!(out, "{}", ocsf::event(line.seq, &entry, line.payload.as_ref()))?,
            Format::Otlp => {
                batch.push(logs::record(line.seq, &entry, line.payload.as_ref()));
                if batch.len() == logs::RECORDS_MAX {
                    writeln!(out, "{}", logs::request(std::mem::take(&mut batch)))?;
                }
            }
            Format::OtlpTraces => {}
        }
        Ok(ControlFlow::Continue(()))
    };
    if args.payloads {
        record.each_beside(0, take).await?
    } else {
        record.each(0, take).await?
    }
    if !batch.is_empty() {
        writeln!(out, "{}", logs::request(batch))?;
    }
    if !told.is_empty() {
        writeln!(out, "{}", spans::request(&told))?;
    }
    if args.format == Format::Ndjson
        && is_whole
        && let Some(note) = checkpoint(record, written).await?
    {
        writeln!(out, "{}", json!({ "checkpoint": note }))?;
    }
    out.flush()?;
    Ok(written)
}

/// A signed checkpoint over exactly what was written, if there can be one.
async fn checkpoint(record: &Record, size: u64) -> anyhow::Result<Option<String>> {
    match record {
        Record::File(_) => record.exported_checkpoint(),
        Record::Database { store, data_dir } => {
            let kept = store.checkpoints(size.saturating_sub(1), 1).await?.into_iter().find(|row| row.size == size);
            if let Some(row) = kept {
                return Ok(Some(row.note));
            }
            // Nothing was signed at this very size yet; only the holder of the key can.
            let Ok(signer) = ServiceSigner::load(data_dir) else { return Ok(None) };
            let head = store.head().await?;
            Ok((size > 0 && head.frontier.size() == size).then(|| signer.sign_checkpoint(size, head.root)))
        }
    }
}
