//! `cargo bench -p holdpoint-tests --bench record`: how fast the record takes in entries, is verified, and is searched.
//!
//! A real service with its database on the disk takes batches over its API, as filters send them: each batch is answered
//! when it is durable. Then searches are timed, and the command line verifies all of it. It judges nothing: no time
//! fails a run, but a finding of `verify` does, and a search that finds what is not there.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use holdpoint_core::audit::payload::{Part, Payload, Salt};
use holdpoint_core::decision::AuditLevel;
use holdpoint_tests::approver::Person;
use holdpoint_tests::cargo::say;
use holdpoint_tests::service::{Service, ServiceSettings};
use holdpoint_tests::service_binary;
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[path = "process_usage.rs"]
#[expect(dead_code, reason = "`bench-mesh` asks for threads too")]
mod process_usage;

/// Entries of one batch; a filter sends up to 500.
const BATCH: usize = 500;
/// Gateways that send at once.
const GATEWAYS: usize = 8;
/// How often each search is timed.
const SEARCHES: usize = 21;
/// How often a long step says how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// What a call's arguments look like that is digested with a salt.
const ARGUMENTS: &str = r#"{"project":"site","title":"The start page has a spelling mistake","labels":["bug","web"]}"#;

/// Measures the record of the approval service.
#[derive(Debug, Parser)]
#[command(name = "cargo bench -p holdpoint-tests --bench record --")]
struct Settings {
    /// How many entries are taken in, verified and searched
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    entries: usize,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    // Whole batches.
    let whole = |entries: usize| entries.div_ceil(BATCH) * BATCH;
    heading();
    // As filters send it unless a policy says otherwise; and the same without what stands beside entries.
    for (with_salt, entries) in [(true, whole(settings.entries)), (false, whole(settings.entries / 10))] {
        let desk = Desk::open().await?;
        let before = desk.cpu_ns();
        let took = desk.fill(entries, with_salt).await?;
        let what = if with_salt { "taken in, with salted digests" } else { "taken in, without" };
        row(what, entries, took, process_usage::since(before, desk.cpu_ns()));
        let searchable = desk.searchable().await?;
        row("  searchable besides", entries, took + searchable, process_usage::since(before, desk.cpu_ns()));
        if with_salt {
            desk.search(entries).await?;
        }
        let (took, service) = desk.verify()?;
        row("  verified", entries, took, None);
        let megabytes = std::fs::metadata(service.data_dir().join("holdpoint.db"))?.len() / 1_000_000;
        say(&format!("{entries} entries are {megabytes} MB on the disk"));
    }
    Ok(())
}

fn heading() {
    println!("| | entries | in | entries/s | µs of the service's processor time each |\n|---|---|---|---|---|");
}

fn row(what: &str, entries: usize, took: Duration, cpu_ns: Option<u64>) {
    let seconds = took.as_secs_f64();
    let each = cpu_ns.map_or("–".to_owned(), |ns| format!("{:.0}", ns as f64 / 1e3 / entries as f64));
    println!("| {what} | {entries} | {seconds:.1} s | {:.0} | {each} |", entries as f64 / seconds);
}

/// Says now and then how far a step has come.
struct Told {
    began: Instant,
    last: Instant,
}

impl Told {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, last: now }
    }

    fn at(&mut self, done: usize, of: usize, what: &str) {
        if self.last.elapsed() >= TOLD_EVERY {
            self.last = Instant::now();
            let each_s = done as f64 / self.began.elapsed().as_secs_f64();
            say(&format!("{done} of {of} entries {what}, {each_s:.0}/s"));
        }
    }
}

struct Desk {
    service: Service,
    auditor: Person,
    enforcer: String,
}

impl Desk {
    async fn open() -> anyhow::Result<Self> {
        let arguments = ["--gateway-requests-per-s-max", "100000", "--person-requests-per-s-max", "100000"];
        let arguments = arguments.map(str::to_owned).to_vec();
        let service = Service::start_as(ServiceSettings { arguments, ..ServiceSettings::default() }).await?;
        let auditor = Person::auditor(&service)?;
        let enforcer = service.token("enforcer", "gateway-1", &[])?;
        Ok(Self { service, auditor, enforcer })
    }

    fn cpu_ns(&self) -> Option<u64> {
        process_usage::cpu_ns(self.service.process().pid())
    }

    /// All gateways send until so many entries are acknowledged.
    async fn fill(&self, entries: usize, with_salt: bool) -> anyhow::Result<Duration> {
        let batches = Arc::new(AtomicUsize::new(entries / BATCH));
        let taken = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let mut gateways = JoinSet::new();
        for gateway in 0..GATEWAYS {
            let (batches, taken) = (Arc::clone(&batches), Arc::clone(&taken));
            let (url, token) = (self.service.url("/v1/audit/entries"), self.enforcer.clone());
            gateways.spawn(async move {
                let http = reqwest::Client::new();
                let mut told = Told::new();
                let mut counter = 0;
                while batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let batch = batch(gateway, counter, with_salt);
                    let answer = http.post(&url).bearer_auth(&token).json(&batch).send().await?;
                    ensure!(answer.status().is_success(), "{}", answer.text().await?);
                    counter += BATCH;
                    let taken = taken.fetch_add(BATCH, Ordering::Relaxed) + BATCH;
                    if gateway == 0 {
                        told.at(taken, entries, "taken in");
                    }
                }
                Ok(())
            });
        }
        while let Some(done) = gateways.join_next().await {
            done??;
        }
        Ok(began.elapsed())
    }

    /// Until every entry can be searched.
    async fn searchable(&self) -> anyhow::Result<Duration> {
        let mut told = Told::new();
        let mut first = None;
        loop {
            // As long as it takes: the index is made from the log whatever happens, and each look helps.
            let page = self.auditor.get("/v1/record?limit=1").await?;
            let left = page["unsearched"].as_u64().context("how many are not searched")?;
            let left = usize::try_from(left)?;
            if left == 0 {
                return Ok(told.began.elapsed());
            }
            let of = *first.get_or_insert(left);
            told.at(of.saturating_sub(left), of, "made searchable");
        }
    }

    async fn search(&self, entries: usize) -> anyhow::Result<()> {
        println!("\n| search among {entries} | p50 ms | most ms | on the first page |\n|---|---|---|---|");
        let middle = at_ms(0, entries / GATEWAYS / 2);
        let (hour, minute) = (middle + 3_600_000, middle + 60_000);
        // The first call of the first gateway, which is there however many entries there are.
        let rare = mixed(0, 0);
        let agent = format!("agent-{}", picked(rare, 8, 200));
        for (what, query, is_there) in [
            ("the newest", String::new(), Some(true)),
            ("one call by its trace", format!("trace={rare:032x}"), Some(true)),
            ("one agent (of 200)", format!("who={agent}"), Some(true)),
            ("one tool (of 50)", "tool=tool_11".to_owned(), Some(true)),
            ("one agent, server and tool", format!("who={agent}&server=server-3&tool=tool_11"), None),
            ("what nearly every entry says", "verdict=allow".to_owned(), Some(true)),
            ("two things that nearly every entry says", "verdict=allow&outcome=committed".to_owned(), Some(true)),
            ("what one rule denied", "rule=deny-some&verdict=deny".to_owned(), Some(true)),
            ("an hour in the middle", format!("since_ms={middle}&until_ms={hour}"), Some(true)),
            ("one agent in a minute", format!("who={agent}&since_ms={middle}&until_ms={minute}"), None),
            ("two things that never meet", "rule=deny-some&outcome=committed".to_owned(), Some(false)),
            ("nobody", "who=nobody".to_owned(), Some(false)),
        ] {
            let mut times = Vec::new();
            let mut found = 0;
            for _ in 0..SEARCHES {
                let began = Instant::now();
                let page = self.auditor.get(&format!("/v1/record?{query}")).await?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
                found = page["entries"].as_array().map_or(0, Vec::len);
            }
            ensure!(is_there.is_none_or(|is_there| is_there == (found > 0)), "{what}: {found} entries by `{query}`");
            times.sort_by(f64::total_cmp);
            println!("| {what} | {:.1} | {:.1} | {found} |", times[SEARCHES / 2], times[SEARCHES - 1]);
        }
        println!();
        heading();
        Ok(())
    }

    fn verify(self) -> anyhow::Result<(Duration, Service)> {
        self.service.kill();
        let began = Instant::now();
        let output = Command::new(service_binary::holdpoint()?)
            .args(["audit", "verify", "--output", "json", "--data-dir"])
            .arg(self.service.data_dir())
            // On a terminal it says how far it is.
            .stderr(Stdio::inherit())
            .output()?;
        let took = began.elapsed();
        let said: Value = serde_json::from_slice(&output.stdout).context("`audit verify` said no JSON")?;
        ensure!(output.status.success(), "{said}");
        Ok((took, self.service))
    }
}

fn at_ms(gateway: usize, at: usize) -> u64 {
    1_700_000_000_000 + 86 * (at * GATEWAYS + gateway) as u64
}

/// Spread as a crowd is, and alike in every run.
fn mixed(gateway: usize, at: usize) -> usize {
    (at * GATEWAYS + gateway + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn picked(mixed: usize, shift: u32, of: usize) -> usize {
    (mixed >> shift) % of
}

/// A day's calls of 200 agents on 20 servers; one in a hundred is denied.
fn batch(gateway: usize, first: usize, with_salt: bool) -> Value {
    let mut payloads = Vec::new();
    let entries: Vec<Value> = (first..first + BATCH)
        .map(|at| {
            let mixed = mixed(gateway, at);
            let pick = |shift, of| picked(mixed, shift, of);
            let mut entry = json!({
                "schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": at_ms(gateway, at), "method": "tools/call",
                "principal": {"issuer": "https://idp", "subject": format!("agent-{}", pick(8, 200)), "actor_type": "agent",
                              "tenant": format!("tenant-{}", pick(16, 10))},
                "server": format!("server-{}", pick(24, 20)), "target": format!("tool_{}", pick(32, 50)),
                "trace_id": format!("{mixed:032x}"), "span_id": format!("{mixed:016x}"),
            });
            let decided = match at.is_multiple_of(100) {
                true => json!({"verdict": "deny", "rule_ids": ["deny-some"]}),
                false => json!({"verdict": "allow", "rule_ids": ["allow-most"], "outcome": "committed", "latency_ms": 12,
                                "http_status": 200, "answer_bytes": 2_048}),
            };
            if let (Some(entry), Value::Object(decided)) = (entry.as_object_mut(), decided) {
                entry.extend(decided);
            }
            if with_salt {
                let salt: Salt = format!("{mixed:032x}").parse().expect("32 hex digits are a salt");
                let mut payload = Payload::new(salt);
                entry["arguments"] = json!(payload.keep(Part::Arguments, AuditLevel::Digest, ARGUMENTS));
                payloads.push(json!({"counter": at, "payload": payload}));
            }
            entry
        })
        .collect();
    let mut batch = json!({"source": format!("edge-{gateway}/boot"), "first_counter": first, "entries": entries});
    if with_salt {
        batch["payloads"] = json!(payloads);
    }
    batch
}
