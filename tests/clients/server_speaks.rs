//! A server that speaks first: what it says on the stream of its client's session, and what it asks of the client's user,
//! reach clients of other people through the filter, and so do the answers. Step 11.

#![expect(deprecated, reason = "what 2025-11-25 has servers say is what most servers say today")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use holdpoint_tests::probe::PATIENCE;
use holdpoint_tests::stack::Stack;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    Implementation, LoggingMessageNotificationParam, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ErrorData, RoleClient};
use serde_json::{Value, json};

use crate::client_script::ClientScript;
use crate::scripts::Script;
use crate::server_process::Server;

/// Its tools run, and people may be asked.
const POLICY: &str = r#"
version: "2026-01-27"
servers:
  tracker:
    match: {route_metadata: tracker}
    tools: {"*": {action: read}}
rules:
# What a server says of its tools only tightens: those of this one say that they write.
- id: all-run
  match: {labels: {mcp.action: [read, write, admin]}}
  decision: allow
- id: people-may-be-asked
  match: {topics: [job.mcp.elicitation]}
  decision: allow
"#;

/// Sends a log message at once and then every five seconds, which belong to no request.
const LOGS: &str = "toggle-simulated-logging";
/// Shows the user a form, and answers with what was filled in.
const ASKS: &str = "trigger-elicitation-request";

/// Whoever calls tools and listens.
trait Listener {
    async fn call(&mut self, tool: &str) -> anyhow::Result<Value>;
    async fn heard(&mut self) -> anyhow::Result<Vec<String>>;
}

impl Listener for ClientScript {
    async fn call(&mut self, tool: &str) -> anyhow::Result<Value> {
        ClientScript::call(self, tool, &json!({})).await
    }

    async fn heard(&mut self) -> anyhow::Result<Vec<String>> {
        ClientScript::heard(self).await
    }
}

async fn listen(client: &mut impl Listener) -> anyhow::Result<()> {
    let started = client.call(LOGS).await?;
    assert!(started.to_string().contains("Started simulated"), "{started}");
    let began = Instant::now();
    while !client.heard().await?.iter().any(|line| line.contains("message")) {
        ensure!(began.elapsed() < PATIENCE, "nothing came on the stream of the session");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answered = client.call(ASKS).await?;
    assert!(answered["isError"] != true && answered.to_string().contains("Ada"), "{answered}");
    Ok(())
}

/// The server, and the gateway before it.
async fn begin() -> anyhow::Result<Option<(crate::server_process::ServerProcess, Stack)>> {
    let Some(server) = Server::Everything.start().await? else { return Ok(None) };
    let stack = Stack::builder().workers(2).policy(POLICY).upstream_port(server.port()).start().await?;
    Ok(Some((server, stack)))
}

/// A GET was opened through the gateway, so that what was heard came on it.
async fn came_on_a_stream(stack: &Stack) -> anyhow::Result<()> {
    let streams = stack.envoy.access_log_line(|line| line["method"] == "GET" && line["status"] == 200);
    streams.await.map(drop)
}

async fn check(script: Script) -> anyhow::Result<()> {
    let Some((_server, stack)) = begin().await? else { return Ok(()) };
    let token = stack.agent("agent-7")?;
    let Some(mut client) = script.connect_with_user(&stack.envoy.mcp_url(), &token).await? else { return Ok(()) };
    listen(&mut client).await?;
    drop(client);
    came_on_a_stream(&stack).await
}

#[tokio::test]
async fn python_sdk_1_hears_its_server_and_answers_it() -> anyhow::Result<()> {
    check(Script::PythonV1).await
}

#[tokio::test]
async fn python_sdk_2_hears_its_server_and_answers_it() -> anyhow::Result<()> {
    check(Script::PythonV2).await
}

#[tokio::test]
async fn typescript_sdk_2_hears_its_server_and_answers_it() -> anyhow::Result<()> {
    check(Script::TypeScriptV2).await
}

/// A client of rmcp with a user who fills in forms.
#[derive(Clone, Default)]
struct Agent {
    heard: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Agent {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("agent", "1"))
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({"name": "Ada"})))
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.heard.lock().expect("nobody panics with it").push(params.data.to_string());
    }
}

impl Listener for RunningService<RoleClient, Agent> {
    async fn call(&mut self, tool: &str) -> anyhow::Result<Value> {
        let result = self.call_tool(CallToolRequestParams::new(tool.to_owned())).await?;
        Ok(serde_json::to_value(result)?)
    }

    async fn heard(&mut self) -> anyhow::Result<Vec<String>> {
        Ok(self.service().heard.lock().expect("nobody panics with it").clone())
    }
}

#[tokio::test]
async fn rmcp_hears_its_server_and_answers_it() -> anyhow::Result<()> {
    let Some((_server, stack)) = begin().await? else { return Ok(()) };
    let config = StreamableHttpClientTransportConfig::with_uri(stack.envoy.mcp_url());
    let transport = StreamableHttpClientTransport::from_config(config.auth_header(stack.agent("agent-7")?));
    let client = Agent::default().serve_with_lifecycle(transport, ClientLifecycleMode::Initialize);
    let mut client = client.await.context("rmcp did not connect")?;
    listen(&mut client).await?;
    client.cancel().await?;
    came_on_a_stream(&stack).await
}
