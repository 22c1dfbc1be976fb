//! Step 8: finds approvals of the past by what is known of them, with what became of the calls that used them.

use futures_util::TryStreamExt;
use holdpoint_core::approval::ApprovalStatus;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::column::{nat, word};
use super::reads::approval_of;
use crate::store::StoreError;
use crate::store::row::{History, HistoryFilter, Past};

/// Approvals looked at for one page of a search for words, however few of them match.
const ROWS_READ_MAX: u32 = 5_000;

pub(super) async fn history(readers: &SqlitePool, filter: HistoryFilter) -> Result<History, StoreError> {
    let rows_max = usize::try_from(filter.rows_max).unwrap_or(usize::MAX);
    let mut snapshot = readers.begin().await?;
    // Words are looked for in the calls themselves, where no index helps: what is read at once is bounded. Names are not:
    // each has an index that ends in the id, so that only what is shown is read.
    let is_named = filter.server.is_some() || filter.target.is_some();
    let window_end = if filter.who.is_some() || filter.text.is_some() || (filter.method.is_some() && !is_named) {
        let end = sqlx::query(
            "SELECT id FROM approvals WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT 1 OFFSET $2 - 1",
        );
        let end = end.bind(filter.before_id.as_deref()).bind(i64::from(ROWS_READ_MAX));
        let end = end.fetch_optional(&mut *snapshot).await?;
        end.map(|row| row.try_get::<String, _>("id")).transpose()?
    } else {
        None
    };
    let mut found = Vec::new();
    let mut query = select(&filter, window_end.as_deref());
    let mut rows = query.build().fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        let past = past_of(&row)?;
        let is_named = row.try_get::<bool, _>("is_named")?;
        // Before it is counted: whether there is another page must not tell of what the reader may not read.
        if !is_named && !filter.readable.as_ref().is_none_or(|readable| readable.0(&past.approval)) {
            continue;
        }
        found.push(past);
        if found.len() > rows_max {
            break;
        }
    }
    let more = found.len() > rows_max;
    found.truncate(rows_max);
    let last = found.last().filter(|_| more).map(|past| past.approval.id.clone());
    Ok(History { rows: found, next_before_id: last.or(window_end) })
}

/// The statement with the conditions that were asked for and no others, so that the indices of those are used.
pub(super) fn select(filter: &HistoryFilter, window_end: Option<&str>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT approvals.*, claims.outcome, claims.claimed_at_ms, ");
    match &filter.text {
        Some(text) => {
            query.push(
                "instr(lower(coalesce(json_extract(asked, '$.target'), '') || char(10) || coalesce(reason, '')), lower(",
            );
            query.push_bind(text.clone()).push(")) > 0 AS is_named");
        }
        None => drop(query.push("1 AS is_named")),
    }
    query.push(
        " FROM approvals LEFT JOIN claims ON claims.hold_id = (SELECT hold_id FROM claims \
         WHERE claims.approval_id = approvals.id ORDER BY claimed_at_ms DESC LIMIT 1) WHERE 1",
    );
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(ApprovalStatus::as_str(status));
    }
    if filter.over {
        query.push(" AND status <> 'pending'");
    }
    for (column, value) in [
        (" AND server = ", &filter.server),
        (" AND json_extract(asked, '$.method') = ", &filter.method),
        (" AND json_extract(asked, '$.target') = ", &filter.target),
        (" AND tenant = ", &filter.tenant),
        (" AND approvals.id < ", &filter.before_id),
    ] {
        if let Some(value) = value {
            query.push(column).push_bind(value.clone());
        }
    }
    if let Some(end) = window_end {
        query.push(" AND approvals.id >= ").push_bind(end.to_owned());
    }
    if let Some(who) = &filter.who {
        query.push(
            " AND instr(lower(subject || char(10) || coalesce(json_extract(asked, '$.principal.agent_id'), '') \
             || char(10) || coalesce(decided_by, '')), lower(",
        );
        query.push_bind(who.clone()).push(")) > 0");
    }
    if let Some(text) = &filter.text {
        query.push(
            " AND instr(lower(json_extract(asked, '$.call_text') || char(10) || coalesce(json_extract(asked, '$.target'), '') \
             || char(10) || coalesce(reason, '')), lower(",
        );
        query.push_bind(text.clone()).push(")) > 0");
    }
    query.push(" ORDER BY approvals.id DESC");
    query
}

fn past_of(row: &SqliteRow) -> Result<Past, StoreError> {
    let outcome: Option<&str> = row.try_get("outcome")?;
    Ok(Past {
        approval: approval_of(row)?,
        claimed_at_ms: row.try_get::<Option<i64>, _>("claimed_at_ms")?.map(nat),
        outcome: outcome.map(|text| word(text, "an outcome")).transpose()?,
    })
}
