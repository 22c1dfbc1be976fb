//! `cargo bench-mesh --holds 1000,4000,10000`: whether allowed calls notice how many others wait for people.
//!
//! One Envoy with two workers, the real service with its database on the disk, a server that counts. For each number of
//! waiting calls: allowed traffic before and while they wait, memory, what both spend while nobody calls, how soon an approved call is at the server, how
//! long it takes to release all of them. Every call is accounted for; a lost one, or one that ran twice, fails the run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use holdpoint_tests::approver::Person;
use holdpoint_tests::cargo::say;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer as ServerAnswer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::calls::{Kind, UPSTREAM_ANSWER, message, small};
use crate::load::{self, Connection, Load, Target, Wire};
use crate::process_usage::{cpu_ns, since};
use crate::report;
use crate::samples::percentile;

/// Connections of allowed traffic at once.
const ALLOWED_CONNECTIONS: usize = 16;
/// Calls that begin to wait side by side: more would measure how fast this machine opens connections.
const OPENING_AT_ONCE: usize = 200;
/// Most reviews in one request of the service's API.
const BATCH_MAX: usize = 50;
/// Batches under way at once, as of several approvers.
const BATCHES_AT_ONCE: usize = 4;
/// Single approvals whose way to the server is timed.
const TIMED_APPROVALS: usize = 100;
/// For how long it is watched what both spend while calls only wait: at least as long as any of them waits for one answer.
const WATCHED: Duration = Duration::from_secs(60);
/// Principals that share the waiting calls.
const AGENTS: usize = 50;

const POLICY: &str = r#"
version: "2026-01-27"
default_decision: deny
servers:
  tracker:
    match: {route_metadata: tracker}
    tools:
      list_issues: {action: read}
      create_issue: {action: write}
rules:
- id: reads-run
  match: {labels: {mcp.action: read}}
  decision: allow
  reason: "Reading is free"
- id: writes-wait
  match: {labels: {mcp.action: write}}
  decision: require_approval
  reason: "A person looks at every change"
  approval: {approvers: {all_of: [{group: sre, min: 1}]}, decide_within_ms: 3600000, claim_within_ms: 600000}
"#;

/// What one number of waiting calls gave.
pub(crate) struct Step {
    held: usize,
    before: Load,
    during: Load,
    envoy_rss: Option<u64>,
    service_rss: Option<u64>,
    /// Of one processor, while calls wait and nobody calls or decides, in percent.
    envoy_busy: Option<f64>,
    service_busy: Option<f64>,
    opened_in: Duration,
    approve_to_server_ns: Vec<u64>,
    released_in: Duration,
}

/// Measures each of `counts`, on a stack of its own.
pub(crate) async fn run(counts: &[usize], window: Duration) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for held in counts {
        say(&format!("{held} calls wait"));
        steps.push(step(*held, window).await.with_context(|| format!("with {held} calls waiting"))?);
    }
    Ok(steps)
}

async fn step(held: usize, window: Duration) -> anyhow::Result<Step> {
    let mut builder = Stack::builder()
        .workers(2)
        .policy(POLICY)
        .hold_ms_max(900_000)
        .document(|document| document.client_patience_ms = 1_800_000);
    for (name, value) in [("--pending-per-principal-max", 100_000), ("--person-requests-per-s-max", 100_000)] {
        builder = builder.service_argument(name).service_argument(&value.to_string());
    }
    let stack = builder.start().await?;
    let ran = Arc::new(Ran::default());
    let seen = Arc::clone(&ran);
    stack.upstream.answer_with(move |message| {
        seen.note(&message.body);
        (Duration::ZERO, ServerAnswer::Json { status: 200, body: UPSTREAM_ANSWER.to_owned() })
    });
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let tokens: Vec<String> =
        (0..AGENTS).map(|number| stack.agent(&format!("agent-{number}"))).collect::<anyhow::Result<_>>()?;
    let allowed =
        Target { port: stack.port(), script: small(&tokens[0])?, wire: Wire::Http1, answer: UPSTREAM_ANSWER.into() };
    load::run(&allowed, ALLOWED_CONNECTIONS, window / 2).await?;
    let before = load::run(&allowed, ALLOWED_CONNECTIONS, window).await?;

    let began = Instant::now();
    let mut waiting = begin(&stack, &tokens, held).await?;
    until_all_wait(&mut waiting, counted(&bob, held)).await?;
    let opened_in = began.elapsed();
    say(&format!("  all wait after {:.1} s", opened_in.as_secs_f64()));
    let (envoy_busy, service_busy) = busy_while_waiting(&stack).await;
    say(&format!("  Envoy {} %, service {} % while they wait", percent(envoy_busy), percent(service_busy)));
    let during = load::run(&allowed, ALLOWED_CONNECTIONS, window).await?;
    let envoy_rss = stack.envoy.process().rss_bytes();
    let service_rss = stack.service.process().rss_bytes();

    let mut pending = all_pending(&bob, held).await?;
    let timed = pending.split_off(pending.len().saturating_sub(TIMED_APPROVALS));
    let mut approve_to_server_ns = Vec::new();
    for (id, digest) in &timed {
        let before = ran.count();
        let began = Instant::now();
        review(&bob, &[(id.clone(), digest.clone())]).await?;
        while ran.count() == before {
            ensure!(began.elapsed() < probe::PATIENCE, "an approved call did not reach the server");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        approve_to_server_ns.push(u64::try_from(began.elapsed().as_nanos())?);
    }

    let began = Instant::now();
    let mut batches = JoinSet::new();
    for batch in pending.chunks(BATCH_MAX) {
        if batches.len() == BATCHES_AT_ONCE {
            batches.join_next().await.context("a batch")???;
        }
        let (bob, batch) = (bob.clone(), batch.to_vec());
        batches.spawn(async move { review(&bob, &batch).await });
    }
    while let Some(done) = batches.join_next().await {
        done??;
    }
    account(&ran, waiting, held).await?;
    let released_in = began.elapsed();
    say(&format!("  all released after {:.1} s", released_in.as_secs_f64()));
    Ok(Step {
        held,
        before,
        during,
        envoy_rss,
        service_rss,
        envoy_busy,
        service_busy,
        opened_in,
        approve_to_server_ns,
        released_in,
    })
}

/// How much of a processor Envoy and service take while calls only wait.
async fn busy_while_waiting(stack: &Stack) -> (Option<f64>, Option<f64>) {
    let spent = || (cpu_ns(stack.envoy.pid()), cpu_ns(stack.service.process().pid()));
    let (began, before) = (Instant::now(), spent());
    tokio::time::sleep(WATCHED).await;
    let (elapsed_ns, after) = (began.elapsed().as_nanos() as f64, spent());
    let busy = |before, after| since(before, after).map(|spent_ns| spent_ns as f64 / elapsed_ns * 100.0);
    (busy(before.0, after.0), busy(before.1, after.1))
}

fn percent(busy: Option<f64>) -> String {
    busy.map_or_else(|| "–".to_owned(), |busy| format!("{busy:.1}"))
}

pub(crate) type Waiting = JoinSet<anyhow::Result<()>>;

/// Sends `held` calls, each over a connection of its own; each ends with the server's answer, or fails.
async fn begin(stack: &Stack, tokens: &[String], held: usize) -> anyhow::Result<Waiting> {
    let opening = Arc::new(tokio::sync::Semaphore::new(OPENING_AT_ONCE));
    let mut waiting = JoinSet::new();
    for number in 0..held {
        let place = Arc::clone(&opening).acquire_owned().await?;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"create_issue","arguments":{{"title":"{number}"}}}}}}"#
        );
        let message = message(Kind::Small.path(), &body, &tokens[number % tokens.len()])?;
        let mut connection = Connection::open(stack.port()).await?;
        waiting.spawn(async move {
            let answering = connection.call(&message.http1);
            tokio::pin!(answering);
            // The place is free again when this call has had time to be sent.
            let sent = tokio::time::timeout(Duration::from_millis(50), &mut answering).await;
            drop(place);
            let answer = match sent {
                Ok(answered) => answered?,
                Err(_) => answering.await?,
            };
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            ensure!(body == UPSTREAM_ANSWER, "call {number} was answered with {}: {body}", answer.status);
            Ok(())
        });
    }
    Ok(waiting)
}

/// Until `counted` says so, or one of the calls ends: of one that has failed nobody waits for the count in vain.
pub(crate) async fn until_all_wait(
    waiting: &mut Waiting,
    counted: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let early = tokio::select! {
        // Looked at first: when both are so, the count is that of another time.
        biased;
        Some(early) = waiting.join_next() => early,
        counted = counted => return counted,
    };
    early??;
    bail!("a call was answered before anybody had decided")
}

/// Until the service counts so many waiting requests.
async fn counted(bob: &Person, held: usize) -> anyhow::Result<()> {
    probe::until(&format!("{held} calls wait"), probe::PATIENCE * 10, async || {
        let pending = all_pending(bob, held).await.ok()?;
        (pending.len() == held).then_some(())
    })
    .await
}

/// (id, digest of the call) of everything that waits, the newest first.
async fn all_pending(bob: &Person, most: usize) -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    while all.len() <= most {
        let page = bob.get(&format!("/v1/approvals?status=pending&limit=200{cursor}")).await?;
        for line in page["approvals"].as_array().context("no list")? {
            let text = |name: &str| line[name].as_str().map(str::to_owned).with_context(|| format!("no `{name}`"));
            all.push((text("id")?, text("call_digest")?));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(all)
}

async fn review(bob: &Person, batch: &[(String, String)]) -> anyhow::Result<()> {
    let reviews: Vec<Value> =
        batch.iter().map(|(id, digest)| json!({"id": id, "verdict": "approve", "call_digest": digest})).collect();
    bob.post("/v1/reviews:batch", &json!({"reviews": reviews})).await?;
    Ok(())
}

/// How often each of the calls that waited has reached the server, by its title.
#[derive(Default)]
struct Ran(Mutex<BTreeMap<String, usize>>);

impl Ran {
    fn note(&self, body: &[u8]) {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        if message["params"]["name"] == "create_issue" {
            let title = message["params"]["arguments"]["title"].to_string();
            *self.titles().entry(title).or_default() += 1;
        }
    }

    fn count(&self) -> usize {
        self.titles().len()
    }

    fn titles(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every call has its answer, and the server saw each of them exactly once.
async fn account(ran: &Ran, mut waiting: Waiting, held: usize) -> anyhow::Result<()> {
    let answered = async {
        while let Some(one) = waiting.join_next().await {
            one??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(probe::PATIENCE * 10, answered).await.context("calls without an answer")??;
    let times = ran.titles();
    if let Some((title, count)) = times.iter().find(|(_, count)| **count != 1) {
        bail!("call {title} ran {count} times");
    }
    ensure!(times.len() == held, "{} of {held} calls ran", times.len());
    Ok(())
}

/// The table.
pub(crate) fn markdown(steps: &[Step], machine: &report::Machine) -> String {
    let mut out = machine.line() + "\n\n";
    out += "| calls waiting | allowed p50 ms (before → while) | allowed p99 ms (before → while) | p99 ratio | allowed calls/s (before → while) | approve → server p50 / p99 ms | Envoy / service CPU % while they wait | all began to wait in s | all released in s | Envoy MB | service MB |\n";
    out += "|---|---|---|---|---|---|---|---|---|---|---|\n";
    for step in steps {
        let ms = |load: &Load, percent| at(&load.latencies_ns, percent) / 1e6;
        let per_s = |load: &Load| load.latencies_ns.len() as f64 / load.elapsed.as_secs_f64();
        let megabytes =
            |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6));
        let _ = writeln!(
            out,
            "| {} | {:.2} → {:.2} | {:.2} → {:.2} | {:.2} | {:.0} → {:.0} | {:.1} / {:.1} | {} / {} | {:.1} | {:.1} | {} | {} |",
            step.held,
            ms(&step.before, 50),
            ms(&step.during, 50),
            ms(&step.before, 99),
            ms(&step.during, 99),
            ms(&step.during, 99) / ms(&step.before, 99),
            per_s(&step.before),
            per_s(&step.during),
            at(&step.approve_to_server_ns, 50) / 1e6,
            at(&step.approve_to_server_ns, 99) / 1e6,
            percent(step.envoy_busy),
            percent(step.service_busy),
            step.opened_in.as_secs_f64(),
            step.released_in.as_secs_f64(),
            megabytes(step.envoy_rss),
            megabytes(step.service_rss),
        );
    }
    out
}

/// Every number.
pub(crate) fn to_json(steps: &[Step]) -> Value {
    let load = |load: &Load| {
        json!({
            "p50_ms": at(&load.latencies_ns, 50) / 1e6,
            "p99_ms": at(&load.latencies_ns, 99) / 1e6,
            "calls": load.latencies_ns.len(),
            "seconds": load.elapsed.as_secs_f64(),
        })
    };
    steps
        .iter()
        .map(|step| {
            json!({
                "held": step.held,
                "allowed_before": load(&step.before),
                "allowed_while_held": load(&step.during),
                "approve_to_server_p50_ms": at(&step.approve_to_server_ns, 50) / 1e6,
                "approve_to_server_p99_ms": at(&step.approve_to_server_ns, 99) / 1e6,
                "opened_in_s": step.opened_in.as_secs_f64(),
                "released_in_s": step.released_in.as_secs_f64(),
                "envoy_rss_bytes": step.envoy_rss,
                "service_rss_bytes": step.service_rss,
                "envoy_busy_percent": step.envoy_busy,
                "service_busy_percent": step.service_busy,
            })
        })
        .collect()
}

fn at(latencies_ns: &[u64], percent: usize) -> f64 {
    let mut sorted = latencies_ns.to_vec();
    sorted.sort_unstable();
    percentile(&sorted, percent * 10) as f64
}
