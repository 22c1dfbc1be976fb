//! A clock that steps, for a program that reads it through the C library. Serves the faults of step 8.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use tempfile::TempDir;

/// Where distributions put the library of libfaketime.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// How far a program's wall clock is off. Its timers are true.
#[derive(Debug)]
pub struct SteppedClock {
    library: PathBuf,
    dir: TempDir,
}

impl SteppedClock {
    /// A clock that is right so far. Fails where libfaketime is not installed.
    pub fn new() -> anyhow::Result<Self> {
        let library = LIBRARIES.iter().map(PathBuf::from).find(|path| path.exists());
        let library = library.context("libfaketime is not installed (Debian: `apt-get install faketime`)")?;
        let clock = Self { library, dir: tempfile::Builder::new().prefix("holdpoint-clock-").tempdir()? };
        clock.step_to_seconds(0)?;
        Ok(clock)
    }

    /// What a program's environment must hold.
    pub fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// From now on it is so many seconds ahead of the true time, or behind it.
    pub fn step_to_seconds(&self, ahead: i64) -> anyhow::Result<()> {
        // Renamed into place: a reader sees the old text or the new one.
        let new = self.dir.path().join("new");
        fs::write(&new, format!("{ahead:+}\n"))?;
        Ok(fs::rename(new, self.file())?)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}
