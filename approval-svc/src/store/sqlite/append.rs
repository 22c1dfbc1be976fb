//! Step 12: appends entries to the log inside the transaction of the change that they report.

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::merkle::{Frontier, LEVEL_MAX, TILE_HEIGHT, TILE_WIDTH, leaf_hash, root_of};
use holdpoint_core::digest::Digest;
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
        write_subtrees(connection, frontier).await?;
        seqs.push(seq);
    }
    Ok(seqs)
}

/// Keeps the roots of the subtrees that the last entry filled.
async fn write_subtrees(connection: &mut SqliteConnection, frontier: &Frontier) -> Result<(), StoreError> {
    let mut level = 1;
    while level <= LEVEL_MAX && frontier.size().is_multiple_of(1 << (level * TILE_HEIGHT)) {
        // The subtree is part of a larger perfect one by now when others stood beside it: its own root has to be made.
        let hash = last_subtree(connection, frontier, level).await?;
        sqlx::query("INSERT INTO audit_subtrees (level, idx, hash) VALUES ($1, $2, $3)")
            .bind(i64::from(level))
            .bind(int((frontier.size() >> (level * TILE_HEIGHT)) - 1))
            .bind(&hash.as_bytes()[..])
            .execute(&mut *connection)
            .await?;
        level += 1;
    }
    Ok(())
}

/// Root of the last 256 hashes of the level below.
async fn last_subtree(
    connection: &mut SqliteConnection,
    frontier: &Frontier,
    level: u32,
) -> Result<Digest, StoreError> {
    let end = frontier.size() >> ((level - 1) * TILE_HEIGHT);
    let query = if level == 1 {
        sqlx::query("SELECT leaf_hash FROM audit_entries WHERE seq >= $1 ORDER BY seq")
    } else {
        sqlx::query("SELECT hash FROM audit_subtrees WHERE idx >= $1 AND level = $2 ORDER BY idx")
    };
    let query = query.bind(int(end - TILE_WIDTH));
    let query = if level == 1 { query } else { query.bind(i64::from(level - 1)) };
    let rows = query.fetch_all(connection).await?;
    let hashes: Vec<Digest> =
        rows.iter().map(|row| digest_from_blob(row.try_get(0)?, "a hash of the log")).collect::<Result<_, _>>()?;
    Ok(root_of(hashes))
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
