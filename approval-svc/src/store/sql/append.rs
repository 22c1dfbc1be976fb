//! Step 12: appends entries to the log inside the transaction of the change that they report.

use std::ops::Range;

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::merkle::{Frontier, LEVEL_MAX, TILE_HEIGHT, TILE_WIDTH, leaf_hash, root_of};
use holdpoint_core::digest::Digest;

use super::column::{digest_from_blob, int, nat};
use super::db::{Connection, Pool, Row, portions, query};
use super::payloads;
use crate::store::{Head, StoreError};

/// Entries written by one statement.
const ROWS_AT_ONCE_MAX: usize = 64;

/// One entry as it goes into the table: its text and the hash of that.
pub(in crate::store) struct Leaf {
    body: String,
    hash: Digest,
}

/// Writes and hashes entries, before whoever asks waits for the writer: that one does nothing but write.
pub(super) fn leaves_of(entries: &[AuditEntry]) -> Result<Vec<Leaf>, StoreError> {
    let leaf = |entry| {
        let body = body_of(entry)?;
        let hash = leaf_hash(body.as_bytes());
        Ok(Leaf { body, hash })
    };
    entries.iter().map(leaf).collect()
}

/// Appends `entries`, whose `leaves` these are, in order; their sequence numbers, the first entry of the log being 0.
pub(super) async fn append(
    connection: &mut Connection,
    frontier: &mut Frontier,
    entries: &[AuditEntry],
    leaves: &[Leaf],
) -> Result<Vec<u64>, StoreError> {
    let first = frontier.size();
    let mut unwritten = 0;
    for (at, leaf) in leaves.iter().enumerate() {
        frontier.append(leaf.hash);
        if frontier.size().is_multiple_of(TILE_WIDTH) {
            write_leaves(connection, first, leaves, unwritten..at + 1).await?;
            unwritten = at + 1;
            write_subtrees(connection, frontier).await?;
        }
    }
    write_leaves(connection, first, leaves, unwritten..leaves.len()).await?;
    let numbered: Vec<(u64, &AuditEntry)> = (first..).zip(entries).collect();
    payloads::put(connection, &numbered).await?;
    Ok((first..frontier.size()).collect())
}

/// Writes some of the leaves, of which the first has number `first`, by few statements: a batch of a gateway must not cost a
/// way to the server for each entry.
async fn write_leaves(
    connection: &mut Connection,
    first: u64,
    leaves: &[Leaf],
    which: Range<usize>,
) -> Result<(), StoreError> {
    let mut rows = (first..).zip(leaves).skip(which.start);
    for portion in portions(which.len(), ROWS_AT_ONCE_MAX) {
        let mut insert = query("INSERT INTO audit_entries (seq, body, leaf_hash) VALUES ");
        for (at, (seq, leaf)) in rows.by_ref().take(portion).enumerate() {
            insert.push(if at == 0 { "(" } else { ", (" }).push_bind(int(seq));
            insert.push(", ").push_bind(&leaf.body).push(", ").push_bind(&leaf.hash.as_bytes()[..]).push(")");
        }
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Keeps the roots of the subtrees that the last entry filled.
async fn write_subtrees(connection: &mut Connection, frontier: &Frontier) -> Result<(), StoreError> {
    let mut level = 1;
    while level <= LEVEL_MAX && frontier.size().is_multiple_of(1 << (level * TILE_HEIGHT)) {
        // The subtree is part of a larger perfect one by now when others stood beside it: its own root has to be made.
        let hash = last_subtree(connection, frontier, level).await?;
        query("INSERT INTO audit_subtrees (level, idx, hash) VALUES ($1, $2, $3)")
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
async fn last_subtree(connection: &mut Connection, frontier: &Frontier, level: u32) -> Result<Digest, StoreError> {
    let end = frontier.size() >> ((level - 1) * TILE_HEIGHT);
    let statement = if level == 1 {
        query("SELECT leaf_hash FROM audit_entries WHERE seq >= $1 ORDER BY seq")
    } else {
        query("SELECT hash FROM audit_subtrees WHERE idx >= $1 AND level = $2 ORDER BY idx")
    };
    let statement = statement.bind(int(end - TILE_WIDTH));
    let statement = if level == 1 { statement } else { statement.bind(i64::from(level - 1)) };
    let rows = statement.fetch_all(connection).await?;
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
pub(super) async fn read_head(readers: &Pool) -> Result<Head, StoreError> {
    head_of(&query("SELECT size, frontier, root FROM audit_head WHERE id = 1").fetch_one(readers).await?)
}

/// The same, and until the end of the transaction nobody else can write it.
pub(super) async fn take_head(connection: &mut Connection) -> Result<Head, StoreError> {
    let statement = query(connection.dialect().head_to_write());
    head_of(&statement.fetch_one(connection).await?)
}

fn head_of(row: &Row) -> Result<Head, StoreError> {
    let frontier = Frontier::from_bytes(nat(row.try_get("size")?), row.try_get::<&[u8], _>("frontier")?)
        .map_err(|error| StoreError::Corrupt { what: "a log head", problem: error.to_string() })?;
    let root = digest_from_blob(row.try_get("root")?, "a log root")?;
    Ok(Head { frontier, root })
}

/// Writes a row that is another one each time: SQLite would not touch the disk for equal bytes.
pub(super) async fn write_probe(connection: &mut Connection) -> Result<(), StoreError> {
    query(
        "INSERT INTO write_probe (id, written) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET written = write_probe.written + 1",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts the head where the entries now end.
pub(super) async fn write_head(connection: &mut Connection, frontier: &Frontier) -> Result<(), StoreError> {
    query("UPDATE audit_head SET size = $1, frontier = $2, root = $3 WHERE id = 1")
        .bind(int(frontier.size()))
        .bind(frontier.to_bytes())
        .bind(&frontier.root().as_bytes()[..])
        .execute(connection)
        .await?;
    Ok(())
}
