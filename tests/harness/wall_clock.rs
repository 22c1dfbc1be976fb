//! A wall clock that a test sets, for one process: what an operator or a time server does to a machine. Serves step 7.
//!
//! The process is started with a small library before its C library. `CLOCK_REALTIME` then differs by what a file says;
//! the steady clock is left alone, as the kernel leaves it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail};

use crate::envoy_config::EnvoyConfig;
use crate::repository;

/// The wall clock of one Envoy, or one service.
pub struct WallClock {
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl WallClock {
    /// One that is right until it is set.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("holdpoint-clock-").tempdir()?;
        let file = dir.path().join("ahead");
        let clock = Self { file, _dir: dir };
        clock.set_ahead_s(0)?;
        Ok(clock)
    }

    /// Has the Envoy of this configuration go by this clock.
    pub fn rule(&self, config: &mut EnvoyConfig) -> anyhow::Result<()> {
        config.environment("LD_PRELOAD", library()?);
        config.environment("HOLDPOINT_WALL_CLOCK", self.file.clone());
        Ok(())
    }

    /// The same for whatever is started with this environment.
    pub fn environment(&self) -> anyhow::Result<Vec<(String, String)>> {
        let library = library()?.display().to_string();
        let file = self.file.display().to_string();
        Ok(vec![("LD_PRELOAD".to_owned(), library), ("HOLDPOINT_WALL_CLOCK".to_owned(), file)])
    }

    /// Sets it so many seconds ahead of the machine's; behind it when negative.
    pub fn set_ahead_s(&self, seconds: i64) -> anyhow::Result<()> {
        // In place and never shorter: the process has the file mapped.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.file);
        file.and_then(|mut file| file.write_all(&seconds.to_le_bytes())).context("the wall clock cannot be set")
    }
}

/// The library, built once per process by the compiler that built this.
fn library() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!("{error}"))
}

fn build() -> anyhow::Result<PathBuf> {
    let library = repository::target_dir().join(format!("wall-clock-{}.so", std::process::id()));
    let output = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-O", "-o"])
        .arg(&library)
        .arg(repository::path("tests/harness/wall_clock/preloaded.rs"))
        .output()
        .context("cannot run `rustc`")?;
    if !output.status.success() {
        bail!("the library does not build: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(library)
}
