//! Steps 8 to 12: the store in one SQLite file. One connection writes, a few read; write-ahead log, every commit on the
//! disk.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::StoreError;
use super::sql::db::{Connection, Pool};
use super::sql::writer::Writer;
use super::sql::{Clock, SqlStore};

pub mod backup;
pub mod locked;
pub(super) mod readers;

use readers::{Readers, ReadersSettings};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement of the service waits for another process that holds the database, such as `holdpoint token create`:
/// gateways wait for its answer.
const BUSY_MS_MAX: u64 = 5_000;
/// The same of a person's command, which waits for a service with a busy disk.
pub const COMMAND_BUSY_MS_MAX: u64 = 60_000;
const READERS: ReadersSettings =
    ReadersSettings { lanes: 4, snapshots_max: 2, searches_max: 2, wait_max: Duration::from_secs(10) };
/// Memory in which the writer keeps pages, in KiB: the index of the record is written all over the place.
const WRITER_CACHE_KIB: &str = "-32768";
/// Pages of the write-ahead log after which it is carried into the file: pages that are written again and again, as those
/// of an index are, then go there once.
const CARRY_AFTER_PAGES: &str = "4000";
/// Two processes that meet on a new database both migrate it; the one that loses tries again.
const MIGRATE_TRIES_MAX: u32 = 5;
const MIGRATE_RETRY_MS: u64 = 100;

/// Opens the file, creating it where there is none, and brings its schema up to date. Several processes may have it open.
pub async fn open(file: &Path, clock: Clock) -> Result<SqlStore, StoreError> {
    open_waiting(file, clock, BUSY_MS_MAX).await
}

/// The same for a command beside the service.
pub async fn open_for_command(file: &Path, clock: Clock) -> Result<SqlStore, StoreError> {
    open_waiting(file, clock, COMMAND_BUSY_MS_MAX).await
}

async fn open_waiting(file: &Path, clock: Clock, busy_ms_max: u64) -> Result<SqlStore, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_millis(busy_ms_max))
        .disable_statement_logging();
    let writing =
        options.clone().pragma("cache_size", WRITER_CACHE_KIB).pragma("wal_autocheckpoint", CARRY_AFTER_PAGES);
    let mut connection = writing.connect().await?;
    migrate(&mut connection).await?;
    let readers = Readers::open(&options.pragma("query_only", "on"), READERS).await?;
    let writer = Writer::new(Connection::Sqlite(Box::new(Box::new(connection))));
    Ok(SqlStore::new(Pool::Sqlite(readers), writer, Some(clock)))
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match MIGRATIONS.run(&mut *connection).await {
            Ok(()) => return Ok(()),
            Err(error) if tries == MIGRATE_TRIES_MAX => return Err(StoreError::Database(error.to_string())),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(MIGRATE_RETRY_MS)).await;
    }
}

/// Changes a database behind the service's back.
#[cfg(test)]
pub async fn run_sql(file: &Path, statement: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}

#[cfg(test)]
mod tests;
