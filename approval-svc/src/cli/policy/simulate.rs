//! `holdpoint policy simulate`: what a policy would have made of recorded calls, per rule and per call. Steps 5 and 6 on step 12's entries.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use holdpoint_core::simulate::{Change, Simulated, Simulator, Tally};
use serde_json::{Value, json};

use super::case_files::{self, Policy};
use super::check::counted;
use super::diff::{FailOn, painted};
use super::paint::Paint;
use super::record::{self, RecordArgs};
use crate::cli::Form;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy simulate new.yaml --data-dir /var/lib/holdpoint
  holdpoint policy simulate new.yaml --record audit.ndjson --fail-on looser
  holdpoint audit tail -n 10000 --output json --data-dir data | holdpoint policy replay new.yaml --record -

Compares the verdict of each recorded decision with what POLICY says of the same call. Nothing is guessed: the record keeps \
no arguments, and no groups and scopes of callers; where the verdict depends on them the call is undecidable, and the report \
says on what. Client tags and annotations of tools are not recorded either; they can only tighten, so a call that had some \
may in truth be decided more strictly than reported here. Rates and calls at once are not simulated. \
Exit code 0; 1: --fail-on met such a change; 2: a file cannot be read.")]
pub struct SimulateArgs {
    /// The policy, in whatever file it is kept
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    record: RecordArgs,
    /// Calls that are listed one by one
    #[arg(long, value_name = "N", default_value_t = 50)]
    list: usize,
    /// Exit with 1 when a call changes so
    #[arg(long, value_enum, value_name = "CHANGE")]
    fail_on: Option<FailOn>,
    /// Form of the output
    #[arg(id = "output", long = "format", visible_alias = "output", value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// One call that would be decided differently, or that cannot be said of.
struct Line {
    call: String,
    change: Option<Change>,
    was: String,
    would_be: String,
}

pub async fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let policy = case_files::policy(&args.policy)?;
    let mut simulator = Simulator::new(&policy.document);
    let mut tally = Tally::default();
    let mut lines: Vec<Line> = Vec::new();
    let mut fails = false;
    record::each(&args.record, |numbered| {
        let Some(simulated) = simulator.judge(&numbered.entry) else { return };
        let change = tally.add(&numbered.entry, &simulated);
        fails |= change.is_some_and(|change| args.fail_on.is_some_and(|fail_on| fail_on.is_met(change)));
        if change != Some(Change::Same) && lines.len() < args.list {
            let was = numbered.entry.verdict.map_or("unknown", |verdict| verdict.as_str());
            let rule = numbered.entry.rule_ids.first().map_or("default_decision", String::as_str);
            let call = record::describe(numbered);
            lines.push(Line { call, change, was: format!("{was} ({rule})"), would_be: words(&simulated) });
        }
    })
    .await?;
    match args.format {
        Form::Text => print_text(&tally, &lines, Paint::stdout()),
        Form::Json => println!("{}", to_json(&tally, &lines, &policy)),
    }
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn words(simulated: &Simulated) -> String {
    match simulated {
        Simulated::Decided { decision, .. } => format!("{} ({})", decision.verdict.as_str(), decision.rule_id()),
        Simulated::Undecidable { loosest, strictest, open_rules, lacks } => {
            let rules: Vec<&str> = open_rules.iter().map(String::as_str).collect();
            let lacks: Vec<&str> = lacks.iter().copied().collect();
            let (rules, lacks) = (rules.join(", "), lacks.join("; "));
            format!("{} to {}: open is {rules}; not recorded: {lacks}", loosest.as_str(), strictest.as_str())
        }
        Simulated::NotJudged(why) => why.clone(),
    }
}

fn print_text(tally: &Tally, lines: &[Line], paint: Paint) {
    for line in lines {
        let word = match line.change {
            Some(change) => painted(change, paint),
            None => paint.yellow("open   "),
        };
        println!("{word} {}", visible(&line.call));
        println!("  was       {}", visible(&line.was));
        println!("  would be  {}", visible(&line.would_be));
    }
    let changed = tally.tighter + tally.looser + tally.undecidable + tally.not_judged;
    if changed > lines.len() as u64 {
        println!("… and {} more (--list)", changed - lines.len() as u64);
    }
    if !tally.moves.is_empty() {
        println!("\n{}", paint.bold("changes"));
        for (moved, count) in &tally.moves {
            println!(
                "{count:>9}  {} ({}) → {} ({})",
                moved.from.as_str(),
                visible(&moved.from_rule),
                moved.to.as_str(),
                visible(&moved.to_rule)
            );
        }
    }
    println!("\n{}", paint.bold("rules"));
    println!("  matched      open   tighter    looser");
    for (rule, count) in &tally.rules {
        println!("{:>9} {:>9} {:>9} {:>9}  {}", count.matched, count.open, count.tighter, count.looser, visible(rule));
    }
    for (lack, count) in &tally.lacks {
        println!("{}", paint.yellow(&format!("{count} undecidable for want of: {lack}")));
    }
    println!(
        "\n{}: {} as recorded, {} tighter, {} looser, {} undecidable, {} not judged",
        counted(tally.calls as usize, "call"),
        tally.same,
        tally.tighter,
        tally.looser,
        tally.undecidable,
        tally.not_judged
    );
}

fn to_json(tally: &Tally, lines: &[Line], policy: &Policy) -> Value {
    let calls: Vec<Value> = lines
        .iter()
        .map(|line| {
            let change = line.change.map_or("undecidable", Change::as_str);
            json!({ "call": line.call, "change": change, "was": line.was, "would_be": line.would_be })
        })
        .collect();
    let rules: serde_json::Map<String, Value> = tally
        .rules
        .iter()
        .map(|(rule, count)| {
            let counts = json!({
                "matched": count.matched, "open": count.open, "tighter": count.tighter, "looser": count.looser,
            });
            (rule.clone(), counts)
        })
        .collect();
    let moves: Vec<Value> = tally
        .moves
        .iter()
        .map(|(moved, count)| {
            json!({
                "from": moved.from, "from_rule": moved.from_rule, "to": moved.to, "to_rule": moved.to_rule, "calls": count,
            })
        })
        .collect();
    json!({
        "snapshot_id": policy.snapshot.id(), "calls": tally.calls, "same": tally.same, "tighter": tally.tighter,
        "looser": tally.looser, "undecidable": tally.undecidable, "not_judged": tally.not_judged,
        "rules": rules, "moves": moves, "lacks": tally.lacks, "listed": calls,
    })
}
