//! Three replicas of the service on a database of their own, with one key; and an Envoy that knows all of them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::pgbouncer::PgBouncer;
use holdpoint_tests::postgres::Postgres;
use holdpoint_tests::probe;
use holdpoint_tests::service::Service;
use holdpoint_tests::stack::{Stack, StackBuilder};
use serde_json::Value;
use tempfile::TempDir;

/// Replicas in every test.
pub(crate) const REPLICAS: usize = 3;

/// The services and what they share.
pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Service>,
    pub(crate) postgres: Postgres,
    pub(crate) url: String,
    keys: TempDir,
}

impl Fleet {
    /// Starts all of them; `None` where PostgreSQL is not installed.
    pub(crate) async fn start() -> anyhow::Result<Option<Self>> {
        let Some(postgres) = Postgres::start().await? else { return Ok(None) };
        let url = postgres.database()?;
        let keys = tempfile::Builder::new().prefix("holdpoint-keys-").tempdir()?;
        let mut fleet = Self { replicas: Vec::new(), postgres, url, keys };
        for _ in 0..REPLICAS {
            fleet.replicas.push(Service::start_replica(&fleet.keys(), &fleet.url, &[]).await?);
        }
        Ok(Some(fleet))
    }

    /// The same, each of them through a pooler that lends fewer connections than they have; `None` where one is not
    /// installed.
    pub(crate) async fn start_pooled() -> anyhow::Result<Option<(Self, PgBouncer)>> {
        let Some(postgres) = Postgres::start().await? else { return Ok(None) };
        let Some(pooler) = PgBouncer::start(&postgres).await? else { return Ok(None) };
        let url = postgres.database()?;
        let through = pooler.url(&postgres, &url);
        let keys = tempfile::Builder::new().prefix("holdpoint-keys-").tempdir()?;
        let mut fleet = Self { replicas: Vec::new(), postgres, url, keys };
        for _ in 0..REPLICAS {
            fleet.replicas.push(Service::start_replica_through(&fleet.keys(), &through, &fleet.url).await?);
        }
        Ok(Some((fleet, pooler)))
    }

    /// The directory with the key that all of them sign with.
    pub(crate) fn keys(&self) -> PathBuf {
        self.keys.path().join("keys")
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.replicas.iter().map(Service::port).collect()
    }

    /// A stack whose gateway knows these replicas and no other service. What its builder is given goes on top.
    pub(crate) async fn stack(
        &self,
        ports: &[u16],
        change: impl FnOnce(StackBuilder) -> StackBuilder,
    ) -> anyhow::Result<Stack> {
        let ports = ports.to_vec();
        let service = Service::start_replica(&self.keys(), &self.url, &[]).await?;
        let stack = change(Stack::builder().service(service).hold_ms_max(120_000));
        let mut stack = stack.envoy(move |config| config.cluster_ports(APPROVAL_CLUSTER, &ports).expect("the cluster"));
        // The stack's own service only made the token and the key known: it is no replica of the test.
        stack = stack.document(|document| document.outage_ms_max = 60_000);
        let stack = stack.start().await?;
        stack.service.kill();
        Ok(stack)
    }

    /// An approver of `sre` who speaks to one replica.
    pub(crate) fn approver(&self, replica: usize, subject: &str) -> anyhow::Result<Person> {
        Person::approver(&self.replicas[replica], subject, &["sre"])
    }

    /// Recomputes the whole record and compares it with its head and every signed checkpoint; what is left of it is good.
    pub(crate) fn verify(&self) -> anyhow::Result<()> {
        let keys = self.keys();
        let keys = keys.to_str().context("a path")?;
        self.replicas[0].cli(&["audit", "verify", "--data-dir", keys, "--database-url", &self.url]).map(drop)
    }

    /// Every entry of the record of this kind, read from the database itself.
    pub(crate) fn entries(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        let statement = format!("SELECT body FROM audit_entries WHERE body::json ->> 'kind' = '{kind}' ORDER BY seq");
        let rows = self.postgres.sql(&self.url, &statement)?;
        rows.lines().map(|row| Ok(serde_json::from_str(row)?)).collect()
    }

    /// Waits until a service is ready again.
    pub(crate) async fn until_ready(&self, replica: usize) -> anyhow::Result<()> {
        let url = self.replicas[replica].url("/readyz");
        probe::until("the replica is ready", probe::PATIENCE, async || {
            let answer = reqwest::get(&url).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await
    }
}

/// A file's name as an argument.
pub(crate) fn word(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("`{}` is no text", path.display()))
}
