//! Step 8: finds approvals of the past by what is known of them, with what became of the calls that used them.

use futures_util::TryStreamExt;
use holdpoint_core::approval::ApprovalStatus;

use super::column::{indexed, nat, word};
use super::db::{Pool, Row, Statement, query};
use super::reads::approval_of;
use crate::store::StoreError;
use crate::store::row::{History, HistoryFilter, Past, Readable};
use crate::store::words::{self, Field};

/// Approvals looked at for one page where no index tells which of them match.
const ROWS_READ_MAX: u32 = 5_000;
/// The same where words tell, and the reader may not read the arguments of all of them. Counted in approvals of any kind:
/// where a page ends must not tell of what the reader may not read.
const ROWS_JUDGED_MAX: u32 = 50_000;

pub(super) async fn history(readers: &Pool, filter: HistoryFilter) -> Result<History, StoreError> {
    let rows_max = usize::try_from(filter.rows_max).unwrap_or(usize::MAX);
    let mut snapshot = readers.search().await?;
    let window_end = match window(&filter) {
        None => None,
        Some(rows) => {
            let end = match filter.before_id.as_deref() {
                None => query("SELECT id FROM approvals ORDER BY id DESC LIMIT 1 OFFSET $1"),
                Some(_) => query("SELECT id FROM approvals WHERE id < $2 ORDER BY id DESC LIMIT 1 OFFSET $1"),
            };
            let end = end.bind(i64::from(rows) - 1);
            let end = if let Some(before) = filter.before_id.as_deref() { end.bind(before) } else { end };
            let end = end.fetch_optional(&mut snapshot).await?;
            end.map(|row| row.try_get::<String, _>("id")).transpose()?
        }
    };
    let mut found = Vec::new();
    let mut select = select(&filter, window_end.as_deref());
    if filter.text.is_none() && filter.who.is_none() {
        // Nothing is passed over: what is shown is all that is read.
        select.push(" LIMIT ").push_bind(i64::from(filter.rows_max).saturating_add(1));
    }
    {
        let mut rows = select.fetch(&mut snapshot);
        while let Some(row) = rows.try_next().await? {
            let past = past_of(&row)?;
            // Before it is counted: whether there is another page must not tell of what the reader may not read.
            if !filter.is_found(&past.approval) {
                continue;
            }
            found.push(past);
            if found.len() > rows_max {
                break;
            }
        }
    }
    let more = found.len() > rows_max;
    found.truncate(rows_max);
    let last = found.last().filter(|_| more).map(|past| past.approval.id.clone());
    Ok(History { rows: found, next_before_id: last.or(window_end) })
}

/// How many approvals one page looks at, if that must be bounded. Names have indices that end in the id, and words tell which
/// approvals match: then only what is shown is read.
fn window(filter: &HistoryFilter) -> Option<u32> {
    let is_named = filter.server.is_some() || filter.target.is_some();
    let no_words = |text: &Option<String>| text.as_deref().is_some_and(|text| words::wanted(text).is_empty());
    if no_words(&filter.who) || no_words(&filter.text) || (filter.method.is_some() && !is_named) {
        return Some(ROWS_READ_MAX);
    }
    match (&filter.text, &filter.readable) {
        (Some(_), Readable::Judged(_)) => Some(ROWS_JUDGED_MAX),
        (Some(_), Readable::All | Readable::Nothing) | (None, _) => None,
    }
}

/// The statement with the conditions that were asked for and no others, so that the indices of those are used.
pub(in crate::store) fn select(filter: &HistoryFilter, window_end: Option<&str>) -> Statement {
    let target = filter.target.as_deref().map(indexed);
    let mut select = query(
        "SELECT approvals.*, claims.outcome, claims.claimed_at_ms \
         FROM approvals LEFT JOIN claims ON claims.hold_id = (SELECT hold_id FROM claims \
         WHERE claims.approval_id = approvals.id ORDER BY claimed_at_ms DESC LIMIT 1) WHERE 1 = 1",
    );
    if let Some(status) = filter.status {
        select.push(" AND status = ").push_bind(ApprovalStatus::as_str(status));
    }
    if filter.over {
        select.push(" AND status <> 'pending'");
    }
    for (column, value) in [
        (" AND server = ", filter.server.as_deref()),
        (" AND method = ", filter.method.as_deref()),
        (" AND target = ", target.as_deref()),
        (" AND tenant = ", filter.tenant.as_deref()),
        (" AND approvals.id < ", filter.before_id.as_deref()),
        (" AND approvals.id >= ", window_end),
    ] {
        if let Some(value) = value {
            select.push(column).push_bind(value);
        }
    }
    if let Some(who) = &filter.who {
        with_words(&mut select, &[Field::Who], who);
    }
    if let Some(text) = &filter.text {
        let fields: &[Field] = match &filter.readable {
            Readable::Nothing => &[Field::Named],
            Readable::All | Readable::Judged(_) => &[Field::Asked, Field::Named],
        };
        with_words(&mut select, fields, text);
    }
    select.push(" ORDER BY approvals.id DESC");
    select
}

/// Only approvals that have every word of `text` in one of `fields`, or words there that are not kept. The longest word,
/// which the fewest are likely to have, finds them; whether they have the others is looked up for each.
fn with_words(select: &mut Statement, fields: &[Field], text: &str) {
    let mut wanted = words::wanted(text);
    wanted.sort_by_key(|(word, _)| std::cmp::Reverse(word.chars().count()));
    for (nth, (from, to)) in wanted.into_iter().enumerate() {
        select.push(if nth == 0 { " AND approvals.id IN (" } else { " AND EXISTS (" });
        let mut join = "";
        for field in fields {
            for (least, end) in [(from.as_str(), to.as_str()), (words::ANY, "\u{1}")] {
                select.push(join);
                select.push("SELECT approval_id FROM approval_words WHERE field = ").push_bind(field.as_str());
                select.push(if nth > 0 { " AND approval_id = approvals.id" } else { "" });
                select.push(" AND word >= ").push_bind(least).push(" AND word < ").push_bind(end);
                join = " UNION ALL ";
            }
        }
        select.push(")");
    }
}

fn past_of(row: &Row) -> Result<Past, StoreError> {
    let outcome: Option<&str> = row.try_get("outcome")?;
    Ok(Past {
        approval: approval_of(row)?,
        claimed_at_ms: row.try_get::<Option<i64>, _>("claimed_at_ms")?.map(nat),
        outcome: outcome.map(|text| word(text, "an outcome")).transpose()?,
    })
}
