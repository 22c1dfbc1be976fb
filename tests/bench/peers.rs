//! `cargo bench-mesh --peers`: gateways that other people wrote in Python and that decide about MCP calls, beside ours.
//!
//! Each is installed from PyPI into a virtual environment of its own below the target directory, told to let one tool
//! through and to stop another, and proven to do so. They are not configured like for like: none of them stands in
//! Envoy, most of them write to a database. What does not install or start is left out, with the reason.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use holdpoint_tests::cargo::say;
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::{installed, ports, probe, python};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::calls::{Calls, DENIED_TOOL};
use crate::gateways::{Gateways, Variant};
use crate::samples::{median, percentile};
use crate::served::Served;

mod server;

/// Calls under way at once: these gateways are slow enough for more to tell nothing else.
const AT_ONCE: [usize; 2] = [1, 8];

/// The tool that all of them let through.
const ALLOWED_TOOL: &str = "list_issues";

/// Our own rows.
const OURS: [Variant; 3] = [Variant::None, Variant::Native, Variant::Holdpoint];

/// A gateway of somebody else.
struct Peer {
    name: &'static str,
    /// As PyPI names it, with its version.
    package: &'static str,
    /// The program that it installs.
    program: &'static str,
    /// Writes its configuration into a directory and answers with the arguments to start it there.
    arguments: fn(&Path, Ports) -> anyhow::Result<Vec<String>>,
    /// The `params` that call a tool.
    call: fn(&str) -> Value,
}

/// Where a peer listens, and where its server does.
#[derive(Clone, Copy)]
struct Ports {
    own: u16,
    server: u16,
}

const PEERS: [Peer; 2] = [
    Peer {
        name: "CTRLRun 0.12.2",
        package: "ctrlrun[gateway]==0.12.2",
        program: "ctrlrun",
        arguments: ctrlrun,
        call: plain,
    },
    Peer {
        name: "mcp-hangar 2.34.4",
        package: "mcp-hangar==2.34.4",
        program: "mcp-hangar",
        arguments: hangar,
        call: hangar_call,
    },
];

fn plain(tool: &str) -> Value {
    json!({"name": tool, "arguments": {"project": "core"}})
}

/// Its own tools stand for those of its servers unless callers have identities.
fn hangar_call(tool: &str) -> Value {
    let one = json!({"mcp_server": "tracker", "tool": tool, "arguments": {"project": "core"}});
    json!({"name": "hangar_call", "arguments": {"calls": [one]}})
}

fn ctrlrun(dir: &Path, ports: Ports) -> anyhow::Result<Vec<String>> {
    let policy = format!(
        "schema: ctrlrun.policy/v2\nactions:\n  mcp.tracker.{ALLOWED_TOOL}:\n    decision: allow\n  \
         mcp.tracker.{DENIED_TOOL}:\n    decision: deny\n"
    );
    std::fs::write(dir.join("ctrlrun.yaml"), policy)?;
    let (upstream, listen) = (format!("http://127.0.0.1:{}/mcp", ports.server), format!("127.0.0.1:{}", ports.own));
    let words = ["gateway", "--upstream", &upstream, "--alias", "tracker", "--listen", &listen, "--principal", "agent"];
    Ok(words.map(str::to_owned).into())
}

fn hangar(dir: &Path, ports: Ports) -> anyhow::Result<Vec<String>> {
    // It takes no server on loopback, so it is given one that speaks over pipes, as small as the others'.
    std::fs::write(dir.join("server.py"), include_str!("peers/server.py"))?;
    let config = format!(
        "mcp_servers:\n  tracker:\n    mode: subprocess\n    auto_start: true\n    command: [python3, {}]\n    \
         tools: {{allow_list: [{ALLOWED_TOOL}]}}\n\
         rate_limit: {{rps: 100000, burst: 100000}}\n",
        dir.join("server.py").display()
    );
    std::fs::write(dir.join("config.yaml"), config)?;
    let port = ports.own.to_string();
    let words = ["serve", "--config", "config.yaml", "--http", "--port", &port, "--log-level", "WARNING"];
    Ok(words.map(str::to_owned).into())
}

/// A gateway that runs, and how it is called.
struct Running {
    name: String,
    url: String,
    token: Option<String>,
    call: fn(&str) -> Value,
    // They end with it; the directory last.
    _process: Option<ChildProcess>,
    _dir: Option<TempDir>,
}

/// What one row gave, by number of calls at once: p50 and p99 in milliseconds, calls per second.
pub(crate) struct Row {
    name: String,
    at_once: Vec<(f64, f64, f64)>,
}

/// Measures ours and all that can be brought, in turns.
pub(crate) async fn run(rounds: u32, window: Duration) -> anyhow::Result<Vec<Row>> {
    let mut gateways = Gateways::start().await?;
    let calls = Calls::new(&gateways.token, &gateways.tokens)?;
    gateways.prove(&calls).await?;
    let server = Served::start(server::answer)?;
    let ours = |name: &str, port: u16, token| Running {
        name: name.to_owned(),
        url: format!("http://127.0.0.1:{port}/mcp"),
        token,
        call: plain,
        _process: None,
        _dir: None,
    };
    let mut all = vec![ours("direct", server.port(), None)];
    all.extend(OURS.map(|variant| ours(variant.as_str(), gateways.port(variant), Some(gateways.token.clone()))));
    for peer in PEERS {
        let started = start(&peer, server.port()).await;
        all.extend(installed::or_skip(&format!("the peer {}", peer.name), started)?);
    }
    let mut taken: Vec<Vec<Vec<(f64, f64, f64)>>> = all.iter().map(|_| vec![Vec::new(); AT_ONCE.len()]).collect();
    for round in 0..rounds {
        for (at, at_once) in AT_ONCE.into_iter().enumerate() {
            for (running, taken) in all.iter().zip(&mut taken) {
                let one = measure(running, at_once, window).await.with_context(|| running.name.clone())?;
                taken.get_mut(at).context("one list for each number of calls")?.push(one);
            }
        }
        say(&format!("round {} of {rounds} with peers", round + 1));
    }
    let middle = |of: &[(f64, f64, f64)]| {
        let each = |pick: fn(&(f64, f64, f64)) -> f64| median(&of.iter().map(pick).collect::<Vec<_>>());
        (each(|one| one.0), each(|one| one.1), each(|one| one.2))
    };
    let rows = all.iter().zip(taken);
    Ok(rows
        .map(|(running, taken)| Row {
            name: running.name.clone(),
            at_once: taken.iter().map(|rounds| middle(rounds)).collect(),
        })
        .collect())
}

async fn start(peer: &Peer, server: u16) -> anyhow::Result<Running> {
    let programs = python::programs(&format!("peer-{}", peer.program), &[peer.package])?;
    let dir = tempfile::Builder::new().prefix("holdpoint-peer-").tempdir()?;
    let own = ports::free()?;
    let mut command = Command::new(programs.join(peer.program));
    command.args((peer.arguments)(dir.path(), Ports { own, server })?).current_dir(dir.path());
    let process = ChildProcess::start(peer.program, command, dir.path())?;
    let running = Running {
        name: peer.name.to_owned(),
        url: format!("http://127.0.0.1:{own}/mcp"),
        token: None,
        call: peer.call,
        _process: None,
        _dir: None,
    };
    let proven = probe::until("it answers an allowed call", probe::PATIENCE, async || {
        if process.exited().is_some() {
            return Some(Err(anyhow::anyhow!("it ended")));
        }
        let caller = Caller::begin(&running).await.ok()?;
        let allowed = caller.call(ALLOWED_TOOL).await.ok()?;
        if !allowed.contains(server::DONE) {
            return None;
        }
        let denied = caller.call(DENIED_TOOL).await.unwrap_or_default();
        Some(match denied.contains(server::DONE) {
            true => Err(anyhow::anyhow!("it lets the denied call through")),
            false => Ok(()),
        })
    });
    proven.await.and_then(|proven| proven).with_context(|| process.last_words())?;
    Ok(Running { _process: Some(process), _dir: Some(dir), ..running })
}

async fn measure(running: &Running, at_once: usize, window: Duration) -> anyhow::Result<(f64, f64, f64)> {
    let mut callers = Vec::new();
    for _ in 0..at_once {
        callers.push(Caller::begin(running).await?);
    }
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for caller in callers {
        loops.spawn(async move {
            let mut latencies_ns = Vec::new();
            while began.elapsed() < window {
                let sent = Instant::now();
                let answer = caller.call(ALLOWED_TOOL).await?;
                ensure!(answer.contains(server::DONE), "an allowed call was answered with {answer}");
                latencies_ns.push(u64::try_from(sent.elapsed().as_nanos())?);
            }
            anyhow::Ok(latencies_ns)
        });
    }
    let mut latencies_ns = Vec::new();
    while let Some(finished) = loops.join_next().await {
        latencies_ns.append(&mut finished??);
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    latencies_ns.sort_unstable();
    let ms = |per_mille| percentile(&latencies_ns, per_mille) as f64 / 1e6;
    Ok((ms(500), ms(990), latencies_ns.len() as f64 / elapsed_s))
}

/// One client with its session. An HTTP library, because these gateways answer in every way that HTTP knows.
struct Caller {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    session: Option<String>,
    params: fn(&str) -> Value,
}

impl Caller {
    async fn begin(running: &Running) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let mut caller =
            Self { http, url: running.url.clone(), token: running.token.clone(), session: None, params: running.call };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18",
            "capabilities": {}, "clientInfo": {"name": "bench-mesh", "version": "1"}}});
        let answer = caller.post(&hello).await?;
        let session = answer.headers().get("mcp-session-id");
        caller.session = session.and_then(|session| session.to_str().ok()).map(str::to_owned);
        answer.text().await?;
        if caller.session.is_some() {
            caller.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        }
        // Some learn only by this what their server has.
        caller.post(&json!({"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": {}})).await?.text().await?;
        Ok(caller)
    }

    async fn call(&self, tool: &str) -> anyhow::Result<String> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": (self.params)(tool)});
        Ok(self.post(&call).await?.text().await?)
    }

    async fn post(&self, message: &Value) -> anyhow::Result<reqwest::Response> {
        let mut request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18")
            .json(message);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let answer = request.send().await?;
        if answer.status().is_server_error() {
            bail!("answered {}: {}", answer.status(), answer.text().await?);
        }
        Ok(answer)
    }
}

/// The table, with how many of a peer's calls Holdpoint makes in the time of one.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = "| gateway | 1 at once: p50 / p99 ms | calls/s | 8 at once: p50 / p99 ms | calls/s | holdpoint is faster by (1, 8 at once) |\n|---|---|---|---|---|---|\n".to_owned();
    let ours = rows.iter().find(|row| row.name == Variant::Holdpoint.as_str());
    for row in rows {
        let _ = write!(out, "| {} |", row.name);
        for (p50, p99, calls_per_s) in &row.at_once {
            let _ = write!(out, " {p50:.2} / {p99:.2} | {calls_per_s:.0} |");
        }
        let times = ours.into_iter().flat_map(|ours| ours.at_once.iter().zip(&row.at_once));
        let times: Vec<String> = times.map(|(ours, row)| format!("{:.1}×", ours.2 / row.2)).collect();
        let _ = writeln!(out, " {} |", times.join(", "));
    }
    out
}

/// Every number.
pub(crate) fn to_json(rows: &[Row]) -> Value {
    let one = |at_once: usize, (p50, p99, calls_per_s): (f64, f64, f64)| json!({"at_once": at_once, "p50_ms": p50, "p99_ms": p99, "calls_per_s": calls_per_s});
    let row = |row: &Row| -> Value {
        let measured: Vec<Value> = AT_ONCE.into_iter().zip(&row.at_once).map(|(at, each)| one(at, *each)).collect();
        json!({"gateway": row.name, "measured": measured})
    };
    rows.iter().map(row).collect()
}
