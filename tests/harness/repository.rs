//! Where the parts of this repository lie. Serves no step; every file of the harness starts here.

use std::path::{Path, PathBuf};

/// The root of the checkout that this harness was built from.
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The path of a file of the repository, from its path relative to the root.
pub fn path(relative: &str) -> PathBuf {
    root().join(relative)
}

/// The text of a file of the repository. Fails with the path when it cannot be read.
pub fn text(relative: &str) -> anyhow::Result<String> {
    let path = path(relative);
    std::fs::read_to_string(&path).map_err(|error| anyhow::anyhow!("cannot read `{}`: {error}", path.display()))
}

/// The directory for what is built or installed: cargo's own target directory.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
