//! Step 6 over HTTP: policies by their snapshot id, so that a decision can be read years later.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use holdpoint_core::digest::Digest;

use super::body::Verbatim;
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

fn parse(id: &str) -> Result<Digest, Problem> {
    id.parse().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "snapshot-id", format!("`{id}`: {error}")))
}
