//! `cargo demo`: starts the service, Envoy with the filter and a real MCP server, and shows the whole story.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

mod house;
mod interactive;
mod live;
mod story;

use house::{House, Ports};

/// Shows Holdpoint at work: a read runs, a write waits for you, a forbidden call explains itself, the record verifies.
///
/// Everything runs on loopback: the approval service on SQLite in a temporary folder, a real Envoy with the filter, and
/// a small issue tracker as MCP server. All of it ends with this program.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  cargo demo                         play with it: you are the agent and the approver\n  \
                  cargo demo -- --once               play both sides, check every step, exit 0 only if all was seen\n  \
                  cargo demo -- --gateway-port 0     let the system choose the gateway's port"
)]
struct Arguments {
    /// Play both sides, check every step, and exit 0 only if every step was seen.
    #[arg(long)]
    once: bool,
    /// Where agents call: the gateway's loopback port; 0 lets the system choose.
    #[arg(long, default_value_t = 10_000, env = "HOLDPOINT_DEMO_GATEWAY_PORT")]
    gateway_port: u16,
    /// Envoy's admin interface; 0 lets the system choose.
    #[arg(long, default_value_t = 9_901, env = "HOLDPOINT_DEMO_ADMIN_PORT")]
    admin_port: u16,
    /// The approval service; 0 lets the system choose.
    #[arg(long, default_value_t = 8_930, env = "HOLDPOINT_DEMO_SERVICE_PORT")]
    service_port: u16,
    /// The issue tracker behind the gateway; 0 lets the system choose.
    #[arg(long, default_value_t = 8_931, env = "HOLDPOINT_DEMO_SERVER_PORT")]
    server_port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ports = Ports {
        gateway: arguments.gateway_port,
        admin: arguments.admin_port,
        service: arguments.service_port,
        server: arguments.server_port,
    };
    // An interrupt ends the story, and dropping the house ends everything it started.
    let told = tokio::select! {
        told = tell(ports, arguments.once) => told,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).map(|()| eprintln!("\nstopped")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn tell(ports: Ports, once: bool) -> anyhow::Result<()> {
    let house = House::start(ports).await.context("the demo could not start")?;
    if once { story::play(house).await } else { interactive::run(house).await }
}
