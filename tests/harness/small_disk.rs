//! A file system of a few megabytes, to be filled up. Serves the faults of step 8.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Written at a time, in bytes.
const PIECE_BYTES: usize = 4 * 1024;

/// A tmpfs of its own. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many megabytes. Fails where this process may not mount.
    pub fn mount(megabytes: u32) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("holdpoint-disk-").tempdir()?;
        let size = format!("size={megabytes}m,mode=0700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        let output = output.context("`mount` cannot be run")?;
        if !output.status.success() {
            bail!("a tmpfs cannot be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { dir })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        while ballast.write_all(&[b'x'; PIECE_BYTES]).is_ok() {}
        Ok(())
    }

    /// Gives the space back.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there keeps it, and nobody else sees it any more.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}
