//! `holdpoint audit show`: one entry, and the arguments and the result beside it, held against its digests.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::{DataDir, Form, Output};
use crate::ledger::payloads;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit show --data-dir data 1204
  holdpoint audit show --data-dir data 1204 --output json | jq -r .payload.arguments

How much stands beside an entry, the policy says (`audit: digest | redacted | full`). Exit code 1 means that something \
should stand there and does not fit, or is gone without a word.")]
pub struct ShowArgs {
    /// Sequence number of the entry, as `tail` and `search` print it
    seq: u64,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let store = args.data_dir.open().await?;
    let Some(shown) = payloads::show(&store, args.seq).await? else {
        bail!("the record has no entry {}", args.seq);
    };
    match args.output.output {
        Form::Json => println!("{}", serde_json::to_string(&shown)?),
        Form::Text => {
            let entry = serde_json::to_string_pretty(&shown.entry).context("an entry")?;
            println!("entry {}\n{}", shown.seq, lines(&entry));
            if let Some(payload) = &shown.payload {
                for (name, text) in [("arguments", &payload.arguments), ("result", &payload.result)] {
                    if let Some(text) = text {
                        println!("\n{name}, as the entry names them by digest\n{}", lines(text));
                    }
                }
                println!("\nsalt {}", payload.salt);
            }
            if let Some(why) = &shown.withheld {
                println!("\nnothing is shown beside it: {}", visible(why));
            }
        }
    }
    let is_as_said = shown.withheld.as_ref().is_none_or(|why| why.starts_with("erased "));
    Ok(if is_as_said { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Text of others, line by line.
fn lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}
