//! A client of another language as a child process: a line of JSON in, a line of JSON out. The near side of step 1.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use holdpoint_tests::repository;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// The longest that a client may take for one line: longer than any hold here, and than starting an interpreter on a
/// machine that is busy building.
const LINE_WITHIN: Duration = Duration::from_secs(60);

/// A connected client. It ends when it is dropped, and when its standard input ends.
#[derive(Debug)]
pub(crate) struct ClientScript {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: NamedTempFile,
    version: String,
    line_within: Duration,
}

impl ClientScript {
    /// Starts `command`, whose first argument past the script must be `url`, and waits until it is connected.
    pub(crate) async fn connect(command: std::process::Command, token: Option<&str>) -> anyhow::Result<Self> {
        let stderr = NamedTempFile::new()?;
        let mut command = Command::from(command);
        command
            .env("AGENT_TOKEN", token.unwrap_or_default())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(repository::path("tests/clients"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(stderr.reopen()?))
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdin = child.stdin.take().context("the client has no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("the client has no standard output")?).lines();
        let mut client =
            Self { _child: child, stdin, stdout, stderr, version: String::new(), line_within: LINE_WITHIN };
        let connected = client.line().await.context("the client did not connect")?;
        client.version = connected["connected"].as_str().unwrap_or_default().to_owned();
        Ok(client)
    }

    /// From now on one line may take longer.
    pub(crate) fn waits_within(&mut self, line_within: Duration) {
        self.line_within = line_within.max(LINE_WITHIN);
    }

    /// The protocol version that the client says it speaks with the server; empty when its interface does not say.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The whole definition of every tool on the first page.
    pub(crate) async fn tools(&mut self) -> anyhow::Result<Vec<Value>> {
        let answer = self.answer_to(json!({"list": true})).await?;
        answer["tools"].as_array().cloned().with_context(|| format!("no list of tools: {answer}"))
    }

    /// The result of a call, or `{"error": …}` with what the client raised.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        let answer = self.answer_to(json!({"tool": tool, "arguments": arguments})).await?;
        Ok(answer.get("result").cloned().unwrap_or(answer))
    }

    /// Every log message that its server has sent it so far.
    pub(crate) async fn heard(&mut self) -> anyhow::Result<Vec<String>> {
        let answer = self.answer_to(json!({"heard": true})).await?;
        let heard = answer["heard"].as_array().with_context(|| format!("nothing heard: {answer}"))?;
        Ok(heard.iter().map(|data| data.as_str().map_or_else(|| data.to_string(), str::to_owned)).collect())
    }

    async fn answer_to(&mut self, wanted: Value) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{wanted}\n").as_bytes()).await?;
        self.stdin.flush().await?;
        self.line().await.with_context(|| format!("no answer to {wanted}"))
    }

    async fn line(&mut self) -> anyhow::Result<Value> {
        match tokio::time::timeout(self.line_within, self.stdout.next_line()).await {
            Ok(Ok(Some(line))) => {
                serde_json::from_str(&line).with_context(|| format!("the client printed `{line}`, which is not JSON"))
            }
            Ok(Ok(None)) => bail!("the client ended; it said:\n{}", self.complaints()),
            Ok(Err(error)) => bail!("the client's output broke off ({error}); it said:\n{}", self.complaints()),
            Err(_) => bail!("the client was silent for {:?}; it said:\n{}", self.line_within, self.complaints()),
        }
    }

    fn complaints(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap_or_default()
    }
}
