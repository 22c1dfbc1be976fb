//! The filter as wasm, built when first asked for. Brings what steps 1–11 run in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;

use crate::installed::run;
use crate::{cargo, repository};

const TARGET: &str = "wasm32-wasip1";

const PACKAGE: &str = "holdpoint-filter";

/// The path of `holdpoint_filter.wasm`, built from this checkout. Built once per process; later calls are free.
/// Installs the wasm target if this machine has none.
pub fn module() -> anyhow::Result<&'static Path> {
    static MODULE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&MODULE, "the filter (wasm)", PACKAGE, &[])
}

/// The same without its record, for measuring what that costs. In a folder of its own: cargo gives both one name.
pub fn unrecorded() -> anyhow::Result<&'static Path> {
    static MODULE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = repository::target_dir().join("unrecorded").display().to_string();
    let more = ["--features", "unrecorded", "--target-dir", &folder];
    once(&MODULE, "the filter without its record (wasm)", PACKAGE, &more)
}

/// The filter that reads what ours must read and judges nothing (`tests/floor/`).
pub fn floor() -> anyhow::Result<&'static Path> {
    static MODULE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&MODULE, "the filter that judges nothing (wasm)", "holdpoint-floor", &[])
}

/// The filter with a trap: its VM dies at every so manieth request, as by a defect. The module is there as long as the folder.
pub fn crashing(every: u32) -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let crashing = folder.path().join("crashing.wasm");
    let mut script = Command::new("python3");
    script
        .arg(repository::root().join("tests/harness/crashing.py"))
        .arg(module()?)
        .arg(&crashing)
        .arg(every.to_string());
    run(script)?;
    Ok((folder, crashing))
}

fn once(
    module: &'static OnceLock<Result<PathBuf, String>>,
    what: &str,
    package: &str,
    more: &[&str],
) -> anyhow::Result<&'static Path> {
    match module.get_or_init(|| build(what, package, more).map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}

fn build(what: &str, package: &str, more: &[&str]) -> anyhow::Result<PathBuf> {
    ensure_target()?;
    // `cargo build` would make a library for Rust beside the module, and leave out the optimisation over all crates.
    let module = ["rustc", "-p", package, "--lib", "--crate-type", "cdylib", "--profile", "filter", "--target", TARGET];
    let file = format!("{}.wasm", package.replace('-', "_"));
    cargo::make(what, &[&module[..], more].concat(), |name| name.ends_with(&file))
}

fn ensure_target() -> anyhow::Result<()> {
    let libdir = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run `rustc`: is Rust installed and on the PATH?")?;
    let libdir = String::from_utf8_lossy(&libdir.stdout).trim().to_owned();
    if !libdir.is_empty() && Path::new(&libdir).is_dir() {
        return Ok(());
    }
    cargo::say(&format!("installing the Rust target {TARGET}"));
    let status = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status()
        .with_context(|| format!("the Rust target `{TARGET}` is missing and there is no `rustup` to add it"))?;
    if !status.success() {
        bail!("`rustup target add {TARGET}` failed: run it by hand and see why");
    }
    Ok(())
}
