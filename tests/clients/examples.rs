//! The client examples, as a reader would run them, against the real gateway: what they promise of waiting, limits and tags.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use holdpoint_tests::approver::Person;
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::node::Node;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{cargo, installed, python, repository};
use quickstart::mcp_server::McpServer;
use serde_json::{Value, json};

/// Short, so that a call outlasts its hold and has to be redeemed.
const HOLD_MS_MAX: u64 = 2_000;
/// A rule beside those of the quickstart: whoever says that he is unsure is looked at, reads too.
const UNSURE: &str = "- id: unsure\n  match: {risk_tags: [unsure]}\n  decision: require_approval\n  reason: \"The agent was not sure\"\n  \
                      approval: {approvers: {all_of: [{group: sre, min: 1}]}, decide_within_ms: 900000, claim_within_ms: 300000}\n";

#[derive(Clone, Copy, Debug)]
enum Example {
    Python,
    TypeScript,
    Rust,
}

impl Example {
    /// The command up to its own words.
    fn bring(self) -> anyhow::Result<Command> {
        let folder = repository::path("examples/clients");
        match self {
            Self::Python => {
                let mut command = Command::new(python::programs("mcp-v2", &["mcp==2.3.0"])?.join("python"));
                command.arg("-B").arg(folder.join("python/agent.py"));
                Ok(command)
            }
            Self::TypeScript => {
                let node = Node::bring()?;
                let packages = node.packages("client-v2", &["@modelcontextprotocol/client@2.4.0"])?;
                // Node looks for packages beside the file.
                let place = packages.join("agent.ts");
                std::fs::copy(folder.join("typescript/agent.ts"), &place)?;
                Ok(node.run(&place))
            }
            Self::Rust => {
                let made = |name: &str| name.ends_with("/agent");
                let binary: PathBuf = cargo::build("the Rust client", &["--workspace", "--bin", "agent"], made)?;
                Ok(Command::new(binary))
            }
        }
    }
}

/// What it printed, or what it said and that it failed.
fn ended(output: &Output) -> Result<Value, String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {said}")),
        _ => Err(said),
    }
}

async fn tells(example: Example) -> anyhow::Result<()> {
    let brought = tokio::task::spawn_blocking(move || example.bring()).await?;
    let Some(command) = installed::or_skip(&format!("the example {example:?}"), brought)? else { return Ok(()) };
    let (program, first): (_, Vec<_>) =
        (command.get_program().to_owned(), command.get_args().map(ToOwned::to_owned).collect());
    let variables: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();

    let server = McpServer::start(0).await?;
    let policy = quickstart_policy()? + UNSURE;
    let stack = Stack::builder().policy(&policy).upstream_port(server.port()).hold_ms_max(HOLD_MS_MAX).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let (url, token) = (stack.envoy.mcp_url(), stack.agent("agent-7")?);
    let agent = |tool: &str, arguments: Value, more: &[&str]| {
        let mut run = tokio::process::Command::new(&program);
        run.args(&first).envs(variables.iter().map(|(name, value)| (name, value))).env("AGENT_TOKEN", &token);
        run.args([url.as_str(), tool, &arguments.to_string()]).args(more).kill_on_drop(true);
        async move { run.output().await }
    };

    let read = ended(&agent("get_issue", json!({"number": 1}), &[]).await?);
    ensure!(read.as_ref().is_ok_and(|result| result.to_string().contains("The build is broken")), "{read:?}");
    let denied = ended(&agent("delete_project", json!({"project": "site"}), &[]).await?);
    let reason = denied.err().context("a denied call has no result")?;
    ensure!(reason.contains("denied: ") && reason.contains("Projects are not deleted by agents"), "{reason}");

    // Approved once its hold is over: it has to come back, and runs once.
    let issue = json!({"project": "site", "title": "waited for"});
    let late = async {
        let view = bob.pending().await?;
        let auditor = Person::auditor(&stack.service)?;
        let over = |entry: &Value| entry["kind"] == "hold_ended" && entry["approval_id"] == view["id"];
        auditor.entry("the end of the first hold", over).await?;
        bob.approve(&view).await
    };
    let (written, approved) = tokio::join!(agent("create_issue", issue, &[]), late);
    approved?;
    let written = ended(&written?);
    ensure!(written.as_ref().is_ok_and(|result| result.to_string().contains("waited for")), "{written:?}");
    ensure!(server.recorder().call_counts().get("create_issue") == Some(&1), "it ran once");

    // A person says no: the reason arrives.
    let no = async { bob.deny(&bob.pending().await?, "not before the release").await };
    let (refused, denied) = tokio::join!(agent("close_issue", json!({"number": 1}), &[]), no);
    denied?;
    let reason = ended(&refused?).err().context("a call that a person denied has no result")?;
    ensure!(reason.contains("approval_denied: ") && reason.contains("not before the release"), "{reason}");

    // Its own tag brings a person in, for a call that runs without one otherwise.
    let (tagged, approved) =
        tokio::join!(agent("list_issues", json!({"project": "site"}), &["--tag", "unsure"]), async {
            let view = bob.pending().await?;
            ensure!(view["reasons"].to_string().contains("not sure"), "{view}");
            bob.approve(&view).await
        });
    approved?;
    ensure!(ended(&tagged?).is_ok_and(|result| result.to_string().contains("waited for")), "the tagged read ran");

    // Patience ends.
    let given_up = agent("close_issue", json!({"number": 1}), &["--patience-s", "0"]).await?;
    let reason = ended(&given_up).err().context("nobody approved it")?;
    ensure!(reason.contains("pending: ") && reason.contains("waiting for human approval"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn python_example_waits_obeys_and_explains() -> anyhow::Result<()> {
    tells(Example::Python).await
}

#[tokio::test]
async fn typescript_example_waits_obeys_and_explains() -> anyhow::Result<()> {
    tells(Example::TypeScript).await
}

#[tokio::test]
async fn rust_example_waits_obeys_and_explains() -> anyhow::Result<()> {
    tells(Example::Rust).await
}
