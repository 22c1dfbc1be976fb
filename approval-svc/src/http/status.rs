//! Whether the service lives, whether it can work, and what it counts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use crate::router::App;
use crate::store::StoreError;

/// How long a notice may be on its way before its approval counts as one that nobody was told of.
pub const TELL_MS_MAX: u64 = 60_000;
/// As many of them are counted.
const UNTOLD_MAX: u32 = 10_000;

/// Body of `GET /readyz`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
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
    let degraded = degraded(&app).await;
    if let Err(error) = &degraded {
        troubles.push(error.to_string());
    }
    if troubles.is_empty() {
        let mut degraded = degraded.unwrap_or_default();
        // Without keys nobody signs in by their provider; who has a token of ours still decides.
        degraded.extend(app.oidc.troubles());
        // The keys from before sign on, and a start would fail. Anybody may ask here: which file it is, the log says.
        let keys = app.approvals.signer.trouble();
        degraded
            .extend(keys.map(|_| "the keys cannot be read, those from before go on to sign: see the log".to_owned()));
        return Json(Readiness { ready: true, degraded }).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { ready: false, degraded: troubles })).into_response()
}

/// What does not work as it should. One team's trouble must not take the others down, so it is said and no more.
async fn degraded(app: &App) -> Result<Vec<String>, StoreError> {
    let told_before_ms = app.store.now_ms().await?.saturating_sub(TELL_MS_MAX);
    let untold = app.store.untold(told_before_ms, UNTOLD_MAX).await?.len();
    let why = if app.approvals.notify.is_configured() {
        "no route of the notify file matches them, or their channels fail; see `holdpoint notify list`"
    } else {
        "the service was started without `--notify`"
    };
    Ok(match untold {
        0 => Vec::new(),
        1 => vec![format!("1 pending approval of which nobody was notified: {why}")],
        many => vec![format!("{many} pending approvals of which nobody was notified: {why}")],
    })
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let by_status = app.store.status_counts().await?;
    let holds_waiting = app.store.holds_waiting_total().await?;
    let told_before_ms = app.store.now_ms().await?.saturating_sub(TELL_MS_MAX);
    let untold = app.store.untold(told_before_ms, UNTOLD_MAX).await?.len();
    app.metrics.told(&app.store.notice_counts().await?, untold);
    let transactions = app.store.transactions();
    let text = app.metrics.text(&by_status, holds_waiting, &app.tasks.restarts(), transactions).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("metrics cannot be written: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
