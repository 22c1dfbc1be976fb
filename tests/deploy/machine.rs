//! The service on a machine of its own: the systemd unit.

use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::{installed, ports, probe, repository, service_binary};

const UNIT: &str = "approval-svc/deploy/holdpoint.service";
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
        // A thread that is killed between two calls shows the kernel's own mark where a number would be: -11 is no call.
        .filter(|name| !name.starts_with("syscall_0xffffffff"))
        .filter(|name| !allowed.iter().any(|one| one == **name) || taken.iter().any(|one| one == **name))
        .collect();
    ensure!(refused.is_empty(), "the unit would refuse {refused:?}");
    Ok(())
}

fn is_root() -> bool {
    // SAFETY: asks for a number and touches nothing.
    unsafe { libc::geteuid() == 0 }
}
