//! Steps 8 to 12: the few connections that read one SQLite file, lent one at a time.
//!
//! Ours rather than the library's pool, which asks a connection whether it lives before each use and after it: three ways
//! to the connection's thread where one reads a row. A file does not go away as a server does; a connection that is lost all
//! the same says so to whoever uses it then, and is made anew for the next one.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

#[cfg(test)]
mod tests;

/// How many connections read at once, and how long a read waits for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadersSettings {
    pub lanes: usize,
    /// For a few reads as of one moment.
    pub snapshots_max: u32,
    /// For searches, which may take long: nothing else waits behind them.
    pub searches_max: u32,
    /// Whoever has waited so long for a connection is told that there is none.
    pub wait_max: Duration,
}

/// Connections that read, and who may use one next: whoever came first.
#[derive(Clone, Debug)]
pub(in crate::store) struct Readers {
    options: Arc<SqliteConnectOptions>,
    wait_max: Duration,
    seats: Arc<Semaphore>,
    lanes: Arc<[Lane]>,
    /// For what reads several things as of one moment: the library ends their transactions.
    snapshots: SqlitePool,
    searches: SqlitePool,
}

/// A place for one connection.
#[derive(Debug)]
struct Lane {
    /// None where the last one was lost and there is no other yet.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    is_lost: Arc<AtomicBool>,
}

impl Readers {
    /// Opens the lanes; connections for snapshots and searches are made when they are needed.
    pub(super) async fn open(options: &SqliteConnectOptions, settings: ReadersSettings) -> Result<Self, sqlx::Error> {
        let ReadersSettings { lanes, snapshots_max, searches_max, wait_max } = settings;
        let mut opened = Vec::with_capacity(lanes);
        for _ in 0..lanes {
            let connection = Arc::new(Mutex::new(Some(options.connect().await?)));
            opened.push(Lane { connection, is_lost: Arc::default() });
        }
        let pool = |connections_max| {
            let pool = SqlitePoolOptions::new().max_connections(connections_max).acquire_timeout(wait_max);
            pool.connect_lazy_with(options.clone())
        };
        Ok(Self {
            options: Arc::new(options.clone()),
            wait_max,
            seats: Arc::new(Semaphore::new(lanes)),
            lanes: opened.into(),
            snapshots: pool(snapshots_max),
            searches: pool(searches_max),
        })
    }

    /// A connection of one's own. What was left half read by the last one is read to its end first, by the connection itself.
    pub async fn lend(&self) -> Result<Lent, sqlx::Error> {
        tokio::time::timeout(self.wait_max, self.next()).await.unwrap_or_else(|_| Err(taken()))
    }

    async fn next(&self) -> Result<Lent, sqlx::Error> {
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            for lane in self.lanes.iter() {
                let Ok(mut connection) = Arc::clone(&lane.connection).try_lock_owned() else { continue };
                if lane.is_lost.swap(false, Ordering::Relaxed) || connection.is_none() {
                    *connection = None;
                    *connection = Some(self.options.connect().await?);
                }
                if let Ok(connection) = OwnedMutexGuard::try_map(connection, Option::as_mut) {
                    return Ok(Lent { connection, is_lost: Arc::clone(&lane.is_lost), _seat: seat });
                }
            }
            // Whoever has a seat has a lane: one behind this look was taken while one before it became free.
            tokio::task::yield_now().await;
        }
    }

    /// A connection on which a few things are read as of one moment, until it is dropped.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        begin(&self.snapshots).await
    }

    /// The same for what may take long.
    pub async fn search(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        begin(&self.searches).await
    }
}

async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    match pool.begin().await {
        Err(sqlx::Error::PoolTimedOut) => Err(taken()),
        begun => begun,
    }
}

/// All connections are taken, and stayed so for as long as somebody waits.
#[derive(Debug, thiserror::Error)]
#[error("all connections that read are taken")]
pub(in crate::store) struct Taken;

fn taken() -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(Taken))
}

/// One of SQLite's connections, whoever keeps it.
pub(in crate::store) trait Borrowed: DerefMut<Target = SqliteConnection> + Send {
    /// It answers no more: nobody should be given it again.
    fn lose(&mut self);
}

/// One of the connections. Dropping it gives it back.
pub(in crate::store) struct Lent {
    // Given back before the seat is, so that whoever takes the seat finds a lane.
    connection: OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>,
    is_lost: Arc<AtomicBool>,
    _seat: OwnedSemaphorePermit,
}

impl Deref for Lent {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Borrowed for Lent {
    fn lose(&mut self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }
}

impl Borrowed for Transaction<'static, Sqlite> {
    // The library asks each whether it lives.
    fn lose(&mut self) {}
}

impl Borrowed for Box<SqliteConnection> {
    // The writer's, which has it for good.
    fn lose(&mut self) {}
}
