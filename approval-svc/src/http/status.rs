//! Whether the service lives, whether it can work, and what it counts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use crate::router::App;

/// Body of `GET /readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// What does not work as it should, though the service goes on.
    degraded: Vec<String>,
}

/// `GET /livez`
pub async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 when a write could happen now and every task runs, else 503.
pub async fn ready(State(app): State<App>) -> Response {
    let mut troubles = app.tasks.troubles();
    if let Err(error) = app.store.writable().await {
        troubles.push(error.to_string());
    }
    if troubles.is_empty() {
        return Json(Readiness { ready: true, degraded: Vec::new() }).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { ready: false, degraded: troubles })).into_response()
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let by_status = app.store.status_counts().await?;
    let holds_waiting = app.store.holds_waiting_total().await?;
    let text = app.metrics.text(&by_status, holds_waiting, &app.tasks.restarts()).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("metrics cannot be written: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
