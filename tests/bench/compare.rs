//! `cargo bench-mesh --compare OLD.json`: what changed since another run, cell by cell.
//!
//! Times of two runs compare only as far as the machine was the same and as busy; their ratios to the variant `none` of
//! their own run compare better, so both are shown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

/// The numbers of an earlier run.
pub(crate) fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let numbers: Value = serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", path.display()))?;
    let wanted = "holdpoint/bench-mesh/v1";
    anyhow::ensure!(numbers["schema"] == wanted, "`{}` is not of the schema `{wanted}`", path.display());
    Ok(numbers)
}

/// One row for each cell that both runs have.
pub(crate) fn markdown(old: &Value, new: &Value) -> String {
    let mut out = "| body | connections | variant | calls/s, old → new | ratio | Envoy CPU µs, old → new | calls/s ÷ none, old → new |\n|---|---|---|---|---|---|---|\n".to_owned();
    let cells = |run: &Value| run["cells"].as_array().cloned().unwrap_or_default();
    let before = cells(old);
    for cell in cells(new) {
        let same = |other: &&Value| ["body", "connections", "variant"].iter().all(|name| other[name] == cell[name]);
        let Some(other) = before.iter().find(same) else { continue };
        let pair = |pick: &dyn Fn(&Value) -> Option<f64>| pick(other).zip(pick(&cell));
        let calls = pair(&|cell| cell["median"]["calls_per_s"].as_f64());
        let cpu = pair(&|cell| cell["median"]["envoy_cpu_us"].as_f64());
        let against_none = pair(&|cell| cell["against_none"]["calls_per_s"]["median"].as_f64());
        let text = |name: &str| cell[name].as_str().map_or_else(|| cell[name].to_string(), str::to_owned);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            text("body"),
            text("connections"),
            text("variant"),
            arrow(calls, 0),
            calls.map_or_else(|| "–".to_owned(), |(old, new)| format!("{:.2}", new / old)),
            arrow(cpu, 1),
            arrow(against_none, 2),
        );
    }
    out
}

fn arrow(pair: Option<(f64, f64)>, decimals: usize) -> String {
    pair.map_or_else(|| "–".to_owned(), |(old, new)| format!("{old:.decimals$} → {new:.decimals$}"))
}
