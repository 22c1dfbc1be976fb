//! Steps 8 to 12: the store in PostgreSQL, where several replicas of the service share one database.
//!
//! Every write transaction takes the row of the log's head first, so that no two run at once, whichever replica begins
//! them. Reads go to whatever connection is free. What expires is measured by the server's clock.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, Executor, Row};
use tokio::time::timeout;

use super::StoreError;
use super::sql::db::{Connection, Pool, Way};
use super::sql::writer::Writer;
use super::sql::{Clock, SqlStore};

pub mod hints;
pub mod server;

#[cfg(test)]
pub(crate) mod tests;

use server::Server;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Oldest version that is supported, as `server_version_num` has it.
const VERSION_MIN: i32 = 140_000;
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long a read waits for a free connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(15);
/// Another replica may be bringing the schema up to date.
const MIGRATE_MAX: Duration = Duration::from_secs(120);
/// No statement of the service takes nearly as long; one that does is ended by the server. Through a pooler each transaction
/// says so for itself.
const SESSION: &str = "SET statement_timeout = '10s'; SET lock_timeout = '8s'; \
     SET idle_in_transaction_session_timeout = '20s'";

/// What uses the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// One of the services: hears what the others say.
    Replica { connections_max: u32 },
    /// A command that looks or changes something and ends.
    Command,
}

impl Use {
    fn connections_max(self) -> u32 {
        match self {
            Self::Replica { connections_max } => connections_max,
            Self::Command => 2,
        }
    }
}

/// Opens the database and brings its schema up to date, one process at a time. `clock` is the server's own if `None`.
pub async fn open(server: &Server, as_what: Use, clock: Option<Clock>) -> Result<SqlStore, StoreError> {
    let mut connection = connect(server.direct(), server).await?;
    check(&mut connection, server).await?;
    migrate(&mut connection, server).await?;
    // Nothing waits for how it ends.
    let _ = connection.close().await;
    if server.way() == Way::Pooled {
        // What is wrong behind the pooler is told at once, and not by the first write that fails.
        let mut lent = connect(server.options(), server).await?;
        check_lent(&mut lent, server).await?;
        let _ = lent.close().await;
    }
    let way = server.way();
    let pool = PgPoolOptions::new()
        .max_connections(as_what.connections_max())
        .acquire_timeout(ACQUIRE_MAX)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if way == Way::Direct {
                    connection.execute(SESSION).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(server.options().clone().disable_statement_logging());
    let writer = Writer::reconnecting(server.clone());
    let store = SqlStore::new(Pool::Postgres(pool.clone(), way), writer, clock);
    Ok(match as_what {
        Use::Replica { .. } => store.with_hints(hints::begin(server.direct().clone(), pool)),
        Use::Command => store,
    })
}

/// A connection for the writer.
pub(super) async fn connect_writer(server: &Server) -> Result<Connection, StoreError> {
    let mut connection = connect(server.options(), server).await?;
    let way = server.way();
    match way {
        Way::Direct => {
            connection.execute(SESSION).await.map_err(|error| explain(&error, server))?;
        }
        // Whom a pooler asks may be another one since the last time.
        Way::Pooled => check_lent(&mut connection, server).await?,
    }
    Ok(Connection::Postgres(Box::new(Box::new(connection)), way))
}

async fn connect(options: &PgConnectOptions, server: &Server) -> Result<PgConnection, StoreError> {
    let options = options.clone().disable_statement_logging();
    match timeout(CONNECT_MAX, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(explain(&error, server)),
        Err(_) => Err(StoreError::Server(format!("{server} did not answer within {CONNECT_MAX:?}"))),
    }
}

/// Whether the server is one that keeps what it acknowledges, in a version that is known to do.
async fn check(connection: &mut PgConnection, server: &Server) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int, current_setting('synchronous_commit'), \
         current_setting('server_encoding')",
    );
    let row = row.fetch_one(connection).await.map_err(|error| explain(&error, server))?;
    check_version(row.try_get(0)?)?;
    check_durable(row.try_get(1)?, server)?;
    match row.try_get::<&str, _>(2)? {
        "UTF8" => Ok(()),
        other => Err(StoreError::Server(format!(
            "the database of {server} keeps text as {other}: make one with `createdb --encoding UTF8 --template template0`"
        ))),
    }
}

/// The same of what a pooler lends, as far as it can differ from what the direct way leads to.
async fn check_lent(connection: &mut PgConnection, server: &Server) -> Result<(), StoreError> {
    // As a plain text: prepared and asked in two steps, a pooler may send each to another connection.
    let row = sqlx::raw_sql("SELECT current_setting('synchronous_commit'), current_database()::text");
    let row = row.fetch_one(connection).await.map_err(|error| explain(&error, server))?;
    check_durable(row.try_get(0)?, server)?;
    let (lent, direct) = (row.try_get::<&str, _>(1)?, server.direct_database());
    if lent != direct {
        return Err(StoreError::Server(format!(
            "the pooler leads to the database `{lent}`, and `--database-direct-url` to `{direct}`: name the same one in both"
        )));
    }
    Ok(())
}

fn check_durable(synchronous_commit: &str, server: &Server) -> Result<(), StoreError> {
    if synchronous_commit == "off" {
        return Err(StoreError::Server(format!(
            "{server} acknowledges what is not on its disk (`synchronous_commit` is off): the record would lose entries; \
             say `ALTER ROLE \"{}\" SET synchronous_commit = on`",
            server.user()
        )));
    }
    Ok(())
}

/// `version` is as `server_version_num` has it.
fn check_version(version: i32) -> Result<(), StoreError> {
    if version < VERSION_MIN {
        let (found, least) = (version / 10_000, VERSION_MIN / 10_000);
        return Err(StoreError::Server(format!("the server is PostgreSQL {found}, and {least} or later is needed")));
    }
    Ok(())
}

async fn migrate(connection: &mut PgConnection, server: &Server) -> Result<(), StoreError> {
    // It waits for an advisory lock that only one process has at a time.
    let done = timeout(MIGRATE_MAX, MIGRATIONS.run_direct(None, &mut *connection, false)).await;
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))) => {
            Err(explain(&error, server))
        }
        Ok(Err(MigrateError::VersionMissing(number))) => Err(StoreError::Server(format!(
            "a newer version of holdpoint has changed the database of {server} (migration {number}): run that one"
        ))),
        Ok(Err(error)) => Err(StoreError::Server(error.to_string())),
        Err(_) => Err(StoreError::Server(format!(
            "another process has been changing the schema of {server} for {MIGRATE_MAX:?}: end it, or wait for it"
        ))),
    }
}

/// What went wrong, and what to do about it.
fn explain(error: &sqlx::Error, server: &Server) -> StoreError {
    let user = server.user();
    let (code, message) = match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => (error.code(), error.message()),
            None => return StoreError::Server(error.to_string()),
        },
        sqlx::Error::Tls(error) => return unsafe_connection(server, error),
        // What a handshake found wrong with a certificate comes as data that makes no sense.
        sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => return unsafe_connection(server, error),
        sqlx::Error::Io(error) => {
            let why = format!("nothing answers at {server} ({error}): is it running, and is the address right");
            return StoreError::Server(why);
        }
        error => return StoreError::Server(format!("{server}: {error}")),
    };
    StoreError::Server(match code {
        "28P01" => {
            format!("{server} refuses the password of `{user}`: check `HOLDPOINT_DATABASE_URL`, or `PGPASSFILE`")
        }
        "28000" => format!("{server} does not let `{user}` in ({message}): check the role, and pg_hba.conf"),
        "3D000" => format!("{server}: {message}: make it with `createdb --owner {user} {}`", server.database()),
        "42501" => format!(
            "`{user}` lacks a right on {server} ({message}): let it own the database, or say `GRANT CREATE, USAGE ON \
             SCHEMA public TO \"{user}\"`"
        ),
        "53300" => format!("{server} has no connection left ({message}): lower `--database-connections-max`"),
        "25006" => format!("{server} is a standby that takes no writes: name the primary"),
        _ => format!("{server}: {message}"),
    })
}

fn unsafe_connection(server: &Server, why: &dyn fmt::Display) -> StoreError {
    StoreError::Server(format!("no safe connection to {server} ({why}): check `sslmode` and `sslrootcert`"))
}
