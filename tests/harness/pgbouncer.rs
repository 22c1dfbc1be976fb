//! A private PgBouncer before a private PostgreSQL server. Keeps the state of step 8 where a pooler lends connections.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::installed::or_skip;
use crate::postgres::{ADMIN, PASSWORD, Postgres};
use crate::process::ChildProcess;
use crate::{ports, probe};

/// Connections that it lends to all its clients together: far fewer than they have, so that each transaction meets another.
pub const LENT_MAX: u32 = 3;

/// A running pooler in transaction mode. Knows whatever database the server has.
#[derive(Debug)]
pub struct PgBouncer {
    process: ChildProcess,
    port: u16,
    // Last, so that the process has ended before its files go.
    _dir: TempDir,
}

impl PgBouncer {
    /// Starts one before `postgres`, or says in one line why its tests are left out.
    pub async fn start(postgres: &Postgres) -> anyhow::Result<Option<Self>> {
        let Some(program) = or_skip("PgBouncer", program())? else { return Ok(None) };
        let dir = tempfile::Builder::new().prefix("holdpoint-pgbouncer-").tempdir()?;
        let port = ports::free()?;
        let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = dir.path().join(name);
            fs::write(&path, text)?;
            postgres.own(&path)?;
            Ok(path)
        };
        postgres.own(dir.path())?;
        let users = file("users.txt", &format!("\"{ADMIN}\" \"{PASSWORD}\"\n"))?;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {LENT_MAX}\nmax_client_conn = 200\n",
            postgres.port(),
            users.display()
        );
        let settings = file("pgbouncer.ini", &settings)?;
        let mut command = Command::new(program);
        command.arg(&settings);
        postgres.run_as_owner(&mut command);
        let process = ChildProcess::start("pgbouncer", command, dir.path())?;
        let is_up = probe::until("PgBouncer takes connections", probe::PATIENCE, async || {
            if process.exited().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(true)
        });
        match is_up.await {
            Ok(true) => Ok(Some(Self { process, port, _dir: dir })),
            Ok(false) => bail!("PgBouncer did not start: {}", process.last_words()),
            Err(error) => Err(error.context(process.last_words())),
        }
    }

    /// The way through it to what `direct_url` names on the server itself.
    pub fn url(&self, postgres: &Postgres, direct_url: &str) -> String {
        direct_url.replace(&format!(":{}/", postgres.port()), &format!(":{}/", self.port))
    }

    /// The process, to question it.
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps it where not every PATH leads.
    let mut dirs = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    let found = dirs.find_map(|dir| Some(dir.join("pgbouncer")).filter(|file| file.is_file()));
    found.context("it is not installed: `apt-get install pgbouncer`")
}
