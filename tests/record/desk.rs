//! A service with a record and no gateway: entries come straight over its API, and copies of its data are verified.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use holdpoint_core::audit::payload::{Part, Payload, PayloadDigest, Salt};
use holdpoint_core::decision::AuditLevel;
use holdpoint_tests::approver::Person;
use holdpoint_tests::service::Service;
use holdpoint_tests::{repository, service_binary};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The service, and who talks to it.
pub(crate) struct Desk {
    pub(crate) service: Service,
    pub(crate) auditor: Person,
    http: reqwest::Client,
    enforcer: String,
    auditor_token: String,
}

/// What `holdpoint audit verify` said.
pub(crate) struct Verified {
    pub(crate) is_whole: bool,
    pub(crate) findings: Vec<String>,
    pub(crate) entries: u64,
}

/// Counter of the one entry with arguments beside it.
const BESIDE: u64 = 1;

/// Arguments in full, and what their entry says of them.
fn beside() -> (Payload, Option<PayloadDigest>) {
    let mut payload = Payload::new(Salt::new([5; 16]));
    let said = payload.keep(Part::Arguments, AuditLevel::Full, r#"{"amount":10}"#);
    (payload, said)
}

impl Desk {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let service = Service::start().await?;
        let auditor_token = service.token("auditor", "auditor", &[])?;
        let auditor = Person::with_token(&service, auditor_token.clone())?;
        let enforcer = service.token("enforcer", "gateway-1", &[])?;
        Ok(Self { service, auditor, http: reqwest::Client::new(), enforcer, auditor_token })
    }

    /// Reports `count` decisions of `source` from `first_counter` on.
    pub(crate) async fn append(&self, source: &str, first_counter: u64, count: u64) -> anyhow::Result<()> {
        let verdict = |at: u64| if at.is_multiple_of(3) { "deny" } else { "allow" };
        let entries: Vec<Value> = (first_counter..first_counter + count)
            .map(|at| {
                let mut entry = json!({"schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": 1_000 + at, "server": "tracker",
                       "target": format!("tool_{at}"), "verdict": verdict(at)});
                if at == BESIDE {
                    entry["arguments"] = json!(beside().1);
                }
                entry
            })
            .collect();
        let mut batch = json!({"source": source, "first_counter": first_counter, "entries": entries});
        if (first_counter..first_counter + count).contains(&BESIDE) {
            batch["payloads"] = json!([{"counter": BESIDE, "payload": beside().0}]);
        }
        let url = self.service.url("/v1/audit/entries");
        let answer = self.http.post(url).bearer_auth(&self.enforcer).json(&batch).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// What is at a path, as bytes.
    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let answer = self.http.get(self.service.url(path)).bearer_auth(&self.auditor_token).send().await?;
        ensure!(answer.status().is_success(), "GET {path}: {}", answer.status());
        Ok(answer.bytes().await?.to_vec())
    }

    /// The signed head of the log as it is now.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.bytes("/v1/log/checkpoint").await?)?)
    }

    /// Ends the service as a crash would, and copies its data.
    pub(crate) fn copy(&self) -> anyhow::Result<TempDir> {
        self.service.kill();
        copy(&self.service.data_dir())
    }
}

/// A copy of a data directory.
pub(crate) fn copy(from: &Path) -> anyhow::Result<TempDir> {
    let to = tempfile::Builder::new().prefix("holdpoint-copy-").tempdir()?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.path().join(file.file_name()))?;
    }
    Ok(to)
}

/// Runs `holdpoint audit verify` on a data directory.
pub(crate) fn verify(data_dir: &Path, more: &[&str]) -> anyhow::Result<Verified> {
    let output = Command::new(service_binary::holdpoint()?)
        .args(["audit", "verify", "--output", "json", "--data-dir"])
        .arg(data_dir)
        .args(more)
        .output()?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`audit verify`: {}", String::from_utf8_lossy(&output.stderr)))?;
    let findings: Vec<String> = said["findings"]
        .as_array()
        .context("findings")?
        .iter()
        .filter_map(|one| one.as_str())
        .map(str::to_owned)
        .collect();
    ensure!(findings.is_empty() == output.status.success(), "exit code and findings disagree: {findings:?}");
    let entries = said["entries"].as_u64().unwrap_or_default();
    Ok(Verified { is_whole: findings.is_empty(), findings, entries })
}

/// Runs an attack of `tamper.py` on the database of a data directory.
pub(crate) fn tamper(data_dir: &Path, attack: &str) -> anyhow::Result<()> {
    let script: PathBuf = repository::root().join("tests/record/tamper.py");
    let output = Command::new("python3").arg(script).arg(data_dir.join("holdpoint.db")).arg(attack).output()?;
    ensure!(output.status.success(), "{attack}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
