//! `cargo demo`: a person plays the agent and the approver at one prompt.

use anyhow::Context;
use holdpoint_tests::client::{HttpAnswer, tools_call_modern};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::house::{APPROVER, House};

const HELP: &str = "\
  1  read    list_issues     allowed: runs at once
  2  write   create_issue    waits for an approval
  3  admin   delete_project  denied, with a reason
  l  list what waits         a  approve the newest        d REASON  deny the newest
  r  show the record         v  verify the record         ?  this help        q  quit";

/// Reads commands until the end of input or `q`.
pub(crate) async fn run(house: House) -> anyhow::Result<()> {
    introduce(&house)?;
    let mut lines = lines_of_stdin();
    let mut issues = 0;
    loop {
        eprint!("> ");
        let Some(line) = lines.recv().await else { return Ok(()) };
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let done = match command {
            "" => Ok(()),
            "1" => call(&house, "list_issues", r#"{"project":"site"}"#.to_owned()),
            "2" => {
                issues += 1;
                call(&house, "create_issue", format!(r#"{{"project":"site","title":"Issue {issues} from the demo"}}"#))
            }
            "3" => call(&house, "delete_project", r#"{"project":"site"}"#.to_owned()),
            "l" => list(&house).await,
            "a" => decide(&house, None).await,
            "d" => decide(&house, Some(rest)).await,
            "r" => record(&house).await,
            "v" => verify(&house),
            "q" | "quit" | "exit" => return Ok(()),
            _ => {
                println!("{HELP}");
                Ok(())
            }
        };
        if let Err(error) = done {
            println!("  {error:#}");
        }
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
    let token = house.agent_token()?;
    println!(
        "\nYou are the agent that calls tools and {APPROVER}, who approves.\n\n{HELP}\n\n\
         In a browser, as {APPROVER} (the link works once, within 10 minutes):\n  {}\n\n\
         From another terminal, as {APPROVER}:\n  \
         export HOLDPOINT_URL={} HOLDPOINT_TOKEN={}\n  \
         target/debug/holdpoint approvals list\n\n\
         Or connect an MCP client of your own to {} with\n  authorization: Bearer {token}\n",
        house.sign_in_link()?,
        house.service.url(""),
        house.approver_token,
        house.envoy.mcp_url(),
    );
    Ok(())
}

/// Calls a tool in the background, so that the prompt stays free to approve it.
fn call(house: &House, tool: &'static str, arguments: String) -> anyhow::Result<()> {
    let call = tools_call_modern(tool, &arguments, &house.agent_token()?);
    let port = house.envoy.port();
    println!("  agent: {tool} {arguments}");
    tokio::spawn(async move {
        match call.send(port).await {
            Ok(answer) => println!("\n  {tool} after {:.1} s: {}", answer.elapsed.as_secs_f64(), shown(&answer)),
            Err(error) => println!("\n  {tool}: {error:#}"),
        }
        eprint!("> ");
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

async fn record(house: &House) -> anyhow::Result<()> {
    for entry in house.auditor.record().await? {
        println!(
            "  {:<18} {:<16} {:<16} {}",
            word(&entry["kind"]),
            word(&entry["target"]),
            word(&entry["rule_ids"][0]),
            word(&entry["verdict"]),
        );
    }
    Ok(())
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
