//! Step 8 over HTTP: a live call stops waiting.

use axum::extract::State;
use axum::http::StatusCode;
use holdpoint_core::approval::{CancelHolds, WithdrawHold};

use super::body::Body;
use super::path::Path;
use super::problem::Problem;
use crate::router::App;

/// `POST /v1/holds/{hold_id}/withdraw`
pub async fn withdraw(
    State(app): State<App>,
    Path(hold_id): Path<String>,
    Body(body): Body<WithdrawHold>,
) -> Result<StatusCode, Problem> {
    app.approvals.withdraw(&hold_id, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/cancellations`
pub async fn cancel(State(app): State<App>, Body(body): Body<CancelHolds>) -> Result<StatusCode, Problem> {
    app.approvals.cancel(body.cancel_key).await?;
    Ok(StatusCode::NO_CONTENT)
}
