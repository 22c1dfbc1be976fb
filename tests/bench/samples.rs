//! The numbers of every round, and what is made of them: medians over rounds, ratios within one.

use std::collections::BTreeMap;

use crate::calls::Kind;
use crate::gateways::Variant;
use crate::load::{Load, Wire};

/// One combination that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    /// What is called.
    pub(crate) kind: Kind,
    /// Over what.
    pub(crate) wire: Wire,
    /// Calls under way at once.
    pub(crate) at_once: usize,
    /// What stands in between.
    pub(crate) variant: Variant,
}

/// What one measurement of a cell gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Median time of a call, in microseconds.
    pub(crate) p50_us: f64,
    /// Time that 99 of 100 calls stay below, in microseconds.
    pub(crate) p99_us: f64,
    /// The same for 999 of 1,000 calls.
    pub(crate) p999_us: f64,
    /// Calls per second, all of them together.
    pub(crate) calls_per_s: f64,
    /// Envoy's time on a processor per call, in microseconds.
    pub(crate) envoy_cpu_us: Option<f64>,
    /// The same for the service beside it, where there is one.
    pub(crate) beside_cpu_us: Option<f64>,
    /// How much of the time the load's own thread worked, from 0 to 1. Near 1 the load is the limit, not Envoy.
    pub(crate) load_busy: Option<f64>,
}

impl Sample {
    /// The times are those on a processor during the load, in nanoseconds.
    pub(crate) fn new(load: &Load, envoy_ns: Option<u64>, beside_ns: Option<u64>, load_ns: Option<u64>) -> Self {
        let mut latencies_ns = load.latencies_ns.clone();
        latencies_ns.sort_unstable();
        let calls = latencies_ns.len() as f64;
        let elapsed_s = load.elapsed.as_secs_f64();
        Self {
            p50_us: percentile(&latencies_ns, 500) as f64 / 1e3,
            p99_us: percentile(&latencies_ns, 990) as f64 / 1e3,
            p999_us: percentile(&latencies_ns, 999) as f64 / 1e3,
            calls_per_s: calls / elapsed_s,
            envoy_cpu_us: envoy_ns.map(|ns| ns as f64 / 1e3 / calls),
            beside_cpu_us: beside_ns.map(|ns| ns as f64 / 1e3 / calls),
            load_busy: load_ns.map(|ns| ns as f64 / 1e9 / elapsed_s),
        }
    }
}

/// Every sample, per cell in the order of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<Cell, Vec<Sample>>);

impl Samples {
    /// Adds the sample of the next round.
    pub(crate) fn add(&mut self, cell: Cell, sample: Sample) {
        self.0.entry(cell).or_default().push(sample);
    }

    /// All cells in the order of the table.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Cell, &[Sample])> {
        self.0.iter().map(|(cell, samples)| (*cell, samples.as_slice()))
    }

    /// The median over rounds of what `of` picks; `None` where the system did not say.
    pub(crate) fn median(&self, cell: Cell, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let picked: Option<Vec<f64>> = self.0.get(&cell)?.iter().map(of).collect();
        picked.map(|picked| median(&picked))
    }

    /// By how much the work of a cell, Envoy's and that beside it, exceeds Envoy's alone where nothing reads MCP: in
    /// microseconds on a processor per call, the median over rounds.
    pub(crate) fn added_us(&self, cell: Cell) -> Option<Added> {
        let none = Cell { variant: Variant::None, ..cell };
        let envoy_us =
            self.median(cell, |sample| sample.envoy_cpu_us)? - self.median(none, |sample| sample.envoy_cpu_us)?;
        let beside_us = self.median(cell, |sample| sample.beside_cpu_us);
        Some(Added { envoy_us, beside_us: beside_us.unwrap_or_default() })
    }

    /// What `of` picks in `cell`, divided by the same in `against`, round by round.
    pub(crate) fn ratio(&self, cell: Cell, against: Variant, of: impl Fn(&Sample) -> Option<f64>) -> Option<Ratio> {
        let other = Cell { variant: against, ..cell };
        let pairs = self.0.get(&cell)?.iter().zip(self.0.get(&other)?);
        let ratios: Option<Vec<f64>> = pairs.map(|(one, other)| Some(of(one)? / of(other)?)).collect();
        let ratios = ratios?;
        Some(Ratio {
            median: median(&ratios),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// What a variant adds to a call, in microseconds on a processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Added {
    /// Inside Envoy.
    pub(crate) envoy_us: f64,
    /// In the service beside it.
    pub(crate) beside_us: f64,
}

/// The ratios of all rounds. How far `least` and `most` lie apart says how noisy the machine was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    /// The middle one.
    pub(crate) median: f64,
    /// The smallest one.
    pub(crate) least: f64,
    /// The largest one.
    pub(crate) most: f64,
}

/// The value that `per_mille` of 1,000 values do not exceed (nearest rank); 0 for none.
pub(crate) fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle value, or the mean of the two in the middle; not a number for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) } else { at(middle) }
}
