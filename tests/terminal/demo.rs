//! `cargo demo` as a newcomer meets it: on a terminal, from the first line to a held call that was approved.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, anyhow};
use holdpoint_tests::{cargo, envoy_binary, service_binary, wasm};
use quickstart::mcp_client::{Era, McpClient};
use serde_json::{Value, json};

use crate::pty::Terminal;

fn demo(words: &[&str]) -> anyhow::Result<Command> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        cargo::build("the demo", &["-p", "quickstart", "--bin", "quickstart"], |name| name.ends_with("/quickstart"))
            .map_err(|error| format!("{error:#}"))
    };
    let binary = BINARY.get_or_init(build).as_ref().map_err(|error| anyhow!("{error}"))?;
    let mut command = Command::new(binary);
    command.args(words);
    Ok(command)
}

const ANY_PORTS: [&str; 8] = ["--gateway-port", "0", "--admin-port", "0", "--service-port", "0", "--server-port", "0"];

#[tokio::test]
async fn newcomer_is_told_what_runs_plays_a_call_and_sees_it_approved_and_run() -> anyhow::Result<()> {
    // What a first start builds and brings takes minutes; here it is only asked for.
    wasm::module()?;
    service_binary::holdpoint()?;
    envoy_binary::envoy()?;
    let mut terminal = Terminal::start(demo(&ANY_PORTS)?, 140, 90)?;
    let shown = terminal.shows("What happens appears below").await?;
    for part in ["Everything runs, on this machine alone", "/login?code=", "Type 2 and enter", "Be the agent"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let link = word_with(&shown, "/login?code=")?;
    let page = reqwest::get(&link).await?.text().await?;
    assert!(page.contains("Sign in as bob"), "{page}");

    terminal.keys("1\r")?;
    terminal.shows("ALLOWED").await?;
    terminal.keys("3\r")?;
    terminal.until("the denial is told", |screen| screen.contains("DENIED") && screen.contains("admin-never")).await?;
    terminal.keys("2\r")?;
    terminal.shows("waits for a person").await?;
    terminal.keys("a\r")?;
    terminal
        .until("it was approved and ran", |screen| {
            screen.contains("bob approved create_issue") && screen.contains("create_issue: committed")
        })
        .await?;

    terminal.keys("m\r")?;
    let shown = terminal.until("the configuration is whole", |screen| screen.contains("Then ask it to create")).await?;
    let (_, json_on) = shown.split_once("\n{\n").context("no JSON")?;
    let (json_text, _) = json_on.split_once("\n}\n").context("no end of the JSON")?;
    // The terminal breaks the long token; JSON strings have no line breaks of their own.
    let config: Value = serde_json::from_str(&format!("{{{}}}", json_text.replace('\n', "")))?;
    let server = &config["mcpServers"]["tracker"];
    let bearer = server["headers"]["Authorization"].as_str().and_then(|value| value.strip_prefix("Bearer "));
    let url = server["url"].as_str().context("no address")?;
    let client = McpClient::connect(url, bearer, Era::Legacy).await?;
    let read = client.call("list_issues", json!({"project": "site"})).await?;
    assert_ne!(read.is_error, Some(true));
    client.close().await?;

    terminal.keys("v\r")?;
    terminal.shows("the record is whole").await?;
    terminal.keys("q\r")?;
    assert!(terminal.ended().await?.success());
    assert!(reqwest::get(&link).await.is_err(), "the service outlived the demo");
    Ok(())
}

#[test]
fn taken_port_is_named_with_what_to_do() -> anyhow::Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let output = demo(&["--once", "--gateway-port", &port, "--admin-port", "0"])?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains(&format!("port {port} is taken")) && said.contains("`--gateway-port`"), "{said}");
    Ok(())
}

fn word_with(text: &str, part: &str) -> anyhow::Result<String> {
    text.split_whitespace().find(|word| word.contains(part)).map(str::to_owned).with_context(|| text.to_owned())
}
