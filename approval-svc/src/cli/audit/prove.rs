//! `holdpoint audit prove` and `verify-proof`: one entry as evidence that needs neither the service nor its database.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::receipt::Receipt;
use serde_json::{Value, json};

use crate::cli::{DataDir, Form, Output};
use crate::keys::ServiceSigner;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::waiters::Waiters;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  holdpoint audit prove 1204 --data-dir data > 1204.proof
  holdpoint audit verify-proof 1204.proof --key ed25519:…

The proof is a C2SP tlog-proof: the entry, the hashes that lead from it to a checkpoint, and that checkpoint, signed.")]
pub struct ProveArgs {
    /// The entry's number in the log
    seq: u64,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  holdpoint audit verify-proof 1204.proof --key ed25519:…

Exit code 1 means that the proof proves nothing, and why.")]
pub struct VerifyProofArgs {
    /// What `audit prove` printed
    file: PathBuf,
    /// The service's public key, as `holdpoint keys show` prints it
    #[arg(long, value_name = "KEY")]
    key: ServiceKey,
    #[command(flatten)]
    output: Output,
}

pub async fn prove(args: ProveArgs) -> anyhow::Result<ExitCode> {
    let dir = &args.data_dir.data_dir;
    let store = Arc::new(args.data_dir.open().await?);
    let signer = Arc::new(ServiceSigner::load(dir)?);
    let ledger = Ledger::new(store, signer, Waiters::default(), Arc::new(Metrics::default()));
    let receipt = ledger.receipt(args.seq).await?;
    let receipt = receipt.with_context(|| format!("there is no entry {}: see `holdpoint audit tail`", args.seq))?;
    match args.output.output {
        Form::Text => print!("{receipt}"),
        Form::Json => {
            let Receipt { body, index, proof, checkpoint } = receipt;
            println!("{}", json!({ "seq": index, "body": body, "proof": proof, "checkpoint": checkpoint }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn verify_proof(args: &VerifyProofArgs) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read `{}`", args.file.display()))?;
    let checked = Receipt::read(&text).and_then(|receipt| {
        let checkpoint = receipt.verify(&args.key)?;
        Ok((receipt, checkpoint))
    });
    match (args.output.output, checked) {
        (Form::Text, Ok((receipt, checkpoint))) => {
            println!("entry {} is in the log `{}` of {} entries:", receipt.index, checkpoint.origin, checkpoint.size);
            println!("{}", pretty(&receipt.body));
            Ok(ExitCode::SUCCESS)
        }
        (Form::Json, Ok((receipt, checkpoint))) => {
            let entry: Value = serde_json::from_str(&receipt.body).unwrap_or(Value::String(receipt.body));
            let (origin, size) = (checkpoint.origin, checkpoint.size);
            println!(
                "{}",
                json!({ "proven": true, "seq": receipt.index, "entry": entry, "log": origin, "size": size })
            );
            Ok(ExitCode::SUCCESS)
        }
        (Form::Text, Err(error)) => {
            println!("not proven: {error}");
            Ok(ExitCode::FAILURE)
        }
        (Form::Json, Err(error)) => {
            println!("{}", json!({ "proven": false, "problem": error.to_string() }));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// JSON over several lines. Control characters are escaped by JSON itself; what else hides is shown.
fn pretty(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.lines().map(crate::text::visible).collect::<Vec<_>>().join("\n")
}
