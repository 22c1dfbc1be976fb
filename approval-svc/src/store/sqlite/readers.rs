//! Steps 8 to 12: the few connections that read one SQLite file, lent one at a time.
//!
//! Ours rather than the library's pool, which asks a connection whether it lives before each use and after it: three ways
//! to the connection's thread where one reads a row. A file does not go away as a server does.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Connections that read, and who may use one next: whoever came first.
#[derive(Clone, Debug)]
pub(in crate::store) struct Readers {
    seats: Arc<Semaphore>,
    lanes: Arc<[Arc<Mutex<SqliteConnection>>]>,
    /// For pages and searches, which read several things as of one moment: the library ends their transactions.
    snapshots: SqlitePool,
}

impl Readers {
    /// `count` connections, and as many more for snapshots as are needed at once, up to `snapshots_max`.
    pub async fn open(options: &SqliteConnectOptions, count: usize, snapshots_max: u32) -> Result<Self, sqlx::Error> {
        let mut lanes = Vec::with_capacity(count);
        for _ in 0..count {
            lanes.push(Arc::new(Mutex::new(options.connect().await?)));
        }
        let snapshots = SqlitePoolOptions::new().max_connections(snapshots_max).connect_lazy_with(options.clone());
        Ok(Self { seats: Arc::new(Semaphore::new(count)), lanes: lanes.into(), snapshots })
    }

    /// A connection of one's own. What was left half read by the last one is read to its end first, by the connection itself.
    pub async fn lend(&self) -> Lent {
        // Nobody closes it; were it closed, whoever reads would wait for a lane below instead of for a seat.
        let seat = Arc::clone(&self.seats).acquire_owned().await.ok();
        for lane in self.lanes.iter() {
            if let Ok(connection) = Arc::clone(lane).try_lock_owned() {
                return Lent { connection, _seat: seat };
            }
        }
        // A lane behind this look was taken while one before it became free.
        let connection = Arc::clone(&self.lanes[0]).lock_owned().await;
        Lent { connection, _seat: seat }
    }

    /// A connection on which everything is read as of one moment, until it is dropped.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.snapshots.begin().await
    }
}

/// One of the connections. Dropping it gives it back.
pub(in crate::store) struct Lent {
    // Given back before the seat is, so that whoever takes the seat finds a lane.
    connection: OwnedMutexGuard<SqliteConnection>,
    _seat: Option<OwnedSemaphorePermit>,
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
