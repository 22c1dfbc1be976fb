//! Step 6 over HTTP: policies by their snapshot id, so that a decision can be read years later.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::PolicyReport;
use serde::Serialize;

use super::body::{Body, Verbatim};
use super::list::{self, PageQuery};
use super::path::Path;
use super::problem::Problem;
use crate::policies::{self, Registered};
use crate::router::App;

/// `PUT /v1/policies/{snapshot_id}`
pub async fn register(
    State(app): State<App>,
    Path(id): Path<String>,
    Verbatim(canonical): Verbatim,
) -> Result<StatusCode, Problem> {
    match policies::register(&*app.store, &app.ledger, parse(&id)?, canonical).await? {
        Registered::New => Ok(StatusCode::CREATED),
        Registered::Known => Ok(StatusCode::OK),
    }
}

/// `GET /v1/policies/{snapshot_id}`
pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = parse(&id)?;
    match app.store.policy(id).await? {
        Some(policy) => Ok(([(CONTENT_TYPE, "application/json")], policy.canonical).into_response()),
        None => Err(Problem::not_found(format!("no policy `{id}` is registered"))),
    }
}

/// `POST /v1/policies/in-force`: a gateway says what it has put in force, and that it is still there.
pub async fn report(State(app): State<App>, Body(report): Body<PolicyReport>) -> Result<StatusCode, Problem> {
    policies::report(&*app.store, &app.ledger, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One registered policy, as `GET /v1/policies` lists it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Line {
    snapshot_id: Digest,
    registered_at_ms: u64,
    in_force: Vec<InForce>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct InForce {
    #[serde(flatten)]
    report: PolicyReport,
    seen_at_ms: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List {
    policies: Vec<Line>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// What cursors of this list are for.
const LIST: &str = "policies";

/// `GET /v1/policies`: the newest first, each with the gateways that have it in force.
pub async fn list(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let PageQuery { limit, cursor } = list::read(query)?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let behind = cursor.as_deref().map(|cursor| list::read_cursor(LIST, cursor)).transpose()?;
    let key = |key: &str| {
        let (at_ms, id) = key.split_once(' ')?;
        Some((at_ms.parse().ok()?, id.parse().ok()?))
    };
    let malformed = || Problem::new(StatusCode::BAD_REQUEST, "malformed-query", "`cursor` is none of ours".to_owned());
    let behind = behind.map(|text| key(&text).ok_or_else(malformed)).transpose()?;
    let mut rows = policies::list(&*app.store, behind, limit + 1).await?;
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|(id, at_ms, _)| list::cursor(LIST, &format!("{at_ms} {id}")));
    let lines = rows.into_iter().map(|(snapshot_id, registered_at_ms, rows)| {
        let in_force = rows.into_iter().map(|row| InForce { report: row.report, seen_at_ms: row.seen_at_ms });
        Line { snapshot_id, registered_at_ms, in_force: in_force.collect() }
    });
    Ok(Json(List { policies: lines.collect(), next_cursor }).into_response())
}

fn parse(id: &str) -> Result<Digest, Problem> {
    id.parse().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "snapshot-id", format!("`{id}`: {error}")))
}
