//! Runs the issue tracker on its own: the far side of step 10, without anything in front of it.

use anyhow::Context;
use clap::Parser;
use quickstart::mcp_server::McpServer;

/// Serves the issue tracker over MCP until interrupted.
#[derive(Parser)]
struct Arguments {
    /// The loopback port to serve on; 0 lets the system choose. The base `envoy/envoy.yaml` calls 8931.
    #[arg(long, default_value_t = 8931)]
    port: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let server = McpServer::start(arguments.port)
        .await
        .with_context(|| format!("port {}: choose another with --port", arguments.port))?;
    println!("issue tracker at {}", server.mcp_url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
