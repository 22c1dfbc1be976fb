//! Step 8: finds approvals of the past by what is known of them, with what became of the calls that used them.

use holdpoint_core::approval::ApprovalStatus;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::column::{nat, word};
use super::reads::approval_of;
use crate::store::StoreError;
use crate::store::row::{History, HistoryFilter, Past};

/// Rows looked at for one page, however few of them match.
const ROWS_READ_MAX: u32 = 20_000;

pub(super) async fn history(readers: &SqlitePool, filter: HistoryFilter) -> Result<History, StoreError> {
    let rows_max = usize::try_from(filter.rows_max).unwrap_or(usize::MAX);
    let mut snapshot = readers.begin().await?;
    // Searching reads the calls themselves: no index helps, so what is read at once is bounded.
    let window_end =
        sqlx::query("SELECT id FROM approvals WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT 1 OFFSET $2 - 1")
            .bind(filter.before_id.as_deref())
            .bind(i64::from(ROWS_READ_MAX))
            .fetch_optional(&mut *snapshot)
            .await?;
    let window_end = window_end.map(|row| row.try_get::<String, _>("id")).transpose()?;
    let rows = sqlx::query(
        "SELECT approvals.*, claims.outcome, claims.claimed_at_ms FROM approvals \
         LEFT JOIN claims ON claims.hold_id = (SELECT hold_id FROM claims WHERE claims.approval_id = approvals.id \
             ORDER BY claimed_at_ms DESC LIMIT 1) \
         WHERE ($1 IS NULL OR status = $1) AND (NOT $2 OR status <> 'pending') AND ($3 IS NULL OR server = $3) \
         AND ($4 IS NULL OR json_extract(asked, '$.method') = $4) \
         AND ($5 IS NULL OR json_extract(asked, '$.target') = $5) \
         AND ($6 IS NULL OR instr(lower(subject || char(10) || coalesce(json_extract(asked, '$.principal.agent_id'), '') \
             || char(10) || coalesce(decided_by, '')), lower($6)) > 0) \
         AND ($7 IS NULL OR instr(lower(json_extract(asked, '$.call_text') || char(10) \
             || coalesce(json_extract(asked, '$.target'), '') || char(10) || coalesce(reason, '')), lower($7)) > 0) \
         AND ($8 IS NULL OR approvals.id < $8) AND ($9 IS NULL OR approvals.id >= $9) \
         AND ($11 IS NULL OR tenant = $11) \
         ORDER BY approvals.id DESC LIMIT $10",
    )
    .bind(filter.status.map(ApprovalStatus::as_str))
    .bind(filter.over)
    .bind(filter.server)
    .bind(filter.method)
    .bind(filter.target)
    .bind(filter.who)
    .bind(filter.text)
    .bind(filter.before_id)
    .bind(window_end.as_deref())
    .bind(i64::from(filter.rows_max) + 1)
    .bind(filter.tenant)
    .fetch_all(&mut *snapshot)
    .await?;
    let past_of = |row: &SqliteRow| {
        let outcome: Option<&str> = row.try_get("outcome")?;
        Ok(Past {
            approval: approval_of(row)?,
            claimed_at_ms: row.try_get::<Option<i64>, _>("claimed_at_ms")?.map(nat),
            outcome: outcome.map(|text| word(text, "an outcome")).transpose()?,
        })
    };
    let mut rows = rows.iter().map(past_of).collect::<Result<Vec<_>, StoreError>>()?;
    let more = rows.len() > rows_max;
    rows.truncate(rows_max);
    let last = rows.last().filter(|_| more).map(|past| past.approval.id.clone());
    Ok(History { rows, next_before_id: last.or(window_end) })
}
