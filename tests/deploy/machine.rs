//! The service on a machine of its own: the image's root with nothing but the binary in it, and the systemd unit.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::{installed, ports, probe, repository, service_binary};

const UNIT: &str = "approval-svc/deploy/holdpoint.service";
const DOCKERFILE: &str = "approval-svc/deploy/Dockerfile";
/// The user of image and pods.
const USER: u32 = 65_532;
/// How exposed `systemd-analyze security` may find the unit, of 10.
const EXPOSURE_MAX: f64 = 1.5;

fn is_there(program: &str) -> anyhow::Result<()> {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(found.is_ok_and(|status| status.success()), "there is no `{program}`");
    Ok(())
}

/// The value of a setting of the unit, all its lines together.
fn setting(unit: &str, name: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(&format!("{name}=")));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn systemd_takes_the_unit_and_finds_it_confined() -> anyhow::Result<()> {
    if installed::or_skip("the systemd unit", is_there("systemd-analyze"))?.is_none() {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    // The program that it starts has to exist where this machine has it.
    let binary = service_binary::holdpoint()?;
    let judged = |unit: &str| -> anyhow::Result<Option<f64>> {
        let file = dir.path().join("holdpoint.service");
        std::fs::write(&file, unit.replace("/usr/local/bin/holdpoint", &binary.to_string_lossy()))?;
        let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output()?;
        let said = String::from_utf8_lossy(&verified.stderr);
        if !verified.status.success() || said.contains("holdpoint.service") {
            return Ok(None);
        }
        let judged = Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(&file).output()?;
        let text = String::from_utf8(judged.stdout)?;
        let line = text.lines().find(|line| line.contains("Overall exposure level")).context(text.clone())?;
        let level = line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        Ok(Some(level.with_context(|| line.to_owned())?))
    };
    let unit = repository::text(UNIT)?;
    let exposure = judged(&unit)?.context("systemd has something against it")?;
    ensure!(exposure <= EXPOSURE_MAX, "exposed: {exposure}");
    ensure!(judged(&unit.replace("ProtectSystem=", "ProtectSystems="))?.is_none(), "a misspelt setting is found");
    let open = judged(&unit.replace("SystemCallFilter=", "#"))?.context("still a unit")?;
    ensure!(open > exposure, "taking the filter of system calls away shows");
    Ok(())
}

/// Every system call that service and command line make is one that the unit allows.
#[tokio::test]
async fn unit_allows_every_system_call_that_the_service_makes() -> anyhow::Result<()> {
    let there = is_there("strace").and_then(|()| is_there("systemd-analyze")).and_then(|()| {
        ensure!(is_root(), "only root may become another user");
        crate::packages::static_binary()
    });
    let Some(shipped) = installed::or_skip("the unit's system calls", there)? else { return Ok(()) };
    let unit = repository::text(UNIT)?;
    let words = setting(&unit, "SystemCallFilter");
    let set = |name: &str| -> anyhow::Result<Vec<String>> {
        let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut calls = Vec::new();
        for word in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if word.starts_with('@') {
                let nested = Command::new("systemd-analyze").args(["syscall-filter", word]).output()?;
                let nested = String::from_utf8(nested.stdout)?;
                calls.extend(nested.lines().skip(1).map(|line| line.trim().to_owned()));
            } else {
                calls.push(word.to_owned());
            }
        }
        Ok(calls)
    };
    // First what is allowed, then, from the tilde on, what is taken away again.
    let tilde = words.iter().position(|word| word.starts_with('~')).context("something is taken away")?;
    let (mut allowed, mut taken) = (Vec::new(), Vec::new());
    for (at, word) in words.iter().enumerate() {
        let into = if at < tilde { &mut allowed } else { &mut taken };
        into.extend(set(word.trim_start_matches('~'))?);
    }
    ensure!(allowed.len() > 100 && taken.len() > 10, "the sets were read: {} {}", allowed.len(), taken.len());

    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let trace = dir.path().join("calls.txt");
    let binary = dir.path().join("holdpoint");
    std::fs::copy(shipped, &binary)?;
    chown(dir.path(), Some(USER), Some(USER))?;
    let traced = |words: &[&str]| {
        // Without rights, as the unit starts it; SQLite does other things as root.
        let user = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs", "--bounding-set=-all"]);
        command.args(["--", "strace", "-f", "-qq", "-e", "signal=none", "-A", "-o"]).arg(&trace);
        // So that it does not outlive whoever watches it.
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]);
        command.arg(&binary).args(words).arg("--data-dir").arg(&data);
        command
    };
    let port = ports::free()?;
    let listen = format!("127.0.0.1:{port}");
    let process = ChildProcess::start("holdpoint", traced(&["serve", "--listen", &listen]), dir.path())?;
    let ready = async || {
        let answer = reqwest::get(format!("http://{listen}/readyz")).await.ok()?;
        answer.status().is_success().then_some(())
    };
    probe::until("the service is ready", probe::PATIENCE, ready).await?;
    let token = traced(&["token", "create", "--role", "approver", "--subject", "alice"]).output()?;
    ensure!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    process.kill();
    let text = std::fs::read_to_string(&trace)?;
    // From the start of the binary on; what comes before is what starts it.
    let mut is_ours = false;
    let of_ours = |line: &&str| {
        if line.contains(" execve(") {
            is_ours = line.contains(&format!("execve(\"{}\"", binary.display()));
        }
        is_ours
    };
    let made: BTreeSet<&str> = text
        .lines()
        .filter(of_ours)
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect();
    ensure!(made.contains("fsync") || made.contains("fdatasync"), "the calls were read: {made:?}");
    let refused: Vec<&&str> = made
        .iter()
        .filter(|name| !allowed.iter().any(|one| one == **name) || taken.iter().any(|one| one == **name))
        .collect();
    ensure!(refused.is_empty(), "the unit would refuse {refused:?}");
    Ok(())
}

/// The instructions of the last stage of a Dockerfile.
fn last_stage(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut stage = Vec::new();
    for line in lines {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        if name == "FROM" {
            stage.clear();
        }
        stage.push((name.to_owned(), rest.trim().to_owned()));
    }
    stage
}

/// No container runtime is needed for what the image promises: its root, with its user and its command, runs the service.
#[tokio::test]
async fn service_runs_in_an_empty_root_without_rights() -> anyhow::Result<()> {
    let stage = last_stage(&repository::text(DOCKERFILE)?);
    let value =
        |name: &str| stage.iter().find(|(one, _)| one == name).map(|(_, rest)| rest.as_str()).context(name.to_owned());
    ensure!(value("FROM")? == "scratch" && value("USER")? == format!("{USER}:{USER}"), "{stage:?}");
    ensure!(stage.iter().all(|(name, _)| name != "RUN" && name != "ADD"), "nothing runs in the empty image");
    let entry: Vec<String> = serde_json::from_str(value("ENTRYPOINT")?)?;
    let command: Vec<String> = serde_json::from_str(value("CMD")?)?;
    ensure!(entry == ["/usr/local/bin/holdpoint"], "{entry:?}");

    let may = if is_root() { is_there("chroot") } else { Err(anyhow::anyhow!("only root may change its root")) };
    let Some(binary) = installed::or_skip("the image's root", may.and_then(|()| crate::packages::static_binary()))?
    else {
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755))?;
    let place = root.path().join("usr/local/bin");
    std::fs::create_dir_all(&place)?;
    std::fs::copy(&binary, place.join("holdpoint"))?;
    for (name, mode) in [("data", 0o700), ("tmp", 0o1777)] {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?;
    }
    chown(root.path().join("data"), Some(USER), Some(USER))?;
    let port = ports::free()?;
    let chroot = program("chroot")?;
    let within = |words: &[String]| {
        let mut chroot = Command::new(&chroot);
        chroot.arg(format!("--userspec={USER}:{USER}")).arg(root.path()).args(&entry).args(words);
        chroot.env_clear().env("PATH", "/usr/local/bin").env("HOLDPOINT_DATA_DIR", "/data");
        chroot
    };
    let words: Vec<String> =
        command.iter().map(|word| word.replace("0.0.0.0:7437", &format!("127.0.0.1:{port}"))).collect();
    let log = tempfile::tempdir()?;
    let process = ChildProcess::start("holdpoint", within(&words), log.path())?;
    let ready = async || {
        if process.exited().is_some() {
            return Some(Err(anyhow::anyhow!("{}", process.last_words())));
        }
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await.ok()?;
        answer.status().is_success().then_some(Ok(()))
    };
    probe::until("the service is ready", probe::PATIENCE, ready).await??;
    let words = ["token", "create", "--role", "approver", "--subject", "alice"].map(str::to_owned);
    let made = within(&words).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let outside: Vec<String> = listed(root.path())?.into_iter().filter(|path| !path.starts_with("data/")).collect();
    ensure!(outside == ["usr/local/bin/holdpoint"], "it wrote outside its directory: {outside:?}");
    Ok(())
}

fn is_root() -> bool {
    // SAFETY: asks for a number and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Where a program is, for a command whose own path is that of an empty image.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("there is no `{name}`"))
}

/// Every file below a folder, by its path from there.
fn listed(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(files)
}
