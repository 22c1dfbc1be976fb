//! Step 11: the rows of the inventory. Every table is bounded for each server.

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;

use super::column::{digest_from_text, from_json, int, nat, to_json, word};
use super::db::{Connection, Pool, Row, query};
use crate::store::inventory::{
    CallerName, CallerRow, DefinitionRow, DriftRow, IntroductionRow, InventoryWrite, ItemRow, PageRow, SeenItem,
    ServerRow,
};
use crate::store::{CommitError, Conflict, StoreError};

const INTRODUCTIONS_MAX: i64 = 50;
const ITEMS_MAX: i64 = 20_000;
const DEFINITIONS_MAX: i64 = 20;
const PAGES_MAX: i64 = 512;
const DRIFT_MAX: i64 = 1_000;
const CALLERS_MAX: i64 = 10_000;

/// Performs one write.
pub(super) async fn write(connection: &mut Connection, write: &InventoryWrite) -> Result<(), CommitError> {
    match write {
        InventoryWrite::Server { server, revision, at_ms } => see_server(connection, server, *revision, *at_ms).await,
        InventoryWrite::Introduction { server, introduction, at_ms } => {
            let body = to_json(introduction, "an introduction")?;
            let again = query("UPDATE inventory_introductions SET last_seen_ms = $3 WHERE server = $1 AND body = $2");
            if again.bind(server).bind(&body).bind(int(*at_ms)).execute(&mut *connection).await? == 0 {
                query(
                    "INSERT INTO inventory_introductions (server, body, first_seen_ms, last_seen_ms) \
                     VALUES ($1, $2, $3, $3)",
                )
                .bind(server)
                .bind(&body)
                .bind(int(*at_ms))
                .execute(&mut *connection)
                .await?;
            }
            query(
                "DELETE FROM inventory_introductions WHERE server = $1 AND body NOT IN (SELECT body FROM \
                 inventory_introductions WHERE server = $1 ORDER BY last_seen_ms DESC LIMIT $2)",
            )
            .bind(server)
            .bind(INTRODUCTIONS_MAX)
            .execute(connection)
            .await?;
            Ok(())
        }
        InventoryWrite::Item(item) => see_item(connection, item).await,
        InventoryWrite::Removed { server, kind, name, at_ms } => {
            query(
                "UPDATE inventory_items SET is_removed = true, last_seen_ms = $4 WHERE server = $1 AND kind = $2 AND name = $3",
            )
            .bind(server)
            .bind(kind.as_str())
            .bind(name)
            .bind(int(*at_ms))
            .execute(connection)
            .await?;
            Ok(())
        }
        InventoryWrite::Page { server, kind, page, alone, at_ms } => {
            see_page(connection, (server, *kind), page, *alone, *at_ms).await
        }
        InventoryWrite::Drift { server, drift } => {
            query(
                "INSERT INTO inventory_drift (server, kind, name, change, before, after, at_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(server)
            .bind(drift.kind.as_str())
            .bind(&drift.name)
            .bind(drift.change.as_str())
            .bind(drift.before.map(|digest| digest.to_string()))
            .bind(drift.after.map(|digest| digest.to_string()))
            .bind(int(drift.at_ms))
            .execute(&mut *connection)
            .await?;
            query(
                "DELETE FROM inventory_drift WHERE server = $1 AND id NOT IN \
                 (SELECT id FROM inventory_drift WHERE server = $1 ORDER BY id DESC LIMIT $2)",
            )
            .bind(server)
            .bind(DRIFT_MAX)
            .execute(connection)
            .await?;
            Ok(())
        }
        InventoryWrite::Calls { server, target, caller, calls, at_ms } => {
            // What callers ask for is theirs to choose: only what a list has gets a row of its own.
            query(
                "INSERT INTO inventory_callers (server, target, issuer, subject, agent, tenant, calls, first_seen_ms, \
                 last_seen_ms) SELECT $1, CASE WHEN EXISTS (SELECT 1 FROM inventory_items WHERE server = $1 AND name = $2) \
                 THEN $2 ELSE '' END, $3, $4, $5, $6, $7, $8, $8 \
                 WHERE (SELECT count(*) FROM inventory_callers WHERE server = $1) < $9 \
                 ON CONFLICT (server, target, issuer, subject, agent, tenant) \
                 DO UPDATE SET calls = inventory_callers.calls + excluded.calls, last_seen_ms = excluded.last_seen_ms",
            )
            .bind(server)
            .bind(target)
            .bind(&caller.issuer)
            .bind(&caller.subject)
            .bind(&caller.agent)
            .bind(&caller.tenant)
            .bind(int(*calls))
            .bind(int(*at_ms))
            .bind(CALLERS_MAX)
            .execute(connection)
            .await?;
            Ok(())
        }
    }
}

async fn see_server(connection: &mut Connection, server: &str, revision: u64, at_ms: u64) -> Result<(), CommitError> {
    let see = query(
        "INSERT INTO inventory_servers (server, revision, first_seen_ms, last_seen_ms) VALUES ($1, $2 + 1, $3, $3) \
         ON CONFLICT (server) DO UPDATE SET revision = $2 + 1, last_seen_ms = $3 \
         WHERE inventory_servers.revision = $2",
    );
    if see.bind(server).bind(int(revision)).bind(int(at_ms)).execute(connection).await? == 0 {
        return Err(Conflict::Counter.into());
    }
    Ok(())
}

async fn see_item(connection: &mut Connection, item: &SeenItem) -> Result<(), CommitError> {
    let SeenItem { server, kind, name, digest, text, has_changed, at_ms } = item;
    let (kind, digest, at_ms) = (kind.as_str(), digest.to_string(), int(*at_ms));
    let see = query(
        "INSERT INTO inventory_items (server, kind, name, digest, is_removed, first_seen_ms, last_seen_ms) \
         SELECT $1, $2, $3, $4, false, $5, $5 WHERE (SELECT count(*) FROM inventory_items WHERE server = $1) < $7 \
         OR EXISTS (SELECT 1 FROM inventory_items WHERE server = $1 AND kind = $2 AND name = $3) \
         ON CONFLICT (server, kind, name) DO UPDATE SET digest = $4, is_removed = false, last_seen_ms = $5, \
         changed_at_ms = CASE WHEN $6 THEN $5 ELSE inventory_items.changed_at_ms END",
    );
    let see = see.bind(server).bind(kind).bind(name).bind(&digest).bind(at_ms).bind(*has_changed).bind(ITEMS_MAX);
    if see.execute(&mut *connection).await? == 0 {
        return Ok(());
    }
    query(
        "INSERT INTO inventory_definitions (server, kind, name, digest, text, first_seen_ms, last_seen_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (server, kind, name, digest) \
         DO UPDATE SET last_seen_ms = $6, text = coalesce(inventory_definitions.text, excluded.text)",
    )
    .bind(server)
    .bind(kind)
    .bind(name)
    .bind(&digest)
    .bind(text)
    .bind(at_ms)
    .execute(&mut *connection)
    .await?;
    query(
        "DELETE FROM inventory_definitions WHERE server = $1 AND kind = $2 AND name = $3 AND digest NOT IN \
         (SELECT digest FROM inventory_definitions WHERE server = $1 AND kind = $2 AND name = $3 \
          ORDER BY last_seen_ms DESC LIMIT $4)",
    )
    .bind(server)
    .bind(kind)
    .bind(name)
    .bind(DEFINITIONS_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

async fn see_page(
    connection: &mut Connection,
    (server, kind): (&str, DefinitionKind),
    page: &PageRow,
    alone: bool,
    at_ms: u64,
) -> Result<(), CommitError> {
    let caller = page.caller.to_string();
    if alone {
        query("DELETE FROM inventory_pages WHERE server = $1 AND kind = $2 AND caller = $3")
            .bind(server)
            .bind(kind.as_str())
            .bind(&caller)
            .execute(&mut *connection)
            .await?;
    }
    query(
        "INSERT INTO inventory_pages (server, kind, caller, page, names, seen_at_ms) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (server, kind, caller, page) DO UPDATE SET names = excluded.names, seen_at_ms = excluded.seen_at_ms",
    )
    .bind(server)
    .bind(kind.as_str())
    .bind(&caller)
    .bind(page.page.to_string())
    .bind(to_json(&page.names, "names")?)
    .bind(int(at_ms))
    .execute(&mut *connection)
    .await?;
    query(
        "DELETE FROM inventory_pages WHERE server = $1 AND kind = $2 AND (caller, page) NOT IN \
         (SELECT caller, page FROM inventory_pages WHERE server = $1 AND kind = $2 ORDER BY seen_at_ms DESC LIMIT $3)",
    )
    .bind(server)
    .bind(kind.as_str())
    .bind(PAGES_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn servers(readers: &Pool) -> Result<Vec<ServerRow>, StoreError> {
    let rows = query("SELECT * FROM inventory_servers ORDER BY server").fetch_all(readers).await?;
    rows.iter().map(server_row).collect()
}

pub(super) async fn server(readers: &Pool, server: &str) -> Result<Option<ServerRow>, StoreError> {
    let row = query("SELECT * FROM inventory_servers WHERE server = $1").bind(server);
    row.fetch_optional(readers).await?.as_ref().map(server_row).transpose()
}

fn server_row(row: &Row) -> Result<ServerRow, StoreError> {
    Ok(ServerRow {
        server: row.try_get("server")?,
        revision: nat(row.try_get("revision")?),
        first_seen_ms: nat(row.try_get("first_seen_ms")?),
        last_seen_ms: nat(row.try_get("last_seen_ms")?),
    })
}

pub(super) async fn items(readers: &Pool, server: &str) -> Result<Vec<ItemRow>, StoreError> {
    let rows = query("SELECT * FROM inventory_items WHERE server = $1 ORDER BY kind DESC, name").bind(server);
    let rows = rows.fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            Ok(ItemRow {
                kind: word(row.try_get("kind")?, "a kind")?,
                name: row.try_get("name")?,
                digest: digest_from_text(row.try_get("digest")?, "a definition")?,
                is_removed: row.try_get("is_removed")?,
                first_seen_ms: nat(row.try_get("first_seen_ms")?),
                changed_at_ms: row.try_get::<Option<i64>, _>("changed_at_ms")?.map(nat),
                last_seen_ms: nat(row.try_get("last_seen_ms")?),
            })
        })
        .collect()
}

pub(super) async fn definitions(
    readers: &Pool,
    server: &str,
    kind: DefinitionKind,
    name: &str,
) -> Result<Vec<DefinitionRow>, StoreError> {
    let rows = query(
        "SELECT * FROM inventory_definitions WHERE server = $1 AND kind = $2 AND name = $3 \
         ORDER BY last_seen_ms DESC, first_seen_ms DESC, digest",
    );
    let rows = rows.bind(server).bind(kind.as_str()).bind(name).fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            Ok(DefinitionRow {
                digest: digest_from_text(row.try_get("digest")?, "a definition")?,
                text: row.try_get("text")?,
                first_seen_ms: nat(row.try_get("first_seen_ms")?),
                last_seen_ms: nat(row.try_get("last_seen_ms")?),
            })
        })
        .collect()
}

pub(super) async fn pages(readers: &Pool, server: &str, kind: DefinitionKind) -> Result<Vec<PageRow>, StoreError> {
    let rows = query("SELECT caller, page, names FROM inventory_pages WHERE server = $1 AND kind = $2");
    let rows = rows.bind(server).bind(kind.as_str()).fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            Ok(PageRow {
                caller: digest_from_text(row.try_get("caller")?, "a caller")?,
                page: digest_from_text(row.try_get("page")?, "a page")?,
                names: from_json(row.try_get("names")?, "names")?,
            })
        })
        .collect()
}

pub(super) async fn introductions(readers: &Pool, server: &str) -> Result<Vec<IntroductionRow>, StoreError> {
    let rows = query("SELECT * FROM inventory_introductions WHERE server = $1 ORDER BY last_seen_ms DESC, body");
    let rows = rows.bind(server).fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            Ok(IntroductionRow {
                introduction: from_json(row.try_get("body")?, "an introduction")?,
                first_seen_ms: nat(row.try_get("first_seen_ms")?),
                last_seen_ms: nat(row.try_get("last_seen_ms")?),
            })
        })
        .collect()
}

pub(super) async fn drift(readers: &Pool, server: &str, rows_max: u32) -> Result<Vec<DriftRow>, StoreError> {
    let rows = query("SELECT * FROM inventory_drift WHERE server = $1 ORDER BY id DESC LIMIT $2");
    let rows = rows.bind(server).bind(i64::from(rows_max)).fetch_all(readers).await?;
    let digest = |text: Option<&str>| -> Result<Option<Digest>, StoreError> {
        text.map(|text| digest_from_text(text, "a definition")).transpose()
    };
    rows.iter()
        .map(|row| {
            Ok(DriftRow {
                kind: word(row.try_get("kind")?, "a kind")?,
                name: row.try_get("name")?,
                change: word(row.try_get("change")?, "a change")?,
                before: digest(row.try_get("before")?)?,
                after: digest(row.try_get("after")?)?,
                at_ms: nat(row.try_get("at_ms")?),
            })
        })
        .collect()
}

pub(super) async fn callers(readers: &Pool, server: &str, rows_max: u32) -> Result<Vec<CallerRow>, StoreError> {
    let rows =
        query("SELECT * FROM inventory_callers WHERE server = $1 ORDER BY last_seen_ms DESC, target, subject LIMIT $2");
    let rows = rows.bind(server).bind(i64::from(rows_max)).fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            Ok(CallerRow {
                target: row.try_get("target")?,
                caller: CallerName {
                    issuer: row.try_get("issuer")?,
                    subject: row.try_get("subject")?,
                    agent: row.try_get("agent")?,
                    tenant: row.try_get("tenant")?,
                },
                calls: nat(row.try_get("calls")?),
                first_seen_ms: nat(row.try_get("first_seen_ms")?),
                last_seen_ms: nat(row.try_get("last_seen_ms")?),
            })
        })
        .collect()
}
