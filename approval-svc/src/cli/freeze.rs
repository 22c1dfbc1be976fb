//! `holdpoint freeze`: stops a server, a tool or a caller everywhere within seconds, and lets it go on.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::freeze::{Freeze, FreezeScope};
use serde_json::json;

use super::client::{Client, Server};
use super::{Form, Output, inventory};
use crate::freezes::{FreezeBody, FreezesView};
use crate::inventory::view::{ItemView, ServersView};
use crate::text::{time, visible};

#[derive(Debug, Subcommand)]
pub enum FreezeCommand {
    /// Stop something on every gateway, without a policy update
    #[command(after_help = "Examples:
  holdpoint freeze add --for-server github --reason 'incident 7'
  holdpoint freeze add --for-tool delete_repo --for-principal agent-7 --reason 'runs wild'

What is named together must hold together. Needs a token of the role admin.")]
    Add {
        /// The catalogue's name of a server
        #[arg(long, value_name = "NAME")]
        for_server: Option<String>,
        /// Exact name of a tool
        #[arg(long, value_name = "NAME")]
        for_tool: Option<String>,
        /// A subject or an agent id
        #[arg(long, value_name = "NAME")]
        for_principal: Option<String>,
        /// What agents are told
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// List what is stopped now
    #[command(after_help = "Example:
  holdpoint freeze list --token-file admin.token")]
    List {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Let it go on
    #[command(after_help = "Example:
  holdpoint freeze lift 019ac3f2b1d87cc0a3e46f1c2ab90d55")]
    Lift {
        /// Its id, as `freeze list` shows it
        id: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: FreezeCommand) -> anyhow::Result<ExitCode> {
    match command {
        FreezeCommand::Add { for_server, for_tool, for_principal, reason, server, output } => {
            if for_server.is_none() && for_tool.is_none() && for_principal.is_none() {
                bail!("say what is to stop: `--for-server`, `--for-tool` or `--for-principal`, or several of them");
            }
            let scope = FreezeScope { server: for_server, tool: for_tool, principal: for_principal };
            let client = server.client()?;
            let freeze: Freeze = client.post("/v1/freezes", &FreezeBody { scope, reason }).await?;
            print("stopped", &freeze, &output);
            if let Some(doubt) = doubt(&client, &freeze.scope).await {
                eprintln!("{doubt}");
            }
        }
        FreezeCommand::List { server, output } => {
            let client: Client = server.client()?;
            let view: FreezesView = client.get("/v1/freezes").await?;
            match output.output {
                Form::Text if view.freezes.is_empty() => println!("nothing is stopped"),
                Form::Text => view.freezes.iter().for_each(|freeze| println!("{}", line(freeze))),
                Form::Json => println!("{}", json!({"version": view.version, "freezes": view.freezes})),
            }
        }
        FreezeCommand::Lift { id, server, output } => {
            let freeze: Freeze = server.client()?.post(&format!("/v1/freezes/{id}/lift"), &json!({})).await?;
            print("lifted", &freeze, &output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says so if no gateway has told of what was stopped: a name that is spelt wrong stops nothing.
async fn doubt(client: &Client, scope: &FreezeScope) -> Option<String> {
    let name = scope.server.as_deref()?;
    let known: ServersView = client.get("/v1/inventory/servers?limit=200").await.ok()?;
    if !known.servers.iter().any(|line| line.server == name) {
        // There are more than one page of them.
        if known.next_cursor.is_some() {
            return None;
        }
        let names: Vec<String> = known.servers.iter().map(|line| visible(&line.server)).collect();
        let names = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
        return Some(format!("no gateway has told of a server `{}` (known: {names}); is it spelt so?", visible(name)));
    }
    let tool = scope.tool.as_deref()?;
    let view = inventory::show(client, name).await.ok()?;
    let is_it = |item: &ItemView| item.kind == DefinitionKind::Tool && item.name == tool;
    (!view.items.iter().any(is_it))
        .then(|| format!("no list of `{}` has a tool `{}`; is it spelt so?", visible(name), visible(tool)))
}

fn print(done: &str, freeze: &Freeze, output: &Output) {
    match output.output {
        Form::Text => println!("{done}: {}", line(freeze)),
        Form::Json => println!("{}", json!(freeze)),
    }
}

fn line(freeze: &Freeze) -> String {
    let Freeze { id, scope, reason, by, since_ms } = freeze;
    format!("{id}  {}  since {} by {}: {}", visible(&scope.to_string()), time(*since_ms), visible(by), visible(reason))
}
