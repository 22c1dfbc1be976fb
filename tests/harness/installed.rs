//! What other people wrote and the tests need: installed once per machine into the target directory. Serves no step.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{cargo, repository};

/// The directory `<target>/<kind>/<name>`, filled by `install` unless it holds exactly `wanted` already.
///
/// `wanted` lists packages with their versions, one a line; whatever else was installed there before is replaced.
/// Test binaries may start side by side: one installs, the others wait for it. An installation that broke off is
/// begun again, because the list is written last.
pub fn once(
    kind: &str,
    name: &str,
    wanted: &str,
    install: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let parent = repository::target_dir().join(kind);
    let home = parent.join(name);
    fs::create_dir_all(&parent)?;
    let lock = File::create(parent.join(format!("{name}.lock")))?;
    lock.lock().with_context(|| format!("cannot lock `{}`", home.display()))?;
    let list = home.join("installed.txt");
    if fs::read_to_string(&list).is_ok_and(|there| there == wanted) {
        return Ok(home);
    }
    let line = wanted.replace('\n', ", ");
    cargo::say(&format!("installing {line} into {}", home.display()));
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    install(&home).with_context(|| format!("cannot install {line}"))?;
    fs::write(&list, wanted)?;
    Ok(home)
}

/// What was to be brought, or `None` and one line on the terminal that says why it is left out. With `HOLDPOINT_CI=1`
/// nothing is left out: the reason is the error.
pub fn or_skip<T>(what: &str, brought: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match brought {
        Ok(brought) => Ok(Some(brought)),
        Err(error) if std::env::var("HOLDPOINT_CI").is_ok_and(|value| value == "1") => {
            Err(error.context(format!("{what} must not be skipped, because `HOLDPOINT_CI` is 1")))
        }
        Err(error) => {
            let reason = format!("{error:#}");
            cargo::say(&format!("skipped: {what}, because {}", reason.lines().next().unwrap_or_default()));
            Ok(None)
        }
    }
}

/// Runs an installer to its end; its output is the error when it fails.
pub(crate) fn run(mut command: Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{command:?} failed: {}", format!("{}\n{}", stderr.trim(), stdout.trim()).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
