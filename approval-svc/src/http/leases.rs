//! Step 7 over HTTP: gateways take, renew and end places under limits that hold for all of them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use holdpoint_core::fleet::{EndLeases, RenewLeases, SignedLeases, TakeLeases};

use super::body::Body;
use super::path::Path;
use super::problem::Problem;
use crate::fleet::{self, LeaseError};
use crate::router::App;

/// `POST /v1/leases`
pub async fn take(State(app): State<App>, Body(body): Body<TakeLeases>) -> Result<Json<SignedLeases>, Problem> {
    Ok(Json(fleet::take(&*app.store, &app.approvals.signer, body).await?))
}

/// `POST /v1/leases/{holder}/renew`
pub async fn renew(
    State(app): State<App>,
    Path(holder): Path<String>,
    Body(body): Body<RenewLeases>,
) -> Result<StatusCode, Problem> {
    fleet::renew(&*app.store, holder, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/leases/{holder}/end`
pub async fn end(
    State(app): State<App>,
    Path(holder): Path<String>,
    Body(body): Body<EndLeases>,
) -> Result<StatusCode, Problem> {
    fleet::end(&*app.store, holder, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        let (status, code) = match error {
            LeaseError::Store(error) => return error.into(),
            LeaseError::Commit(error) => return error.into(),
            LeaseError::Holder | LeaseError::Time(_) | LeaseError::Limits => {
                (StatusCode::UNPROCESSABLE_ENTITY, "field")
            }
            LeaseError::Text(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            LeaseError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        };
        Self::new(status, code, error.to_string())
    }
}
