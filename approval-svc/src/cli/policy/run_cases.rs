//! `holdpoint policy test`: calls in, the decisions that were expected of them, or how they differ. Steps 3 to 6.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use holdpoint_core::cases::{self, Difference, Judged};
use holdpoint_core::decision::Decision;
use serde_json::{Value, json};

use super::case_files::{self, CaseFile, Policy};
use super::check::counted;
use super::paint::Paint;
use crate::cli::Form;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy test examples/                  # every cases.yaml below it
  holdpoint policy test cases.yaml --policy new.yaml
  holdpoint policy test . --junit report.xml

A file of cases:
  policy: policy.yaml                              # beside the file
  defaults: {server: github, principal: {groups: [dev]}}
  cases:
  - name: a write waits for a person
    principal: {subject: alice, scopes: [repo]}    # issuer, agent_id, actor_type, tenant too
    call: {method: tools/call, params: {name: create_issue, arguments: {owner: acme}}}
    expect:
      verdict: require_approval                    # allow, deny, or refused: no rule ever saw it
      rules: [writes-wait, prod-is-bounded]        # every rule that took part; left out, not looked at
      constraints: {budgets: {max_runtime_ms: 30000}}   # left out, none are expected
      approvers: [{group: sre, min: 1}]            # also: decided_by, reason, conceal

Exit code 0: every case is as expected. 1: some are not. 2: a file cannot be read.")]
pub struct TestArgs {
    /// Files of cases, or directories with `cases.yaml` in them
    #[arg(default_value = ".", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Judge by this policy instead of the one that each file names
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Also write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Name every case, not only those that fail
    #[arg(short, long)]
    verbose: bool,
    /// Fail when a rule took part in no case
    #[arg(long)]
    require_coverage: bool,
    /// Form of the output
    #[arg(id = "output", long = "format", visible_alias = "output", value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// One file of cases, judged.
struct Ran {
    file: CaseFile,
    snapshot_id: String,
    results: Vec<CaseResult>,
    /// Rules that took part in no case.
    untested: Vec<String>,
}

struct CaseResult {
    judged: Judged,
    differences: Vec<Difference>,
}

pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let mut policies = BTreeMap::new();
    let mut ran = Vec::new();
    for path in case_files::find(&args.paths)? {
        let file = case_files::read(&path)?;
        let policy_path = args.policy.clone().unwrap_or_else(|| file.policy_path.clone());
        let policy = match policies.remove(&policy_path) {
            Some(policy) => policy,
            None => case_files::policy(&policy_path)
                .with_context(|| format!("the policy of `{}` cannot be used", path.display()))?,
        };
        ran.push(judge(file, &policy));
        policies.insert(policy_path, policy);
    }
    match args.format {
        Form::Text => print!("{}", text(&ran, args.verbose, Paint::stdout())),
        Form::Json => println!("{}", json(&ran)),
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&ran)).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let failed = ran.iter().any(|ran| ran.failed() > 0);
    let uncovered = args.require_coverage && ran.iter().any(|ran| !ran.untested.is_empty());
    Ok(if failed || uncovered { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn judge(file: CaseFile, policy: &Policy) -> Ran {
    let results: Vec<CaseResult> = file
        .cases
        .iter()
        .map(|case| {
            let judged = case.call.judge(&policy.snapshot);
            CaseResult { differences: case.expected.differences(&judged), judged }
        })
        .collect();
    let tested: BTreeSet<&str> =
        results.iter().flat_map(|result| rules(&result.judged).chain(observed(&result.judged))).collect();
    let all = policy.document.rules.iter().map(|rule| rule.id.as_str());
    let untested = all.filter(|id| !tested.contains(id)).map(str::to_owned).collect();
    Ran { snapshot_id: policy.snapshot.id().to_string(), untested, results, file }
}

impl Ran {
    fn failed(&self) -> usize {
        self.results.iter().filter(|result| !result.differences.is_empty()).count()
    }
}

fn rules(judged: &Judged) -> impl Iterator<Item = &str> {
    let decision = match judged {
        Judged::Decided(decision) => Some(decision),
        Judged::Refused(_) => None,
    };
    decision.into_iter().flat_map(|decision| decision.reasons.iter().map(|reason| reason.rule_id.as_str()))
}

/// Rules on trial that had a say.
fn observed(judged: &Judged) -> impl Iterator<Item = &str> {
    let observed = match judged {
        Judged::Decided(decision) => decision.observed.as_ref(),
        Judged::Refused(_) => None,
    };
    observed.into_iter().flat_map(|observed| observed.rule_ids.iter().map(String::as_str))
}

fn text(ran: &[Ran], verbose: bool, paint: Paint) -> String {
    let mut out = String::new();
    for ran in ran {
        let path = visible(&ran.file.path.display().to_string());
        let (failed, all) = (ran.failed(), ran.results.len());
        let word = if failed == 0 { paint.green("ok") } else { paint.red("FAILED") };
        let _ = writeln!(out, "{word}  {}  {} of {}", paint.bold(&path), all - failed, counted(all, "case"));
        for (case, result) in ran.file.cases.iter().zip(&ran.results) {
            if result.differences.is_empty() {
                if verbose {
                    let _ =
                        writeln!(out, "  {} {}: {}", paint.green("ok"), visible(&case.name), summary(&result.judged));
                }
                continue;
            }
            let _ = writeln!(out, "  {} {} ({path}:{})", paint.red("FAILED"), visible(&case.name), case.at.line);
            for difference in &result.differences {
                let _ = writeln!(out, "    {}", paint.bold(&difference.field));
                let _ = writeln!(out, "      {}", paint.green(&format!("expected  {}", visible(&difference.expected))));
                let _ = writeln!(out, "      {}", paint.red(&format!("found     {}", visible(&difference.found))));
            }
            if let Judged::Decided(decision) = &result.judged {
                let reason = format!("{}: {}", decision.rule_id(), decision.reason());
                let _ = writeln!(out, "    {}", paint.dim(&format!("decided by {}", visible(&reason))));
            }
        }
        if !ran.untested.is_empty() {
            let _ = writeln!(out, "  {}", paint.yellow(&format!("no case reaches: {}", ran.untested.join(", "))));
        }
    }
    let (all, failed) = totals(ran);
    let _ = match failed {
        0 => writeln!(out, "{} in {}, all as expected", counted(all, "case"), counted(ran.len(), "file")),
        failed => writeln!(out, "{} in {}, {failed} failed", counted(all, "case"), counted(ran.len(), "file")),
    };
    out
}

fn totals(ran: &[Ran]) -> (usize, usize) {
    (ran.iter().map(|ran| ran.results.len()).sum(), ran.iter().map(Ran::failed).sum())
}

/// What became of a call, in one line.
pub fn summary(judged: &Judged) -> String {
    match judged {
        Judged::Refused(why) => format!("refused: {}", visible(why)),
        Judged::Decided(decision) => effect(decision),
    }
}

/// Verdict, approvers and constraints of a decision, in one line.
pub fn effect(decision: &Decision) -> String {
    let mut words = vec![decision.verdict.as_str().to_owned()];
    if let Some(requirement) = &decision.approval {
        let groups = cases::approvers(requirement);
        let groups: Vec<String> = groups.iter().map(|(group, min)| format!("{min} of {}", visible(group))).collect();
        words.push(format!("by {}", groups.join(" and ")));
    }
    let bounds = decision.verdict != holdpoint_core::decision::Verdict::Deny && !decision.constraints.is_empty();
    if bounds {
        words.push(format!("with {}", decision.constraints));
    }
    words.push(format!("({})", decision.rule_id()));
    words.join(" ")
}

/// What became of a call, as data.
pub fn judged_json(judged: &Judged) -> Value {
    match judged {
        Judged::Refused(why) => json!({ "verdict": "refused", "reason": why }),
        Judged::Decided(decision) => json!({
            "verdict": decision.verdict,
            "decided_by": decision.rule_id(),
            "reason": decision.reason(),
            "rules": decision.reasons.iter().map(|reason| &reason.rule_id).collect::<Vec<_>>(),
            "constraints": cases::constraints(&decision.constraints),
            "approvers": decision.approval.as_ref().map(cases::approvers),
            "conceal": decision.conceal,
            "snapshot_id": decision.snapshot_id,
            "basis": decision.basis,
        }),
    }
}

fn json(ran: &[Ran]) -> Value {
    let (all, failed) = totals(ran);
    let files: Vec<Value> = ran
        .iter()
        .map(|ran| {
            let cases: Vec<Value> = ran
                .file
                .cases
                .iter()
                .zip(&ran.results)
                .map(|(case, result)| {
                    let differences: Vec<Value> = result
                        .differences
                        .iter()
                        .map(|one| json!({ "field": one.field, "expected": one.expected, "found": one.found }))
                        .collect();
                    json!({
                        "name": case.name, "line": case.at.line, "passed": differences.is_empty(),
                        "judged": judged_json(&result.judged), "differences": differences,
                    })
                })
                .collect();
            json!({
                "file": ran.file.path, "policy": ran.file.policy_path, "snapshot_id": ran.snapshot_id, "cases": cases,
                "untested_rules": ran.untested,
            })
        })
        .collect();
    json!({ "cases": all, "failed": failed, "files": files })
}

fn junit(ran: &[Ran]) -> String {
    let (all, failed) = totals(ran);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"holdpoint policy test\" tests=\"{all}\" failures=\"{failed}\">");
    for ran in ran {
        let suite = xml(&ran.file.path.display().to_string());
        let (tests, failures) = (ran.results.len(), ran.failed());
        let _ = writeln!(out, "  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failures}\">");
        for (case, result) in ran.file.cases.iter().zip(&ran.results) {
            let name = xml(&case.name);
            let line = case.at.line;
            if result.differences.is_empty() {
                let _ = writeln!(out, "    <testcase classname=\"{suite}\" name=\"{name}\" line=\"{line}\"/>");
                continue;
            }
            let lines: Vec<String> = result
                .differences
                .iter()
                .map(|one| format!("{}: expected {}, found {}", one.field, one.expected, one.found))
                .collect();
            let _ = writeln!(out, "    <testcase classname=\"{suite}\" name=\"{name}\" line=\"{line}\">");
            let _ = writeln!(out, "      <failure message=\"{}\">{}</failure>", xml(&lines[0]), xml(&lines.join("\n")));
            let _ = writeln!(out, "    </testcase>");
        }
        let _ = writeln!(out, "  </testsuite>");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text inside XML 1.0, which cannot hold control characters even escaped.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
    out
}
