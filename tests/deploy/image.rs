//! The image of the service: built from its Dockerfile without a daemon, a registry or a network, looked at, and run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::{cargo, installed, ports, probe};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The user of image and pods.
const USER: u32 = 65_532;
const TAG: &str = "localhost/holdpoint:test";
/// Where certificates of public authorities are looked for.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// A store of images of its own.
struct Buildah {
    store: TempDir,
}

impl Buildah {
    fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.store.path().join("root"));
        command.arg("--runroot").arg(self.store.path().join("run")).args(words);
        let output = command.output().context("there is no `buildah`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`buildah {}`: {}", words.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Builds the image and says its id, a digest over all that is in it.
    fn build(&self, context: &Path) -> anyhow::Result<String> {
        let context = context.to_str().context("a path in UTF-8")?;
        self.run(&["build", "--isolation", "chroot", "--no-cache", "--timestamp", "1", "--quiet", "-t", TAG, context])
    }
}

/// Folder or file of an image: path, mode and owner.
type Entry = (String, u32, u32);

/// Everything below a folder.
fn entries(root: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            let about = path.symlink_metadata()?;
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            found.push((name, about.mode() & 0o7777, about.uid()));
            if about.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What `words` are to run as: with this root, on which nothing but data and scratch can be written, as this user, with no
/// other environment.
fn confined(root: &Path, environment: &[(String, String)], words: &[String]) -> Command {
    const SCRIPT: &str = "set -e; root=$1; shift
        mount --bind \"$root\" \"$root\"
        mount --bind \"$root/data\" \"$root/data\"
        mount --bind \"$root/tmp\" \"$root/tmp\"
        mount -o remount,ro,bind \"$root\"
        exec env -i \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "confined"]).arg(root);
    // `env` looks the program up where the environment that it makes says, which is that of the image.
    let chroot = format!("--userspec={USER}:{USER}");
    command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    command.args(["/usr/sbin/chroot", &chroot]).arg(root).args(words);
    command
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[tokio::test]
async fn image_is_built_from_nothing_holds_nothing_else_and_runs_without_rights() -> anyhow::Result<()> {
    let buildah = Buildah { store: tempfile::tempdir()? };
    let there = buildah.run(&["version"]).and_then(|_| {
        let may = Command::new("unshare").args(["--mount", "true"]).status();
        ensure!(may.is_ok_and(|status| status.success()), "only root may mount and change its root");
        crate::packages::packages()
    });
    let Some(packages) = installed::or_skip("the image", there)? else { return Ok(()) };

    let id = buildah.build(packages)?;
    let about: Value = serde_json::from_str(&buildah.run(&["inspect", "--type", "image", TAG])?)?;
    let config = &about["OCIv1"]["config"];
    ensure!(config["User"] == format!("{USER}:{USER}"), "{config}");
    ensure!(config["Entrypoint"] == json!(["/usr/local/bin/holdpoint"]), "{config}");
    ensure!(config["Volumes"] == json!({"/data": {}}), "{config}");
    ensure!(config["ExposedPorts"] == json!({"7437/tcp": {}}), "{config}");
    let layers = about["OCIv1"]["rootfs"]["diff_ids"].as_array().map(Vec::len);
    ensure!(layers == Some(1), "no layer of a base: {about}");
    let again = buildah.build(packages)?;
    ensure!(again == id, "built again it is other bytes: {id}, {again}");

    let container = buildah.run(&["from", "--pull-never", TAG])?;
    let root = PathBuf::from(buildah.run(&["mount", &container])?);
    let before = entries(&root)?;
    let there: Vec<Entry> = [
        ("data", 0o700, USER),
        ("etc", 0o755, 0),
        ("etc/ssl", 0o755, 0),
        ("etc/ssl/certs", 0o755, 0),
        (AUTHORITIES, 0o644, 0),
        ("tmp", 0o1777, 0),
        ("usr", 0o755, 0),
        ("usr/local", 0o755, 0),
        ("usr/local/bin", 0o755, 0),
        ("usr/local/bin/holdpoint", 0o755, 0),
    ]
    .map(|(name, mode, owner)| (name.to_owned(), mode, owner))
    .to_vec();
    ensure!(before == there, "{before:?}");
    ensure!(std::fs::read_to_string(root.join(AUTHORITIES))?.matches("BEGIN CERTIFICATE").count() > 50, "authorities");
    let binary = std::fs::metadata(packages.join("holdpoint"))?.len();
    let held = std::fs::metadata(root.join("usr/local/bin/holdpoint"))?.len();
    ensure!(held == binary, "the binary that was made");
    cargo::say(&format!("the image holds {} MB, of which all but the certificates are the binary", held / 1_000_000));

    let environment: Vec<(String, String)> = texts(&config["Env"])
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    ensure!(environment.iter().any(|(name, value)| name == "HOLDPOINT_DATA_DIR" && value == "/data"), "{config}");
    let entry = texts(&config["Entrypoint"]);
    let port = ports::free()?;
    let listen = |word: String| word.replace("0.0.0.0:7437", &format!("127.0.0.1:{port}"));
    let words: Vec<String> = entry.iter().cloned().chain(texts(&config["Cmd"]).into_iter().map(listen)).collect();
    ensure!(words.len() > entry.len(), "it has a command of its own: {config}");
    let log = tempfile::tempdir()?;
    let process = ChildProcess::start("holdpoint", confined(&root, &environment, &words), log.path())?;
    let ready = async || {
        if process.exited().is_some() {
            return Some(Err(anyhow::anyhow!("{}", process.last_words())));
        }
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await.ok()?;
        answer.status().is_success().then_some(Ok(()))
    };
    probe::until("the service is ready", probe::PATIENCE, ready).await??;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).context(status.clone());
    ensure!(line("Uid:")?.split_whitespace().all(|id| id == USER.to_string()), "{status}");
    ensure!(line("CapEff:")?.bytes().all(|digit| digit == b'0'), "it has rights: {status}");

    let beside = |words: &[&str]| {
        let words: Vec<String> = entry.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect();
        confined(&root, &environment, &words).output()
    };
    let made = beside(&["token", "create", "--role", "approver", "--subject", "alice"])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // What it could not write is named, with what to do.
    let elsewhere = beside(&["keys", "show", "--data-dir", "/elsewhere"])?;
    let said = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    ensure!(!elsewhere.status.success() && said.contains("/elsewhere"), "{said}");
    process.kill();
    let outside = |all: Vec<Entry>| -> Vec<Entry> {
        all.into_iter().filter(|(name, ..)| !name.starts_with("data/") && !name.starts_with("tmp/")).collect()
    };
    ensure!(outside(entries(&root)?) == before, "it wrote outside its folders");
    Ok(())
}
