//! Cargo run from inside a test or the demo: builds one package and says where its artifact lies.
//!
//! At run time, because a build script that calls cargo waits for the lock of the cargo that runs it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::repository;

/// How many of cargo's last lines an error repeats.
const TAIL_LINES_MAX: usize = 60;

/// Writes one line to the terminal, past the capture of the test runner: progress must be seen while it happens.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A cargo that knows nothing of the cargo that runs this process.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository::root()).stdin(Stdio::null());
    forget(&mut command);
    command
}

/// Takes away what cargo has set for this process: a cargo that `command` runs must not hear of it.
pub fn forget(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        // Cargo sets these for what it runs; inherited, they change fingerprints or flags and rebuild everything.
        let name = name.to_string_lossy();
        let about_a_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let about_a_build = [
            "CARGO_PRIMARY_PACKAGE",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_MAKEFLAGS",
            "MAKEFLAGS",
            "RUSTFLAGS",
        ]
        .contains(&name.as_ref());
        if about_a_package || about_a_build {
            command.env_remove(name.as_ref());
        }
    }
}

/// Runs `cargo build` with `arguments` and returns the first path it made that `artifact` accepts; `what` names it in
/// progress and errors. Cargo's progress goes to the terminal; a failure carries the last lines of its output.
pub fn build(what: &str, arguments: &[&str], artifact: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    make(what, &[&["build"], arguments].concat(), artifact)
}

/// As [`build`], by any command of cargo that builds: `arguments` begin with it.
pub fn make(what: &str, arguments: &[&str], artifact: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    let mut child = cargo()
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `cargo`: is Rust installed and on the PATH?")?;

    let stderr = child.stderr.take().context("cargo gave no stderr")?;
    let what_builds = what.to_owned();
    let progress = std::thread::spawn(move || follow(stderr, &what_builds));

    let mut messages = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut messages)?;
    }
    let status = child.wait()?;
    let tail = progress.join().unwrap_or_default();
    if !status.success() {
        bail!("cannot build {what}: `cargo {}` failed:\n{tail}", arguments.join(" "));
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .find(|name| artifact(name))
        .map(PathBuf::from)
        .with_context(|| format!("cannot find {what} among what `cargo {}` made", arguments.join(" ")))
}

/// Runs `cargo` with `arguments` and returns what it printed; its progress goes to the terminal.
pub fn printed(arguments: &[&str]) -> anyhow::Result<String> {
    let output = cargo().args(arguments).stderr(Stdio::inherit()).output().context("cannot run `cargo`")?;
    if !output.status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Passes cargo's progress on and keeps its last lines.
fn follow(stderr: impl Read, what: &str) -> String {
    let mut tail = VecDeque::new();
    let mut said = false;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let line_of_work = line.trim_start().starts_with("Compiling") || line.trim_start().starts_with("Downloading");
        if line_of_work {
            if !said {
                say(&format!("building {what}:"));
                said = true;
            }
            say(&line);
        }
        if tail.len() == TAIL_LINES_MAX {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    Vec::from(tail).join("\n")
}
