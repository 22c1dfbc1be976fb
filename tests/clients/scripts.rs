//! Which clients of other languages there are, at which version, and how each is started.

use std::process::Command;

use holdpoint_tests::node::Node;
use holdpoint_tests::{installed, python, repository};

use crate::client_script::ClientScript;

/// A client script with the packages that it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    /// The Python SDK, line 1.
    PythonV1,
    /// The Python SDK, line 2.
    PythonV2,
    /// FastMCP, whose client is a package of its own; the whole one adds its server and nothing to the client.
    FastMcp,
    /// The TypeScript SDK, line 1.
    TypeScriptV1,
    /// The TypeScript SDK, line 2, as it comes.
    TypeScriptV2,
    /// The TypeScript SDK, line 2, told to ask the server for its generation of the protocol.
    TypeScriptV2Auto,
}

impl Script {
    /// The client, connected to `url`; `None` where it cannot be installed and that may be skipped.
    pub(crate) async fn connect(self, url: &str, token: Option<&str>) -> anyhow::Result<Option<ClientScript>> {
        self.start(url, token, false).await
    }

    /// The same, with a user who fills in the forms that the server shows.
    pub(crate) async fn connect_with_user(self, url: &str, token: &str) -> anyhow::Result<Option<ClientScript>> {
        self.start(url, Some(token), true).await
    }

    async fn start(self, url: &str, token: Option<&str>, fills_in: bool) -> anyhow::Result<Option<ClientScript>> {
        // Installing blocks for as long as a registry takes.
        let brought = tokio::task::spawn_blocking(move || self.bring()).await?;
        let Some(mut command) = installed::or_skip(&format!("the client {self:?}"), brought)? else {
            return Ok(None);
        };
        command.arg(url).env("HOLDPOINT_FILLS_IN", if fills_in { "1" } else { "0" });
        if matches!(self, Self::TypeScriptV2Auto) {
            command.arg("auto");
        }
        ClientScript::connect(command, token).await.map(Some)
    }

    /// The command up to the script's path.
    fn bring(self) -> anyhow::Result<Command> {
        match self {
            Self::PythonV1 => python("mcp-v1", "mcp==1.30.0", "python_v1.py"),
            Self::PythonV2 => python("mcp-v2", "mcp==2.3.0", "python_v2.py"),
            Self::FastMcp => python("fastmcp", "fastmcp-slim[client]==4.1.6", "fastmcp_v4.py"),
            Self::TypeScriptV1 => node("sdk-v1", "@modelcontextprotocol/sdk@1.32.2", "typescript_v1.mjs"),
            Self::TypeScriptV2 | Self::TypeScriptV2Auto => {
                node("client-v2", "@modelcontextprotocol/client@2.4.0", "typescript_v2.mjs")
            }
        }
    }
}

fn python(name: &str, package: &str, script: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(python::programs(name, &[package])?.join("python"));
    command.arg(repository::path("tests/clients").join(script));
    Ok(command)
}

fn node(name: &str, package: &str, script: &str) -> anyhow::Result<Command> {
    let node = Node::bring()?;
    let packages = node.packages(name, &[package])?;
    let mut command = node.run(&repository::path("tests/clients").join(script));
    command.env("HOLDPOINT_PACKAGES", packages);
    Ok(command)
}
