//! Client × wait × outcome: every client calls what a person approves only after a while, and repeats its call when it is
//! told to, as a model would. Nothing may look like success before it is one, and no client may end. Steps 8 and 9.
//!
//! `cargo test -p holdpoint-tests --test clients waits -- --nocapture` prints the table with all times divided by
//! [`SCALE`]; with `HOLDPOINT_FULL=1` nothing is divided, and it takes ten minutes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use holdpoint_tests::approver::Person;
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::stack::Stack;
use quickstart::mcp_client::{Era, McpClient};
use quickstart::mcp_server::McpServer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::scripts::Script;
use crate::story::Caller;

/// By what all times are divided, the product's settings and the waits alike, unless everything is to be real.
const SCALE: u32 = 30;

/// How long after the call was opened a person approves it, in seconds.
const WAITS_S: [u64; 4] = [5, 40, 90, 600];

/// The defaults of a gateway, and the bound of the quickstart's policy.
const HOLD_MS_MAX: u64 = 45_000;
const LEG_MS_MAX: u64 = 55_000;
const PATIENCE_MS: u64 = 60_000;
const RUNTIME_MS_MAX: u64 = 30_000;

/// How long after its approval a call may take to be seen as run, by a client on a busy machine.
const MARGIN: Duration = Duration::from_secs(150);

#[derive(Debug, Clone, Copy)]
enum Client {
    Script(Script),
    Rmcp(Era),
}

const CLIENTS: [(&str, &str, Client); 7] = [
    ("TypeScript SDK 1.32.2", "2025-11-25", Client::Script(Script::TypeScriptV1)),
    ("TypeScript SDK 2.4.0", "2025-11-25", Client::Script(Script::TypeScriptV2)),
    ("TypeScript SDK 2.4.0, negotiating", "2026-07-28", Client::Script(Script::TypeScriptV2Auto)),
    ("Python SDK 1.30.0", "2025-11-25", Client::Script(Script::PythonV1)),
    ("Python SDK 2.3.0", "2026-07-28", Client::Script(Script::PythonV2)),
    ("rmcp 3.11.0", "2025-11-25", Client::Rmcp(Era::Legacy)),
    ("rmcp 3.11.0, discovering", "2026-07-28", Client::Rmcp(Era::Modern)),
];

/// What a client saw until it had its result.
struct Seen {
    calls: u32,
}

fn scale() -> u32 {
    if std::env::var("HOLDPOINT_FULL").is_ok_and(|full| full == "1") { 1 } else { SCALE }
}

fn scaled(ms: u64) -> u64 {
    ms / u64::from(scale())
}

/// By whom, and under which title, the call of one cell is made.
fn name(client: usize, wait_s: u64) -> String {
    format!("client-{client}-after-{wait_s}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_has_its_result_after_all_waits_and_nothing_like_it_before() -> anyhow::Result<()> {
    let server = McpServer::start(0).await?;
    let bound = format!("max_runtime_ms: {RUNTIME_MS_MAX}");
    let policy = quickstart_policy()?;
    ensure!(policy.contains(&bound), "the quickstart bounds its calls otherwise now");
    // One call at a time is another story, and would have the clients of this one wait for each other.
    let policy = policy
        .replace(&bound, &format!("max_runtime_ms: {}", scaled(RUNTIME_MS_MAX)))
        .replace(", max_concurrent_jobs: 1", "");
    let stack = Stack::builder().policy(&policy).upstream_port(server.port()).document(|document| {
        document.hold_ms_max = scaled(HOLD_MS_MAX);
        document.leg_ms_max = scaled(LEG_MS_MAX);
        document.client_patience_ms = scaled(PATIENCE_MS);
    });
    let stack = stack.start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;

    let mut cells = JoinSet::new();
    let mut waits = BTreeMap::new();
    for (at, (_, _, client)) in CLIENTS.into_iter().enumerate() {
        for wait_s in WAITS_S {
            let name = name(at, wait_s);
            let (url, token) = (stack.envoy.mcp_url(), stack.agent(&name)?);
            let wait = Duration::from_secs(wait_s) / scale();
            waits.insert(name.clone(), wait);
            cells.spawn(async move {
                (at, wait_s, play(client, &url, &token, &name, wait).await.with_context(|| name.clone()))
            });
        }
    }
    let approving = tokio::spawn(approve_when_due(bob, waits));
    let (mut seen, mut failures) = (BTreeMap::new(), Vec::new());
    while let Some(cell) = cells.join_next().await {
        match cell? {
            (at, wait_s, Ok(Some(outcome))) => {
                seen.insert((at, wait_s), outcome);
            }
            // A client that cannot be had here has said so.
            (_, _, Ok(None)) => {}
            (_, _, Err(error)) => failures.push(format!("{error:#}")),
        }
    }
    if approving.is_finished() {
        approving.await??;
    }
    let titles: Vec<String> = server.tracker().issues().into_iter().map(|issue| issue.title).collect();
    for (at, wait_s) in seen.keys() {
        let name = name(*at, *wait_s);
        assert_eq!(titles.iter().filter(|title| **title == name).count(), 1, "{name} ran once: {titles:?}");
    }
    eprintln!("\n{}", table(&seen));
    ensure!(failures.is_empty(), "{} cells failed:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

/// Approves each caller's request when it has waited for as long as that caller is to wait.
async fn approve_when_due(bob: Person, waits: BTreeMap<String, Duration>) -> anyhow::Result<()> {
    let mut open: BTreeMap<String, (Instant, Value)> = BTreeMap::new();
    let mut approved = BTreeSet::new();
    loop {
        for id in bob.ids("pending").await? {
            if let Entry::Vacant(slot) = open.entry(id) {
                let view = bob.show(slot.key()).await?;
                slot.insert((Instant::now(), view));
            }
        }
        for (id, (since, view)) in &open {
            let wait = view["principal"]["subject"].as_str().and_then(|subject| waits.get(subject));
            if wait.is_some_and(|wait| since.elapsed() >= *wait) && !approved.contains(id) {
                bob.approve(view).await?;
                approved.insert(id.clone());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One client until it has its result; `None` where it cannot be had.
async fn play(client: Client, url: &str, token: &str, name: &str, wait: Duration) -> anyhow::Result<Option<Seen>> {
    match client {
        Client::Script(script) => {
            let Some(mut client) = script.connect(url, Some(token)).await? else { return Ok(None) };
            client.waits_within(wait + MARGIN);
            call_until_it_ran(&mut client, name, wait).await.map(Some)
        }
        Client::Rmcp(era) => {
            let mut client = McpClient::connect(url, Some(token), era).await?;
            let seen = call_until_it_ran(&mut client, name, wait).await?;
            client.close().await?;
            Ok(Some(seen))
        }
    }
}

async fn call_until_it_ran(client: &mut impl Caller, name: &str, wait: Duration) -> anyhow::Result<Seen> {
    let began = Instant::now();
    let arguments = json!({"project": "site", "title": name});
    let mut calls = 0;
    loop {
        calls += 1;
        let result = client.call("create_issue", &arguments).await?;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        if result["isError"] == true {
            let is_pending = text.contains("waiting for human approval") && text.contains("Repeat the same call");
            // With a hold of a second and a half, a busy machine may not hear of the service in time, and says so.
            let is_slow = scale() > 1 && text.contains("service is unavailable") && text.contains("Try again later");
            ensure!(is_pending || is_slow, "{result}");
            ensure!(began.elapsed() < wait + MARGIN, "told to repeat the call for longer than anybody waits: {result}");
            continue;
        }
        ensure!(result.get("error").is_none() && text.contains(name), "neither a result nor a refusal: {result}");
        if began.elapsed() < wait {
            bail!("this looks like success before anybody approved: {result}");
        }
        // The client lives, and its connection too.
        let read = client.call("list_issues", &json!({"project": "site"})).await?;
        ensure!(read.to_string().contains(name), "{read}");
        return Ok(Seen { calls });
    }
}

fn table(seen: &BTreeMap<(usize, u64), Seen>) -> String {
    let mut text = format!(
        "| Client | Speaks | {} |\n|---|---|{}\n",
        WAITS_S.map(|wait_s| format!("after {}", spoken(wait_s))).join(" | "),
        "---|".repeat(WAITS_S.len())
    );
    for (at, (client, version, _)) in CLIENTS.iter().enumerate() {
        let cells = WAITS_S.map(|wait_s| match seen.get(&(at, wait_s)) {
            Some(Seen { calls: 1 }) => "result, 1 call".to_owned(),
            Some(Seen { calls }) => format!("result, {calls} calls"),
            None => "not had here".to_owned(),
        });
        text += &format!("| {client} | {version} | {} |\n", cells.join(" | "));
    }
    text
}

fn spoken(seconds: u64) -> String {
    if seconds >= 120 { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}
