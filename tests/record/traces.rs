//! One trace from the client through filter and service to the server, as a collector of OpenTelemetry hears it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::{Answer, Upstream};
use holdpoint_tests::{installed, probe, python, repository};
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// OpenTelemetry's own protocol and conventions; `None` where they cannot be installed and that may be skipped.
async fn opentelemetry() -> anyhow::Result<Option<std::path::PathBuf>> {
    let packages = ["opentelemetry-proto==1.45.2", "opentelemetry-semantic-conventions==0.66b2"];
    let brought = tokio::task::spawn_blocking(move || python::programs("opentelemetry", &packages)).await?;
    installed::or_skip("what OpenTelemetry says of itself", brought)
}

/// Decodes requests, one a line.
fn decode(programs: &std::path::Path, lines: &[Value]) -> anyhow::Result<Value> {
    let mut reader = Command::new(programs.join("python"))
        .arg(repository::root().join("tests/record/collector.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = reader.stdin.take().context("no stdin")?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = reader.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writing.join().map_err(|_| anyhow::anyhow!("the writer died"))??;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the collector was sent and has taken.
fn taken(collector: &Upstream) -> Vec<Value> {
    let of = |path: &str| path.strip_prefix("/v1/").map(str::to_owned);
    let received = collector.received().into_iter().skip(REFUSED);
    received.filter_map(|one| Some(json!({"signal": of(&one.path)?, "body": one.json()}))).collect()
}

fn list<'v>(decoded: &'v Value, what: &str) -> &'v [Value] {
    decoded[what].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Requests that the collector sends away before it takes any.
const REFUSED: usize = 2;

#[tokio::test]
async fn one_trace_leads_from_the_client_to_the_server_and_the_export_tells_the_same() -> anyhow::Result<()> {
    let Some(programs) = opentelemetry().await? else { return Ok(()) };
    let collector = Upstream::start().await?;
    let asked = AtomicUsize::new(0);
    collector.answer_with(move |_| {
        let status = if asked.fetch_add(1, Ordering::Relaxed) < REFUSED { 503 } else { 200 };
        (Duration::ZERO, Answer::Json { status, body: "{}".to_owned() })
    });
    let endpoint = format!("http://127.0.0.1:{}", collector.port());
    let stack = Stack::builder().service_argument("--otlp-endpoint").service_argument(&endpoint).start().await?;
    let sre = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = tools_call("create_issue", r#"{"title":"x"}"#, &token);
    let held = call.header("traceparent", format!("00-{TRACE}-{CLIENT}-01")).begin(stack.port()).await?;
    sre.approve(&sre.pending().await?).await?;
    assert_eq!(held.answer().await?.json()["result"]["isError"], false);
    let told = stack.upstream.received()[0].header("traceparent").context("the server's trace")?.to_owned();

    let decoded = probe::until("the collector has the whole trace", probe::PATIENCE, async || {
        let decoded = decode(&programs, &taken(&collector)).ok()?;
        let names: BTreeSet<&str> = list(&decoded, "spans").iter().filter_map(|span| span["name"].as_str()).collect();
        let spans = ["holdpoint.review", "holdpoint.hold", "tools/call create_issue", "POST /v1/approvals/{id}/claim"];
        let is_claimed = list(&decoded, "logs").iter().any(|log| log["event.name"] == "holdpoint.claim");
        // Spans and logs come by ways of their own.
        let whole = is_claimed && spans.iter().all(|name| names.contains(name));
        whole.then_some(decoded)
    })
    .await?;
    assert_eq!(decoded["unknown"], json!([]), "every name is a published one");
    let spans: Vec<&Value> = list(&decoded, "spans").iter().filter(|span| span["trace"] == TRACE).collect();
    let ids: BTreeMap<&str, &Value> = spans.iter().filter_map(|span| Some((span["id"].as_str()?, *span))).collect();
    assert_eq!(ids.len(), spans.len(), "no span twice: {spans:#?}");
    for span in &spans {
        let parent = span["parent"].as_str().unwrap_or_default();
        assert!(parent == CLIENT || ids.contains_key(parent), "{span} hangs in the air: {spans:#?}");
    }
    let one = |name: &str, kind: &str| {
        let mut found = spans.iter().filter(|span| span["name"] == name && span["kind"] == kind);
        let first = found.next().unwrap_or_else(|| panic!("no {name} {kind}: {spans:#?}"));
        assert!(found.next().is_none(), "two are called {name} {kind}");
        *first
    };
    let call = one("tools/call create_issue", "SERVER");
    assert_eq!((&call["parent"], &call["service"]), (&json!(CLIENT), &json!("holdpoint-filter")));
    assert_eq!(call["events"], json!(["holdpoint.decision"]));
    for (name, value) in [
        ("mcp.method.name", "tools/call"),
        ("mcp.protocol.version", "2025-11-25"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "create_issue"),
        ("enduser.id", "agent-7"),
        ("holdpoint.verdict", "require_approval"),
        ("holdpoint.outcome", "committed"),
    ] {
        assert_eq!(call["attributes"][name], value, "{call}");
    }
    let upstream = one("tools/call create_issue", "CLIENT");
    assert_eq!(upstream["parent"], call["id"]);
    assert_eq!(
        told,
        format!("00-{TRACE}-{}-01", upstream["id"].as_str().unwrap_or_default()),
        "the server hangs there"
    );
    let hold = one("holdpoint.hold", "INTERNAL");
    assert_eq!((&hold["parent"], &hold["attributes"]["holdpoint.status"]), (&call["id"], &json!("consumed")));
    let review = one("holdpoint.review", "INTERNAL");
    assert_eq!((&review["parent"], &review["service"]), (&hold["id"], &json!("holdpoint")));
    assert_eq!(review["attributes"]["holdpoint.by"], "local bob");
    let claim = one("POST /v1/approvals/{id}/claim", "SERVER");
    assert_eq!((&claim["parent"], &claim["service"]), (&hold["id"], &json!("holdpoint")));
    assert_eq!(claim["attributes"]["http.route"], "/v1/approvals/{id}/claim");
    let logs = list(&decoded, "logs");
    assert!(
        logs.iter()
            .any(|log| log["trace"] == TRACE && log["span"] == call["id"] && log["event.name"] == "holdpoint.claim")
    );

    // Written to a file, the record tells the same spans, but for the service's own requests.
    let dir = stack.service.data_dir();
    let dir = dir.to_string_lossy();
    let written = stack.service.cli(&["audit", "export", "--format", "otlp-traces", "--data-dir", dir.as_ref()])?;
    let lines: Vec<Value> = written
        .lines()
        .map(|line| Ok(json!({"signal": "traces", "body": serde_json::from_str::<Value>(line)?})))
        .collect::<anyhow::Result<_>>()?;
    let exported = decode(&programs, &lines)?;
    let names = |spans: &[Value]| -> BTreeSet<String> {
        let ours = spans.iter().filter(|span| span["trace"] == TRACE && span["attributes"]["http.route"].is_null());
        ours.map(|span| format!("{} {} < {}", span["name"], span["id"], span["parent"])).collect()
    };
    assert_eq!(names(list(&exported, "spans")), names(list(&decoded, "spans")));

    let metrics = reqwest::get(stack.service.url("/metrics")).await?.text().await?;
    let count = |line: &str| {
        let line = metrics.lines().find(|one| one.starts_with(line)).unwrap_or_else(|| panic!("{line}: {metrics}"));
        line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    assert!(count("holdpoint_otlp_records_total{signal=\"logs\",result=\"sent\"}") >= u64::try_from(logs.len())?);
    assert!(metrics.contains("result=\"tried_again\""), "{metrics}");
    assert!(!metrics.lines().any(|line| line.contains("result=\"dropped\"") && !line.ends_with(" 0")), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn collector_that_refuses_is_counted_and_one_that_was_away_is_told_after_a_restart() -> anyhow::Result<()> {
    let collector = Upstream::start().await?;
    collector.answer_with(|_| (Duration::ZERO, Answer::Json { status: 400, body: "no".to_owned() }));
    let endpoint = format!("http://127.0.0.1:{}", collector.port());
    let port = holdpoint_tests::ports::free()?;
    let mut service = holdpoint_tests::service::Service::start_with(port, &["--otlp-endpoint", &endpoint]).await?;
    service.token("approver", "alice", &[])?;
    let url = service.url("/metrics");
    probe::until("what was dropped is counted", probe::PATIENCE, async || {
        let metrics = reqwest::get(&url).await.ok()?.text().await.ok()?;
        let line = metrics.lines().find(|line| line.contains("signal=\"logs\",result=\"dropped\""))?;
        (!line.ends_with(" 0")).then_some(())
    })
    .await?;
    service.kill();
    let before = collector.count();
    // Written while nobody sends.
    service.token("approver", "carol", &[])?;
    collector.answer_with(|_| (Duration::ZERO, Answer::Json { status: 200, body: "{}".to_owned() }));
    service.restart().await?;
    probe::until("the entry from meanwhile", probe::PATIENCE, async || {
        let later = collector.received().into_iter().skip(before);
        later.map(|one| one.json().to_string()).any(|text| text.contains("carol")).then_some(())
    })
    .await?;
    Ok(())
}
