//! Step 11: the rows of the inventory. Every table is bounded for each server.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;

use super::column::{digest_from_text, from_json, int, nat, to_json, word};
use super::db::{Connection, Pool, Row, Statement, portions, query};
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
/// Rows of one statement.
const ROWS_AT_ONCE_MAX: usize = 64;

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
        InventoryWrite::Calls { server, calls, at_ms } => count_calls(connection, server, calls, *at_ms).await,
    }
}

/// Adds up by few statements, however many called: a gateway's batch may name hundreds.
async fn count_calls(
    connection: &mut Connection,
    server: &str,
    calls: &BTreeMap<(String, CallerName), u64>,
    at_ms: u64,
) -> Result<(), CommitError> {
    // What callers ask for is theirs to choose: only what a list has gets a row of its own.
    let listed = listed(connection, server, calls.keys().map(|(target, _)| target.as_str())).await?;
    let mut rows: BTreeMap<(&str, &CallerName), u64> = BTreeMap::new();
    for ((target, caller), calls) in calls {
        let target = if listed.contains(target) { target.as_str() } else { "" };
        *rows.entry((target, caller)).or_default() += calls;
    }
    let mut rest = rows.iter();
    for portion in portions(rows.len(), ROWS_AT_ONCE_MAX) {
        let some: Vec<_> = rest.by_ref().take(portion).collect();
        let mut add =
            query("UPDATE inventory_callers SET calls = inventory_callers.calls + given.column6, last_seen_ms = ");
        add.push_bind(int(at_ms)).push(" FROM (VALUES ");
        for (at, ((target, caller), calls)) in some.iter().enumerate() {
            add.push(if at == 0 { "(" } else { ", (" });
            bind_caller(&mut add, target, caller).push(", ").push_bind(int(**calls)).push(")");
        }
        add.push(") AS given WHERE inventory_callers.server = ").push_bind(server);
        add.push(" AND inventory_callers.target = given.column1 AND inventory_callers.issuer = given.column2");
        add.push(" AND inventory_callers.subject = given.column3 AND inventory_callers.agent = given.column4");
        add.push(" AND inventory_callers.tenant = given.column5");
        if add.execute(&mut *connection).await? < u64::try_from(portion).unwrap_or(u64::MAX) {
            add_callers(connection, server, &some, at_ms).await?;
        }
    }
    Ok(())
}

/// Which of these names the server's lists have, or had.
async fn listed<'a>(
    connection: &mut Connection,
    server: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<String>, CommitError> {
    let names: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    let mut listed = BTreeSet::new();
    let mut rest = names.iter();
    for portion in portions(names.len(), ROWS_AT_ONCE_MAX) {
        let mut select = query("SELECT DISTINCT name FROM inventory_items WHERE server = ");
        select.push_bind(server).push(" AND name IN (");
        for (at, name) in rest.by_ref().take(portion).enumerate() {
            select.push(if at == 0 { "" } else { ", " }).push_bind(*name);
        }
        select.push(")");
        for row in select.fetch_all(&mut *connection).await? {
            listed.insert(row.try_get(0)?);
        }
    }
    Ok(listed)
}

/// Adds rows for those that have none, as far as there is room.
async fn add_callers(
    connection: &mut Connection,
    server: &str,
    some: &[(&(&str, &CallerName), &u64)],
    at_ms: u64,
) -> Result<(), CommitError> {
    let count = query("SELECT count(*) FROM inventory_callers WHERE server = $1").bind(server);
    let mut room = CALLERS_MAX - count.fetch_one(&mut *connection).await?.try_get::<i64, _>(0)?;
    for ((target, caller), calls) in some {
        if room <= 0 {
            break;
        }
        let mut add = query(
            "INSERT INTO inventory_callers (target, issuer, subject, agent, tenant, server, calls, first_seen_ms, \
             last_seen_ms) VALUES (",
        );
        bind_caller(&mut add, target, caller).push(", ").push_bind(server).push(", ").push_bind(int(**calls));
        add.push(", ").push_bind(int(at_ms)).push(", ").push_bind(int(at_ms)).push(") ON CONFLICT DO NOTHING");
        room -= i64::from(add.execute(&mut *connection).await? > 0);
    }
    Ok(())
}

fn bind_caller<'s>(statement: &'s mut Statement, target: &str, caller: &CallerName) -> &'s mut Statement {
    statement.push_bind(target).push(", ").push_bind(&caller.issuer).push(", ").push_bind(&caller.subject);
    statement.push(", ").push_bind(&caller.agent).push(", ").push_bind(&caller.tenant)
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
    let SeenItem { server, kind, name, digest, text, has_changed, is_latest, at_ms } = item;
    let (kind, digest, at_ms) = (kind.as_str(), digest.to_string(), int(*at_ms));
    let see = query(
        "INSERT INTO inventory_items (server, kind, name, digest, is_removed, first_seen_ms, last_seen_ms) \
         SELECT $1, $2, $3, $4, false, $5, $5 WHERE (SELECT count(*) FROM inventory_items WHERE server = $1) < $7 \
         OR EXISTS (SELECT 1 FROM inventory_items WHERE server = $1 AND kind = $2 AND name = $3) \
         ON CONFLICT (server, kind, name) DO UPDATE SET digest = $4, is_removed = false, last_seen_ms = $5, \
         changed_at_ms = CASE WHEN $6 THEN $5 ELSE inventory_items.changed_at_ms END",
    );
    let see = see.bind(server).bind(kind).bind(name).bind(&digest).bind(at_ms).bind(*has_changed).bind(ITEMS_MAX);
    if *is_latest && see.execute(&mut *connection).await? == 0 {
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
        "INSERT INTO inventory_pages (server, kind, caller, page, names, seen_at_ms, told_by, told_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (server, kind, caller, page) DO UPDATE SET \
         names = excluded.names, seen_at_ms = excluded.seen_at_ms, told_by = excluded.told_by, \
         told_at_ms = excluded.told_at_ms",
    )
    .bind(server)
    .bind(kind.as_str())
    .bind(&caller)
    .bind(page.page.to_string())
    .bind(to_json(&page.names, "names")?)
    .bind(int(at_ms))
    .bind(page.told.as_ref().map(|(by, _)| by.as_str()))
    .bind(page.told.as_ref().map(|(_, at_ms)| int(*at_ms)))
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
    let rows =
        query("SELECT caller, page, names, told_by, told_at_ms FROM inventory_pages WHERE server = $1 AND kind = $2");
    let rows = rows.bind(server).bind(kind.as_str()).fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            Ok(PageRow {
                caller: digest_from_text(row.try_get("caller")?, "a caller")?,
                page: digest_from_text(row.try_get("page")?, "a page")?,
                names: from_json(row.try_get("names")?, "names")?,
                told: row.try_get::<Option<String>, _>("told_by")?.zip(row.try_get("told_at_ms")?).map(told),
            })
        })
        .collect()
}

fn told((by, at_ms): (String, i64)) -> (String, u64) {
    (by, nat(at_ms))
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
