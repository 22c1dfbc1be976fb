//! `cargo bench-mesh`: what the filter costs a call, beside the same Envoy without it and with Envoy's own filters.
//!
//! Read in this order: the calls, the variants and their gateways, what stands beside them, the load, what the system
//! says of a process, the samples and their ratios, the report and its picture. The Envoys run side by side and are measured in turns, so that a slow
//! minute of the machine slows all of them; ratios are taken within a round. It judges nothing: no time fails a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use holdpoint_tests::cargo::{self, say};
use holdpoint_tests::{repository, wasm};
use serde_json::json;

mod calls;
mod compare;
mod gateways;
mod holds;
mod judge;
mod load;
mod peers;
mod picture;
mod process_usage;
mod record_sink;
mod report;
mod samples;
mod served;
mod startup;
#[cfg(test)]
mod tests;
mod workers;

use calls::{Calls, Kind};
use gateways::{Gateways, Variant};
use load::Wire;
use report::Report;
use samples::{Cell, Sample, Samples};

/// What tells most.
const TELLING: [(Kind, Wire, usize); 12] = [
    (Kind::Small, Wire::Http1, 1),
    (Kind::Small, Wire::Http1, 16),
    (Kind::Small, Wire::Http2, 16),
    (Kind::Callers, Wire::Http1, 1),
    (Kind::Callers, Wire::Http1, 16),
    (Kind::Callers, Wire::Http2, 16),
    (Kind::Large, Wire::Http1, 1),
    (Kind::Large, Wire::Http1, 16),
    (Kind::Events, Wire::Http1, 16),
    (Kind::Tools10, Wire::Http1, 1),
    (Kind::Tools100, Wire::Http1, 1),
    (Kind::Tools1000, Wire::Http1, 1),
];

/// How many calls are under way at once with `--full`.
const AT_ONCE: [usize; 3] = [1, 16, 64];

/// How long each measurement runs before it counts, in milliseconds: connections open, caches fill.
const WARM_UP_MS: u64 = 200;

/// Measures what the Holdpoint filter costs an allowed MCP call.
///
/// Envoy with one worker and an upstream that costs nothing, in variants that are measured in turns: no filter; Envoy's
/// own mcp and RBAC filters; a wasm filter that reads what Holdpoint must read and judges nothing; Envoy's ext_authz and
/// ext_proc filters with the smallest service that could judge; the Holdpoint filter with a policy that allows everything,
/// with the quickstart's, with a thousand further rules, and with every call waiting for its entry in the record. Before
/// them a row without any Envoy: how far the load itself comes.
///
/// One caller repeats one call, and the filter remembers callers and calls. So the small call is measured of a thousand
/// callers in turn besides, each with a token of its own and never with the same arguments, of whom it remembers none: for the
/// direct way, no filter, Envoy's own, the wasm filter that judges nothing, and Holdpoint's.
///
/// Tables go to standard output, progress to standard error; the same tables, every number and a picture to mesh.md,
/// mesh.json and mesh.svg under bench/ of the target directory.
#[derive(Debug, Parser)]
#[command(
    name = "cargo bench-mesh",
    after_help = "Examples:\n  \
        cargo bench-mesh                            about 11 minutes\n  \
        cargo bench-mesh --quick                    a look, about 2 minutes\n  \
        cargo bench-mesh --full --rounds 3          all sizes, HTTP/2, 64 at once: about 25 minutes\n  \
        cargo bench-mesh --compare old.json         what changed since\n  \
        cargo bench-mesh --rounds 15 --seconds 2    steadier medians\n  \
        cargo bench-mesh --only small,large         some kinds of calls alone\n  \
        cargo bench-mesh --holds 1000,4000,10000    how many calls may wait\n  \
        cargo bench-mesh --peers --seconds 5        beside gateways in Python\n  \
        cargo bench-mesh --all                      everything that is published: two hours\n  \
        ENVOY=/opt/envoy cargo bench-mesh           another Envoy\n\n\
        Time goes into rounds × seconds × variants × kinds of calls. Nothing fails for being slow; an answer that is not\n\
        the expected one ends the run. For figures to keep, leave the machine alone meanwhile."
)]
struct Settings {
    /// How often every combination is measured; tables show medians over the rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long one measurement runs
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Bodies of 4 KB and 1 MB, event streams and everything else over HTTP/2 too, and 64 calls at once
    #[arg(long)]
    full: bool,
    /// Kinds of calls to measure, by the first words of their names (small, medium, large, huge, list)
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', num_args = 1..)]
    only: Vec<String>,
    /// Shows what changed since this run's numbers
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Measures instead how allowed calls fare while so many others wait for people
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., conflicts_with_all = ["rounds", "quick"])]
    holds: Vec<usize>,
    /// Measures everything that is published, one after the other, into report.md: all of the above with 1,000, 4,000
    /// and 10,000 waiting calls, the record (`--bench record`) and decisions (`-p holdpoint-core`). Two hours
    #[arg(long, conflicts_with_all = ["holds", "peers", "only", "quick"])]
    all: bool,
    /// Measures instead the gateways of others, in Python, that PyPI has, beside ours
    #[arg(long, conflicts_with_all = ["holds", "full", "only", "compare"])]
    peers: bool,
    /// Two rounds of 0.3 seconds: whether it works, not how fast it is
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
}

impl Settings {
    /// What is measured, in the order of the table.
    fn plan(&self) -> Vec<(Kind, Wire, usize)> {
        let mut plan = TELLING.to_vec();
        if self.full {
            plan.clear();
            for kind in Kind::ALL {
                for wire in Wire::ALL {
                    plan.extend(AT_ONCE.map(|at_once| (kind, wire, at_once)));
                }
            }
            // A megabyte a call: 64 at once measure the memory of this machine.
            plan.retain(|(kind, _, at_once)| *at_once < 64 || !matches!(kind, Kind::Huge | Kind::Tools1000));
        }
        let wanted = |kind: Kind| self.only.is_empty() || self.only.iter().any(|word| kind.as_str().starts_with(word));
        plan.retain(|(kind, _, _)| wanted(*kind));
        plan
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("give seconds between 0.1 and 600".to_owned()),
    }
}

// One thread: the load must leave the other core to Envoy.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::parse();
    if settings.quick {
        settings.rounds = 2;
        settings.seconds = 0.3;
    }
    if settings.all {
        return all(settings).await;
    }
    let text = if !settings.holds.is_empty() {
        holds(&settings.holds, settings.seconds).await?
    } else if settings.peers {
        peers(&settings).await?
    } else {
        mesh(&settings).await?
    };
    print!("{text}");
    Ok(())
}

/// Everything in one report. A part that fails takes the others with it only at the end.
async fn all(mut settings: Settings) -> anyhow::Result<()> {
    const HELD: [usize; 3] = [1_000, 4_000, 10_000];
    settings.full = true;
    let mut parts = vec![("What a call costs".to_owned(), mesh(&settings).await)];
    // Each by itself: one number that is too many for this machine says nothing about the others.
    for held in HELD {
        parts.push((format!("While {held} calls wait"), holds(&[held], settings.seconds).await));
    }
    parts.push(("Beside gateways in Python".to_owned(), peers(&settings).await));
    let record = cargo::printed(&["bench", "-q", "-p", "holdpoint-tests", "--bench", "record"]);
    parts.push(("How fast the record is".to_owned(), record));
    let policy = cargo::printed(&["bench", "-q", "-p", "holdpoint-core", "--bench", "policy"]);
    parts.push(("What a decision and a list cost natively".to_owned(), policy.map(|text| format!("```\n{text}```\n"))));
    let mut report = String::new();
    let mut failed = Vec::new();
    for (title, part) in parts {
        let text = part.unwrap_or_else(|error| {
            failed.push(title.clone());
            format!("Failed: {error:#}\n")
        });
        report += &format!("## {title}\n\n{text}\n");
    }
    write("report.md", &report)?;
    print!("{report}");
    anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

async fn mesh(settings: &Settings) -> anyhow::Result<String> {
    anyhow::ensure!(!settings.plan().is_empty(), "no kind of call begins with {}", settings.only.join(" or "));
    let module = wasm::module()?;
    let module_bytes = fs::metadata(module)?.len();

    say("measuring how long Envoy takes to load its configuration");
    let load_ms = startup::load_ms(if settings.quick { 1 } else { 5 })?;

    say("measuring what a further worker takes in memory");
    let footprints = workers::footprints().await?;

    say("starting one Envoy per variant");
    let mut gateways = Gateways::start().await?;
    let calls = Calls::new(&gateways.token, &gateways.tokens)?;
    gateways.prove(&calls).await?;
    let rss_idle_bytes = gateways.rss_bytes();

    let samples = measure(settings, &gateways, &calls).await?;

    let report = Report {
        rounds: settings.rounds,
        seconds: settings.seconds,
        machine: report::machine()?,
        module_bytes,
        load_ms,
        footprints,
        rss_idle_bytes,
        rss_loaded_bytes: gateways.rss_bytes(),
        audit_lost: gateways.audit_lost().await?,
        samples,
    };
    // Read before it may be written over.
    let old = settings.compare.as_deref().map(compare::read).transpose()?;
    let numbers = report.json();
    let mut text = report.markdown();
    if let Some(old) = &old {
        text += &format!("\n{}", compare::markdown(old, &numbers));
    }
    write("mesh.json", &(serde_json::to_string_pretty(&numbers)? + "\n"))?;
    write("mesh.svg", &picture::svg(&report.groups(), &report.machine.line()))?;
    write("mesh.md", &text)?;
    Ok(text)
}

async fn holds(held: &[usize], seconds: f64) -> anyhow::Result<String> {
    let steps = holds::run(held, Duration::from_secs_f64(seconds.max(5.0))).await?;
    let numbers = json!({"schema": "holdpoint/bench-holds/v1", "steps": holds::to_json(&steps)});
    let text = holds::markdown(&steps, &report::machine()?);
    write("holds.json", &(serde_json::to_string_pretty(&numbers)? + "\n"))?;
    write("holds.md", &text)?;
    Ok(text)
}

async fn peers(settings: &Settings) -> anyhow::Result<String> {
    let rows = peers::run(settings.rounds, Duration::from_secs_f64(settings.seconds)).await?;
    let numbers = json!({"schema": "holdpoint/bench-peers/v1", "rows": peers::to_json(&rows)});
    let text = format!("{}\n\n{}", report::machine()?.line(), peers::markdown(&rows));
    write("peers.json", &(serde_json::to_string_pretty(&numbers)? + "\n"))?;
    write("peers.md", &text)?;
    Ok(text)
}

fn write(name: &str, text: &str) -> anyhow::Result<()> {
    let path = path_of(name);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

fn path_of(name: &str) -> PathBuf {
    repository::target_dir().join("bench").join(name)
}

/// Every combination once per round, the variants of one combination right after each other, each round another first.
async fn measure(settings: &Settings, gateways: &Gateways, calls: &Calls) -> anyhow::Result<Samples> {
    let window = Duration::from_secs_f64(settings.seconds);
    let warm_up = Duration::from_millis(WARM_UP_MS);
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        let began = Instant::now();
        for (kind, wire, at_once) in settings.plan() {
            for variant in Variant::in_turn(round).filter(|variant| variant.is_measured(kind)) {
                let target = gateways.target(variant, calls, kind, wire);
                load::run(&target, at_once, warm_up).await?;
                let spent = || {
                    [
                        gateways.envoy_cpu_ns(variant),
                        gateways.beside_cpu_ns(variant),
                        process_usage::own_thread_cpu_ns(),
                    ]
                };
                let before = spent();
                let load = load::run(&target, at_once, window).await?;
                let [envoy, beside, own] = spent();
                let [envoy_before, beside_before, own_before] = before;
                let since = process_usage::since;
                let sample = Sample::new(
                    &load,
                    since(envoy_before, envoy),
                    since(beside_before, beside),
                    since(own_before, own),
                );
                samples.add(Cell { kind, wire, at_once, variant }, sample);
            }
        }
        say(&format!("round {} of {}: {:.0} s", round + 1, settings.rounds, began.elapsed().as_secs_f64()));
    }
    Ok(samples)
}
