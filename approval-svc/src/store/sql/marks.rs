//! Step 12: the index of the record, and how far its readers have come.

use std::collections::BTreeMap;

use super::column::{digest_from_blob, int, nat};
use super::db::{Connection, Pool, Statement, portions, query};
use crate::store::row::{LogEntry, MarkPage, MarkQuery, MarkRow, Place};
use crate::store::{CommitError, Conflict, StoreError};

/// Rows of one statement.
const ROWS_WRITTEN_MAX: usize = 256;
/// Entries looked at for one page, however few of them bear every mark.
const ROWS_READ_MAX: u32 = 10_000;

/// Moves a reader of the log on.
pub(super) async fn follow(
    connection: &mut Connection,
    name: &str,
    from: Option<u64>,
    to: u64,
) -> Result<(), CommitError> {
    let moved = match from {
        None => {
            let begin =
                query("INSERT INTO record_followers (name, next_seq) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
            begin.bind(name).bind(int(to)).execute(connection).await?
        }
        Some(from) => {
            let go_on = query("UPDATE record_followers SET next_seq = $3 WHERE name = $1 AND next_seq = $2");
            go_on.bind(name).bind(int(from)).bind(int(to)).execute(connection).await?
        }
    };
    if moved == 0 { Err(Conflict::Counter.into()) } else { Ok(()) }
}

pub(super) async fn add(connection: &mut Connection, marks: &[MarkRow]) -> Result<(), CommitError> {
    // In the order of the index: what stands side by side there is written at once.
    let mut marks: Vec<&MarkRow> = marks.iter().collect();
    marks.sort_unstable_by_key(|one| (one.mark, one.at_ms, one.seq));
    let mut rest = marks.iter();
    for portion in portions(marks.len(), ROWS_WRITTEN_MAX) {
        let mut insert = query("INSERT INTO record_marks (mark, at_ms, seq) VALUES ");
        for (at, one) in rest.by_ref().take(portion).enumerate() {
            insert.push(if at == 0 { "(" } else { ", (" }).push_bind(one.mark);
            insert.push(", ").push_bind(int(one.at_ms)).push(", ").push_bind(int(one.seq)).push(")");
        }
        insert.push(" ON CONFLICT DO NOTHING");
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn follower(readers: &Pool, name: &str) -> Result<Option<u64>, StoreError> {
    let row = query("SELECT next_seq FROM record_followers WHERE name = $1").bind(name);
    row.fetch_optional(readers).await?.map(|row| Ok(nat(row.try_get(0)?))).transpose()
}

pub(super) async fn marked(readers: &Pool, sought: MarkQuery) -> Result<MarkPage, StoreError> {
    let mut snapshot = readers.search().await?;
    // The mark that the fewest entries bear is gone through, and the others are looked up at each of its entries.
    let mut rarest: Option<(i64, i64)> = None;
    for mark in &sought.marks {
        let count = query(
            "SELECT count(*) FROM (SELECT 1 FROM record_marks WHERE mark = $1 AND at_ms >= $2 AND at_ms < $3 LIMIT $4) AS counted",
        );
        let count =
            count.bind(*mark).bind(int(sought.since_ms)).bind(int(sought.until_ms)).bind(i64::from(ROWS_READ_MAX));
        let count: i64 = count.fetch_one(&mut snapshot).await?.try_get(0)?;
        if rarest.is_none_or(|(_, least)| count < least) {
            rarest = Some((*mark, count));
        }
    }
    let Some((rarest, _)) = rarest else { return Ok(MarkPage::default()) };
    let rows_max = usize::try_from(sought.rows_max).unwrap_or(usize::MAX);
    let mut places = Vec::new();
    let mut next = None;
    let mut read = 0;
    for row in select(&sought, rarest).fetch_all(&mut snapshot).await? {
        let place = Place { at_ms: nat(row.try_get("at_ms")?), seq: nat(row.try_get("seq")?) };
        read += 1;
        if row.try_get::<bool, _>("fits")? {
            places.push(place);
        }
        // The last of a page may be the last of all: the page after it is empty then.
        if places.len() == rows_max || read == ROWS_READ_MAX {
            next = Some(place);
            break;
        }
    }
    let mut bodies = BTreeMap::new();
    if !places.is_empty() {
        let mut select = query("SELECT seq, body, leaf_hash FROM audit_entries WHERE seq IN (");
        for (at, place) in places.iter().enumerate() {
            select.push(if at == 0 { "" } else { ", " }).push_bind(int(place.seq));
        }
        select.push(")");
        for row in select.fetch_all(&mut snapshot).await? {
            let seq = nat(row.try_get("seq")?);
            let leaf_hash = digest_from_blob(row.try_get("leaf_hash")?, "a leaf hash")?;
            bodies.insert(seq, LogEntry { seq, body: row.try_get("body")?, leaf_hash });
        }
    }
    let entries = places.iter().filter_map(|place| bodies.remove(&place.seq)).collect();
    Ok(MarkPage { entries, next })
}

/// The entries that bear the rarest mark, the latest first, each with whether it bears the others too.
pub(in crate::store) fn select(sought: &MarkQuery, rarest: i64) -> Statement {
    let mut select = query("SELECT m.at_ms, m.seq, (1 = 1");
    for mark in sought.marks.iter().filter(|mark| **mark != rarest) {
        select.push(" AND EXISTS (SELECT 1 FROM record_marks o WHERE o.mark = ").push_bind(*mark);
        select.push(" AND o.at_ms = m.at_ms AND o.seq = m.seq)");
    }
    select.push(") AS fits FROM record_marks m WHERE m.mark = ").push_bind(rarest);
    select.push(" AND m.at_ms >= ").push_bind(int(sought.since_ms));
    select.push(" AND m.at_ms < ").push_bind(int(sought.until_ms));
    if let Some(before) = sought.before {
        select.push(" AND (m.at_ms, m.seq) < (").push_bind(int(before.at_ms));
        select.push(", ").push_bind(int(before.seq)).push(")");
    }
    select.push(" ORDER BY m.at_ms DESC, m.seq DESC LIMIT ").push_bind(i64::from(ROWS_READ_MAX));
    select
}
