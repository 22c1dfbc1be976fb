//! `holdpoint inventory`: what servers offer, how it changed, and the lines of policy that follow from it.

mod yaml;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use reqwest::Url;
use serde_json::json;

use super::client::{Client, Server};
use super::{Form, Output};
use crate::inventory::difference;
use crate::inventory::view::{DefinitionsView, ItemView, ServerLine, ServerView, ServersView};
use crate::store::inventory::DefinitionRow;
use crate::text::{time, visible};

#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// List the servers that were seen
    #[command(after_help = "Example:
  holdpoint inventory list --token-file auditor.token")]
    List {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Show what one server offers, who calls it, and what changed
    #[command(after_help = "Example:
  holdpoint inventory show github

A `?` marks what no policy in force names, a `!` a tool under another definition than the pinned one.")]
    Show {
        /// The catalogue's name of the server
        name: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Compare two definitions of one tool, resource or prompt, by default the last two
    #[command(after_help = "Examples:
  holdpoint inventory diff github create_issue
  holdpoint inventory diff github create_issue --from sha256:…

The exit code is 1 when they differ.")]
    Diff {
        /// The catalogue's name of the server
        name: String,
        #[command(flatten)]
        item: Item,
        /// Digest of the earlier one
        #[arg(long, value_name = "DIGEST")]
        from: Option<Digest>,
        /// Digest of the later one
        #[arg(long, value_name = "DIGEST")]
        to: Option<Digest>,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Print the lines that pin tools to their present definitions
    #[command(after_help = "Examples:
  holdpoint inventory pin github create_issue
  holdpoint inventory pin github > pins.yaml

Put each `definition` into the entry of its tool. Look at the definitions first: `holdpoint inventory show --output json`.")]
    Pin {
        /// The catalogue's name of the server
        name: String,
        /// Tools; without any, all that are listed now
        tools: Vec<String>,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Print catalogue entries for what no policy in force names
    #[command(after_help = "Example:
  holdpoint inventory classify github > proposal.yaml

Merge its `tools` into your `servers.github.tools` when you have looked through it: what a server says of its tools is its own word. Whatever says that it only reads is proposed \
as `read`, everything else as `write`.")]
    Classify {
        /// The catalogue's name of the server
        name: String,
        /// Pin each proposed tool to its present definition
        #[arg(long)]
        pin: bool,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
}

/// One entry of a server.
#[derive(Debug, Args)]
pub struct Item {
    /// Tool name, resource URI, URI template or prompt name
    item: String,
    #[arg(long, value_enum, default_value_t = Kind::Tool)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Tool,
    Resource,
    ResourceTemplate,
    Prompt,
}

impl From<Kind> for DefinitionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Tool => Self::Tool,
            Kind::Resource => Self::Resource,
            Kind::ResourceTemplate => Self::ResourceTemplate,
            Kind::Prompt => Self::Prompt,
        }
    }
}

pub async fn run(command: InventoryCommand) -> anyhow::Result<ExitCode> {
    match command {
        InventoryCommand::List { server, output } => {
            let client = server.client()?;
            let mut view: ServersView = client.get("/v1/inventory/servers").await?;
            while let Some(cursor) = view.next_cursor.take() {
                let more: ServersView = client.get(&format!("/v1/inventory/servers?cursor={cursor}")).await?;
                view.servers.extend(more.servers);
                view.next_cursor = more.next_cursor;
            }
            match output.output {
                Form::Text if view.servers.is_empty() => println!("no gateway has told of a server yet"),
                Form::Text => view.servers.iter().for_each(|line| println!("{}", server_line(line))),
                Form::Json => println!("{}", json!(view)),
            }
        }
        InventoryCommand::Show { name, server, output } => {
            let view = show(&server.client()?, &name).await?;
            match output.output {
                Form::Text => print_server(&view),
                Form::Json => println!("{}", json!(view)),
            }
        }
        InventoryCommand::Diff { name, item, from, to, server, output } => {
            let view = definitions(&server.client()?, &name, item.kind.into(), &item.item).await?;
            return diff(&view, from, to, &output);
        }
        InventoryCommand::Pin { name, tools, server, output } => {
            let view = show(&server.client()?, &name).await?;
            let pinned = pinned(&view, &tools)?;
            match output.output {
                Form::Text => print!("{}", yaml::pins(&name, &pinned)),
                Form::Json => {
                    for item in pinned {
                        println!("{}", json!({"server": name, "tool": item.name, "definition": item.definition}));
                    }
                }
            }
        }
        InventoryCommand::Classify { name, pin, server, output } => {
            let client = server.client()?;
            let view = show(&client, &name).await?;
            let mut proposals = Vec::new();
            let unnamed = view.items.iter().filter(|item| !item.is_removed && item.is_classified != Some(true));
            for item in unnamed {
                let rows = definitions(&client, &name, item.kind, &item.name).await?;
                proposals.push(yaml::Proposal::of(item, rows.definitions.first(), pin));
            }
            match output.output {
                Form::Text => print!("{}", yaml::catalogue(&name, &proposals)),
                Form::Json => proposals.iter().for_each(|proposal| println!("{}", json!(proposal))),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Address of one server, or of what is below it.
fn path(server: &str, below: &[&str], query: &[(&str, &str)]) -> anyhow::Result<String> {
    // Only the part behind the host is kept.
    let mut url = Url::parse("http://here/v1/inventory/servers")?;
    url.path_segments_mut().ok().context("no path")?.push(server).extend(below);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(format!("{}{}", url.path(), url.query().map(|query| format!("?{query}")).unwrap_or_default()))
}

pub(super) async fn show(client: &Client, server: &str) -> anyhow::Result<ServerView> {
    client.get(&path(server, &[], &[])?).await
}

async fn definitions(
    client: &Client,
    server: &str,
    kind: DefinitionKind,
    name: &str,
) -> anyhow::Result<DefinitionsView> {
    client.get(&path(server, &["definitions"], &[("kind", kind.as_str()), ("name", name)])?).await
}

fn server_line(line: &ServerLine) -> String {
    let introduced = line.introduced.as_ref().map(|row| &row.introduction);
    let who = introduced.map(|said| format!("  says it is {} {}", visible(&said.name), visible(&said.version)));
    let mut notes = String::new();
    if line.unclassified > 0 {
        notes.push_str(&format!("  {} unclassified", line.unclassified));
    }
    if line.changed > 0 {
        notes.push_str(&format!("  {} not as pinned", line.changed));
    }
    format!(
        "{}  {} tools, {} resources, {} prompts{notes}  seen {} to {}{}",
        visible(&line.server),
        line.tools,
        line.resources,
        line.prompts,
        time(line.first_seen_ms),
        time(line.last_seen_ms),
        who.unwrap_or_default()
    )
}

fn print_server(view: &ServerView) {
    println!("{}", server_line(&view.line));
    for row in &view.introductions {
        let said = &row.introduction;
        let capabilities: Vec<String> = said.capabilities.iter().map(|one| visible(one)).collect();
        println!(
            "  introduced itself as {} {}, protocol {}, capabilities {}, from {} to {}",
            visible(&said.name),
            visible(&said.version),
            visible(&said.protocol),
            if capabilities.is_empty() { "none".to_owned() } else { capabilities.join(" ") },
            time(row.first_seen_ms),
            time(row.last_seen_ms)
        );
    }
    for item in &view.items {
        println!("{}", item_line(item));
    }
    for drift in &view.drift {
        println!(
            "  {}  {} {} `{}`",
            time(drift.at_ms),
            drift.change.as_str(),
            drift.kind.as_str(),
            visible(&drift.name)
        );
    }
    for row in &view.callers {
        let agent =
            if row.caller.agent.is_empty() { String::new() } else { format!("{} for ", visible(&row.caller.agent)) };
        let target = if row.target.is_empty() { "what no list has".to_owned() } else { visible(&row.target) };
        println!(
            "  called by {agent}{}: {target}, {} times, last {}",
            visible(&row.caller.subject),
            row.calls,
            time(row.last_seen_ms)
        );
    }
}

fn item_line(item: &ItemView) -> String {
    let mark = match (item.is_pin_broken(), item.is_classified) {
        (true, _) => '!',
        (false, Some(false)) => '?',
        (false, Some(true) | None) => ' ',
    };
    let mut notes = Vec::new();
    if item.is_removed {
        notes.push("no longer listed".to_owned());
    }
    if !item.pinned.is_empty() {
        notes.push(if item.is_pin_broken() { "not as pinned".to_owned() } else { "as pinned".to_owned() });
    }
    notes.extend(item.changed_at_ms.map(|at_ms| format!("changed {}", time(at_ms))));
    let notes = if notes.is_empty() { String::new() } else { format!("  {}", notes.join(", ")) };
    format!("{mark} {} {}  {}{notes}", item.kind.as_str(), visible(&item.name), item.definition)
}

fn pinned<'v>(view: &'v ServerView, tools: &[String]) -> anyhow::Result<Vec<&'v ItemView>> {
    let there = view.items.iter().filter(|item| item.kind == DefinitionKind::Tool && !item.is_removed);
    let there: Vec<&ItemView> = there.collect();
    if let Some(missing) = tools.iter().find(|tool| !there.iter().any(|item| item.name == **tool)) {
        bail!("server `{}` lists no tool `{}`", visible(&view.line.server), visible(missing));
    }
    Ok(there.into_iter().filter(|item| tools.is_empty() || tools.contains(&item.name)).collect())
}

fn diff(view: &DefinitionsView, from: Option<Digest>, to: Option<Digest>, output: &Output) -> anyhow::Result<ExitCode> {
    let find = |digest: Digest| {
        let found = view.definitions.iter().find(|row| row.digest == digest);
        found.with_context(|| format!("no definition {digest} of it has been seen"))
    };
    let (Some(latest), before) = (view.definitions.first(), view.definitions.get(1)) else { bail!("nothing was seen") };
    let to = to.map_or(Ok(latest), find)?;
    let from = match from {
        Some(from) => find(from)?,
        None => before.unwrap_or(latest),
    };
    let text = |row: &DefinitionRow| {
        let long = || format!("the text of {} was too long to be kept", row.digest);
        row.text.clone().with_context(long)
    };
    let lines = if from.digest == to.digest { Vec::new() } else { difference::lines(&text(from)?, &text(to)?) };
    match output.output {
        Form::Json => {
            println!("{}", json!({"from": from.digest, "to": to.digest, "lines": lines}));
        }
        Form::Text if lines.is_empty() => {
            println!(
                "one definition, seen from {} to {}: {}",
                time(to.first_seen_ms),
                time(to.last_seen_ms),
                to.digest
            );
        }
        Form::Text => {
            println!("--- {}  seen to {}", from.digest, time(from.last_seen_ms));
            println!("+++ {}  seen to {}", to.digest, time(to.last_seen_ms));
            for line in &lines {
                println!("{}{}", line.mark.sign(), visible(&line.text));
            }
        }
    }
    Ok(if lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
