//! Step 7: places under limits that hold for all gateways. Writers take turns, so that counting and taking are one step.

use holdpoint_core::fleet::{RenewLeases, TakeLeases};

use super::column::int;
use super::db::{Connection, query};
use super::writes::touch;
use crate::store::{CommitError, Conflict};

/// Takes a place under each limit; what has expired is forgotten first.
pub(super) async fn take(connection: &mut Connection, take: &TakeLeases, at_ms: u64) -> Result<(), CommitError> {
    query("DELETE FROM fleet_leases WHERE expires_at_ms <= $1").bind(int(at_ms)).execute(&mut *connection).await?;
    for (place, limit) in take.limits.iter().enumerate() {
        let counts_ms = limit.per_ms.unwrap_or(take.ttl_ms);
        let insert = query(
            "INSERT INTO fleet_leases (name, holder, expires_at_ms, is_counted) SELECT $1, $2, $3, $4 \
             WHERE (SELECT count(*) FROM fleet_leases WHERE name = $1 AND holder <> $2) < $5 \
             ON CONFLICT (name, holder) DO UPDATE SET expires_at_ms = excluded.expires_at_ms",
        );
        let insert = insert.bind(limit.name.to_string()).bind(&take.holder);
        let insert = insert.bind(int(at_ms.saturating_add(counts_ms))).bind(limit.per_ms.is_some());
        touch(connection, insert.bind(i64::from(limit.most)), Conflict::Full(place)).await?;
    }
    Ok(())
}

/// Keeps the places of a running call that have not expired.
pub(super) async fn renew(
    connection: &mut Connection,
    holder: &str,
    renew: &RenewLeases,
    at_ms: u64,
) -> Result<(), CommitError> {
    if let Some(to) = renew.to.as_deref().filter(|to| *to != holder) {
        // Whoever it is handed to may have a place under the same limit: a task that another call of its server has begun too.
        let double = query(
            "DELETE FROM fleet_leases WHERE holder = $1 AND name IN \
             (SELECT name FROM fleet_leases WHERE holder = $2 AND is_counted = $3 AND expires_at_ms > $4)",
        );
        double.bind(to).bind(holder).bind(false).bind(int(at_ms)).execute(&mut *connection).await?;
    }
    let update = query(
        "UPDATE fleet_leases SET expires_at_ms = $2, holder = $3 WHERE holder = $1 AND is_counted = $4 \
         AND expires_at_ms > $5",
    );
    let update = update.bind(holder).bind(int(at_ms.saturating_add(renew.ttl_ms)));
    let update = update.bind(renew.to.as_deref().unwrap_or(holder)).bind(false).bind(int(at_ms));
    touch(connection, update, Conflict::Missing).await
}

/// Frees what a call has; that it ran stays counted.
pub(super) async fn end(connection: &mut Connection, holder: &str, ran: bool) -> Result<(), CommitError> {
    let end = query("DELETE FROM fleet_leases WHERE holder = $1 AND (is_counted = $2 OR NOT $3)");
    end.bind(holder).bind(false).bind(ran).execute(connection).await?;
    Ok(())
}
