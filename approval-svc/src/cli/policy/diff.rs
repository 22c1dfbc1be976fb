//! `holdpoint policy diff`: which calls two policies decide differently, tighter or looser, one by one. Steps 5 and 6, twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use holdpoint_core::simulate::{Change, Simulated, Simulator, compare, compare_verdicts};
use serde_json::{Value, json};

use super::case_files::{self, Policy};
use super::check::counted;
use super::paint::Paint;
use super::record::{self, RecordArgs};
use super::run_cases;
use crate::cli::Form;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy diff old.yaml new.yaml                       # cases.yaml beside the new one
  holdpoint policy diff old.yaml new.yaml --cases examples/
  holdpoint policy diff old.yaml new.yaml --record audit.ndjson --fail-on looser

A call counts as tighter when its verdict is stricter or what bounds it is: shorter, fewer, more approvers. It is `mixed` \
when it is tighter in one respect and looser in another. Recorded calls are compared by their verdicts; where those depend \
on arguments, groups or scopes, which the record does not keep, the call is undecidable. \
Exit code 0; 1: --fail-on met such a change; 2: a file cannot be read.")]
pub struct DiffArgs {
    /// The policy as it is
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy as it would be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Files of cases, or directories with `cases.yaml` in them; what the cases expect is not looked at
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cases: Vec<PathBuf>,
    #[command(flatten)]
    record: RecordArgs,
    /// Exit with 1 when a call changes so
    #[arg(long, value_enum, value_name = "CHANGE")]
    fail_on: Option<FailOn>,
    /// Form of the output
    #[arg(id = "output", long = "format", visible_alias = "output", value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Looser in any respect
    Looser,
    /// Tighter in any respect
    Tighter,
    Any,
}

impl FailOn {
    pub fn is_met(self, change: Change) -> bool {
        match (self, change) {
            (_, Change::Same) => false,
            (Self::Any, _) | (_, Change::Mixed) => true,
            (Self::Looser, change) => change == Change::Looser,
            (Self::Tighter, change) => change == Change::Tighter,
        }
    }
}

/// One call that the two policies decide differently.
struct Differs {
    call: String,
    change: Change,
    old: String,
    new: String,
}

/// What was compared.
#[derive(Default)]
struct Report {
    compared: u64,
    same: u64,
    undecidable: u64,
    differs: Vec<Differs>,
    /// Beyond [`LISTED_MAX`].
    unlisted: u64,
    counts: BTreeMap<&'static str, u64>,
    fails: bool,
}

/// Calls that are listed one by one.
const LISTED_MAX: usize = 1_000;

pub async fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let (old, new) = (case_files::policy(&args.old)?, case_files::policy(&args.new)?);
    let mut report = Report::default();
    for path in case_paths(args)? {
        let file = case_files::read(&path)?;
        for case in &file.cases {
            let (before, after) = (case.call.judge(&old.snapshot), case.call.judge(&new.snapshot));
            let call = format!("{} ({}:{})", case.name, path.display(), case.at.line);
            let change = compare(&before, &after);
            report.add(args.fail_on, change, || Differs {
                call,
                change,
                old: run_cases::summary(&before),
                new: run_cases::summary(&after),
            });
        }
    }
    if args.record.is_given() {
        compare_record(args, &old, &new, &mut report).await?;
    }
    match args.format {
        Form::Text => print_text(&report, &old, &new, Paint::stdout()),
        Form::Json => println!("{}", to_json(&report, &old, &new)),
    }
    Ok(if report.fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn case_paths(args: &DiffArgs) -> anyhow::Result<Vec<PathBuf>> {
    if !args.cases.is_empty() {
        return case_files::find(&args.cases);
    }
    let beside = args.new.with_file_name("cases.yaml");
    match (beside.is_file(), args.record.is_given()) {
        (true, _) => Ok(vec![beside]),
        (false, true) => Ok(Vec::new()),
        (false, false) => anyhow::bail!(
            "nothing to compare with: there is no `{}`; name calls with `--cases`, `--record` or `--data-dir`",
            beside.display()
        ),
    }
}

async fn compare_record(args: &DiffArgs, old: &Policy, new: &Policy, report: &mut Report) -> anyhow::Result<()> {
    let (mut before, mut after) = (Simulator::new(&old.document), Simulator::new(&new.document));
    record::each(&args.record, |numbered| {
        let (Some(one), Some(two)) = (before.judge(&numbered.entry), after.judge(&numbered.entry)) else { return };
        match (one, two) {
            (Simulated::Decided { decision: one, .. }, Simulated::Decided { decision: two, .. }) => {
                let change = compare_verdicts(one.verdict, two.verdict);
                report.add(args.fail_on, change, || Differs {
                    call: record::describe(numbered),
                    change,
                    old: format!("{} ({})", one.verdict.as_str(), one.rule_id()),
                    new: format!("{} ({})", two.verdict.as_str(), two.rule_id()),
                });
            }
            (_, _) => {
                report.compared += 1;
                report.undecidable += 1;
            }
        }
    })
    .await?;
    Ok(())
}

impl Report {
    fn add(&mut self, fail_on: Option<FailOn>, change: Change, differs: impl FnOnce() -> Differs) {
        self.compared += 1;
        if change == Change::Same {
            self.same += 1;
            return;
        }
        *self.counts.entry(change.as_str()).or_default() += 1;
        self.fails |= fail_on.is_some_and(|fail_on| fail_on.is_met(change));
        if self.differs.len() < LISTED_MAX {
            self.differs.push(differs());
        } else {
            self.unlisted += 1;
        }
    }
}

/// The word for a change, in its colour.
pub fn painted(change: Change, paint: Paint) -> String {
    let word = format!("{:<7}", change.as_str());
    match change {
        Change::Same => paint.dim(&word),
        Change::Tighter => paint.green(&word),
        Change::Looser => paint.red(&word),
        Change::Mixed => paint.yellow(&word),
    }
}

fn print_text(report: &Report, old: &Policy, new: &Policy, paint: Paint) {
    for one in &report.differs {
        println!("{} {}", painted(one.change, paint), visible(&one.call));
        println!("  was  {}", visible(&one.old));
        println!("  is   {}", visible(&one.new));
    }
    if report.unlisted > 0 {
        println!("… and {} more", report.unlisted);
    }
    let count = |word: &str| report.counts.get(word).copied().unwrap_or(0);
    println!(
        "{}: {} the same, {} tighter, {} looser, {} mixed, {} undecidable",
        counted(report.compared as usize, "call"),
        report.same,
        count("tighter"),
        count("looser"),
        count("mixed"),
        report.undecidable
    );
    if old.snapshot.id() == new.snapshot.id() {
        println!("{}", paint.dim("both files hold the same policy"));
    }
}

fn to_json(report: &Report, old: &Policy, new: &Policy) -> Value {
    let calls: Vec<Value> = report
        .differs
        .iter()
        .map(|one| json!({ "call": one.call, "change": one.change.as_str(), "old": one.old, "new": one.new }))
        .collect();
    json!({
        "old_snapshot_id": old.snapshot.id(), "new_snapshot_id": new.snapshot.id(), "compared": report.compared,
        "same": report.same, "changes": report.counts, "undecidable": report.undecidable, "calls": calls,
        "not_listed": report.unlisted,
    })
}
