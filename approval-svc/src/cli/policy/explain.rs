//! `holdpoint policy explain`: one call, and field by field why each rule matched it or did not. Steps 5 and 6, told.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use holdpoint_core::cases::{self, CallAsSent};
use holdpoint_core::decision::Verdict;
use holdpoint_core::policy::{ConditionTrace, Effect, ReadingTrace, RuleTrace, Trace, Truth};
use serde_json::json;

use super::case_files::{self, Policy};
use super::paint::Paint;
use super::run_cases;
use crate::cli::Form;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy explain policy.yaml --case \"a write waits\"      # from the cases.yaml beside the policy
  holdpoint policy explain policy.yaml --cases other.yaml --case 3
  holdpoint policy explain policy.yaml --server github \\
      --call '{\"method\":\"tools/call\",\"params\":{\"name\":\"create_issue\",\"arguments\":{\"owner\":\"acme\"}}}'
  holdpoint policy explain policy.yaml --call '{server: github, principal: {groups: [sre]}, call: {method: tools/list}}'

Every rule is shown: `+` matches, `-` does not, `?` cannot be judged. What cannot be judged counts against the caller: it \
grants nothing, and it denies, asks and constrains all the same. A call is judged in every reading of its facts (an \
unlisted tool as read, write and admin; with the client's own tags beside the catalogue's): the strictest counts. \
The output holds the call's arguments. Exit code 0; 2: the policy or the call cannot be read.")]
pub struct ExplainArgs {
    /// The policy, in whatever file it is kept
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// A call: a JSON-RPC message, or a case without `name` and `expect`; `-` reads standard input
    #[arg(long, value_name = "JSON", conflicts_with_all = ["case", "cases"])]
    call: Option<String>,
    /// The server that a bare message goes to
    #[arg(long, value_name = "NAME", requires = "call")]
    server: Option<String>,
    /// A case: its number, its name or the beginning of its name
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Where the case is; without it `cases.yaml` beside the policy
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Only rules that took part
    #[arg(long)]
    brief: bool,
    /// Form of the output
    #[arg(id = "output", long = "format", visible_alias = "output", value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let policy = case_files::policy(&args.policy)?;
    let call = match &args.call {
        Some(text) => given(text, args.server.as_deref())?,
        None => chosen(args)?,
    };
    let sealed = call.seal(&policy.snapshot).and_then(|envelope| Ok((envelope, call.past(&policy.snapshot)?)));
    match sealed {
        Err(why) => match args.format {
            Form::Text => {
                println!("{}: no rule sees this call: {}", Paint::stdout().red("refused"), visible(&why));
                let servers = &policy.document.servers;
                if args.call.is_some() && args.server.as_ref().is_none_or(|server| !servers.contains_key(server)) {
                    let names: Vec<String> = servers.keys().map(|name| visible(name)).collect();
                    println!("say with `--server` which server it goes to; the policy has: {}", names.join(", "));
                }
            }
            Form::Json => println!("{}", json!({ "verdict": "refused", "reason": why })),
        },
        Ok((envelope, past)) => {
            let trace = policy.snapshot.trace(&envelope, &past);
            match args.format {
                Form::Text => print!("{}", text(&trace, &policy, args.brief, Paint::stdout())),
                Form::Json => println!("{}", json!(trace)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn given(text: &str, server: Option<&str>) -> anyhow::Result<CallAsSent> {
    let text = if text == "-" { std::io::read_to_string(std::io::stdin())? } else { text.to_owned() };
    cases::read_call(&text, server).map_err(|problems| anyhow::anyhow!("the call cannot be read:\n{problems}"))
}

fn chosen(args: &ExplainArgs) -> anyhow::Result<CallAsSent> {
    let beside = || args.policy.with_file_name("cases.yaml");
    let path = args.cases.clone().unwrap_or_else(beside);
    let file = case_files::read(&path)?;
    let wanted =
        args.case.as_deref().context("say which call: `--call JSON` (with `--server NAME`) or `--case NAME`")?;
    let by_number = wanted.parse::<usize>().ok().and_then(|number| file.cases.get(number.checked_sub(1)?));
    let exactly = file.cases.iter().find(|case| case.name == wanted);
    let mut beginning = file.cases.iter().filter(|case| case.name.starts_with(wanted));
    let found = match (exactly.or(by_number), beginning.next(), beginning.next()) {
        (Some(case), _, _) | (None, Some(case), None) => Some(case),
        (None, Some(_), Some(_)) => bail!("several cases of `{}` begin with `{wanted}`", path.display()),
        (None, None, _) => None,
    };
    let names = || file.cases.iter().map(|case| format!("  {}", case.name)).collect::<Vec<_>>().join("\n");
    let case = found.with_context(|| format!("no case `{wanted}` in `{}`; it has:\n{}", path.display(), names()))?;
    Ok(case.call.clone())
}

fn text(trace: &Trace, policy: &Policy, brief: bool, paint: Paint) -> String {
    let mut out = String::new();
    let envelope = &trace.envelope;
    let _ = writeln!(out, "{}", paint.bold("the call"));
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {name:<12} {}", visible(value));
        }
    };
    fact("topic", &envelope.topic);
    for (name, value) in &envelope.labels {
        fact(name, value);
    }
    fact("capability", envelope.meta.capability.as_deref().unwrap_or_default());
    fact("risk tags", &joined(envelope.meta.risk_tags.iter()));
    fact("requires", &joined(envelope.meta.requires.iter()));
    let tenant = envelope.meta.tenant.as_ref().map(|tenant| format!(", tenant {tenant}")).unwrap_or_default();
    fact("actor", &format!("{} ({}{tenant})", envelope.meta.actor_id, envelope.meta.actor_type.as_str()));
    let several = trace.readings.len() > 1;
    for reading in &trace.readings {
        out.push('\n');
        let title = match reading.told_apart_by.as_str() {
            "" if several => "judged as the catalogue says".to_owned(),
            "" => "judged".to_owned(),
            apart => format!("judged {apart}"),
        };
        let verdict = painted(reading.verdict, paint);
        let _ = writeln!(out, "{}: {verdict} by {}", paint.bold(&visible(&title)), visible(&reading.decided_by));
        facts_of(reading, paint, &mut out);
        let passed_over = reading.rules.iter().filter(|rule| rule.effect == Effect::PassedOver).count();
        for rule in reading.rules.iter().filter(|rule| rule.effect != Effect::PassedOver) {
            if !brief || rule.effect != Effect::Nothing {
                rule_text(rule, policy, paint, &mut out);
            }
        }
        if passed_over > 0 {
            let why = format!("{passed_over} rules not asked: lists and protocol messages are for rules with `topics`");
            let _ = writeln!(out, "  {}", paint.dim(&why));
        }
    }
    let decision = &trace.decision;
    let _ = writeln!(out, "\n{} {}", paint.bold("decision"), run_cases::effect(decision));
    for reason in &decision.reasons {
        let _ = writeln!(out, "  {}: {}", visible(&reason.rule_id), visible(&reason.text));
        if let Some(remediation) = &reason.remediation {
            let _ = writeln!(out, "    {}", paint.dim(&format!("instead: {}", visible(remediation))));
        }
    }
    let _ = writeln!(out, "{}", paint.dim(&format!("snapshot {}, basis {}", decision.snapshot_id, decision.basis)));
    out
}

/// What this reading adds to the facts above.
fn facts_of(reading: &ReadingTrace, paint: Paint, out: &mut String) {
    let mut words = Vec::new();
    words.extend(reading.action.map(|action| format!("action {}", action.as_str())));
    if !reading.risk_tags.is_empty() {
        words.push(format!("risk tags {}", joined(reading.risk_tags.iter())));
    }
    if !words.is_empty() {
        let _ = writeln!(out, "  {}", paint.dim(&visible(&words.join(", "))));
    }
}

fn rule_text(rule: &RuleTrace, policy: &Policy, paint: Paint, out: &mut String) {
    let id = visible(&rule.rule_id);
    let effect = match rule.effect {
        Effect::Denies => paint.red("denies"),
        Effect::Asks => paint.yellow("asks people"),
        Effect::MayAsk => paint.yellow("asks people, if anything allows the call"),
        Effect::Grants => paint.green("grants"),
        Effect::Constrains => paint.yellow("constrains, and grants nothing"),
        Effect::Nothing => paint.dim("does nothing"),
        Effect::PassedOver => paint.dim("not asked"),
    };
    let line = policy.document.rules.iter().find(|written| written.id == rule.rule_id).map(|written| written.at.line);
    let line = line.map(|line| paint.dim(&format!(" (line {line})"))).unwrap_or_default();
    let name = if rule.effect == Effect::Nothing { id.clone() } else { paint.bold(&id) };
    let _ = writeln!(out, "  {} {name} {effect}{line}", mark(rule.matched, paint));
    if rule.conditions.is_empty() {
        let _ = writeln!(out, "      {}", paint.dim("matches every governed call"));
    }
    for condition in &rule.conditions {
        condition_text(condition, 3, paint, out);
    }
}

/// Recurses as deep as the match is written, which the reader bounds.
fn condition_text(condition: &ConditionTrace, depth: usize, paint: Paint, out: &mut String) {
    let found = match condition.found.is_empty() {
        true => "nothing".to_owned(),
        false => joined(condition.found.iter()),
    };
    let indent = "  ".repeat(depth);
    let mark = mark(condition.truth, paint);
    let field = visible(&condition.field);
    let _ = if condition.inside.is_empty() || !condition.wanted.is_empty() {
        let wanted = visible(&joined(condition.wanted.iter()));
        let test = if condition.test == condition.field { "" } else { condition.test.as_str() };
        let space = if test.is_empty() { "" } else { " " };
        writeln!(out, "{indent}{mark} {field}: {test}{space}{wanted}; the call has {}", visible(&found))
    } else {
        writeln!(out, "{indent}{mark} {field}")
    };
    if let Some(why) = &condition.why {
        let _ = writeln!(out, "{indent}  {}", paint.dim(&visible(why)));
    }
    for inner in &condition.inside {
        condition_text(inner, depth + 1, paint, out);
    }
}

fn mark(truth: Truth, paint: Paint) -> String {
    match truth {
        Truth::True => paint.green("+"),
        Truth::False => paint.red("-"),
        Truth::Unknown => paint.yellow("?"),
    }
}

fn painted(verdict: Verdict, paint: Paint) -> String {
    let word = verdict.as_str();
    match verdict {
        Verdict::Allow => paint.green(word),
        Verdict::RequireApproval => paint.yellow(word),
        Verdict::Deny => paint.red(word),
    }
}

fn joined<'t>(texts: impl Iterator<Item = &'t String>) -> String {
    texts.map(String::as_str).collect::<Vec<_>>().join(", ")
}
