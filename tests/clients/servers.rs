//! Other people's MCP servers: what works when they are asked directly works through the filter, with equal results.

use std::collections::BTreeSet;

use holdpoint_tests::stack::Stack;
use serde_json::Value;

use crate::client_script::ClientScript;
use crate::scripts::Script;
use crate::server_process::{Server, ServerProcess};

/// Everything on the one route is allowed. The server keeps the name that the base configuration's `rbac` filter lets pass.
const ALLOW_ALL: &str = r#"
version: "2026-01-27"
default_decision: deny
servers:
  tracker:
    match: {route_metadata: tracker}
    tools: {"*": {action: read}}
    resources: {"**": {action: read}}
    prompts: {"*": {action: read}}
rules:
- id: all-run
  match:
    labels: {mcp.action: [read, write, admin]}
    mcp: {allow_servers: [tracker]}
  decision: allow
  reason: "Everything on this server is free"
"#;

async fn check(server: Server) -> anyhow::Result<()> {
    // Two of the same, because some calls change what others see.
    let (Some(direct), Some(governed)) = (server.start().await?, server.start().await?) else {
        return Ok(());
    };
    let stack = Stack::builder().policy(ALLOW_ALL).upstream_port(governed.port()).start().await?;
    let token = stack.agent("agent-7")?;
    let direct_url = format!("http://127.0.0.1:{}/mcp", direct.port());
    let (Some(mut plain), Some(mut filtered)) = (
        Script::PythonV2.connect(&direct_url, None).await?,
        Script::PythonV2.connect(&stack.envoy.mcp_url(), Some(&token)).await?,
    ) else {
        return Ok(());
    };
    assert_eq!(plain.version(), filtered.version());

    let tools = plain.tools().await?;
    assert_eq!(tools, filtered.tools().await?);
    let listed: BTreeSet<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    let called = server.calls("").iter().map(|call| call.tool).collect();
    assert_eq!(listed.difference(&called).count(), 0, "every tool that is listed is called: {listed:?}");

    let governed_calls = server.calls(&governed.root());
    for (call, through) in server.calls(&direct.root()).iter().zip(&governed_calls) {
        let expected = result(&mut plain, &direct, call.tool, &call.arguments).await?;
        assert_eq!(failed(&expected), call.fails, "{}: {expected}", call.tool);
        let got = result(&mut filtered, &governed, through.tool, &through.arguments).await?;
        assert_eq!(got, expected, "{}", call.tool);
    }
    stack.envoy.access_log_line(|line| line["rule"] == "all-run").await?;
    Ok(())
}

/// A result without what differs between any two runs: the directory, the port, times and ids.
async fn result(
    client: &mut ClientScript,
    server: &ServerProcess,
    tool: &str,
    arguments: &Value,
) -> anyhow::Result<Value> {
    let text = client.call(tool, arguments).await?.to_string();
    let text = text.replace(&server.root(), "ROOT").replace(&server.port().to_string(), "PORT");
    Ok(serde_json::from_str(&without_chance(&text))?)
}

/// The text with times such as `12:34:56` and ids such as those of sessions taken out.
fn without_chance(text: &str) -> String {
    let in_word = |character: char| character.is_ascii_alphanumeric() || [':', '-'].contains(&character);
    let mut kept = String::new();
    for piece in text.split_inclusive(|character| !in_word(character)) {
        let rest = piece.trim_start_matches(in_word);
        let word = &piece[..piece.len() - rest.len()];
        let is_time = word.starts_with(|first: char| first.is_ascii_digit()) && word.matches(':').count() == 2;
        let is_uuid = word.len() == 36 && word.matches('-').count() == 4;
        kept.push_str(match (is_time, is_uuid) {
            (true, _) => "TIME",
            (false, true) => "ID",
            (false, false) => word,
        });
        kept.push_str(rest);
    }
    kept
}

fn failed(result: &Value) -> bool {
    result.get("error").is_some() || result["isError"] == true
}

#[test]
fn times_and_ids_are_no_difference() {
    let text = r#"{"a":1,"b":"at 10:04:33 AM","c":"1:2 8501ac9c-bb92-44a0-a4bf-502519807ab6."}"#;
    assert_eq!(without_chance(text), r#"{"a":1,"b":"at TIME AM","c":"1:2 ID."}"#);
}

#[tokio::test]
async fn server_everything_works_through_the_filter_as_it_does_without() -> anyhow::Result<()> {
    check(Server::Everything).await
}

#[tokio::test]
async fn server_filesystem_behind_the_node_proxy_works_through_the_filter_as_it_does_without() -> anyhow::Result<()> {
    check(Server::Filesystem).await
}

#[tokio::test]
async fn server_git_behind_the_python_proxy_works_through_the_filter_as_it_does_without() -> anyhow::Result<()> {
    check(Server::Git).await
}
