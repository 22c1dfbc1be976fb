//! What every client must see, told once: allowed, denied, concealed, malformed, held and approved, pending and redeemed, alive.

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::stack::Stack;
use quickstart::mcp_client::McpClient;
use quickstart::mcp_server::McpServer;
use serde_json::{Value, json};

use crate::client_script::ClientScript;

/// The longest hold here, in milliseconds: enough for a person's two calls to the service, short for who waits in vain.
pub(crate) const HOLD_MS_MAX: u64 = 6_000;

/// A rule beside those of the quickstart: these tools are denied, and do not exist to whom they are denied.
const HIDDEN: &str = "- id: hidden\n  match: {mcp: {allow_tools: [\"secret_*\"]}}\n  decision: deny\n  conceal: true\n  \
                      reason: \"Nobody is to know\"\n";

/// Whoever calls tools.
pub(crate) trait Caller {
    /// The names of all tools.
    async fn tool_names(&mut self) -> anyhow::Result<Vec<String>>;
    /// A tool result as JSON.
    async fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Value>;
}

impl Caller for ClientScript {
    async fn tool_names(&mut self) -> anyhow::Result<Vec<String>> {
        let tools = self.tools().await?;
        Ok(tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect())
    }

    async fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        ClientScript::call(self, tool, arguments).await
    }
}

impl Caller for McpClient {
    async fn tool_names(&mut self) -> anyhow::Result<Vec<String>> {
        self.tools().await
    }

    async fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(McpClient::call(self, tool, arguments.clone()).await?)?)
    }
}

/// The gateway, the tracker behind it and the person who approves.
pub(crate) struct Stage {
    stack: Stack,
    server: McpServer,
    bob: Person,
}

impl Stage {
    /// Everything but the client.
    pub(crate) async fn set() -> anyhow::Result<Self> {
        let server = McpServer::start(0).await?;
        let policy = quickstart_policy()? + HIDDEN;
        let stack = Stack::builder().policy(&policy).upstream_port(server.port()).hold_ms_max(HOLD_MS_MAX);
        let stack = stack.start().await?;
        let bob = Person::approver(&stack.service, "bob", &["sre"])?;
        Ok(Self { stack, server, bob })
    }

    /// Where the client connects.
    pub(crate) fn url(&self) -> String {
        self.stack.envoy.mcp_url()
    }

    /// The client's token.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        self.stack.agent("agent-7")
    }

    /// The protocol versions that tool calls named in their header, as the server saw them.
    pub(crate) fn versions_of_calls(&self) -> Vec<String> {
        let calls = self.server.recorder().recorded().into_iter().filter(|message| message.tool().is_some());
        let mut versions: Vec<String> = calls
            .filter_map(|call| Some(call.headers.get("mcp-protocol-version")?.to_str().ok()?.to_owned()))
            .collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// Plays the whole story with `caller`, who `comes_back` by itself when it is sent away, or must be told in words.
    pub(crate) async fn play(&self, caller: &mut impl Caller, comes_back: bool) -> anyhow::Result<()> {
        let names = caller.tool_names().await?;
        assert!(names.iter().any(|name| name == "create_issue"), "{names:?}");
        let read = caller.call("get_issue", &json!({"number": 1})).await?;
        assert!(said(&read)?.contains("The build is broken"), "{read}");

        let denied = caller.call("delete_project", &json!({"project": "site"})).await?;
        assert!(refused(&denied)?.contains("Projects are not deleted by agents"), "{denied}");

        // To whom it is concealed, a tool looks as if there were none; and what cannot be read is said in the protocol's
        // words. Neither looks like success, and neither costs the connection.
        let hidden = told(caller.call("secret_report", &json!({})).await);
        assert!(hidden.contains("Unknown tool: secret_report"), "{hidden}");
        let invisible = told(caller.call("get_\u{200b}issue", &json!({"number": 1})).await);
        assert!(invisible.contains("control or invisible character"), "{invisible}");

        let early = issue("approved in time");
        let (held, decided) = tokio::join!(caller.call("create_issue", &early), self.approve_next());
        decided?;
        let held = held?;
        assert!(said(&held)?.contains("approved in time"), "{held}");

        let late = issue("approved too late");
        let redeemed = if comes_back {
            let (redeemed, decided) = tokio::join!(caller.call("create_issue", &late), self.approve_in_a_later_round());
            decided?;
            redeemed?
        } else {
            let pending = caller.call("create_issue", &late).await?;
            let sentence = refused(&pending)?;
            assert!(
                sentence.contains("waiting for human approval") && sentence.contains("Repeat the same call"),
                "{pending}"
            );
            self.approve_next().await?;
            caller.call("create_issue", &late).await?
        };
        assert!(said(&redeemed)?.contains("approved too late"), "{redeemed}");

        let read = caller.call("list_issues", &json!({"project": "site"})).await?;
        let all = said(&read)?;
        assert!(all.contains("approved in time") && all.contains("approved too late"), "{read}");
        self.nothing_ran_twice();
        Ok(())
    }

    /// Approves once the client has been sent away at least once.
    async fn approve_in_a_later_round(&self) -> anyhow::Result<()> {
        let view = self.bob.pending().await?;
        let auditor = Person::auditor(&self.stack.service)?;
        let sent_away = |entry: &Value| entry["kind"] == "hold_ended" && entry["approval_id"] == view["id"];
        auditor.entry("the end of the first round", sent_away).await?;
        self.bob.approve(&view).await
    }

    async fn approve_next(&self) -> anyhow::Result<()> {
        self.bob.approve(&self.bob.pending().await?).await
    }

    fn nothing_ran_twice(&self) {
        let counts = self.server.recorder().call_counts();
        let expected = [("create_issue", 2), ("get_issue", 1), ("list_issues", 1)];
        assert_eq!(counts, expected.map(|(tool, count)| (tool.to_owned(), count)).into());
        let issues = self.server.tracker().issues();
        let titles: Vec<&str> = issues.iter().map(|issue| issue.title.as_str()).collect();
        assert_eq!(titles, ["The build is broken", "approved in time", "approved too late"]);
    }
}

/// What a client makes of a protocol error, however it tells.
fn told(outcome: anyhow::Result<Value>) -> String {
    match outcome {
        Ok(result) if result.get("error").is_some() || result["isError"] == true => result.to_string(),
        Ok(result) => panic!("looks like success: {result}"),
        Err(error) => format!("{error:#}"),
    }
}

fn issue(title: &str) -> Value {
    json!({"project": "site", "title": title})
}

/// The text of a result that is no error.
fn said(result: &Value) -> anyhow::Result<String> {
    anyhow::ensure!(result.get("error").is_none() && result["isError"] != true, "not a success: {result}");
    text(result)
}

/// The text of a result that is an error, which is what a model reads.
fn refused(result: &Value) -> anyhow::Result<String> {
    anyhow::ensure!(result["isError"] == true, "not a refusal that a model can read: {result}");
    text(result)
}

fn text(result: &Value) -> anyhow::Result<String> {
    result["content"][0]["text"].as_str().map(str::to_owned).with_context(|| format!("no text in {result}"))
}
