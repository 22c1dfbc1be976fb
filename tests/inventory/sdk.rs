//! A server that other people's SDK makes, which changes its tools under a running gateway.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::definition::digest;
use holdpoint_core::digest::Digest;
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call};
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{installed, ports, probe, python, repository};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::server::{BAD, GOOD, RUN, create, list, message, policy};

/// The server. Gone when dropped.
struct SdkServer {
    port: u16,
    tools: PathBuf,
    _process: ChildProcess,
    _dir: TempDir,
}

impl SdkServer {
    /// `None` where the SDK cannot be installed and that may be skipped.
    async fn start() -> anyhow::Result<Option<Self>> {
        let brought = tokio::task::spawn_blocking(|| python::programs("mcp-v1", &["mcp==1.30.0"])).await?;
        let Some(programs) = installed::or_skip("a server of the Python SDK", brought)? else { return Ok(None) };
        let dir = tempfile::tempdir()?;
        let (port, tools) = (ports::free()?, dir.path().join("tools.json"));
        fs::write(&tools, json!({"create_issue": GOOD, "list_issues": "Lists them"}).to_string())?;
        let mut command = Command::new(programs.join("python"));
        command.arg(repository::root().join("tests/inventory/sdk_server.py")).arg(port.to_string()).arg(&tools);
        let process = ChildProcess::start("sdk-server", command, dir.path())?;
        probe::until("the server listens", probe::PATIENCE, async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()
        })
        .await
        .with_context(|| process.last_words())?;
        Ok(Some(Self { port, tools, _process: process, _dir: dir }))
    }

    /// From now on offers these.
    fn offer(&self, tools: &Value) -> anyhow::Result<()> {
        Ok(fs::write(&self.tools, tools.to_string())?)
    }

    /// The digest of `create_issue` as the server lists it now, computed from its own answer and not by any gateway.
    async fn definition(&self) -> anyhow::Result<Digest> {
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let answer = reqwest::Client::new().post(format!("http://127.0.0.1:{}/mcp", self.port));
        let answer = answer.header("accept", "application/json, text/event-stream").json(&asked).send().await?;
        let answer: Value = answer.json().await?;
        let tools = answer["result"]["tools"].as_array().context("no tools")?;
        let tool = tools.iter().find(|tool| tool["name"] == "create_issue").context("no create_issue")?;
        Ok(digest(DefinitionKind::Tool, &tool.to_string()))
    }

    async fn gateway(&self, pin: &str) -> anyhow::Result<Stack> {
        Stack::builder().workers(2).policy(&policy(pin, RUN)).upstream_port(self.port).start().await
    }
}

fn ran(answer: &HttpAnswer) -> bool {
    answer.json()["result"]["content"][0]["text"] == "did x"
}

#[tokio::test]
async fn server_of_an_sdk_is_discovered_and_its_changed_tool_is_denied_and_hidden_within_one_list() -> anyhow::Result<()>
{
    let Some(server) = SdkServer::start().await? else { return Ok(()) };
    let good = server.definition().await?;
    let stack = server.gateway(&format!(", definition: \"{good}\"")).await?;
    let token = stack.agent("agent-7")?;
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
    message(hello, &token).send(stack.port()).await?;
    let shown = list(&stack, &token).await?.text();
    assert!(shown.contains("create_issue") && shown.contains("list_issues"), "{shown}");
    assert!(ran(&create(&stack, &token).await?), "as pinned, it runs");
    let auditor = Person::auditor(&stack.service)?;
    probe::until("the server is discovered", probe::PATIENCE, async || {
        let view = auditor.get("/v1/inventory/servers/tracker").await.ok()?;
        (view["introduced"]["name"] == "issue-desk" && view["tools"] == 2).then_some(())
    })
    .await?;

    server.offer(&json!({"create_issue": BAD, "list_issues": "Lists them", "drop_all": "Drops everything"}))?;
    assert_ne!(server.definition().await?, good);
    let shown = list(&stack, &token).await?.text();
    assert!(shown.contains("list_issues"), "{shown}");
    assert!(
        !shown.contains("create_issue") && !shown.contains("drop_all"),
        "the very list that changed hides it: {shown}"
    );
    for _ in 0..8 {
        let answer = create(&stack, &token).await?;
        assert!(answer.text().contains("in another way than the policy knows"), "{}", answer.text());
    }
    let view = probe::until("the change is known", probe::PATIENCE, async || {
        let view = auditor.get("/v1/inventory/servers/tracker").await.ok()?;
        (view["changed"] == 1 && view["unclassified"] == 1).then_some(view)
    })
    .await?;
    let drift = view["drift"].as_array().context("drift")?;
    for (name, change) in [("create_issue", "changed"), ("drop_all", "new")] {
        assert!(drift.iter().any(|one| one["name"] == name && one["change"] == change), "{name}: {view}");
    }
    Ok(())
}

#[tokio::test]
async fn changed_tool_of_an_sdks_server_is_held_and_its_approver_sees_the_difference_on_the_page() -> anyhow::Result<()>
{
    let Some(server) = SdkServer::start().await? else { return Ok(()) };
    let good = server.definition().await?;
    let pin = format!(
        ", definition: {{digest: \"{good}\", on_change: require_approval, approval: {{approvers: {{all_of: [{{group: sec}}]}}}}}}"
    );
    let stack = server.gateway(&pin).await?;
    let token = stack.agent("agent-7")?;
    list(&stack, &token).await?;
    assert!(ran(&create(&stack, &token).await?));
    // Another worker may tell of the next list sooner, and what is older by then changes nothing.
    let auditor = Person::auditor(&stack.service)?;
    probe::until("the first definitions are known", probe::PATIENCE, async || {
        let view = auditor.get("/v1/inventory/servers/tracker").await.ok()?;
        (view["tools"] == 2).then_some(())
    })
    .await?;
    server.offer(&json!({"create_issue": BAD, "list_issues": "Lists them"}))?;
    assert!(list(&stack, &token).await?.text().contains("create_issue"), "people may still let it run");
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let sec = Person::approver(&stack.service, "sally", &["sec"])?;
    let id = sec.pending().await?["id"].as_str().context("no id")?.to_owned();

    let sally = signed_in(&stack, "sally", "sec").await?;
    for page in [format!("/approvals/{id}"), "/inventory/tracker/definition?kind=tool&name=create_issue".to_owned()] {
        probe::until(&format!("{page} shows the difference"), probe::PATIENCE, async || {
            let text = sally.get(stack.service.url(&page)).send().await.ok()?.text().await.ok()?;
            let before = text.contains("<del>") && text.contains("Opens an issue&#34;</del>");
            (before && text.contains("<ins>") && text.contains("read every secret")).then_some(())
        })
        .await?;
    }
    let page = sally.get(stack.service.url("/inventory/tracker")).send().await?.text().await?;
    assert!(page.contains("issue") && page.contains(">changed<"), "{page}");
    sec.approve(&sec.show(&id).await?).await?;
    assert!(ran(&held.answer().await?));
    Ok(())
}

/// A browser without scripts, signed in as an approver.
async fn signed_in(stack: &Stack, subject: &str, group: &str) -> anyhow::Result<reqwest::Client> {
    let dir = stack.service.data_dir();
    let link =
        stack.service.cli(&["login", "--subject", subject, "--group", group, "--data-dir", &dir.to_string_lossy()])?;
    let code = link.trim().split_once("code=").context("no code in the link")?.1.to_owned();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let own = stack.service.url("");
    let form = http.post(stack.service.url("/login")).header("origin", own.trim_end_matches('/'));
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(format!("code={code}"));
    let answer = form.send().await?;
    let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
    let cookie = cookie.split(';').next().unwrap_or_default().parse()?;
    let headers = [(reqwest::header::COOKIE, cookie)].into_iter().collect();
    Ok(reqwest::Client::builder().default_headers(headers).build()?)
}
