//! The real approval service, as `holdpoint serve` runs it. The far side of step 8.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::ChildProcess;
use crate::{ports, probe, service_binary};

/// A service with a database of its own. Its port and its database outlive `kill` and `restart`.
#[derive(Debug)]
pub struct Service {
    process: ChildProcess,
    settings: ServiceSettings,
    binary: PathBuf,
    port: u16,
    dir: PathBuf,
    /// The key directory of the first of several replicas, and the URL of the database that they share.
    shared: Option<(PathBuf, String)>,
    // Last, so that the process has ended before its files go.
    _own_dir: Option<TempDir>,
}

/// How a service is started.
#[derive(Debug, Clone, Default)]
pub struct ServiceSettings {
    /// The loopback port; one that the system chooses by default.
    pub port: Option<u16>,
    /// Further arguments of `holdpoint serve`.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where its data and its output go; a directory of its own by default.
    pub dir: Option<PathBuf>,
}

impl Service {
    /// Starts a service on a free port with an empty database, and waits until it is ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(ports::free()?, &[]).await
    }

    /// The same on a chosen port and with further arguments for `holdpoint serve`.
    pub async fn start_with(port: u16, arguments: &[&str]) -> anyhow::Result<Self> {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Self::start_as(ServiceSettings { port: Some(port), arguments, ..ServiceSettings::default() }).await
    }

    /// The same with every setting.
    pub async fn start_as(settings: ServiceSettings) -> anyhow::Result<Self> {
        Self::start_sharing(settings, None).await
    }

    /// A replica on the database of this URL, with the service key in `keys`, which all of them share.
    pub async fn start_replica(keys: &Path, database_url: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(["--database-url".to_owned(), database_url.to_owned()]);
        let settings = ServiceSettings { arguments, ..ServiceSettings::default() };
        Self::start_sharing(settings, Some((keys.to_owned(), database_url.to_owned()))).await
    }

    /// The same through a pooler, past which `direct_url` leads.
    pub async fn start_replica_through(keys: &Path, pooler_url: &str, direct_url: &str) -> anyhow::Result<Self> {
        let words = ["--database-url", pooler_url, "--database-direct-url", direct_url];
        let arguments = words.map(str::to_owned).to_vec();
        let settings = ServiceSettings { arguments, ..ServiceSettings::default() };
        Self::start_sharing(settings, Some((keys.to_owned(), direct_url.to_owned()))).await
    }

    async fn start_sharing(settings: ServiceSettings, shared: Option<(PathBuf, String)>) -> anyhow::Result<Self> {
        let binary = service_binary::holdpoint()?.to_owned();
        let (dir, own_dir) = match &settings.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let own = tempfile::Builder::new().prefix("holdpoint-service-").tempdir()?;
                (own.path().to_owned(), Some(own))
            }
        };
        let port = match settings.port {
            Some(port) => port,
            None => ports::free()?,
        };
        let keys = shared.as_ref().map_or_else(|| data_dir(&dir), |(keys, _)| keys.clone());
        let process = serve(&binary, port, &keys, &dir, &settings).await?;
        Ok(Self { process, settings, binary, port, dir, shared, _own_dir: own_dir })
    }

    /// The loopback port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a path of its API, such as `/v1/approvals`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The directory with its database and its keys.
    pub fn data_dir(&self) -> PathBuf {
        match &self.shared {
            Some((keys, _)) => keys.clone(),
            None => data_dir(&self.dir),
        }
    }

    /// The process, to question it.
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts it again, after `kill`, on the same port and database.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill();
        self.process = serve(&self.binary, self.port, &self.data_dir(), &self.dir, &self.settings).await?;
        Ok(())
    }

    /// Makes a token by the command line, as an operator would. `role` is one of enforcer, approver, auditor, admin.
    pub fn token(&self, role: &str, subject: &str, groups: &[&str]) -> anyhow::Result<String> {
        let mut arguments = vec!["token", "create", "--role", role, "--subject", subject];
        for group in groups {
            arguments.extend(["--group", group]);
        }
        self.printed(&arguments, "token")
    }

    /// The same for a subject that another issuer vouches for: whom the service compares with the caller of a held call.
    pub fn token_from(&self, issuer: &str, role: &str, subject: &str, groups: &[&str]) -> anyhow::Result<String> {
        let mut arguments = vec!["token", "create", "--role", role, "--subject", subject];
        arguments.extend(["--issuer", issuer]);
        for group in groups {
            arguments.extend(["--group", group]);
        }
        self.printed(&arguments, "token")
    }

    /// The public key that the filter must trust: `ed25519:<64 hex digits>`.
    pub fn service_key(&self) -> anyhow::Result<String> {
        self.printed(&["keys", "show"], "service_key")
    }

    /// Runs `holdpoint` on this service's data directory and returns one member of the JSON object that it prints.
    fn printed(&self, arguments: &[&str], member: &str) -> anyhow::Result<String> {
        let data_dir = self.data_dir();
        let mut words: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        words.extend([OsStr::new("--data-dir"), data_dir.as_os_str()]);
        if let Some((_, database_url)) = &self.shared {
            words.extend([OsStr::new("--database-url"), OsStr::new(database_url)]);
        }
        words.extend([OsStr::new("--output"), OsStr::new("json")]);
        let printed = self.cli(&words)?;
        let object: Value = serde_json::from_str(&printed)
            .with_context(|| format!("`holdpoint {}` printed `{printed}`", arguments.join(" ")))?;
        object[member]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("`holdpoint {}` printed no `{member}`", arguments.join(" ")))
    }

    /// Runs `holdpoint` with exactly these words and returns what it printed. Fails with its own error text.
    pub fn cli(&self, words: &[impl AsRef<OsStr>]) -> anyhow::Result<String> {
        let output = Command::new(&self.binary).args(words).output()?;
        if !output.status.success() {
            let words: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
            bail!("`holdpoint {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

async fn serve(
    binary: &Path,
    port: u16,
    data_dir: &Path,
    log_dir: &Path,
    settings: &ServiceSettings,
) -> anyhow::Result<ChildProcess> {
    let mut command = Command::new(binary);
    command
        .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
        .arg("--data-dir")
        .arg(data_dir)
        .args(&settings.arguments)
        .envs(settings.environment.iter().map(|(name, value)| (name, value)));
    let process = ChildProcess::start("holdpoint", command, log_dir)?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    let ready = probe::until("the service is ready", probe::PATIENCE, async || {
        if process.exited().is_some() {
            return Some(false);
        }
        let url = format!("http://127.0.0.1:{port}/readyz");
        let answer = http.get(url).send().await.ok()?;
        answer.status().is_success().then_some(true)
    })
    .await;
    match ready {
        Ok(true) => Ok(process),
        Ok(false) => bail!("the service did not start: {}", process.last_words()),
        Err(error) => Err(error.context(process.last_words())),
    }
}
