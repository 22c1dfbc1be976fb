//! PostgreSQL keeps the contract, replicas share one log, and what is wrong with a server is said in words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use holdpoint_core::audit::merkle::root_of;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_tests::pgbouncer::PgBouncer;
use holdpoint_tests::postgres::Postgres;
use holdpoint_tests::probe;
use holdpoint_tests::tls::Authority;
use tokio::sync::OnceCell;

use super::*;
use crate::store::contract::{self, Bench, START_MS};
use crate::store::inventory::{CallerName, InventoryWrite};
use crate::store::sql::reads;
use crate::store::{Change, CommitError, Conflict, Hint, Store, Write};

const REPLICA: Use = Use::Replica { connections_max: 4 };

/// One server for all tests of this process; `None` where PostgreSQL is not installed.
async fn postgres() -> Option<&'static Postgres> {
    static SERVER: OnceCell<Option<Postgres>> = OnceCell::const_new();
    SERVER.get_or_init(async || Postgres::start().await.unwrap()).await.as_ref()
}

async fn store(url: &str) -> SqlStore {
    open(&Server::new(url, None).unwrap(), REPLICA, None).await.unwrap()
}

/// Two replicas' stores on one database; `None` where PostgreSQL is not installed.
pub(crate) async fn pair() -> Option<(Arc<dyn Store>, Arc<dyn Store>)> {
    let url = postgres().await?.database().unwrap();
    let (here, there) = tokio::join!(store(&url), store(&url));
    Some((Arc::new(here), Arc::new(there)))
}

/// A fresh database with a clock of its own; `None` where PostgreSQL is not installed.
pub(crate) async fn fresh() -> Option<Bench> {
    Some(bench(postgres().await?).await)
}

async fn bench(postgres: &Postgres) -> Bench {
    let clock_ms = Arc::new(AtomicU64::new(START_MS));
    let clock = Arc::clone(&clock_ms);
    let server = Server::new(&postgres.database().unwrap(), None).unwrap();
    let store = open(&server, REPLICA, Some(Arc::new(move || clock.load(Ordering::SeqCst)))).await.unwrap();
    contract::with_policy(Bench { store: Arc::new(store), clock_ms, dir: contract::scratch_dir() }).await
}

async fn refusal(url: &str) -> String {
    match open(&Server::new(url, None).unwrap(), Use::Command, None).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

fn entry() -> Change {
    Change { writes: Vec::new(), entries: vec![AuditEntry::new(EntryKind::Gap, 1)] }
}

#[tokio::test]
async fn postgres_keeps_the_contract_of_every_store() {
    let Some(postgres) = postgres().await else { return };
    contract::check(|| bench(postgres)).await;
}

/// A connection is lent for one transaction: nothing may rest on what the one before had prepared or set.
#[tokio::test]
async fn postgres_keeps_the_contract_behind_a_pooler() {
    let Some(postgres) = postgres().await else { return };
    let Some(pooler) = PgBouncer::start(postgres).await.unwrap() else { return };
    let fresh = async || {
        let clock_ms = Arc::new(AtomicU64::new(START_MS));
        let clock = Arc::clone(&clock_ms);
        let direct = postgres.database().unwrap();
        let server = Server::new(&pooler.url(postgres, &direct), Some(&direct)).unwrap();
        let store = open(&server, REPLICA, Some(Arc::new(move || clock.load(Ordering::SeqCst)))).await.unwrap();
        contract::with_policy(Bench { store: Arc::new(store), clock_ms, dir: contract::scratch_dir() }).await
    };
    contract::check(fresh).await;

    let direct = postgres.database().unwrap();
    let server = Server::new(&pooler.url(postgres, &direct), Some(&direct)).unwrap();
    let (here, there) = tokio::join!(open(&server, REPLICA, None), open(&server, REPLICA, None));
    let stores = [here.unwrap(), there.unwrap()];
    // Both read and write at once, over fewer connections than they have.
    let work = (0..200).map(|at: usize| {
        let store = &stores[at % 2];
        async move {
            store.commit(entry()).await.unwrap();
            store.head().await.unwrap();
            store.entries(0, 10).await.unwrap().len()
        }
    });
    assert!(join_all(work).await.into_iter().all(|rows| rows > 0));
    assert_eq!(stores[0].head().await.unwrap().frontier.size(), 200);
    // A statement that takes too long is ended there too.
    let mut lent = Pool::Postgres(pool_of(&server), Way::Pooled).snapshot().await.unwrap();
    let limit = crate::store::sql::db::query("SELECT current_setting('statement_timeout')");
    assert_eq!(limit.fetch_one(&mut lent).await.unwrap().try_get::<String, _>(0).unwrap(), "10s");
}

/// What the direct way leads to says nothing of what a pooler lends.
#[tokio::test]
async fn what_is_wrong_behind_a_pooler_is_said_in_words() {
    let Some(postgres) = postgres().await else { return };
    let Some(pooler) = PgBouncer::start(postgres).await.unwrap() else { return };
    let refusal =
        async |url: &str, direct: &str| match open(&Server::new(url, Some(direct)).unwrap(), REPLICA, None).await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
    let (one, other) = (postgres.database().unwrap(), postgres.database().unwrap());
    let [name, another] = [&one, &other].map(|url| url.rsplit('/').next().unwrap());
    let elsewhere = refusal(&pooler.url(postgres, &other), &one).await;
    assert!(elsewhere.contains(&format!("leads to the database `{another}`")), "{elsewhere}");
    assert!(elsewhere.contains(&format!("`--database-direct-url` to `{name}`")), "{elsewhere}");
    postgres.sql(&one, &format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off")).unwrap();
    let direct = format!("{one}?options=-c%20synchronous_commit=on");
    let careless = refusal(&pooler.url(postgres, &one), &direct).await;
    assert!(careless.contains("SET synchronous_commit = on"), "{careless}");

    // And it is looked at again with each connection on which is written.
    let server = Server::new(&pooler.url(postgres, &one), Some(&direct)).unwrap();
    assert!(connect_writer(&server).await.is_err());
    postgres.sql(&one, &format!("ALTER DATABASE \"{name}\" RESET synchronous_commit")).unwrap();
    // Those that were lent before keep what they began with: the pooler forgets them.
    postgres
        .sql(&other, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        .unwrap();
    probe::until("it is well again", probe::PATIENCE, async || connect_writer(&server).await.ok().map(drop))
        .await
        .unwrap();
}

fn pool_of(server: &Server) -> sqlx::PgPool {
    PgPoolOptions::new().max_connections(1).connect_lazy_with(server.options().clone())
}

/// Twice a second, however many wait. How a condition is met with an index is this database's own affair, so what counts is how
/// much is read: ten thousand that wait are some twenty pages of each index.
#[tokio::test]
async fn what_is_due_is_found_without_a_look_at_what_is_not() {
    const PAGES_MAX: usize = 12;
    let Some(postgres) = postgres().await else { return };
    let url = postgres.database().unwrap();
    drop(store(&url).await);
    let many = "INSERT INTO policies VALUES ('p', '{}', 0);
        INSERT INTO approvals (id, status, version, call_digest, basis, snapshot_id, issuer, subject, server, asked,
            opened_at_ms, expires_at_ms, rejoin_by_ms, escalates_at_ms, uses_left)
        SELECT at, CASE at % 2 WHEN 0 THEN 'pending' ELSE 'approved' END, 1, at, 'b', 'p', 'i', 's', 't', '{}',
            0, 1000000 + at, 1000000 + at, 1000000 + at, 1 FROM generate_series(1, 20000) AS at";
    postgres.sql(&url, many).unwrap();
    postgres.sql(&url, "VACUUM ANALYZE approvals").unwrap();
    let asked = reads::DUE.replace("$1", "5").replace("$2", "100");
    let plan = postgres.sql(&url, &format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {asked}")).unwrap();
    for index in ["approvals_due", "approvals_rejoin", "approvals_escalate"] {
        assert!(plan.contains(&format!("Index Scan using {index} on")), "{index}: {plan}");
    }
    // The first line that counts is of the whole statement: `Buffers: shared hit=4 read=2`.
    let pages = plan.lines().find(|line| line.trim_start().starts_with("Buffers:")).unwrap();
    let pages: usize = pages.split(['=', ' ']).filter_map(|word| word.parse::<usize>().ok()).sum();
    assert!((1..=PAGES_MAX).contains(&pages), "{pages}: {plan}");
}

#[tokio::test]
async fn replicas_append_to_one_log_without_a_fork_or_a_gap() {
    let Some(postgres) = postgres().await else { return };
    let url = postgres.database().unwrap();
    // All three find an empty database at once, and one of them makes the schema.
    let stores = join_all([store(&url), store(&url), store(&url)]).await;
    let commits = (0..300).map(|at: usize| stores[at % 3].commit(entry()));
    let seqs: BTreeSet<u64> = join_all(commits).await.into_iter().map(|seqs| seqs.unwrap()[0]).collect();
    assert!(seqs.into_iter().eq(0..300), "each number was given once");
    let rows = stores[0].entries(0, 1_000).await.unwrap();
    for store in &stores {
        let head = store.head().await.unwrap();
        assert_eq!((head.frontier.size(), head.root), (300, root_of(rows.iter().map(|row| row.leaf_hash))));
        assert_eq!(head.root, head.frontier.root());
    }
    assert_eq!(stores[1].hashes(1, 0, 9).await.unwrap(), [root_of(rows[..256].iter().map(|row| row.leaf_hash))]);
}

#[tokio::test]
async fn connections_that_the_server_ended_are_made_anew() {
    let Some(postgres) = postgres().await else { return };
    let url = postgres.database().unwrap();
    let store = store(&url).await;
    let mut heard = store.hints().unwrap().heard.subscribe();
    store.commit(entry()).await.unwrap();
    let end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_ne!(postgres.sql(&url, end_all).unwrap(), "0");
    assert_eq!(store.commit(entry()).await.unwrap(), [1]);
    assert_eq!(store.head().await.unwrap().frontier.size(), 2);
    store.writable().await.unwrap();
    while heard.recv().await.unwrap() != Hint::Missed {}
}

#[tokio::test]
async fn hints_reach_every_replica() {
    let Some(postgres) = postgres().await else { return };
    let url = postgres.database().unwrap();
    let (here, there) = tokio::join!(store(&url), store(&url));
    let mut heard = there.hints().unwrap().heard.subscribe();
    // It may not listen yet: then what is told is lost, which hints may be.
    let told = async {
        loop {
            here.hints().unwrap().tell.send("a is decided".to_owned()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let hear = async { while heard.recv().await.unwrap() != Hint::Said("a is decided".to_owned()) {} };
    tokio::select! { () = hear => {}, () = told => {} }
}

#[tokio::test]
async fn lease_is_one_replicas_until_it_ends() {
    let Some(postgres) = postgres().await else { return };
    let store = store(&postgres.database().unwrap()).await;
    let take = async |holder: &str, at_ms, until_ms| {
        let (name, holder) = ("sweep".to_owned(), holder.to_owned());
        let writes = vec![Write::TakeLease { name, holder, at_ms, until_ms }];
        store.commit(Change { writes, entries: Vec::new() }).await.map(drop)
    };
    take("a", 10, 20).await.unwrap();
    assert!(matches!(take("b", 19, 30).await, Err(CommitError::Conflict(Conflict::Taken))));
    take("a", 15, 25).await.unwrap();
    take("b", 25, 40).await.unwrap();
    assert_eq!(store.lease("sweep").await.unwrap(), Some(("b".to_owned(), 40)));
}

#[tokio::test]
async fn the_clock_is_the_servers() {
    let Some(postgres) = postgres().await else { return };
    let url = postgres.database().unwrap();
    let store = store(&url).await;
    let ask = || postgres.sql(&url, "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)").unwrap();
    let before: u64 = ask().parse().unwrap();
    let now_ms = store.now_ms().await.unwrap();
    let after: u64 = ask().parse().unwrap();
    assert!((before..=after).contains(&now_ms));
}

#[tokio::test]
async fn name_with_a_nul_is_kept_and_stops_nothing() {
    let Some(postgres) = postgres().await else { return };
    let store = store(&postgres.database().unwrap()).await;
    let caller = CallerName { subject: "b\0b".to_owned(), ..CallerName::default() };
    let (server, target) = ("github".to_owned(), "no\0tool".to_owned());
    let calls = BTreeMap::from([((target, caller), 1)]);
    let calls = Write::Inventory(Box::new(InventoryWrite::Calls { server, calls, at_ms: 1 }));
    store.commit(Change { writes: vec![calls], entries: Vec::new() }).await.unwrap();
    assert_eq!(store.inventory_callers("github", 9).await.unwrap()[0].caller.subject, "b\u{fffd}b");
    assert_eq!(store.approval("a\0b").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_said_in_words() {
    let Some(postgres) = postgres().await else { return };
    let url = postgres.database().unwrap();
    let database = url.rsplit('/').next().unwrap();
    let admin = holdpoint_tests::postgres::ADMIN;
    let wrong = refusal(&postgres.url_of(admin, "wrong", database)).await;
    assert!(wrong.contains("refuses the password of `postgres`") && !wrong.contains("wrong"), "{wrong}");
    let missing = refusal(&postgres.url("nowhere")).await;
    assert!(missing.contains("createdb --owner postgres nowhere"), "{missing}");
    postgres.sql(&url, "CREATE ROLE guest LOGIN PASSWORD 'guest'").unwrap();
    let guest = refusal(&postgres.url_of("guest", "guest", database)).await;
    assert!(guest.contains("GRANT CREATE, USAGE ON SCHEMA public TO \"guest\""), "{guest}");
    postgres.sql(&url, "ALTER ROLE guest SET synchronous_commit = off").unwrap();
    let careless = refusal(&postgres.url_of("guest", "guest", database)).await;
    assert!(careless.contains("ALTER ROLE \"guest\" SET synchronous_commit = on"), "{careless}");
    postgres.sql(&url, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'").unwrap();
    let latin = refusal(&postgres.url("latin")).await;
    assert!(latin.contains("createdb --encoding UTF8"), "{latin}");
    let nobody = refusal("postgres://a@127.0.0.1:1/a").await;
    assert!(nobody.contains("nothing answers at the PostgreSQL server at `127.0.0.1:1`"), "{nobody}");
    drop(store(&url).await);
    postgres.sql(&url, "UPDATE _sqlx_migrations SET version = 99999 WHERE version = 99").unwrap();
    let newer = refusal(&url).await;
    assert!(newer.contains("a newer version of holdpoint has changed the database"), "{newer}");
}

#[test]
fn server_that_is_too_old_is_refused() {
    let old = check_version(130_014).unwrap_err().to_string();
    assert_eq!(old, "the server is PostgreSQL 13, and 14 or later is needed");
    check_version(140_000).unwrap();
}

#[tokio::test]
async fn server_is_trusted_only_by_the_certificate_that_was_asked_for() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let files = authority.files().unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let Some(mut postgres) = Postgres::start().await.unwrap() else { return };
    let certificate = postgres.file("server.pem", &read(&files.certificate)).unwrap();
    let key = postgres.file("server.key", &read(&files.key)).unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", certificate.display()),
        format!("ssl_key_file={}", key.display()),
    ];
    postgres.stop(holdpoint_tests::postgres::Stop::Fast).unwrap();
    postgres.start_again(&settings.each_ref().map(String::as_str)).await.unwrap();
    let url = postgres.database().unwrap();
    let asked = |roots: &std::path::Path| format!("{url}?sslmode=verify-full&sslrootcert={}", roots.display());
    let store = store(&asked(&files.authority)).await;
    store.commit(entry()).await.unwrap();
    let tls = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'holdpoint'";
    assert_eq!(postgres.sql(&url, tls).unwrap(), "t");
    let other = refusal(&asked(&stranger.files().unwrap().authority)).await;
    assert!(other.contains("check `sslmode` and `sslrootcert`"), "{other}");
}

#[test]
fn url_that_could_lead_to_anybody_is_refused() {
    let refusal = |url| Server::new(url, None).unwrap_err().to_string();
    assert!(refusal("postgres://a:secret@db.example/x").contains("sslmode=verify-full"));
    assert!(refusal("postgres://a@db.example/x?sslmode=prefer").contains("`sslmode=prefer` does not make sure"));
    assert!(refusal("mysql://a@db.example/x").contains("must begin with postgres://"));
    assert!(refusal("postgres://a@localhost/x?sslmod=require").contains("a parameter `sslmod`"));
    for url in ["postgres://a@localhost/x", "postgres://a@db.example/x?sslmode=verify-full", "postgres://a@[::1]/x"] {
        let server = Server::new(url, Some("postgres://a@localhost/x")).unwrap();
        assert_eq!((server.user(), server.database()), ("a", "x"));
    }
    let hidden = format!("{:?}", Server::new("postgres://a:secret@localhost/x", None).unwrap());
    assert!(!hidden.contains("secret"), "{hidden}");
    assert!(!refusal("postgres://a:secret@db.example/x").contains("secret"));
}
