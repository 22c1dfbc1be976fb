//! Other people's MCP servers as child processes, each over files of its own. The far side of step 10.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use holdpoint_tests::node::Node;
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::{installed, ports, probe, python};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::server_calls::{self, ServerCall};

/// Who writes commits, and when: so that two repositories with the same history have the same commits.
const GIT: &[(&str, &str)] = &[
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_AUTHOR_NAME", "Ada"),
    ("GIT_AUTHOR_EMAIL", "ada@example.com"),
    ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05+0000"),
    ("GIT_COMMITTER_NAME", "Ada"),
    ("GIT_COMMITTER_EMAIL", "ada@example.com"),
    ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05+0000"),
];

/// The smallest PNG that viewers accept, near enough for a server that only encodes it.
const DOT_PNG: &[u8] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00";

/// A server with the version that is installed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    /// npm `server-everything` over Streamable HTTP.
    Everything,
    /// npm `server-filesystem` behind npm `mcp-proxy`, which speaks both generations of the protocol.
    Filesystem,
    /// PyPI `mcp-server-git` behind PyPI `mcp-proxy`.
    Git,
}

/// A running server. Gone when dropped.
pub(crate) struct ServerProcess {
    process: ChildProcess,
    port: u16,
    root: TempDir,
    _logs: TempDir,
}

impl Server {
    /// The server on a port of its own over files of its own; `None` where it cannot be installed and that may be
    /// skipped.
    pub(crate) async fn start(self) -> anyhow::Result<Option<ServerProcess>> {
        let (root, logs) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let port = ports::free()?;
        let path = root.path().to_owned();
        // Installing blocks for as long as a registry takes.
        let brought = tokio::task::spawn_blocking(move || self.bring(port, &path)).await?;
        let Some(command) = installed::or_skip(&format!("the server {self:?}"), brought)? else {
            return Ok(None);
        };
        self.lay_out(root.path())?;
        let process = ChildProcess::start("mcp-server", command, logs.path())?;
        let server = ServerProcess { process, port, root, _logs: logs };
        server.wait_until_ready().await?;
        Ok(Some(server))
    }

    /// The calls to make of a server over `root`.
    pub(crate) fn calls(self, root: &str) -> Vec<ServerCall> {
        match self {
            Self::Everything => server_calls::everything(),
            Self::Filesystem => server_calls::filesystem(root),
            Self::Git => server_calls::git(root),
        }
    }

    fn bring(self, port: u16, root: &Path) -> anyhow::Result<Command> {
        let mut command = match self {
            Self::Everything => {
                let node = Node::bring()?;
                let packages = ["@modelcontextprotocol/server-everything@2026.8.31"];
                let programs = node.packages("server-everything", &packages)?.join("node_modules/.bin");
                let mut command = node.run(&programs.join("mcp-server-everything"));
                // One of its tools answers its whole environment.
                command.env_clear().env("PORT", port.to_string()).arg("streamableHttp");
                command
            }
            Self::Filesystem => {
                let node = Node::bring()?;
                let packages = ["@modelcontextprotocol/server-filesystem@2026.8.31", "mcp-proxy@6.7.19"];
                let programs = node.packages("server-filesystem", &packages)?.join("node_modules/.bin");
                let mut command = node.run(&programs.join("mcp-proxy"));
                command
                    .args(["--host", "127.0.0.1", "--server", "stream", "--port", &port.to_string(), "--"])
                    .arg(node.binary())
                    .arg(programs.join("mcp-server-filesystem"))
                    .arg(root);
                command
            }
            Self::Git => {
                let programs = python::programs("server-git", &["mcp-proxy==0.13.0", "mcp-server-git==2026.10.10"])?;
                let mut command = Command::new(programs.join("mcp-proxy"));
                command
                    .args(["--port", &port.to_string(), "--pass-environment", "--"])
                    .arg(programs.join("mcp-server-git"))
                    .arg("--repository")
                    .arg(root)
                    .envs(GIT.iter().copied());
                command
            }
        };
        command.current_dir(root);
        Ok(command)
    }

    fn lay_out(self, root: &Path) -> anyhow::Result<()> {
        match self {
            Self::Everything => {}
            Self::Filesystem => {
                fs::write(root.join("a.txt"), "one\ntwo\n")?;
                fs::write(root.join("dot.png"), DOT_PNG)?;
            }
            Self::Git => {
                fs::write(root.join("a.txt"), "one\n")?;
                git(root, &["init", "--quiet", "--initial-branch=main"])?;
                git(root, &["add", "a.txt"])?;
                git(root, &["commit", "--quiet", "--message=Say one"])?;
                fs::write(root.join("a.txt"), "one\ntwo\n")?;
            }
        }
        Ok(())
    }
}

impl ServerProcess {
    /// The loopback port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory it works on.
    pub(crate) fn root(&self) -> String {
        self.root.path().to_string_lossy().into_owned()
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        probe::until("the server listens", probe::PATIENCE, async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.ok()
        })
        .await
        .map(drop)
        .with_context(|| self.process.last_words())
    }
}

fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(arguments).envs(GIT.iter().copied());
    let output = command.output().context("cannot run `git`: is it on the PATH?")?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
