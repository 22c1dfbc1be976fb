//! The fixture server under the suite: directly everything that it must pass passes, and through the filter, with a policy
//! that allows everything, nothing changes.

use std::net::Ipv4Addr;

use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{ports, probe};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::suite::{Known, Suite, compare, script, shortcomings};

/// Everything is allowed, unknown methods too: what a server does not know it must be able to say itself.
pub(crate) const ALLOW_ALL: &str = r#"
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
    mcp: {allow_servers: [tracker]}
  decision: allow
  reason: "Everything on this server is free"
- id: unknown-methods-too
  match:
    topics: job.mcp.unknown
  decision: allow
  reason: "The server says itself what it does not know"
"#;

/// The suite sends no token, so the gateway in front of it says who it is.
pub(crate) async fn stack_for(port: u16) -> anyhow::Result<Stack> {
    let idp = holdpoint_tests::idp::Idp::new()?;
    let (token, jwks) = (idp.token("conformance", &[])?, idp.jwks().to_owned());
    let builder = Stack::builder().policy(ALLOW_ALL).upstream_port(port).envoy(move |config| {
        config.jwks(&jwks).expect("the base has jwt_authn");
        let manager = config.connection_manager().expect("the manager");
        let authorization = json!({"append": {
            "header": {"key": "authorization", "value": format!("Bearer {token}")},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }});
        let filters = manager["http_filters"].as_array_mut().expect("a list");
        filters.insert(
            0,
            json!({"name": "envoy.filters.http.header_mutation", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                "mutations": {"request_mutations": [authorization]},
            }}),
        );
    });
    builder.start().await
}

/// The fixture as a process of its own.
struct Fixture {
    port: u16,
    _process: ChildProcess,
    _logs: TempDir,
}

impl Fixture {
    async fn start(suite: &Suite) -> anyhow::Result<Self> {
        let port = ports::free()?;
        let logs = tempfile::tempdir()?;
        let mut command = suite.node.run(&script("fixture.mjs"));
        command.env("PORT", port.to_string());
        let process = ChildProcess::start("fixture", command, logs.path())?;
        probe::until("the fixture listens", probe::PATIENCE, async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()
        })
        .await?;
        Ok(Self { port, _process: process, _logs: logs })
    }
}

/// `unmet` are scenarios that the fixture itself does not pass.
async fn check(release: &str, unmet: &[Known], known: &[Known]) -> anyhow::Result<()> {
    let Some(suite) = Suite::bring().await? else { return Ok(()) };
    // Two fixtures, because scenarios change what others see.
    let (alone, behind) = (Fixture::start(&suite).await?, Fixture::start(&suite).await?);
    let stack = stack_for(behind.port).await?;
    let run = async |port: u16| {
        let url = format!("http://localhost:{port}/mcp");
        suite.run(&["server", "--url", &url, "--requirements", release]).await
    };
    let direct = run(alone.port).await?;
    let through = run(stack.port()).await?;
    anyhow::ensure!(direct.len() >= 30, "only {} scenarios were run", direct.len());
    let is_listed = |line: &String| unmet.iter().any(|unmet| line.starts_with(&format!("{}: ", unmet.scenario)));
    let unlisted: Vec<String> = shortcomings(&direct).into_iter().filter(|line| !is_listed(line)).collect();
    anyhow::ensure!(unlisted.is_empty(), "the fixture itself falls short:\n{}", unlisted.join("\n"));
    compare(&direct, &through, known)?;
    for name in ["vm_reload_success", "vm_reload_backoff", "vm_reload_failure"] {
        assert_eq!(stack.envoy.stat(&format!("wasm.holdpoint.{name}")).await?, 0, "{}", stack.envoy.log());
    }
    Ok(())
}

#[tokio::test]
async fn server_of_2025_11_25_is_judged_alike_directly_and_through_the_filter() -> anyhow::Result<()> {
    check("2025-11-25", &[], &[]).await
}

#[tokio::test]
async fn server_of_2026_07_28_is_judged_alike_directly_and_through_the_filter() -> anyhow::Result<()> {
    // Tasks are an extension, never scored: what the fixture answers to them is compared all the same.
    let no_tasks = [
        "tasks-lifecycle",
        "tasks-capability-negotiation",
        "tasks-wire-fields",
        "tasks-request-state-removal",
        "tasks-mrtr-input",
        "tasks-request-headers",
        "tasks-dispatch-and-envelope",
        "tasks-required-task-error",
        "tasks-mrtr-composition",
    ]
    .map(|scenario| Known { scenario, why: "the fixture has no tasks, which are an extension and not scored" });
    check("2026-07-28", &no_tasks, &[]).await
}
