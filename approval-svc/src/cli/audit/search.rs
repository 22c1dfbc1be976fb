//! `holdpoint audit search`: the entries that fit.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::filter::Filter;
use super::record::RecordArgs;
use super::tail::describe;
use crate::cli::{Form, Output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint audit search --data-dir data --verdict deny --since 24h
  holdpoint audit search --data-dir data --approval 0192f3… 
  holdpoint audit search --data-dir data --subject alice --on github --output json | jq .entry.target")]
pub struct SearchArgs {
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    filter: Filter,
    /// Stop after so many
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: u64,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: SearchArgs) -> anyhow::Result<ExitCode> {
    let record = args.record.open().await?;
    let (mut found, mut is_cut_off) = (0, false);
    record
        .each(0, |line| {
            let entry = line.entry()?;
            if !args.filter.holds(&entry) {
                return Ok(ControlFlow::Continue(()));
            }
            if found == args.limit {
                is_cut_off = true;
                return Ok(ControlFlow::Break(()));
            }
            found += 1;
            match args.output.output {
                Form::Text => println!("{}", describe(line.seq, &entry)),
                Form::Json => println!("{}", json!({ "seq": line.seq, "entry": line.value()? })),
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    if args.output.output == Form::Text {
        match (found, is_cut_off) {
            (0, _) => eprintln!("no entry fits"),
            (_, true) => eprintln!("… there are more: raise `--limit`, or narrow the search"),
            (_, false) => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}
