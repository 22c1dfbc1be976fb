//! A running Envoy, and what it says about itself. Serves step 1, and shows what steps 10 and 12 left behind.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::envoy_config::{EnvoyConfig, WrittenConfig};
use crate::process::ChildProcess;
use crate::{envoy_binary, probe};

/// What became of a new filter configuration that a running Envoy was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyUpdate {
    /// It is in force; each worker takes it up for new calls within milliseconds.
    Accepted,
    /// It was refused; the old one is still in force.
    Rejected,
}

/// One Envoy process. Ended when dropped.
#[derive(Debug)]
pub struct Envoy {
    process: ChildProcess,
    config: EnvoyConfig,
    written: WrittenConfig,
    admin: String,
    port: u16,
    http: reqwest::Client,
    // Last, so that the process has ended before its files go.
    _dir: TempDir,
}

impl Envoy {
    /// Starts Envoy and waits until it serves. A failure carries Envoy's own last lines.
    pub async fn start(config: EnvoyConfig) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("holdpoint-envoy-").tempdir()?;
        let written = config.write(dir.path())?;
        let admin_address = dir.path().join("admin.address");
        let mut command = Command::new(envoy_binary::envoy()?);
        command
            .arg("--config-path")
            .arg(&written.bootstrap)
            .arg("--admin-address-path")
            .arg(&admin_address)
            .args(["--concurrency", &config.worker_count().to_string()])
            // Several may run on one machine; hot restart would make them one family.
            .arg("--disable-hot-restart")
            // A misspelt field in a file that is read while running is otherwise ignored without a word.
            .arg("--reject-unknown-dynamic-fields")
            // Access log lines appear at once instead of after ten seconds.
            .args(["--file-flush-interval-msec", "20"])
            .args(["--log-level", "info"])
            .envs(config.environment_added().iter().map(|(name, value)| (name, value)));
        let process = ChildProcess::start("envoy", command, dir.path())?;

        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let ready = probe::until("Envoy serves", probe::PATIENCE, async || {
            if process.exited().is_some() {
                return Some(None);
            }
            let address = std::fs::read_to_string(&admin_address).ok().filter(|address| !address.is_empty())?;
            let admin = format!("http://{address}");
            let ready = http.get(format!("{admin}/ready")).send().await.ok()?;
            ready.status().is_success().then_some(Some(admin))
        })
        .await;
        let admin = match ready {
            Ok(Some(admin)) => admin,
            Ok(None) => bail!("Envoy did not start: {}", process.last_words()),
            Err(error) => return Err(error.context(process.last_words())),
        };
        let mut envoy = Self { process, config, written, admin, port: 0, http, _dir: dir };
        envoy.port = envoy.listener_port().await?;
        Ok(envoy)
    }

    /// Ends it as a crash would, and starts another with the same configuration; its port is another one.
    pub async fn restarted(mut self) -> anyhow::Result<Self> {
        self.restart().await?;
        Ok(self)
    }

    /// The same in place.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill();
        *self = Self::start(self.config.clone()).await?;
        Ok(())
    }

    /// Runs `envoy --mode validate`, which serves nothing: whether it was content, and what it said.
    pub fn validate(config: &EnvoyConfig) -> anyhow::Result<(bool, String)> {
        let dir = tempfile::Builder::new().prefix("holdpoint-envoy-").tempdir()?;
        let written = config.write(dir.path())?;
        let mut command = Command::new(envoy_binary::envoy()?);
        command.args(["--mode", "validate", "--disable-hot-restart", "--config-path"]).arg(&written.bootstrap);
        let output = command.output().context("Envoy cannot be run")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), said))
    }

    /// The loopback port that clients call.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the MCP endpoint behind this Envoy.
    pub fn mcp_url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// The address of the admin interface.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself, to end or to question it.
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Envoy's own log, the filter's lines included.
    pub fn log(&self) -> String {
        self.process.stderr_text()
    }

    /// The access log so far, one object a line.
    pub fn access_log(&self) -> Vec<Value> {
        self.process.stdout_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the first access log line that `matches`: it is written after the client has its answer.
    pub async fn access_log_line(&self, matches: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        probe::until("the access log shows the call", probe::PATIENCE, async || {
            self.access_log().into_iter().find(|line| matches(line))
        })
        .await
        .with_context(|| self.process.last_words())
    }

    /// One counter or gauge by its full name; 0 if Envoy has never touched it.
    pub async fn stat(&self, name: &str) -> anyhow::Result<u64> {
        let prefix = format!("{name}: ");
        let stats = self.admin_text("/stats").await?;
        let found = stats.lines().find_map(|line| line.strip_prefix(&prefix));
        match found {
            Some(value) => value.parse().with_context(|| format!("statistic `{name}` is `{value}`")),
            None => Ok(0),
        }
    }

    /// All statistics as Prometheus would scrape them.
    pub async fn prometheus(&self) -> anyhow::Result<String> {
        self.admin_text("/stats/prometheus").await
    }

    /// What the admin interface answers to a GET of `path`.
    pub async fn admin_text(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("{}{path}", self.admin);
        let answer = self.http.get(&url).send().await.with_context(|| self.process.last_words())?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// POSTs to a path of the admin interface, such as `/logging?wasm=warning`.
    pub async fn admin_post(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.post(format!("{}{path}", self.admin)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// The filter's structured lines of one event, in the order of Envoy's log.
    pub fn filter_lines(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| line.split_once("holdpoint: {").map(|(_, rest)| format!("{{{rest}")));
        let read = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        read.filter(|line| line["event"] == event).collect()
    }

    /// Waits for a structured line of the filter that `matches`.
    pub async fn filter_line(&self, event: &str, matches: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        probe::until(&format!("Envoy's log has a line of `{event}`"), probe::PATIENCE, async || {
            self.filter_lines(event).into_iter().find(|line| matches(line))
        })
        .await
        .with_context(|| self.process.last_words())
    }

    /// Offers a new filter document to this running Envoy, and waits for its answer. The configuration must have been
    /// started with `filter_by_discovery`.
    pub async fn update_filter_document(&mut self, text: &str) -> anyhow::Result<PolicyUpdate> {
        let discovery = self
            .written
            .discovery
            .clone()
            .context("this Envoy reads its filter from the bootstrap: start it with `filter_by_discovery`")?;
        // `update_success` rather than `config_reload`: that one stays when the new text equals the old.
        let accepted_before = self.discovery_stat("update_success").await?;
        let rejected_before = self.discovery_stat("update_rejected").await?;
        self.config.filter_document(text)?;
        self.config.rewrite_discovery(&discovery)?;
        probe::until("Envoy takes the policy up", probe::PATIENCE, async || {
            if self.discovery_stat("update_success").await.ok()? > accepted_before {
                return Some(PolicyUpdate::Accepted);
            }
            if self.discovery_stat("update_rejected").await.ok()? > rejected_before {
                return Some(PolicyUpdate::Rejected);
            }
            None
        })
        .await
        .with_context(|| self.process.last_words())
    }

    async fn discovery_stat(&self, name: &str) -> anyhow::Result<u64> {
        let filter = crate::envoy_config::FILTER;
        let full = format!("extension_config_discovery.http_filter.{filter}.{name}");
        self.stat(&full).await
    }

    async fn listener_port(&self) -> anyhow::Result<u16> {
        let listeners: Value = serde_json::from_str(&self.admin_text("/listeners?format=json").await?)?;
        listeners
            .pointer("/listener_statuses/0/local_address/socket_address/port_value")
            .and_then(Value::as_u64)
            .and_then(|port| u16::try_from(port).ok())
            .with_context(|| format!("Envoy names no listener: {listeners}"))
    }
}
