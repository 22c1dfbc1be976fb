//! What a fault left behind, on every side: the server, the client, the record.

use std::process::Command;

use anyhow::Context;
use holdpoint_tests::client::HttpAnswer;
use holdpoint_tests::service::{Service, ServiceSettings};
use holdpoint_tests::{service_binary, upstream::Upstream};
use serde_json::Value;

/// How many messages that call this tool the server has seen.
pub(crate) fn runs(upstream: &Upstream, tool: &str) -> usize {
    upstream.received().iter().filter(|message| message.json()["params"]["name"] == tool).count()
}

/// The sentence that the agent reads; empty when the answer is no tool result.
pub(crate) fn sentence(answer: &HttpAnswer) -> String {
    answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// Whether the agent has a result that looks like success.
pub(crate) fn succeeded(answer: &HttpAnswer) -> bool {
    answer.json()["result"]["isError"] == false
}

/// For tests that ask the service again and again until something has happened.
pub(crate) fn without_rate_limits(service: &mut ServiceSettings) {
    service.arguments.extend(["--person-requests-per-s-max".to_owned(), "10000".to_owned()]);
}

/// Ends the service as a crash would, and fails unless its record verifies from its own database.
pub(crate) fn assert_record_verifies(service: &Service) -> anyhow::Result<()> {
    service.kill();
    let output = Command::new(service_binary::holdpoint()?)
        .args(["audit", "verify", "--output", "json", "--data-dir"])
        .arg(service.data_dir())
        .output()?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`audit verify`: {}", String::from_utf8_lossy(&output.stderr)))?;
    anyhow::ensure!(output.status.success() && said["findings"] == Value::Array(Vec::new()), "{said}");
    Ok(())
}
