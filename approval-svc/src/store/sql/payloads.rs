//! Step 12: what stands beside the log's entries: written in the transaction of its entry, read with it, erased.

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::payload::{Part, Payload};

use super::column::{digest_from_blob, int, nat};
use super::db::{Connection, Pool, Row, portions, query};
use crate::store::StoreError;
use crate::store::payload::{EntryBeside, Erasure, PayloadErasure, PayloadFilter};
use crate::store::row::LogEntry;

type Answer<T> = Result<T, StoreError>;

/// Rows of one statement.
const ROWS_AT_ONCE_MAX: usize = 64;

/// Keeps what is to stand beside these entries, each with its number.
pub(super) async fn put(connection: &mut Connection, entries: &[(u64, &AuditEntry)]) -> Answer<()> {
    let mut rows = entries.iter().filter_map(|(seq, entry)| {
        let payload = entry.payload.as_deref()?;
        let levels = Part::ALL.into_iter().filter_map(|part| entry.said_of(part)).map(|said| said.level);
        Some((*seq, *entry, payload, levels.max()?))
    });
    let count = rows.clone().count();
    for portion in portions(count, ROWS_AT_ONCE_MAX) {
        let mut put =
            query("INSERT INTO audit_payloads (seq, at_ms, level, issuer, subject, salt, arguments, result) VALUES ");
        for (at, (seq, entry, payload, level)) in rows.by_ref().take(portion).enumerate() {
            let principal = entry.principal.as_ref();
            put.push(if at == 0 { "(" } else { ", (" }).push_bind(int(seq));
            put.push(", ").push_bind(int(payload.kept_since_ms)).push(", ").push_bind(level.as_str());
            put.push(", ").push_bind(principal.map(|principal| principal.issuer.as_str()));
            put.push(", ").push_bind(principal.map(|principal| principal.subject.as_str()));
            put.push(", ").push_bind(payload.salt.to_string()).push(", ").push_bind(&payload.arguments);
            put.push(", ").push_bind(&payload.result).push(")");
        }
        put.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn erase(connection: &mut Connection, erasure: &PayloadErasure) -> Answer<()> {
    for seq in &erasure.seqs {
        query("DELETE FROM audit_payloads WHERE seq = $1").bind(int(*seq)).execute(&mut *connection).await?;
    }
    for [first, last] in &erasure.ranges {
        query("INSERT INTO audit_erasures (first_seq, last_seq, at_ms, erased_by) VALUES ($1, $2, $3, $4)")
            .bind(int(*first))
            .bind(int(*last))
            .bind(int(erasure.at_ms))
            .bind(&erasure.by)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Entries from `from` on with what stands beside them, at most `rows_max`.
pub(super) async fn entries(readers: &Pool, from: u64, rows_max: u32) -> Answer<Vec<EntryBeside>> {
    let rows = query(
        "SELECT e.seq, e.body, e.leaf_hash, p.salt, p.arguments, p.result FROM audit_entries e \
         LEFT JOIN audit_payloads p ON p.seq = e.seq WHERE e.seq >= $1 ORDER BY e.seq LIMIT $2",
    )
    .bind(int(from))
    .bind(i64::from(rows_max))
    .fetch_all(readers)
    .await?;
    let beside = |row: &Row| {
        let seq = nat(row.try_get(0)?);
        let entry =
            LogEntry { seq, body: row.try_get(1)?, leaf_hash: digest_from_blob(row.try_get(2)?, "a leaf hash")? };
        let salt: Option<&str> = row.try_get(3)?;
        let payload = salt.map(|salt| payload_of(salt, row.try_get(4)?, row.try_get(5)?)).transpose()?;
        Ok(EntryBeside { entry, payload })
    };
    rows.iter().map(beside).collect()
}

fn payload_of(salt: &str, arguments: Option<String>, result: Option<String>) -> Answer<Payload> {
    let salt =
        salt.parse().map_err(|error| StoreError::Corrupt { what: "a salt", problem: format!("`{salt}`: {error}") })?;
    Ok(Payload { salt, arguments, result, kept_since_ms: 0 })
}

/// The last time that something beside entry `seq` was erased.
pub(super) async fn erasure(readers: &Pool, seq: u64) -> Answer<Option<Erasure>> {
    let row = query(
        "SELECT at_ms, erased_by FROM audit_erasures WHERE first_seq <= $1 AND last_seq >= $1 \
         ORDER BY at_ms DESC LIMIT 1",
    )
    .bind(int(seq))
    .fetch_optional(readers)
    .await?;
    row.map(|row| Ok(Erasure { at_ms: nat(row.try_get(0)?), by: row.try_get(1)? })).transpose()
}

/// Numbers of up to `rows_max` entries beside which stands what the filter names.
pub(super) async fn find(readers: &Pool, filter: PayloadFilter, rows_max: u32) -> Answer<Vec<u64>> {
    let query = match filter {
        PayloadFilter::Older { level, before_ms } => {
            query("SELECT seq FROM audit_payloads WHERE level = $1 AND at_ms < $2 ORDER BY at_ms, seq LIMIT $3")
                .bind(level)
                .bind(int(before_ms))
        }
        PayloadFilter::Of { subject, before_ms } => {
            query("SELECT seq FROM audit_payloads WHERE subject = $1 AND at_ms < $2 ORDER BY seq LIMIT $3")
                .bind(subject)
                .bind(int(before_ms))
        }
    };
    let rows = query.bind(i64::from(rows_max)).fetch_all(readers).await?;
    rows.iter().map(|row| Ok(nat(row.try_get(0)?))).collect()
}
