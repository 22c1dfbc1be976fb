//! Steps 8 to 12: the one task that writes. Whatever waits is committed together: one disk sync for many changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdpoint_core::audit::merkle::Frontier;
use tokio::sync::{mpsc, oneshot};

use super::db::{Connection, query};
use super::{append, writes};
use crate::store::postgres::connect_writer;
use crate::store::postgres::server::Server;
use crate::store::{Change, CommitError, StoreError};

/// Changes in one transaction.
const BATCH_MAX: usize = 256;

/// One change and whoever waits for it.
pub(in crate::store) struct Job {
    pub change: Change,
    /// Its entries, written and hashed.
    pub leaves: Vec<append::Leaf>,
    /// Writes one row that means nothing: proves that the database takes writes.
    pub dry: bool,
    pub answer: oneshot::Sender<Result<Vec<u64>, CommitError>>,
}

type Answers = Vec<Result<Vec<u64>, CommitError>>;

/// Writes on one connection.
pub(in crate::store) struct Writer {
    connection: Option<Connection>,
    /// Where to get another one from when the first is lost.
    server: Option<Server>,
}

impl Writer {
    /// On this connection for good.
    pub fn new(connection: Connection) -> Self {
        Self { connection: Some(connection), server: None }
    }

    /// On a connection to a server, which may come and go.
    pub fn reconnecting(server: Server) -> Self {
        Self { connection: None, server: Some(server) }
    }

    /// Commits jobs until every sender is gone.
    /// Counts transactions that became durable in `transactions`.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Job>, transactions: Arc<AtomicU64>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
            match self.commit(&batch).await {
                // Only now is anything durable, and only now does anybody hear of it.
                Ok(answers) => {
                    transactions.fetch_add(1, Ordering::Relaxed);
                    for (job, answer) in batch.drain(..).zip(answers) {
                        // A caller that went away does not undo what it asked for.
                        let _ = job.answer.send(answer);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, changes = batch.len(), "nothing was committed");
                    for job in batch.drain(..) {
                        let _ = job.answer.send(Err(error.clone().into()));
                    }
                }
            }
        }
    }

    async fn commit(&mut self, batch: &[Job]) -> Result<Answers, StoreError> {
        let is_kept = self.server.is_none();
        let connection = self.begin().await?;
        let done = transact(connection, batch).await;
        if done.is_err() && is_kept {
            // The rollback fails when SQLite has rolled back by itself, which is as good.
            let _ = query("ROLLBACK").execute(connection).await;
        } else if done.is_err() {
            // What state it is in, only the server knows, which rolls back when it is gone.
            self.connection = None;
        }
        done
    }

    /// A connection with a transaction begun. One that was lost since the last time is made anew: nothing was asked yet.
    async fn begin(&mut self) -> Result<&mut Connection, StoreError> {
        let Some(server) = &self.server else {
            let connection = self.connection.as_mut().ok_or(StoreError::Stopped)?;
            query(connection.begin_write()).execute(&mut *connection).await?;
            return Ok(connection);
        };
        let has_begun = match &mut self.connection {
            Some(connection) => query(connection.begin_write()).execute(connection).await.is_ok(),
            None => false,
        };
        if !has_begun {
            self.connection = None;
            let mut connection = connect_writer(server).await?;
            query(connection.begin_write()).execute(&mut connection).await?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or(StoreError::Stopped)
    }
}

/// All jobs in the transaction that has begun; each of them as a whole or not at all.
async fn transact(connection: &mut Connection, batch: &[Job]) -> Result<Answers, StoreError> {
    // From here on another process can append only before or after.
    let head = append::take_head(connection).await?;
    let mut frontier = head.frontier.clone();
    let mut answers = Vec::with_capacity(batch.len());
    for job in batch {
        if job.dry {
            // An error here may mean that SQLite has ended the whole transaction: nothing after it may go on.
            append::write_probe(connection).await?;
            answers.push(Ok(Vec::new()));
            continue;
        }
        query("SAVEPOINT change").execute(&mut *connection).await?;
        let before = frontier.clone();
        let answer = apply(connection, &mut frontier, job).await;
        if answer.is_err() {
            frontier = before;
            query("ROLLBACK TO change").execute(&mut *connection).await?;
        }
        query("RELEASE change").execute(&mut *connection).await?;
        answers.push(answer);
    }
    if frontier != head.frontier {
        append::write_head(connection, &frontier).await?;
    }
    query("COMMIT").execute(&mut *connection).await?;
    Ok(answers)
}

async fn apply(connection: &mut Connection, frontier: &mut Frontier, job: &Job) -> Result<Vec<u64>, CommitError> {
    for write in &job.change.writes {
        writes::write(connection, write).await?;
    }
    Ok(append::append(connection, frontier, &job.change.entries, &job.leaves).await?)
}
