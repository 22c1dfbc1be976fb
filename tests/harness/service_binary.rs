//! The approval service's binary `holdpoint`, built when first asked for. Brings the far side of step 8.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::anyhow;

use crate::cargo;

/// The path of `holdpoint`, built from this checkout. Built once per process; later calls are free.
pub fn holdpoint() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        // `--workspace` gives the dependencies the features that `cargo test` gave them, so that they are not built twice.
        let mut arguments = vec!["--workspace", "--bin", "holdpoint"];
        // A benchmark measures what people run.
        if cfg!(not(debug_assertions)) {
            arguments.push("--release");
        }
        cargo::build("the approval service", &arguments, |name| name.ends_with("/holdpoint"))
            .map_err(|error| format!("{error:#}"))
    });
    match built {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}
