//! Step 8: what replicas tell each other by LISTEN and NOTIFY. Hints only: whoever hears one reads the row, and whoever
//! hears none reads it a little later.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep, timeout};

use crate::store::{Hint, Hints};

const CHANNEL: &str = "holdpoint";
/// How the connection that listens is called in `pg_stat_activity`.
const NAME: &str = "holdpoint-listens";
/// Hints that wait to be told, and that wait to be heard; more are lost.
const WAITING_MAX: usize = 4_096;
/// Told in one statement.
const TOLD_AT_ONCE_MAX: usize = 256;
/// PostgreSQL takes less than 8,000 bytes.
const HINT_BYTES_MAX: usize = 7_000;
/// A server that has been silent for so long is asked whether it lives.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Before a connection that was lost is made anew.
const PAUSE: Duration = Duration::from_millis(250);

/// Begins to listen on a connection of its own, and to tell by `pool`. Both end with the store.
pub(super) fn begin(direct: PgConnectOptions, pool: PgPool) -> Hints {
    let (tell, told) = mpsc::channel(WAITING_MAX);
    let (heard, _) = broadcast::channel(WAITING_MAX);
    let hearing = tokio::spawn(listen(direct, heard.clone()));
    tokio::spawn(async move {
        tell_all(pool, told).await;
        hearing.abort();
    });
    Hints { tell, heard }
}

async fn tell_all(pool: PgPool, mut told: mpsc::Receiver<String>) {
    let mut batch = Vec::with_capacity(TOLD_AT_ONCE_MAX);
    while told.recv_many(&mut batch, TOLD_AT_ONCE_MAX).await > 0 {
        batch.retain(|hint: &String| hint.len() <= HINT_BYTES_MAX);
        let hints = std::mem::take(&mut batch);
        match timeout(ANSWER_MAX, tell(&pool, hints)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "other replicas were not told; they look by themselves"),
            Err(_) => tracing::warn!("other replicas were not told in time; they look by themselves"),
        }
    }
}

/// In one transaction: outside of one, a pooler may prepare the statement on one connection and run it on another.
async fn tell(pool: &PgPool, hints: Vec<String>) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let notify = sqlx::query("SELECT pg_notify($1, hint) FROM unnest($2::text[]) AS hint").persistent(false);
    notify.bind(CHANNEL).bind(hints).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn listen(direct: PgConnectOptions, heard: broadcast::Sender<Hint>) {
    loop {
        let Err(error) = hear(&direct, &heard).await;
        tracing::warn!(%error, "hints of other replicas are not heard; listening again");
        sleep(PAUSE).await;
    }
}

/// Hears until the connection is lost.
async fn hear(direct: &PgConnectOptions, heard: &broadcast::Sender<Hint>) -> Result<Infallible, sqlx::Error> {
    let options = direct.clone().application_name(NAME).disable_statement_logging();
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ANSWER_MAX).connect_with(options).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Only now: what was told before nobody heard, and what is told from now on somebody does.
    let _ = heard.send(Hint::Missed);
    loop {
        match timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(hint))) => drop(heard.send(Hint::Said(hint.payload().to_owned()))),
            Ok(Ok(None)) => return Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into())),
            Ok(Err(error)) => return Err(error),
            // A network that swallows everything looks like peace.
            Err(_) => match timeout(ANSWER_MAX, (&mut listener).execute("SELECT 1")).await {
                Ok(answer) => {
                    answer?;
                }
                Err(_) => return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
            },
        }
    }
}
