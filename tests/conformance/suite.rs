//! The suite itself, as its authors publish it, and what it found: scenario → its checks.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use holdpoint_tests::node::Node;
use holdpoint_tests::{installed, repository};
use serde_json::Value;
use tokio::process::Command;

/// The suite, and the clients that it is to test.
const PACKAGES: &[&str] = &["@modelcontextprotocol/conformance@0.2.0-alpha.12", "@modelcontextprotocol/client@2.4.0"];

/// Longer than any of its runs on a machine that is busy building.
const RUN_WITHIN: Duration = Duration::from_secs(300);

/// What it said: scenario → every check with its status, in order of their names.
pub(crate) type Verdicts = BTreeMap<String, Vec<(String, String)>>;

/// The installed suite.
pub(crate) struct Suite {
    pub(crate) node: Node,
    pub(crate) packages: std::path::PathBuf,
}

impl Suite {
    /// Installs it; `None` where it cannot be had and may be skipped.
    pub(crate) async fn bring() -> anyhow::Result<Option<Self>> {
        let brought = tokio::task::spawn_blocking(|| -> anyhow::Result<Self> {
            let node = Node::bring()?;
            let packages = node.packages("conformance", PACKAGES)?;
            Ok(Self { node, packages })
        });
        installed::or_skip("the official conformance suite", brought.await?)
    }

    /// Runs `arguments` and reads what it found. That scenarios fail is no error; that nothing was run is one.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<Verdicts> {
        let out = tempfile::tempdir()?;
        let mut command = Command::from(self.node.run(&self.packages.join("node_modules/.bin/conformance")));
        command.args(arguments).arg("-o").arg(out.path()).current_dir(out.path()).stdin(Stdio::null());
        command.env("HOLDPOINT_PACKAGES", &self.packages).kill_on_drop(true);
        let output = tokio::time::timeout(RUN_WITHIN, command.output());
        let output =
            output.await.with_context(|| format!("the suite ran longer than {RUN_WITHIN:?}: {arguments:?}"))??;
        let verdicts = verdicts(out.path())?;
        if verdicts.is_empty() {
            let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            bail!("the suite ran nothing: {arguments:?}\n{said}\n{complained}");
        }
        Ok(verdicts)
    }
}

/// Its results lie in one directory for each scenario, named `server-…` with a time behind it, or by the name alone.
fn verdicts(out: &Path) -> anyhow::Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    let mut dirs = vec![out.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().is_some_and(|name| name == "checks.json") {
                let scenario = scenario(dir.strip_prefix(out)?);
                let checks: Vec<Value> = serde_json::from_slice(&std::fs::read(&path)?)?;
                let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
                let mut checks: Vec<_> =
                    checks.iter().map(|check| (text(check, "id"), text(check, "status"))).collect();
                checks.retain(|(_, status)| status != "INFO");
                checks.sort();
                verdicts.insert(scenario, checks);
            }
        }
    }
    Ok(verdicts)
}

/// `server-tools-list-2026-11-25T21-38-26-772Z` is scenario `tools-list`.
fn scenario(dir: &Path) -> String {
    let name = dir.to_string_lossy().into_owned();
    let name = name.strip_prefix("server-").unwrap_or(&name).to_owned();
    let is_time = |at: usize| name.get(at..).is_some_and(|rest| rest.len() == 25 && rest.ends_with('Z'));
    match name.len().checked_sub(25) {
        Some(at) if is_time(at) => name.get(..at).unwrap_or(&name).to_owned(),
        _ => name,
    }
}

/// The checks that did not succeed, one line each.
pub(crate) fn shortcomings(verdicts: &Verdicts) -> Vec<String> {
    let checks = verdicts.iter().flat_map(|(scenario, checks)| checks.iter().map(move |check| (scenario, check)));
    checks
        .filter(|(_, (_, status))| !["SUCCESS", "SKIPPED"].contains(&status.as_str()))
        .map(|(scenario, (id, status))| format!("{scenario}: {id} is {status}"))
        .collect()
}

/// A scenario that cannot be as it should be yet, and why.
pub(crate) struct Known {
    pub(crate) scenario: &'static str,
    pub(crate) why: &'static str,
}

/// Fails unless exactly the `known` scenarios differ: an unknown difference breaks a client, and a known one that is gone
/// must leave the list.
pub(crate) fn compare(direct: &Verdicts, through: &Verdicts, known: &[Known]) -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    let scenarios = direct.keys().chain(through.keys()).collect::<std::collections::BTreeSet<_>>();
    for scenario in scenarios {
        let (one, other) = (direct.get(scenario), through.get(scenario));
        let listed = known.iter().find(|known| known.scenario == scenario);
        match (one == other, listed) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(listed)) => {
                complaints.push(format!("{scenario} does not differ any more: take it off the list ({})", listed.why));
            }
            (false, None) => complaints.push(format!("{scenario}\n  direct:  {one:?}\n  through: {other:?}")),
        }
    }
    anyhow::ensure!(complaints.is_empty(), "{} scenarios:\n{}", complaints.len(), complaints.join("\n"));
    Ok(())
}

/// The path of a script beside this file.
pub(crate) fn script(name: &str) -> std::path::PathBuf {
    repository::path("tests/conformance").join(name)
}
