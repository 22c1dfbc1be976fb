//! `cargo demo`: a newcomer plays the agent, decides as the approver, and watches both from above the prompt.

use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::client::{HttpAnswer, tools_call_modern};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::house::{AGENT, APPROVER, House};
use crate::live::{self, Board};

const HELP: &str = "  Be the agent      1  read    list_issues       runs at once
                    2  write   create_issue      is held until somebody approves
                    3  admin   delete_project    is denied, with a reason
  Be the approver   on the page, or here:  l  list   a  approve   d REASON  deny
  Go on             o  another sign-in link    m  connect your own MCP client
                    t  approve from a second terminal    v  verify the record
                    ?  this help    q  quit";

/// How long the sent call may take to show in the record before the prompt comes back.
const SETTLE: Duration = Duration::from_millis(50);

/// Reads commands until the end of input or `q`.
pub(crate) async fn run(house: House) -> anyhow::Result<()> {
    introduce(&house)?;
    let board = Board::new();
    let watching = live::show(house.auditor.clone(), board.clone());
    let told = converse(&house, &board).await;
    watching.abort();
    println!();
    told
}

async fn converse(house: &House, board: &Board) -> anyhow::Result<()> {
    let mut lines = lines_of_stdin();
    let mut issues = 0;
    board.prompt();
    loop {
        let Some(line) = lines.recv().await else { return Ok(()) };
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let done = match command {
            "" => Ok(()),
            "1" => call(house, board, "list_issues", r#"{"project":"site"}"#.to_owned()),
            "2" => {
                issues += 1;
                let arguments = format!(r#"{{"project":"site","title":"Issue {issues} from the demo"}}"#);
                call(house, board, "create_issue", arguments)
            }
            "3" => call(house, board, "delete_project", r#"{"project":"site"}"#.to_owned()),
            "l" => list(house).await,
            "a" => decide(house, None).await,
            "d" => decide(house, Some(rest)).await,
            "o" => house.sign_in_link().map(|link| println!("  as {APPROVER}, once, within 10 minutes:\n  {link}")),
            "m" => connect(house),
            "t" => {
                terminal(house);
                Ok(())
            }
            "v" => verify(house),
            "q" | "quit" | "exit" => return Ok(()),
            _ => {
                println!("{HELP}");
                Ok(())
            }
        };
        if let Err(error) = done {
            println!("  {error:#}");
        }
        tokio::time::sleep(SETTLE).await;
        board.prompt();
    }
}

/// Standard input, line by line. A thread of its own, because a read of the terminal cannot be interrupted and must not
/// keep the program from ending.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn introduce(house: &House) -> anyhow::Result<()> {
    let (gateway, service, server) = (house.envoy.mcp_url(), house.service.url(""), house.server.mcp_url());
    println!(
        "\nEverything runs, on this machine alone:\n\n  \
         {AGENT} ──► gateway ──► issue tracker      gateway   {gateway}  (Envoy with the filter)\n              \
         │                            tracker   {server}  (an MCP server)\n              \
         └─► approval service         service   {service}\n\n\
         Reading issues is free. Changing one waits inside the gateway until a person of the group `sre` agrees.\n\
         Deleting a project is forbidden. The server sees nothing that was not let through.\n\n\
         1. Open the approver's page, as {APPROVER} of `sre` (this link signs in once, within 10 minutes):\n\n     \
         {}\n\n\
         2. Type 2 and enter: the agent wants to create an issue, and is held. Approve it on the page, and see it run.\n\n\
         {HELP}\n\n\
         What happens appears below as it is recorded.\n",
        house.sign_in_link()?,
    );
    Ok(())
}

/// What to paste into an MCP client.
fn connect(house: &House) -> anyhow::Result<()> {
    let (url, token) = (house.envoy.mcp_url(), house.agent_token()?);
    let config = json!({"mcpServers": {"tracker": {
        "type": "http", "url": url, "headers": {"Authorization": format!("Bearer {token}")},
    }}});
    println!(
        "  Paste this into a client that keeps its servers in JSON (the token is {AGENT}'s, for an hour):\n\n{}\n\n  \
         Or, for Claude Code:\n\n  claude mcp add --transport http tracker {url} --header \"Authorization: Bearer {token}\"\n\n  \
         Then ask it to create an issue. It is held like the calls you play here.",
        serde_json::to_string_pretty(&config)?
    );
    Ok(())
}

fn terminal(house: &House) {
    println!(
        "  From another terminal, as {APPROVER}:\n\n  export HOLDPOINT_URL={} HOLDPOINT_TOKEN={}\n  \
         target/debug/holdpoint approvals watch",
        house.service.url(""),
        house.approver_token,
    );
}

/// Calls a tool in the background, so that the prompt stays free to approve it.
fn call(house: &House, board: &Board, tool: &'static str, arguments: String) -> anyhow::Result<()> {
    let call = tools_call_modern(tool, &arguments, &house.agent_token()?);
    let (port, board) = (house.envoy.port(), board.clone());
    println!("  agent     calls {tool} {arguments}");
    tokio::spawn(async move {
        match call.send(port).await {
            Ok(answer) => {
                let seconds = answer.elapsed.as_secs_f64();
                board.line(&format!("  agent     is told after {seconds:.1} s: {}", shown(&answer)));
            }
            Err(error) => board.line(&format!("  agent     {tool}: {error:#}")),
        }
    });
    Ok(())
}

fn shown(answer: &HttpAnswer) -> String {
    let json = answer.json();
    match json["result"]["content"][0]["text"].as_str() {
        Some(text) => text.to_owned(),
        None => answer.text(),
    }
}

async fn list(house: &House) -> anyhow::Result<()> {
    let ids = house.approver.ids("pending").await?;
    if ids.is_empty() {
        println!("  nothing waits");
    }
    for id in ids {
        let view = house.approver.show(&id).await?;
        println!("  {id}  {}", view["sentence"].as_str().unwrap_or_default());
    }
    Ok(())
}

async fn decide(house: &House, denied_because: Option<&str>) -> anyhow::Result<()> {
    let ids = house.approver.ids("pending").await?;
    let id = ids.first().context("nothing waits: play 2 first")?;
    let view = house.approver.show(id).await?;
    println!("  {}", view["sentence"].as_str().unwrap_or_default());
    println!("  rule `{}`: {}", word(&view["reasons"][0]["rule_id"]), word(&view["reasons"][0]["text"]));
    println!("  {}", word(&view["call_text"]));
    match denied_because {
        None => house.approver.approve(&view).await,
        Some("") => anyhow::bail!("a denial needs a reason: `d not now`"),
        Some(reason) => house.approver.deny(&view, reason).await,
    }
}

fn verify(house: &House) -> anyhow::Result<()> {
    let data_dir = house.service.data_dir();
    let words = ["audit".as_ref(), "verify".as_ref(), "--data-dir".as_ref(), data_dir.as_os_str()];
    println!("  {}", house.service.cli(&words)?.trim());
    Ok(())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
