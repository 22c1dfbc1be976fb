//! Steps 6 and 8: which gateway has which policy in force.

use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::{PolicyReport, PolicyStanding};

use super::column::{digest_from_text, int, nat};
use super::db::{Connection, Pool, Row, query};
use crate::store::row::InForceRow;
use crate::store::{CommitError, StoreError};

/// Keeps a report, unless a newer one is there.
pub(super) async fn put(
    connection: &mut Connection,
    row: &InForceRow,
    forget_before_ms: u64,
) -> Result<(), CommitError> {
    query("DELETE FROM policies_in_force WHERE seen_at_ms < $1")
        .bind(int(forget_before_ms))
        .execute(&mut *connection)
        .await?;
    let InForceRow { report, seen_at_ms } = row;
    let put = query(
        "INSERT INTO policies_in_force (instance, plugin, gateway, snapshot_id, sequence, since_ms, seen_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (instance, plugin) DO UPDATE SET gateway = excluded.gateway, \
         snapshot_id = excluded.snapshot_id, sequence = excluded.sequence, since_ms = excluded.since_ms, \
         seen_at_ms = excluded.seen_at_ms WHERE excluded.sequence >= policies_in_force.sequence",
    );
    let standing = &report.standing;
    let put = put.bind(&standing.instance).bind(&standing.plugin).bind(&report.gateway);
    let put = put.bind(report.snapshot_id.to_string()).bind(int(standing.sequence)).bind(int(report.since_ms));
    put.bind(int(*seen_at_ms)).execute(connection).await?;
    Ok(())
}

pub(super) async fn policies(
    readers: &Pool,
    behind: Option<(u64, Digest)>,
    rows_max: u32,
) -> Result<Vec<(Digest, u64)>, StoreError> {
    let rows = match behind {
        None => query(
            "SELECT snapshot_id, registered_at_ms FROM policies ORDER BY registered_at_ms DESC, snapshot_id LIMIT $1",
        )
        .bind(i64::from(rows_max)),
        Some((at_ms, id)) => query(
            "SELECT snapshot_id, registered_at_ms FROM policies WHERE registered_at_ms < $2 \
             OR (registered_at_ms = $2 AND snapshot_id > $3) ORDER BY registered_at_ms DESC, snapshot_id LIMIT $1",
        )
        .bind(i64::from(rows_max))
        .bind(int(at_ms))
        .bind(id.to_string()),
    };
    let rows = rows.fetch_all(readers).await?;
    rows.into_iter()
        .map(|row| {
            let id = digest_from_text(row.try_get("snapshot_id")?, "a snapshot id")?;
            Ok((id, nat(row.try_get("registered_at_ms")?)))
        })
        .collect()
}

pub(super) async fn of(readers: &Pool, instance: &str, plugin: &str) -> Result<Option<InForceRow>, StoreError> {
    let row = query("SELECT * FROM policies_in_force WHERE instance = $1 AND plugin = $2");
    row.bind(instance).bind(plugin).fetch_optional(readers).await?.map(read).transpose()
}

pub(super) async fn all(readers: &Pool, seen_since_ms: u64, rows_max: u32) -> Result<Vec<InForceRow>, StoreError> {
    let rows =
        query("SELECT * FROM policies_in_force WHERE seen_at_ms >= $1 ORDER BY gateway, plugin, instance LIMIT $2");
    let rows = rows.bind(int(seen_since_ms)).bind(i64::from(rows_max)).fetch_all(readers).await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<InForceRow, StoreError> {
    let report = PolicyReport {
        gateway: row.try_get("gateway")?,
        standing: PolicyStanding {
            instance: row.try_get("instance")?,
            plugin: row.try_get("plugin")?,
            sequence: nat(row.try_get("sequence")?),
        },
        snapshot_id: digest_from_text(row.try_get("snapshot_id")?, "a snapshot id")?,
        since_ms: nat(row.try_get("since_ms")?),
    };
    Ok(InForceRow { report, seen_at_ms: nat(row.try_get("seen_at_ms")?) })
}
