//! Step 12 over HTTP: filters send entries, auditors read them and the signed head of the log.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use holdpoint_core::audit::EntryBatch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::Body;
use super::problem::Problem;
use crate::ledger::BatchReceipt;
use crate::router::App;
use crate::store::StoreError;
use crate::tokens::Credential;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

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
}

/// One entry with its place in the log.
#[derive(Debug, Serialize, Deserialize)]
pub struct NumberedEntry {
    pub seq: u64,
    pub entry: Value,
}

/// Entries in log order.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntryPage {
    pub entries: Vec<NumberedEntry>,
}

/// `GET /v1/audit`: JSON, or NDJSON where the caller accepts `application/x-ndjson`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
    query: Result<Query<EntriesQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed-query", error.body_text()))?;
    let from = query.after.map_or(0, |after| after.saturating_add(1));
    let rows = app.store.entries(from, query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)).await?;
    let entries = rows.into_iter().map(|row| match serde_json::from_str(&row.body) {
        Ok(entry) => Ok(NumberedEntry { seq: row.seq, entry }),
        Err(error) => Err(StoreError::Corrupt { what: "an audit entry", problem: error.to_string() }),
    });
    let entries: Vec<NumberedEntry> = entries.collect::<Result<_, _>>()?;
    // Sequence numbers stay as they are in the log: a tenant's auditor sees that there are others' entries, not what.
    let seen = |one: &NumberedEntry| caller.sees_tenant(one.entry["principal"]["tenant"].as_str());
    let page = EntryPage { entries: entries.into_iter().filter(seen).collect() };
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

/// `GET /v1/log/checkpoint`
pub async fn checkpoint(State(app): State<App>) -> Result<Response, Problem> {
    match app.ledger.checkpoint().await? {
        Some(checkpoint) => Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], checkpoint.note).into_response()),
        None => Err(Problem::not_found("the log is empty: there is nothing to sign yet".to_owned())),
    }
}
