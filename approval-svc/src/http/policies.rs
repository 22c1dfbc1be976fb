//! Step 6 over HTTP: policies by their snapshot id, so that a decision can be read years later.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::PolicyReport;
use serde::Serialize;

use super::body::{Body, Verbatim};
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
}

/// `GET /v1/policies`: the newest first, each with the gateways that have it in force.
pub async fn list(State(app): State<App>) -> Result<Response, Problem> {
    let lines = policies::list(&*app.store).await?.into_iter().map(|(snapshot_id, registered_at_ms, rows)| {
        let in_force = rows.into_iter().map(|row| InForce { report: row.report, seen_at_ms: row.seen_at_ms });
        Line { snapshot_id, registered_at_ms, in_force: in_force.collect() }
    });
    Ok(Json(List { policies: lines.collect() }).into_response())
}

fn parse(id: &str) -> Result<Digest, Problem> {
    id.parse().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "snapshot-id", format!("`{id}`: {error}")))
}
