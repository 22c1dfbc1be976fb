//! `cargo bench-mesh`: what the filter costs a call, beside the same Envoy without it and with Envoy's own filters.
//!
//! Read in this order: the variants and their Envoys, the calls, the load, what the system says of a process, the
//! samples and their ratios, the report. The Envoys run side by side and are measured in turns, so that a slow
//! minute of the machine slows all of them; ratios are taken within a round. It judges nothing: no time fails a run.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use holdpoint_tests::cargo::say;
use holdpoint_tests::{repository, wasm};
use serde_json::{Value, json};

mod calls;
mod compare;
mod gateways;
mod holds;
mod load;
mod process_usage;
mod record_sink;
mod report;
mod samples;
mod startup;
#[cfg(test)]
mod tests;

use calls::{BodySize, Calls};
use gateways::{Gateways, Variant};
use load::Target;
use report::Report;
use samples::{Cell, Sample, Samples};

/// How many connections call at once; the last number only with `--full`.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// How long each measurement runs before it counts, in milliseconds: connections open, caches fill.
const WARM_UP_MS: u64 = 200;

/// Measures what the Holdpoint filter costs an allowed MCP call.
///
/// Envoy with one worker, an upstream that costs nothing, and five variants in turns: no filter, Envoy's own mcp and RBAC
/// filters, and the Holdpoint filter with the quickstart's policy, with a thousand further rules, and with every call
/// waiting for its entry in the record. A Markdown table goes to standard output,
/// every number to target/bench/mesh.json, progress to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "cargo bench-mesh",
    after_help = "Examples:\n  \
        cargo bench-mesh                            about 4 minutes\n  \
        cargo bench-mesh --quick                    a look, about 20 seconds\n  \
        cargo bench-mesh --full                     more sizes, more connections\n  \
        cargo bench-mesh --compare old.json         what changed since\n  \
        cargo bench-mesh --rounds 15 --seconds 2    steadier medians\n  \
        cargo bench-mesh --holds 1000,4000,10000    how many calls may wait\n  \
        ENVOY=/opt/envoy cargo bench-mesh           another Envoy"
)]
struct Settings {
    /// How often every combination is measured; the table shows medians over the rounds
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long one measurement runs
    #[arg(long, value_name = "S", default_value_t = 1.5, value_parser = seconds)]
    seconds: f64,
    /// More sizes of bodies (4 KB, 1 MB) and 64 connections: about three times as long
    #[arg(long)]
    full: bool,
    /// Shows what changed since this run's numbers
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Measures instead how allowed calls fare while so many others wait for people
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., conflicts_with_all = ["rounds", "quick"])]
    holds: Vec<usize>,
    /// Two rounds of 0.3 seconds: whether it works, not how fast it is
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
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
    if !settings.holds.is_empty() {
        return holds(&settings).await;
    }
    let module = wasm::module()?;
    let module_bytes = fs::metadata(module)?.len();

    say("measuring how long Envoy takes to load its configuration");
    let load_ms = startup::load_ms(if settings.quick { 1 } else { 5 })?;

    say("starting one Envoy per variant");
    let gateways = Gateways::start().await?;
    let calls = Calls::new(&gateways.token);
    gateways.prove(&calls).await?;
    let rss_idle_bytes = gateways.rss_bytes();

    let samples = measure(&settings, &gateways, &calls).await?;

    let report = Report {
        rounds: settings.rounds,
        seconds: settings.seconds,
        machine: report::machine()?,
        module_bytes,
        load_ms,
        rss_idle_bytes,
        rss_loaded_bytes: gateways.rss_bytes(),
        audit_lost: gateways.audit_lost().await?,
        body_bytes: BodySize::ALL.map(|size| (size, calls.body_bytes(size))).into(),
        samples,
    };
    // Read before it may be written over.
    let old = settings.compare.as_deref().map(compare::read).transpose()?;
    let numbers = report.json();
    write_json("mesh.json", &numbers)?;
    if let Some(old) = &old {
        println!("{}", compare::markdown(old, &numbers));
    }
    print!("{}", report.markdown());
    Ok(())
}

async fn holds(settings: &Settings) -> anyhow::Result<()> {
    let steps = holds::run(&settings.holds, Duration::from_secs_f64(settings.seconds.max(5.0))).await?;
    write_json("holds.json", &json!({"schema": "holdpoint/bench-holds/v1", "steps": holds::to_json(&steps)}))?;
    print!("{}", holds::markdown(&steps, &report::machine()?));
    Ok(())
}

fn write_json(name: &str, numbers: &Value) -> anyhow::Result<()> {
    let dir = repository::target_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let path = dir.join(name);
    fs::write(&path, serde_json::to_string_pretty(numbers)? + "\n")
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    say(&format!("every number is in {}", path.display()));
    Ok(())
}

/// Every combination once per round, the variants of one combination right after each other, each round another first.
async fn measure(settings: &Settings, gateways: &Gateways, calls: &Calls) -> anyhow::Result<Samples> {
    let window = Duration::from_secs_f64(settings.seconds);
    let warm_up = Duration::from_millis(WARM_UP_MS);
    let (sizes, connections) = match settings.full {
        true => (&BodySize::ALL[..], &CONNECTIONS[..]),
        false => (&BodySize::TELLING[..], &CONNECTIONS[..2]),
    };
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        let began = Instant::now();
        for size in sizes.iter().copied() {
            for connections in connections.iter().copied() {
                for variant in Variant::in_turn(round) {
                    let envoy = gateways.envoy(variant);
                    let target = Target { port: envoy.port(), message: calls.allowed(size) };
                    load::run(&target, connections, warm_up).await?;
                    let envoy_ns = process_usage::cpu_ns(envoy.pid());
                    let own_ns = process_usage::own_thread_cpu_ns();
                    let load = load::run(&target, connections, window).await?;
                    let sample = Sample::new(
                        &load,
                        process_usage::since(envoy_ns, process_usage::cpu_ns(envoy.pid())),
                        process_usage::since(own_ns, process_usage::own_thread_cpu_ns()),
                    );
                    samples.add(Cell { size, connections, variant }, sample);
                }
            }
        }
        say(&format!("round {} of {}: {:.0} s", round + 1, settings.rounds, began.elapsed().as_secs_f64()));
    }
    Ok(samples)
}
