//! An MCP client as agents use it: connects with a token, lists tools, calls them. The near side of step 1.

use anyhow::Context;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError};
use serde_json::Value;

/// Which generation of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// With a handshake and a session: 2025-11-25.
    Legacy,
    /// Every message for itself: 2026-07-28.
    Modern,
}

/// A connected client.
pub struct McpClient {
    service: RunningService<RoleClient, ClientConfig>,
}

impl McpClient {
    /// Connects to the MCP endpoint `url`, with a bearer token if there is one.
    pub async fn connect(url: &str, token: Option<&str>, era: Era) -> anyhow::Result<Self> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        let transport = StreamableHttpClientTransport::from_config(config);
        let agent = ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("quickstart-agent", env!("CARGO_PKG_VERSION")),
        );
        let (agent, lifecycle) = match era {
            Era::Legacy => {
                (agent.with_protocol_version(ProtocolVersion::V_2025_11_25), ClientLifecycleMode::Initialize)
            }
            Era::Modern => {
                (agent, ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] })
            }
        };
        let service = agent
            .serve_with_lifecycle(transport, lifecycle)
            .await
            .with_context(|| format!("cannot connect to the MCP server at {url}"))?;
        Ok(Self { service })
    }

    /// The names of the tools that this client is shown, on all pages.
    pub async fn tools(&self) -> anyhow::Result<Vec<String>> {
        let tools = self.service.list_all_tools().await?;
        Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls `tool` with `arguments` (a JSON object; anything else counts as none) and waits for its result.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        self.service.call_tool(call).await
    }

    /// Ends the session.
    pub async fn close(self) -> anyhow::Result<()> {
        self.service.cancel().await?;
        Ok(())
    }
}

/// The text of a tool result, its parts joined by line breaks.
pub fn text(result: &CallToolResult) -> String {
    let parts: Vec<&str> =
        result.content.iter().filter_map(|block| block.as_text()).map(|text| text.text.as_str()).collect();
    parts.join("\n")
}
