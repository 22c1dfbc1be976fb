//! Steps 8 to 12: the one task that writes. Whatever waits is committed together: one disk sync for many changes.

use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::{append, writes};
use crate::store::{Change, CommitError, StoreError};

/// Changes in one transaction.
const BATCH_MAX: usize = 256;

/// One change and whoever waits for it.
pub(super) struct Job {
    pub change: Change,
    /// Writes one row that means nothing: proves that the database takes writes.
    pub dry: bool,
    pub answer: oneshot::Sender<Result<Vec<u64>, CommitError>>,
}

type Answers = Vec<Result<Vec<u64>, CommitError>>;

/// Commits jobs until every sender is gone.
pub(super) async fn run(mut connection: SqliteConnection, mut inbox: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        match transact(&mut connection, &batch).await {
            // Only now is anything durable, and only now does anybody hear of it.
            Ok(answers) => {
                for (job, answer) in batch.drain(..).zip(answers) {
                    // A caller that went away does not undo what it asked for.
                    let _ = job.answer.send(answer);
                }
            }
            Err(error) => {
                // The rollback fails when SQLite has rolled back by itself, which is as good.
                let _ = sqlx::query("ROLLBACK").execute(&mut connection).await;
                tracing::error!(%error, changes = batch.len(), "nothing was committed");
                for job in batch.drain(..) {
                    let _ = job.answer.send(Err(error.clone().into()));
                }
            }
        }
    }
}

/// All jobs in one transaction; each of them as a whole or not at all.
async fn transact(connection: &mut SqliteConnection, batch: &[Job]) -> Result<Answers, StoreError> {
    // IMMEDIATE takes the write lock before the head is read: another process can append only before or after.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let head = append::read_head(connection).await?;
    let mut frontier = head.frontier.clone();
    let mut answers = Vec::with_capacity(batch.len());
    for job in batch {
        if job.dry {
            // An error here may mean that SQLite has ended the whole transaction: nothing after it may go on.
            append::write_probe(connection).await?;
            answers.push(Ok(Vec::new()));
            continue;
        }
        sqlx::query("SAVEPOINT change").execute(&mut *connection).await?;
        let before = frontier.clone();
        let answer = apply(connection, &mut frontier, &job.change).await;
        if answer.is_err() {
            frontier = before;
            sqlx::query("ROLLBACK TO change").execute(&mut *connection).await?;
        }
        sqlx::query("RELEASE change").execute(&mut *connection).await?;
        answers.push(answer);
    }
    if frontier != head.frontier {
        append::write_head(connection, &frontier).await?;
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(answers)
}

async fn apply(
    connection: &mut SqliteConnection,
    frontier: &mut holdpoint_core::audit::merkle::Frontier,
    change: &Change,
) -> Result<Vec<u64>, CommitError> {
    for write in &change.writes {
        writes::write(connection, write).await?;
    }
    Ok(append::append(connection, frontier, &change.entries).await?)
}
