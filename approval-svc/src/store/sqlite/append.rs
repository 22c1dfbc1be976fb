//! Step 12: appends entries to the log inside the transaction of the change that they report.

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::merkle::{Frontier, leaf_hash};
use sqlx::{Row, SqliteConnection};

use super::column::{digest_from_blob, int, nat};
use crate::store::{Head, StoreError};

/// Appends `entries` in order; their sequence numbers, the first entry of the log being 0.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    frontier: &mut Frontier,
    entries: &[AuditEntry],
) -> Result<Vec<u64>, StoreError> {
    let mut seqs = Vec::with_capacity(entries.len());
    for entry in entries {
        let body = body_of(entry)?;
        let leaf = leaf_hash(body.as_bytes());
        let seq = frontier.size();
        sqlx::query("INSERT INTO audit_entries (seq, body, leaf_hash) VALUES ($1, $2, $3)")
            .bind(int(seq))
            .bind(&body)
            .bind(&leaf.as_bytes()[..])
            .execute(&mut *connection)
            .await?;
        frontier.append(leaf);
        seqs.push(seq);
    }
    Ok(seqs)
}

/// The text that is hashed and kept: JSON with the members sorted, so that one entry has one spelling.
fn body_of(entry: &AuditEntry) -> Result<String, StoreError> {
    match serde_json::to_value(entry) {
        Ok(body) => Ok(body.to_string()),
        Err(error) => Err(StoreError::Corrupt { what: "an audit entry", problem: error.to_string() }),
    }
}

/// The log's head as the database has it now.
pub(super) async fn read_head(connection: &mut SqliteConnection) -> Result<Head, StoreError> {
    let row = sqlx::query("SELECT size, frontier, root FROM audit_head WHERE id = 1").fetch_one(connection).await?;
    let frontier = Frontier::from_bytes(nat(row.try_get("size")?), row.try_get::<&[u8], _>("frontier")?)
        .map_err(|error| StoreError::Corrupt { what: "a log head", problem: error.to_string() })?;
    let root = digest_from_blob(row.try_get("root")?, "a log root")?;
    Ok(Head { frontier, root })
}

/// Writes a row that is another one each time: SQLite would not touch the disk for equal bytes.
pub(super) async fn write_probe(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO write_probe (id, written) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET written = written + 1",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts the head where the entries now end.
pub(super) async fn write_head(connection: &mut SqliteConnection, frontier: &Frontier) -> Result<(), StoreError> {
    sqlx::query("UPDATE audit_head SET size = $1, frontier = $2, root = $3 WHERE id = 1")
        .bind(int(frontier.size()))
        .bind(frontier.to_bytes())
        .bind(&frontier.root().as_bytes()[..])
        .execute(connection)
        .await?;
    Ok(())
}
