//! A private PostgreSQL server in a directory of its own. Keeps the state of step 8 where several services share it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::installed::{or_skip, run};
use crate::process::ChildProcess;
use crate::{ports, probe};

/// What the server calls its administrator, and with which password that one comes.
pub const ADMIN: &str = "postgres";
/// For this one server, which only this machine reaches.
pub(crate) const PASSWORD: &str = "not-a-secret";
const DIR_PREFIX: &str = "holdpoint-postgres-";
/// Users of whom one is there: the server refuses to be run by root.
const RUN_AS: [&str; 2] = ["postgres", "nobody"];

/// A running server. Its port and its data outlive `stop` and `start_again`.
#[derive(Debug)]
pub struct Postgres {
    process: ChildProcess,
    programs: PathBuf,
    settings: Vec<String>,
    port: u16,
    databases: AtomicU32,
    owner: Option<(u32, u32)>,
    dir: TempDir,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends every connection, then writes everything down.
    Fast,
    /// As a crash would.
    Immediate,
}

impl Postgres {
    /// Starts a server, or says in one line why its tests are left out.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// The same with settings of its own, such as `ssl=on`.
    pub async fn start_with(settings: &[&str]) -> anyhow::Result<Option<Self>> {
        let Some(programs) = or_skip("PostgreSQL", programs())? else { return Ok(None) };
        sweep();
        let dir = tempfile::Builder::new().prefix(&format!("{DIR_PREFIX}{}-", std::process::id())).tempdir()?;
        let owner = owner(dir.path())?;
        if let Some((uid, gid)) = owner {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let password = dir.path().join("password");
        fs::write(&password, PASSWORD)?;
        let mut initdb = command(&programs, "initdb", dir.path(), owner);
        initdb.args(["--username", ADMIN, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        initdb.args(["--no-sync", "--no-instructions"]).arg("--pwfile").arg(&password);
        initdb.arg("--pgdata").arg(dir.path().join("data"));
        run(initdb)?;
        let port = ports::free()?;
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let process = serve(&programs, dir.path(), owner, port, &settings).await?;
        Ok(Some(Self { process, programs, settings, port, databases: AtomicU32::new(0), owner, dir }))
    }

    /// The loopback port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and answers its URL, as its administrator connects to it.
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("holdpoint_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&self.url(ADMIN), &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database, as the administrator connects to it.
    pub fn url(&self, database: &str) -> String {
        self.url_of(ADMIN, PASSWORD, database)
    }

    /// The URL of a database, as somebody else connects to it.
    pub fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements, and answers what they print: rows as lines, columns between `|`.
    pub fn sql(&self, url: &str, statements: &str) -> anyhow::Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        psql.args(["--dbname", url, "--command", statements]);
        Ok(run(psql)?.trim().to_owned())
    }

    /// Gives a file of the server's own with this text, which nobody else may read; its path.
    pub fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        file(self.dir.path(), self.owner, name, text)
    }

    /// Gives a file or folder to whoever runs the server.
    pub(crate) fn own(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.owner {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Lets a program that refuses root, as the server does, run as whoever runs that.
    pub(crate) fn run_as_owner(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.owner {
            command.gid(gid).uid(uid);
        }
    }

    /// Stops it and waits until it has.
    pub fn stop(&self, how: Stop) -> anyhow::Result<()> {
        let mut pg_ctl = command(&self.programs, "pg_ctl", self.dir.path(), self.owner);
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        pg_ctl.args(["stop", "--wait", "--silent", "--mode", mode, "--pgdata"]).arg(self.dir.path().join("data"));
        run(pg_ctl)?;
        // Reaped, so that nothing takes it for one that runs.
        self.process.kill();
        Ok(())
    }

    /// Starts it again, after `stop`, on the same port and data, with further settings if there are any.
    pub async fn start_again(&mut self, settings: &[&str]) -> anyhow::Result<()> {
        self.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
        self.process = serve(&self.programs, self.dir.path(), self.owner, self.port, &self.settings).await?;
        Ok(())
    }
}

async fn serve(
    programs: &Path,
    dir: &Path,
    owner: Option<(u32, u32)>,
    port: u16,
    settings: &[String],
) -> anyhow::Result<ChildProcess> {
    let mut postgres = command(programs, "postgres", dir, owner);
    postgres.arg("-D").arg(dir.join("data")).args(["-p", &port.to_string()]);
    let sockets = format!("unix_socket_directories={}", dir.display());
    // Nothing here outlives a power cut, so nothing waits for the disk; what is acknowledged survives a crash all the same.
    let fixed = ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=32MB", "max_connections=120"];
    for setting in fixed.into_iter().chain([sockets.as_str()]).chain(settings.iter().map(String::as_str)) {
        postgres.args(["-c", setting]);
    }
    let process = ChildProcess::start("postgres", postgres, dir)?;
    let is_up = probe::until("PostgreSQL takes connections", probe::PATIENCE, async || {
        if process.exited().is_some() {
            return Some(false);
        }
        let mut asking = Command::new(programs.join("pg_isready"));
        asking.args(["--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]);
        asking.status().is_ok_and(|status| status.success()).then_some(true)
    });
    match is_up.await {
        Ok(true) => Ok(process),
        Ok(false) => bail!("PostgreSQL did not start: {}", process.last_words()),
        Err(error) => Err(error.context(process.last_words())),
    }
}

/// The directory with PostgreSQL's programs, the newest where there are several.
fn programs() -> anyhow::Result<PathBuf> {
    let is_whole = |dir: &PathBuf| ["initdb", "postgres", "pg_ctl", "psql"].iter().all(|name| dir.join(name).exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps them where no PATH leads; a link on PATH leads there.
    let linked = std::env::split_paths(&path).filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok());
    let mut dirs: Vec<PathBuf> = linked.filter_map(|program| program.parent().map(Path::to_owned)).collect();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut packaged: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    packaged.sort();
    dirs.extend(packaged.into_iter().rev());
    dirs.into_iter().find(is_whole).context("it is not installed: `apt-get install postgresql`")
}

/// Who is to run the server, if we are root, who may not.
fn owner(dir: &Path) -> anyhow::Result<Option<(u32, u32)>> {
    if fs::metadata(dir)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let found = RUN_AS.into_iter().find_map(|name| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    found.map(Some).with_context(|| format!("none of the users {} is here to run PostgreSQL", RUN_AS.join(", ")))
}

fn command(programs: &Path, name: &str, dir: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(dir).env("LC_ALL", "C");
    if let Some((uid, gid)) = owner {
        command.gid(gid).uid(uid);
    }
    command
}

fn file(dir: &Path, owner: Option<(u32, u32)>, name: impl AsRef<OsStr>, text: &str) -> anyhow::Result<PathBuf> {
    let path = dir.join(name.as_ref());
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    if let Some((uid, gid)) = owner {
        chown(&path, Some(uid), Some(gid))?;
    }
    Ok(path)
}

/// Removes what test processes left that could not: a server for all tests of a process ends with it.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(DIR_PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
