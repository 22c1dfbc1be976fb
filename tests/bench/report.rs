//! The report: Markdown tables for people, every sample as JSON, and what the picture shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::thread;

use anyhow::Context;
use serde_json::{Value, json};

use holdpoint_tests::envoy_binary;

use crate::calls::{Kind, body_bytes};
use crate::gateways::Variant;
use crate::load::Wire;
use crate::picture::{Bar, Group};
use crate::samples::{Added, Cell, Ratio, Sample, Samples};
use crate::workers::{self, Footprint};

/// The name of the JSON report's shape.
pub(crate) const SCHEMA: &str = "holdpoint/bench-mesh/v2";

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
    /// Memory by the number of workers.
    pub(crate) footprints: Vec<Footprint>,
    /// Memory of each Envoy before any load.
    pub(crate) rss_idle_bytes: BTreeMap<Variant, Option<u64>>,
    /// Memory of each Envoy at the end.
    pub(crate) rss_loaded_bytes: BTreeMap<Variant, Option<u64>>,
    /// Entries of the record that the filter dropped under this load.
    pub(crate) audit_lost: u64,
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
const P999: Pick = |sample| Some(sample.p999_us);
const CALLS: Pick = |sample| Some(sample.calls_per_s);
const ENVOY_CPU: Pick = |sample| sample.envoy_cpu_us;
const BESIDE_CPU: Pick = |sample| sample.beside_cpu_us;
const LOAD_BUSY: Pick = |sample| sample.load_busy;

/// Every number of a sample, by its name in the JSON report.
const ALL: [(&str, Pick); 7] = [
    ("p50_us", P50),
    ("p99_us", P99),
    ("p999_us", P999),
    ("calls_per_s", CALLS),
    ("envoy_cpu_us", ENVOY_CPU),
    ("beside_cpu_us", BESIDE_CPU),
    ("load_busy", LOAD_BUSY),
];

/// What the picture shows: the calls that the goals are about, at the most connections that every run has.
const PICTURED: [(Kind, Wire, usize); 4] = [
    (Kind::Small, Wire::Http1, 16),
    (Kind::Callers, Wire::Http1, 16),
    (Kind::Large, Wire::Http1, 16),
    (Kind::Tools100, Wire::Http1, 1),
];

/// Whose calls they are, before any number: a memory of callers shows in one kind and not in the others.
const WHOSE: &str =
    "Where a table does not say otherwise, one caller repeats one call: what is remembered of it is always found.";

impl Report {
    /// The tables: one for each kind of call, way and number of calls at once, so that variants stand under each other.
    pub(crate) fn markdown(&self) -> String {
        let (machine, rounds, seconds) = (self.machine.line(), self.rounds, self.seconds);
        let mut out = format!("{machine} One worker; {rounds} rounds of {seconds} s. {WHOSE}\n");
        let mut shown = None;
        for (cell, _) in self.samples.cells() {
            let Cell { kind, wire, at_once, .. } = cell;
            if shown != Some((kind, wire, at_once)) {
                shown = Some((kind, wire, at_once));
                let (asked_bytes, answered_bytes) = body_bytes(kind);
                let _ = write!(
                    out,
                    "\n**{}** ({asked_bytes} B asked, {answered_bytes} B answered), {}, {at_once} at once\n\n\
                     | variant | p50 µs | p99 µs | p99.9 µs | calls/s | Envoy CPU µs/call | beside it CPU µs/call | added CPU µs | calls/s ÷ none | calls/s ÷ native (least–most) | load busy |\n\
                     |---|---|---|---|---|---|---|---|---|---|---|\n",
                    kind.as_str(),
                    wire.as_str(),
                );
            }
            self.row(&mut out, cell);
        }
        out += "\n| variant | load ms | RSS idle MB | RSS after MB |\n|---|---|---|---|\n";
        for variant in Variant::with_envoy() {
            let megabytes = |of: &BTreeMap<Variant, Option<u64>>| {
                number(of.get(&variant).copied().flatten().map(|bytes| bytes as f64 / 1e6), 0)
            };
            let load_ms = number(self.load_ms.get(&variant).copied(), 0);
            let (idle, loaded) = (megabytes(&self.rss_idle_bytes), megabytes(&self.rss_loaded_bytes));
            let _ = writeln!(out, "| {} | {load_ms} | {idle} | {loaded} |", variant.as_str());
        }
        let _ = write!(out, "\n{}", workers::markdown(&self.footprints));
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
        let against_native = match ratio(Variant::Native, CALLS) {
            Some(Ratio { median, least, most }) if cell.variant != Variant::Native => {
                format!("{median:.2} ({least:.2}–{most:.2})")
            }
            Some(_) | None => "–".to_owned(),
        };
        let (against_none, added) = match cell.variant {
            Variant::None => ("–".to_owned(), "–".to_owned()),
            _ => (
                number(ratio(Variant::None, CALLS).map(|ratio| ratio.median), 2),
                number(self.samples.added_us(cell).map(|added| added.envoy_us + added.beside_us), 1),
            ),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {added} | {against_none} | {against_native} | {} |",
            cell.variant.as_str(),
            median(P50, 0),
            median(P99, 0),
            median(P999, 0),
            median(CALLS, 0),
            median(ENVOY_CPU, 1),
            median(BESIDE_CPU, 1),
            number(self.samples.median(cell, LOAD_BUSY).map(|busy| busy * 100.0), 0) + " %",
        );
    }

    /// What each variant adds to a call, for the picture.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let of = |(kind, wire, at_once): (Kind, Wire, usize)| {
            let bar = |variant: Variant| {
                let Added { envoy_us, beside_us } = self.samples.added_us(Cell { kind, wire, at_once, variant })?;
                Some(Bar { name: variant.as_str(), envoy_us, beside_us, ours: variant.is_holdpoint() })
            };
            let compared = Variant::with_envoy().filter(|variant| *variant != Variant::None);
            let calls = if at_once == 1 { "one call at a time".to_owned() } else { format!("{at_once} calls at once") };
            let (asked_bytes, answered_bytes) = body_bytes(kind);
            let what = match kind.tools() {
                Some(_) => format!("{} ({answered_bytes} B)", kind.as_str()),
                None if kind.callers() > 1 => {
                    format!("tools/call of {asked_bytes} B, {} callers in turn", kind.callers())
                }
                None => format!("tools/call of {asked_bytes} B"),
            };
            Group { title: format!("{what}, {calls}"), bars: compared.filter_map(bar).collect() }
        };
        PICTURED.into_iter().map(of).filter(|group| !group.bars.is_empty()).collect()
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
            "schema": SCHEMA,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "machine": {
                "processor": processor, "processors": processors, "envoy": envoy, "load_average": load_average,
            },
            "module_bytes": self.module_bytes,
            "load_ms": load_ms,
            "workers": workers::json(&self.footprints),
            "rss_idle_bytes": by_variant(&self.rss_idle_bytes),
            "rss_loaded_bytes": by_variant(&self.rss_loaded_bytes),
            "audit_lost": self.audit_lost,
            "cells": cells,
        })
    }

    fn cell_json(&self, cell: Cell, samples: &[Sample]) -> Value {
        let numbers = |of: &dyn Fn(Pick) -> Value| -> Value {
            ALL.map(|(name, pick)| (name.to_owned(), of(pick))).into_iter().collect()
        };
        let against = |other: Variant| {
            numbers(&|of| match self.samples.ratio(cell, other, of) {
                Some(Ratio { median, least, most }) => json!({"median": median, "least": least, "most": most}),
                None => Value::Null,
            })
        };
        let (asked_bytes, answered_bytes) = body_bytes(cell.kind);
        json!({
            "call": cell.kind.as_str(),
            "callers": cell.kind.callers(),
            "asked_bytes": asked_bytes,
            "answered_bytes": answered_bytes,
            "wire": cell.wire.as_str(),
            "at_once": cell.at_once,
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
