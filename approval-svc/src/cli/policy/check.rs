//! `holdpoint policy check`: everything that is wrong with a policy, at once, where it stands. Before step 6.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use holdpoint_core::config::FilterConfig;
use holdpoint_core::policy::{self, PolicyDocument};
use holdpoint_core::yaml::Problems;
use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use super::offered::OfferedTools;
use super::paint::Paint;
use super::roster::Roster;
use super::source::{self, Form, PolicyText, SourceFile};
use super::untold;
use crate::notify::settings::NotifySettings;
use crate::text::visible;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy check policy.yaml
  holdpoint policy check envoy.yaml --deny-warnings       # the block inside it, with its own line numbers
  holdpoint policy check --format github policy/*.yaml    # annotations on a pull request
  holdpoint policy check policy.yaml --notify notify.yaml --roster people.yaml --tools github=tools.json
  holdpoint policy check --format sarif envoy.yaml > policy.sarif

Exit code 0: the filter takes it. 1: it would be refused, or --deny-warnings met a warning. 2: a file cannot be read. \
Reads a policy, a filter document (`policy:` beside `approval:` and `identity:`), and whole Envoy bootstraps, discovery \
files, Istio EnvoyFilters and Envoy Gateway EnvoyPatchPolicies, where it also checks the settings around the filter.")]
pub struct CheckArgs {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Form of the output
    #[arg(id = "output", long = "format", visible_alias = "output", value_enum, default_value_t = CheckForm::Text)]
    format: CheckForm,
    /// The file of `holdpoint serve --notify`: rules whose approvers it tells nothing are warned of
    #[arg(long, value_name = "FILE")]
    notify: Option<PathBuf>,
    /// People by group (`groups: {sre: [alice, bob]}`): rules that ask groups with too few are warned of
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// A kept answer of a server to tools/list: tools that the catalogue calls `read` and the server does not are warned of
    #[arg(long, value_name = "SERVER=FILE")]
    tools: Vec<String>,
    /// Warnings count as errors
    #[arg(long)]
    deny_warnings: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckForm {
    /// One line and the place in the file for each finding
    Text,
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands that annotate a pull request
    Github,
}

/// One file, checked.
pub struct Checked {
    path: PathBuf,
    text: String,
    /// In the order of the places.
    pub findings: Vec<Finding>,
    /// The policies that the filter would take.
    policies: Vec<PolicyFound>,
}

struct PolicyFound {
    snapshot_id: String,
    rules: usize,
    /// It is tried beside the one before it.
    is_candidate: bool,
}

pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let beside = Beside {
        notify: args.notify.as_deref().map(NotifySettings::load).transpose()?,
        roster: args.roster.as_deref().map(Roster::load).transpose()?,
        tools: args.tools.iter().map(|assigned| OfferedTools::read(assigned)).collect::<anyhow::Result<_>>()?,
    };
    let check = |file: &PathBuf| source::read(file).map(|file| check(file, &beside));
    let checked = args.files.iter().map(check).collect::<anyhow::Result<Vec<_>>>()?;
    match args.format {
        CheckForm::Text => checked.iter().for_each(|file| print!("{}", text(file, Paint::stdout()))),
        CheckForm::Json => println!("{}", json!({ "files": checked.iter().map(json).collect::<Vec<_>>() })),
        CheckForm::Sarif => println!("{:#}", sarif(&checked)),
        CheckForm::Github => print!("{}", github(&checked)),
    }
    let worst = checked.iter().flat_map(|file| &file.findings).map(|finding| finding.severity).max();
    let failed = match worst {
        None => false,
        Some(Severity::Warning) => args.deny_warnings,
        Some(Severity::Error) => true,
    };
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a policy is also held against: who is told, who is there, and what servers say of their tools.
#[derive(Default)]
pub struct Beside {
    notify: Option<NotifySettings>,
    roster: Option<Roster>,
    tools: Vec<OfferedTools>,
}

impl Beside {
    fn lint(&self, document: &PolicyDocument) -> Vec<policy::Finding> {
        let notify = self.notify.as_ref().map(|notify| untold::lint(document, notify));
        let roster = self.roster.as_ref().map(|roster| roster.lint(document));
        let tools = self.tools.iter().flat_map(|tools| tools.lint(document));
        notify.into_iter().chain(roster).flatten().chain(tools).collect()
    }
}

/// Checks every policy of a file, also against what is beside it.
pub fn check(file: SourceFile, beside: &Beside) -> Checked {
    let SourceFile { path, text, documents, mut findings, is_discovered: _ } = file;
    let mut policies = Vec::new();
    for document in &documents {
        match read(document, beside) {
            Ok((read, lint)) => {
                findings.extend(lint.iter().map(|one| Finding::of_lint(one, &document.lines)));
                policies.extend(read);
            }
            Err(problems) => {
                findings.extend(problems.iter().map(|problem| Finding::of_problem(problem, &document.lines)));
            }
        }
    }
    findings.sort_by_key(|finding| finding.at);
    Checked { path, text, findings, policies }
}

fn read(document: &PolicyText, beside: &Beside) -> Result<(Vec<PolicyFound>, Vec<policy::Finding>), Problems> {
    if document.form == Form::FilterDocument {
        // All sections; the filter's own reader.
        FilterConfig::read(document.text.as_bytes())?;
    }
    let mut all = vec![(policy::read_file(&document.text)?, false)];
    if document.form == Form::FilterDocument {
        all.extend(policy::read_candidate(&document.text)?.map(|candidate| (candidate, true)));
    }
    let (mut found, mut lint) = (Vec::new(), Vec::new());
    for (read, is_candidate) in all {
        let snapshot = policy::compile(&read)?;
        lint.extend(policy::lint(&read));
        lint.extend(beside.lint(&read));
        let (snapshot_id, rules) = (snapshot.id().to_string(), snapshot.rule_count());
        found.push(PolicyFound { snapshot_id, rules, is_candidate });
    }
    Ok((found, lint))
}

fn text(checked: &Checked, paint: Paint) -> String {
    let mut out = String::new();
    let path = visible(&checked.path.display().to_string());
    let rows: Vec<&str> = checked.text.lines().collect();
    for finding in &checked.findings {
        let word = match finding.severity {
            Severity::Error => paint.red(finding.severity.as_str()),
            Severity::Warning => paint.yellow(finding.severity.as_str()),
        };
        let place = paint.bold(&format!("{path}:{}:", finding.at));
        let code = paint.dim(&format!("({})", finding.code));
        let _ = writeln!(out, "{place} {word}: {} {code}", visible(&finding.full_message()));
        let line = finding.at.line as usize;
        if let Some(row) = line.checked_sub(1).and_then(|index| rows.get(index)).filter(|row| !row.trim().is_empty()) {
            let _ = writeln!(out, "{} {}", paint.dim(&format!("{line:>6} |")), visible(&shortened(row)));
            let column = finding.at.column.saturating_sub(1) as usize;
            if column < ROW_CHARS_MAX {
                let _ = writeln!(out, "{} {}{}", paint.dim("       |"), " ".repeat(column), paint.red("^"));
            }
        }
    }
    let count = |severity| checked.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    for policy in &checked.policies {
        let what = if policy.is_candidate { "candidate" } else { "snapshot" };
        let _ = writeln!(out, "{path}: {} rules, {what} {}", policy.rules, policy.snapshot_id);
    }
    if errors > 0 {
        let _ = writeln!(out, "{path}: {} and {}", counted(errors, "error"), counted(warnings, "warning"));
    } else if warnings > 0 {
        let _ = writeln!(out, "{path}: {}", counted(warnings, "warning"));
    }
    out
}

/// Characters of a source line that are shown.
const ROW_CHARS_MAX: usize = 140;

fn shortened(row: &str) -> String {
    row.chars().take(ROW_CHARS_MAX).collect()
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn json(checked: &Checked) -> Value {
    let policies: Vec<Value> = checked
        .policies
        .iter()
        .map(|policy| {
            json!({ "snapshot_id": policy.snapshot_id, "rules": policy.rules, "is_candidate": policy.is_candidate })
        })
        .collect();
    let findings: Vec<Value> = checked.findings.iter().map(Finding::to_json).collect();
    json!({ "file": checked.path, "policies": policies, "findings": findings })
}

fn sarif(checked: &[Checked]) -> Value {
    let results: Vec<Value> = checked
        .iter()
        .flat_map(|file| file.findings.iter().map(move |finding| (file, finding)))
        .map(|(file, finding)| {
            json!({
                "ruleId": finding.code,
                "level": finding.severity.as_str(),
                "message": { "text": finding.full_message() },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": uri(&file.path) },
                    "region": { "startLine": finding.at.line, "startColumn": finding.at.column },
                }}],
            })
        })
        .collect();
    let mut codes: Vec<&str> = checked.iter().flat_map(|file| &file.findings).map(|one| one.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.into_iter().map(|code| json!({ "id": code })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "holdpoint", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A relative URI reference (RFC 3986): what is not plain is percent-encoded.
fn uri(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.to_string_lossy().replace('\\', "/").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(byte.into());
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

fn github(checked: &[Checked]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for file in checked {
        for finding in &file.findings {
            let (level, line, column) = (finding.severity.as_str(), finding.at.line, finding.at.column);
            let path = property(&file.path.to_string_lossy());
            let title = property(&format!("holdpoint {}", finding.code));
            let message = data(&finding.full_message());
            let _ = writeln!(out, "::{level} file={path},line={line},col={column},title={title}::{message}");
        }
    }
    out
}

/// The snapshots of a text and its errors, for whoever renders what this command reads.
#[cfg(test)]
pub fn snapshots(path: &Path, text: String) -> (Vec<String>, Vec<String>) {
    let checked = check(source::scan(path, text), &Beside::default());
    let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let errors = errors.map(|finding| format!("{} {}", finding.code, finding.full_message())).collect();
    (
        checked.policies.into_iter().filter(|policy| !policy.is_candidate).map(|policy| policy.snapshot_id).collect(),
        errors,
    )
}

#[cfg(test)]
mod tests;
