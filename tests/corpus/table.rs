//! The table of `tests/corpus/README.md`: case × gateway, made from what happened.

use std::fmt::Write as _;

use anyhow::Context;
use holdpoint_tests::corpus::{Case, Expect};
use holdpoint_tests::repository;

use crate::gateway::{Outcome, Variant};

const README: &str = "tests/corpus/README.md";
const BEGIN: &str = "<!-- generated: from here -->";
const END: &str = "<!-- generated: to here -->";

/// What a reader of the table is told of one case at one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// As it must be.
    Good,
    /// It reached the server and must not.
    Hole,
    /// It did not reach the server and must.
    Broken,
}

fn finding(case: &Case, outcome: &Outcome) -> Finding {
    match (case.expect == Expect::Passes, outcome.reached.is_empty()) {
        (true, false) | (false, true) => Finding::Good,
        (false, false) => Finding::Hole,
        (true, true) => Finding::Broken,
    }
}

/// The generated part of the README.
pub(crate) fn render(cases: &[Case], columns: &[(Variant, Vec<Outcome>)]) -> String {
    let mut text = String::new();
    let must_stop = cases.iter().filter(|case| case.expect != Expect::Passes).count();
    let must_pass = cases.len() - must_stop;
    let _ =
        writeln!(text, "| | {} |", columns.iter().map(|(variant, _)| variant.as_str()).collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len()));
    let mut count = |label: String, wanted: Finding| {
        let counts = columns.iter().map(|(_, outcomes)| {
            cases.iter().zip(outcomes).filter(|(case, outcome)| finding(case, outcome) == wanted).count().to_string()
        });
        let _ = writeln!(text, "| {label} | {} |", counts.collect::<Vec<_>>().join(" | "));
    };
    count(format!("of {must_stop} that must not reach the server, reach it"), Finding::Hole);
    count(format!("of {must_pass} that must reach it, do not"), Finding::Broken);
    let mut file = "";
    for (row, case) in cases.iter().enumerate() {
        if case.file != file {
            file = case.file;
            let _ = writeln!(text, "\n## {file}\n");
            let names = columns.iter().map(|(variant, _)| variant.as_str()).collect::<Vec<_>>().join(" | ");
            let _ = writeln!(text, "| case | why it is here | {names} |");
            let _ = writeln!(text, "|---|---|{}", "---|".repeat(columns.len()));
        }
        let cells = columns.iter().filter_map(|(variant, outcomes)| Some(cell(case, *variant, outcomes.get(row)?)));
        let why = case.why.replace('|', "\\|");
        let _ = writeln!(text, "| {} | {why} | {} |", case.name, cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

fn cell(case: &Case, variant: Variant, outcome: &Outcome) -> String {
    let status = match outcome.statuses.first() {
        // How Holdpoint stops these is not laid down, so it must not make this table stale.
        _ if variant == Variant::Holdpoint && case.expect == Expect::Stopped => String::new(),
        _ if variant == Variant::Holdpoint && case.expect == Expect::Denied => " (policy)".to_owned(),
        // Whether an answer still comes before the client has closed is a matter of microseconds.
        _ if case.closes => String::new(),
        Some(status) => format!(" ({status})"),
        None if outcome.trouble.is_some() => " (no answer)".to_owned(),
        None => " (closed)".to_owned(),
    };
    match finding(case, outcome) {
        Finding::Good if case.expect == Expect::Passes => "passes".to_owned(),
        Finding::Good => format!("stopped{status}"),
        Finding::Hole => "**reaches the server**".to_owned(),
        Finding::Broken => format!("**stopped{status}**"),
    }
}

/// Holds the README against `generated`; with `HOLDPOINT_BLESS=1` writes it.
pub(crate) fn check(generated: &str) -> anyhow::Result<()> {
    let readme = repository::text(README)?;
    let (before, rest) = readme.split_once(BEGIN).with_context(|| format!("`{README}` has no line `{BEGIN}`"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("`{README}` has no line `{END}`"))?;
    let fresh = format!("{before}{BEGIN}\n\n{generated}\n{END}{after}");
    if std::env::var("HOLDPOINT_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(repository::path(README), fresh)?;
        return Ok(());
    }
    let stale = fresh.lines().zip(readme.lines()).find(|(fresh, there)| fresh != there);
    anyhow::ensure!(
        fresh == readme,
        "`{README}` is stale: run `HOLDPOINT_BLESS=1 cargo test -p holdpoint-tests --test corpus`; first difference: {stale:?}"
    );
    Ok(())
}
