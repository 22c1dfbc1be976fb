//! `holdpoint audit verify`: says that the record is whole, or exactly what is wrong where.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::verify::{GivenCheckpoint, Verified, Verifier};
use serde_json::json;

use super::record::{Progress, Record, RecordArgs};
use crate::cli::{Form, Output};
use crate::ledger::verify::verify;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit verify --data-dir /var/lib/holdpoint
  holdpoint audit verify --data-dir copy --key ed25519:… --checkpoint kept/2026-11-01.note
  holdpoint audit verify --file record.ndjson --key ed25519:…

Exit code 1 means that the record was changed; every finding says where. Somebody who holds both database and key \
can rewrite both: keep checkpoints (GET /v1/log/checkpoint) elsewhere, and name them with `--checkpoint`.")]
pub struct VerifyArgs {
    #[command(flatten)]
    record: RecordArgs,
    /// A public key of the service, old or new; taken from the data directory unless given. What the record says of
    /// rotations leads from one key to the next
    #[arg(long, value_name = "KEY")]
    key: Vec<ServiceKey>,
    /// A checkpoint that you kept: the record must still hold what it was signed for
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let record = args.record.open().await?;
    let keys = record.keys(&args.key)?;
    let mut kept = Vec::new();
    for file in &args.checkpoint {
        let note = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        kept.push(GivenCheckpoint { name: format!("checkpoint `{}`", file.display()), note, size: None });
    }
    let verified = match &record {
        Record::Database { store, .. } => {
            let mut progress = None;
            verify(store, &keys, kept, |done, of| progress.get_or_insert_with(|| Progress::new(Some(of))).at(done))
                .await?
        }
        Record::File(_) => verify_export(&record, &keys, kept).await?,
    };
    print(&verified, args.output.output);
    Ok(if verified.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An export without a checkpoint at its end may have been cut off anywhere.
async fn verify_export(
    record: &Record,
    keys: &[ServiceKey],
    mut kept: Vec<GivenCheckpoint>,
) -> anyhow::Result<Verified> {
    let last = record.exported_checkpoint()?;
    let has_end = last.is_some();
    let last = last.map(|note| GivenCheckpoint { name: "the checkpoint at its end".to_owned(), note, size: None });
    kept.extend(last);
    let mut verifier = Verifier::new(keys, kept);
    record
        .each_beside(0, |line| {
            verifier.entry(line.seq, &line.body, None, line.beside());
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    if !has_end {
        verifier.find("there is no checkpoint at its end: whatever came after may have been cut off".to_owned());
    }
    Ok(verifier.finish(None))
}

fn print(verified: &Verified, form: Form) {
    let Verified { entries, checkpoints, root, payloads, erased, payloads_unseen, findings } = verified;
    match form {
        Form::Json => println!(
            "{}",
            json!({ "entries": entries, "checkpoints": checkpoints, "root": root, "payloads": payloads,
                    "payloads_erased": erased, "payloads_not_looked_at": payloads_unseen, "findings": findings })
        ),
        Form::Text if findings.is_empty() => {
            println!("the record is whole: {entries} entries, {checkpoints} signed checkpoints, root {root}");
            if *payloads > 0 || *erased > 0 {
                println!("beside them, {payloads} have what they name; of {erased} it was erased, as the record says");
            }
            if *payloads_unseen > 0 {
                println!("what stands beside {payloads_unseen} entries is not in this file and was not looked at");
            }
        }
        Form::Text => {
            for finding in findings {
                println!("{}", visible(finding));
            }
            println!("the record was changed: keep this copy as it is, and compare it with another");
        }
    }
}
