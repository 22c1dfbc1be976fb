//! `cargo bench-mesh --compare OLD.json`: what changed since another run, cell by cell.
//!
//! Times of two runs compare only as far as the machine was the same and as busy; their ratios to the variant `none` of
//! their own run compare better, so both are shown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::report::SCHEMA;

/// The numbers of an earlier run.
pub(crate) fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let numbers: Value = serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", path.display()))?;
    anyhow::ensure!(numbers["schema"] == SCHEMA, "`{}` is not of the schema `{SCHEMA}`", path.display());
    Ok(numbers)
}

/// One row for each cell that both runs have, then what the runs say of module, memory and time to load.
pub(crate) fn markdown(old: &Value, new: &Value) -> String {
    let mut out = "| call | over | at once | variant | p50 µs, old → new | p99 µs, old → new | calls/s, old → new | ratio | Envoy CPU µs, old → new | calls/s ÷ none, old → new |\n|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    let cells = |run: &Value| run["cells"].as_array().cloned().unwrap_or_default();
    let before = cells(old);
    for cell in cells(new) {
        let same = |other: &&Value| ["call", "wire", "at_once", "variant"].iter().all(|name| other[name] == cell[name]);
        let Some(other) = before.iter().find(same) else { continue };
        let pair = |pick: &dyn Fn(&Value) -> Option<f64>| pick(other).zip(pick(&cell));
        let median = |name: &str| pair(&|cell| cell["median"][name].as_f64());
        let calls = median("calls_per_s");
        let against_none = pair(&|cell| cell["against_none"]["calls_per_s"]["median"].as_f64());
        let text = |name: &str| cell[name].as_str().map_or_else(|| cell[name].to_string(), str::to_owned);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            text("call"),
            text("wire"),
            text("at_once"),
            text("variant"),
            arrow(median("p50_us"), 0),
            arrow(median("p99_us"), 0),
            arrow(calls, 0),
            calls.map_or_else(|| "–".to_owned(), |(old, new)| format!("{:.2}", new / old)),
            arrow(median("envoy_cpu_us"), 1),
            arrow(against_none, 2),
        );
    }
    let bytes = |run: &Value| run["module_bytes"].as_f64();
    let _ = writeln!(out, "\nModule, bytes: {}.", arrow(bytes(old).zip(bytes(new)), 0));
    out += "\n| variant | load ms, old → new | RSS after MB, old → new |\n|---|---|---|\n";
    for (variant, load_ms) in new["load_ms"].as_object().into_iter().flatten() {
        let load_ms = old["load_ms"][variant].as_f64().zip(load_ms.as_f64());
        let megabytes = |run: &Value| run["rss_loaded_bytes"][variant].as_f64().map(|bytes| bytes / 1e6);
        let _ =
            writeln!(out, "| {variant} | {} | {} |", arrow(load_ms, 0), arrow(megabytes(old).zip(megabytes(new)), 0));
    }
    out
}

fn arrow(pair: Option<(f64, f64)>, decimals: usize) -> String {
    pair.map_or_else(|| "–".to_owned(), |(old, new)| format!("{old:.decimals$} → {new:.decimals$}"))
}
