//! The report: a Markdown table for people, and every sample as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::thread;

use anyhow::Context;
use serde_json::{Value, json};

use holdpoint_tests::envoy_binary;

use crate::calls::BodySize;
use crate::gateways::Variant;
use crate::samples::{Cell, Ratio, Sample, Samples};

/// Everything that a run found.
pub(crate) struct Report {
    /// How often every cell was measured.
    pub(crate) rounds: u32,
    /// How long each time.
    pub(crate) seconds: f64,
    /// Where.
    pub(crate) machine: Machine,
    /// Size of the wasm module.
    pub(crate) module_bytes: u64,
    /// Time to load each variant's configuration.
    pub(crate) load_ms: BTreeMap<Variant, f64>,
    /// Memory of each Envoy before any load.
    pub(crate) rss_idle_bytes: BTreeMap<Variant, Option<u64>>,
    /// Memory of each Envoy at the end.
    pub(crate) rss_loaded_bytes: BTreeMap<Variant, Option<u64>>,
    /// Entries of the record that the filter dropped under this load.
    pub(crate) audit_lost: u64,
    /// Size of each body.
    pub(crate) body_bytes: BTreeMap<BodySize, usize>,
    /// All measurements.
    pub(crate) samples: Samples,
}

/// Where a run took place.
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    envoy: String,
    /// The system's load average of the last minute when the run ended, this run included.
    load_average: Option<String>,
}

/// Asks the system and Envoy what they are.
pub(crate) fn machine() -> anyhow::Result<Machine> {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
    let version = Command::new(envoy_binary::envoy()?).arg("--version").output()?;
    // `<path>  version: <commit>/<version>/Clean/RELEASE/BoringSSL`
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let envoy = version
        .split_once("version: ")
        .and_then(|(_, version)| version.split('/').nth(1))
        .context("Envoy does not say its version")?
        .to_owned();
    let load_average = std::fs::read_to_string("/proc/loadavg").ok();
    Ok(Machine {
        processor,
        processors: thread::available_parallelism().map_or(0, usize::from),
        envoy,
        load_average: load_average.and_then(|text| text.split(' ').next().map(str::to_owned)),
    })
}

impl Machine {
    /// One line for a report.
    pub(crate) fn line(&self) -> String {
        let Self { processor, processors, envoy, load_average } = self;
        let load_average = load_average.as_deref().unwrap_or("unknown");
        format!("Envoy {envoy}; {processors} × {processor}; load average {load_average} at the end.")
    }
}

type Pick = fn(&Sample) -> Option<f64>;

const P50: Pick = |sample| Some(sample.p50_us);
const P99: Pick = |sample| Some(sample.p99_us);
const CALLS: Pick = |sample| Some(sample.calls_per_s);
const ENVOY_CPU: Pick = |sample| sample.envoy_cpu_us;
const LOAD_BUSY: Pick = |sample| sample.load_busy;

impl Report {
    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("{} One worker; {} rounds of {} s.\n\n", self.machine.line(), self.rounds, self.seconds,);
        out += "| body | connections | variant | p50 µs | p99 µs | calls/s | Envoy CPU µs/call | added CPU µs | p50 ÷ none | calls/s ÷ none | calls/s ÷ native (least–most) | load busy |\n";
        out += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for (cell, _) in self.samples.cells() {
            self.row(&mut out, cell);
        }
        out += "\n| variant | load ms | RSS idle MB | RSS after MB |\n|---|---|---|---|\n";
        for variant in Variant::ALL {
            let megabytes = |of: &BTreeMap<Variant, Option<u64>>| {
                number(of.get(&variant).copied().flatten().map(|bytes| bytes as f64 / 1e6), 0)
            };
            let load_ms = number(self.load_ms.get(&variant).copied(), 0);
            let (idle, loaded) = (megabytes(&self.rss_idle_bytes), megabytes(&self.rss_loaded_bytes));
            let _ = writeln!(out, "| {} | {load_ms} | {idle} | {loaded} |", variant.as_str());
        }
        let _ = writeln!(
            out,
            "\nModule: {} bytes. Audit entries dropped under this load: {}.",
            self.module_bytes, self.audit_lost
        );
        out
    }

    fn row(&self, out: &mut String, cell: Cell) {
        let median = |of: Pick, decimals| number(self.samples.median(cell, of), decimals);
        let ratio = |against, of: Pick| self.samples.ratio(cell, against, of);
        let middle = |ratio: Option<Ratio>| number(ratio.map(|ratio| ratio.median), 2);
        let against_native = match ratio(Variant::Native, CALLS) {
            Some(Ratio { median, least, most }) if cell.variant != Variant::Native => {
                format!("{median:.2} ({least:.2}–{most:.2})")
            }
            Some(_) | None => "–".to_owned(),
        };
        let (against_none, calls_against_none, added) = match cell.variant {
            Variant::None => ("–".to_owned(), "–".to_owned(), "–".to_owned()),
            Variant::Native | Variant::Holdpoint | Variant::Rules | Variant::Required => {
                let none = Cell { variant: Variant::None, ..cell };
                let own = self.samples.median(cell, ENVOY_CPU);
                let added = own.zip(self.samples.median(none, ENVOY_CPU)).map(|(own, none)| own - none);
                (middle(ratio(Variant::None, P50)), middle(ratio(Variant::None, CALLS)), number(added, 1))
            }
        };
        let _ = writeln!(
            out,
            "| {} B | {} | {} | {} | {} | {} | {} | {added} | {against_none} | {calls_against_none} | {against_native} | {} |",
            self.body_bytes.get(&cell.size).copied().unwrap_or_default(),
            cell.connections,
            cell.variant.as_str(),
            median(P50, 0),
            median(P99, 0),
            median(CALLS, 0),
            median(ENVOY_CPU, 1),
            number(self.samples.median(cell, LOAD_BUSY).map(|busy| busy * 100.0), 0) + " %",
        );
    }

    /// Every number, medians and rounds alike.
    pub(crate) fn json(&self) -> Value {
        let Machine { processor, processors, envoy, load_average } = &self.machine;
        let by_variant = |values: &BTreeMap<Variant, Option<u64>>| -> Value {
            values.iter().map(|(variant, value)| (variant.as_str().to_owned(), json!(value))).collect()
        };
        let load_ms: Value =
            self.load_ms.iter().map(|(variant, ms)| (variant.as_str().to_owned(), json!(ms))).collect();
        let cells: Vec<Value> = self.samples.cells().map(|(cell, samples)| self.cell_json(cell, samples)).collect();
        json!({
            "schema": "holdpoint/bench-mesh/v1",
            "rounds": self.rounds,
            "seconds": self.seconds,
            "machine": {
                "processor": processor, "processors": processors, "envoy": envoy, "load_average": load_average,
            },
            "module_bytes": self.module_bytes,
            "load_ms": load_ms,
            "rss_idle_bytes": by_variant(&self.rss_idle_bytes),
            "rss_loaded_bytes": by_variant(&self.rss_loaded_bytes),
            "audit_lost": self.audit_lost,
            "cells": cells,
        })
    }

    fn cell_json(&self, cell: Cell, samples: &[Sample]) -> Value {
        let numbers = |of: &dyn Fn(Pick) -> Value| {
            json!({
                "p50_us": of(P50),
                "p99_us": of(P99),
                "calls_per_s": of(CALLS),
                "envoy_cpu_us": of(ENVOY_CPU),
                "load_busy": of(LOAD_BUSY),
            })
        };
        let against = |other: Variant| {
            numbers(&|of| match self.samples.ratio(cell, other, of) {
                Some(Ratio { median, least, most }) => json!({"median": median, "least": least, "most": most}),
                None => Value::Null,
            })
        };
        json!({
            "body": cell.size.as_str(),
            "body_bytes": self.body_bytes.get(&cell.size),
            "connections": cell.connections,
            "variant": cell.variant.as_str(),
            "median": numbers(&|of| json!(self.samples.median(cell, of))),
            "against_none": against(Variant::None),
            "against_native": against(Variant::Native),
            "rounds": samples.iter().map(|sample| numbers(&|of| json!(of(sample)))).collect::<Vec<_>>(),
        })
    }
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}
