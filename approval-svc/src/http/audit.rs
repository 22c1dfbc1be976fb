//! Step 12 over HTTP: filters send entries, auditors read them and the signed head of the log.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use holdpoint_core::audit::EntryBatch;
use holdpoint_core::audit::merkle::{LEVEL_MAX, TILE_HEIGHT, TILE_WIDTH};
use holdpoint_core::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::Body;
use super::list;
use super::path::Path;
use super::problem::Problem;
use crate::ledger::BatchReceipt;
use crate::ledger::payloads::{self, ShownEntry};
use crate::router::App;
use crate::store::StoreError;
use crate::tokens::{Credential, Role};

#[cfg(test)]
mod tests;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// What cursors of this list are for.
const LIST: &str = "entries";

/// `POST /v1/audit/entries`
pub async fn append(State(app): State<App>, Body(batch): Body<EntryBatch>) -> Result<Json<BatchReceipt>, Problem> {
    Ok(Json(app.ledger.append(batch).await?))
}

/// Which entries to read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    /// Only entries with a greater sequence number.
    after: Option<u64>,
    limit: Option<u32>,
    /// Instead of `after`: where the page before ended.
    cursor: Option<String>,
}

/// One entry with its place in the log.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NumberedEntry {
    pub seq: u64,
    pub entry: Value,
}

/// Entries in log order.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EntryPage {
    pub entries: Vec<NumberedEntry>,
    /// Send it as `cursor` for the next page; absent at the end of the log. A page may hold fewer entries than were asked
    /// for, or none, where others' stand between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `GET /v1/audit`: JSON, or NDJSON where the caller accepts `application/x-ndjson`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
    query: Result<Query<EntriesQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = list::read(query)?;
    let malformed = || Problem::new(StatusCode::BAD_REQUEST, "malformed-query", "`cursor` is none of ours".to_owned());
    let after = match query.cursor.as_deref().map(|cursor| list::read_cursor(LIST, cursor)).transpose()? {
        Some(seq) => Some(seq.parse::<u64>().map_err(|_| malformed())?),
        None => query.after,
    };
    let from = after.map_or(0, |after| after.saturating_add(1));
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let rows = app.store.entries(from, limit).await?;
    // A full page may be the last one: whoever follows its cursor then finds an empty one, without a cursor.
    let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = rows.last().filter(|_| is_full).map(|row| list::cursor(LIST, &row.seq.to_string()));
    let entries = rows.into_iter().map(|row| match serde_json::from_str(&row.body) {
        Ok(entry) => Ok(NumberedEntry { seq: row.seq, entry }),
        Err(error) => Err(StoreError::Corrupt { what: "an audit entry", problem: error.to_string() }),
    });
    let entries: Vec<NumberedEntry> = entries.collect::<Result<_, _>>()?;
    // Sequence numbers stay as they are in the log: a tenant's auditor sees that there are others' entries, not what.
    let entries = entries.into_iter().filter(|one| is_seen(&caller, &one.entry)).collect();
    let page = EntryPage { entries, next_cursor };
    let wants_lines =
        headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("ndjson"));
    if !wants_lines {
        return Ok(Json(page).into_response());
    }
    let mut lines = String::new();
    for entry in &page.entries {
        lines.push_str(&serde_json::json!({"seq": entry.seq, "entry": entry.entry}).to_string());
        lines.push('\n');
    }
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

/// Whether an entry is the caller's to read.
fn is_seen(caller: &Credential, entry: &Value) -> bool {
    caller.sees_tenant(entry["principal"]["tenant"].as_str())
}

/// `GET /v1/audit/{seq}`: one entry, and what stands beside it for those who may read arguments of its tenant.
pub async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(seq): Path<String>,
) -> Result<Json<ShownEntry>, Problem> {
    let missing = || Problem::not_found("there is no such entry".to_owned());
    let seq: u64 = seq.parse().ok().filter(|seq| i64::try_from(*seq).is_ok()).ok_or_else(missing)?;
    let mut shown = payloads::show(&*app.store, seq).await?.ok_or_else(missing)?;
    if !is_seen(&caller, &shown.entry) {
        return Err(missing());
    }
    let may_read = match caller.role {
        Role::Auditor | Role::BreakGlass => true,
        Role::Admin | Role::Approver | Role::Enforcer => false,
    };
    if !may_read && shown.payload.take().is_some() {
        shown.withheld = Some("only auditors see what stands beside entries".to_owned());
    }
    Ok(Json(shown))
}

/// `GET /v1/audit/{seq}/proof`: the entry with its inclusion proof and the checkpoint it leads to (C2SP `tlog-proof`).
pub async fn proof(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(seq): Path<String>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("there is no such entry".to_owned());
    let seq: u64 = seq.parse().ok().filter(|seq| i64::try_from(*seq).is_ok()).ok_or_else(missing)?;
    let receipt = app.ledger.receipt(seq).await?.ok_or_else(missing)?;
    let entry: Value = serde_json::from_str(&receipt.body)
        .map_err(|error| StoreError::Corrupt { what: "an audit entry", problem: error.to_string() })?;
    if !is_seen(&caller, &entry) {
        return Err(missing());
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], receipt.to_string()).into_response())
}

/// `GET /v1/log/tile/{level}/{index}`: hashes of the log's tree, and `entries` for `level`: the leaves themselves, as C2SP
/// `tlog-tiles` lays them out. A partial tile ends in `.p/{width}`. The leaves are everybody's, so whoever is bound to one
/// tenant gets only hashes.
pub async fn tile(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path((level, index)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("there is no such tile".to_owned());
    let tile = Tile::parse(&level, &index).ok_or_else(missing)?;
    if tile.level.is_none() && caller.tenant.is_some() {
        let detail = "a tile of entries holds those of all tenants: read yours with GET /v1/audit".to_owned();
        return Err(Problem::new(StatusCode::FORBIDDEN, "other-tenants", detail));
    }
    let (start, count) = (tile.index * TILE_WIDTH, tile.width);
    let rows_max = u32::try_from(count).unwrap_or(u32::MAX);
    let size = app.store.head().await?.frontier.size();
    let of_level = size >> (tile.level.unwrap_or(0) * TILE_HEIGHT);
    if start + count > of_level {
        return Err(missing());
    }
    let mut bytes = Vec::new();
    match tile.level {
        Some(level) => {
            for hash in app.store.hashes(level, start, rows_max).await? {
                bytes.extend_from_slice(hash.as_bytes());
            }
        }
        None => {
            for row in app.store.entries(start, rows_max).await? {
                // No entry is longer: the ledger refuses it.
                bytes.extend_from_slice(&u16::try_from(row.body.len()).unwrap_or(u16::MAX).to_be_bytes());
                bytes.extend_from_slice(row.body.as_bytes());
            }
        }
    }
    Ok(([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// Which tile.
#[derive(Debug, PartialEq, Eq)]
struct Tile {
    /// `None` for the entries themselves.
    level: Option<u32>,
    index: u64,
    /// How many hashes or entries: 256 unless it is partial.
    width: u64,
}

impl Tile {
    /// Reads the last parts of a tile's path: `0` and `x001/234.p/7`.
    fn parse(level: &str, index: &str) -> Option<Self> {
        let level = match level {
            "entries" => None,
            level => Some(level.parse().ok().filter(|read: &u32| *read <= LEVEL_MAX && read.to_string() == level)?),
        };
        let (index, width) = match index.split_once(".p/") {
            Some((index, width)) => {
                let read: u64 = width.parse().ok()?;
                (index, Some(read).filter(|read| (1..TILE_WIDTH).contains(read) && read.to_string() == width)?)
            }
            None => (index, TILE_WIDTH),
        };
        // Three digits a step, all but the last behind an `x`.
        let (last, before) = match index.rsplit_once('/') {
            Some((before, last)) => {
                (last, before.split('/').map(|step| step.strip_prefix('x')).collect::<Option<Vec<_>>>()?)
            }
            None => (index, Vec::new()),
        };
        let mut number: u64 = 0;
        for step in before.into_iter().chain([last]) {
            let digits = step.len() == 3 && step.bytes().all(|byte| byte.is_ascii_digit());
            number = number.checked_mul(1_000)?.checked_add(step.parse().ok().filter(|_| digits)?)?;
        }
        // Far beyond what a database can hold, and no product of it overflows.
        (number < 1 << 40).then_some(Self { level, index: number, width })
    }
}

/// `GET /v1/log/consistency?old=…&new=…`: that the log of `old` entries is the beginning of the one of `new`, as hashes.
pub async fn consistency(
    State(app): State<App>,
    query: Result<Query<ConsistencyQuery>, QueryRejection>,
) -> Result<Json<Vec<Digest>>, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed-query", error.body_text()))?;
    let proof = app.ledger.consistency(query.old, query.new).await?;
    proof.map(Json).ok_or_else(|| Problem::not_found("the log has no such two sizes".to_owned()))
}

/// Two sizes of the log, in entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyQuery {
    old: u64,
    new: u64,
}

/// `GET /v1/log/checkpoint`
pub async fn checkpoint(State(app): State<App>) -> Result<Response, Problem> {
    match app.ledger.checkpoint().await? {
        Some(checkpoint) => Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], checkpoint.note).into_response()),
        None => Err(Problem::not_found("the log is empty: there is nothing to sign yet".to_owned())),
    }
}
