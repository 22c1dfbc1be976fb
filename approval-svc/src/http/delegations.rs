//! Step 8 over HTTP: approvers lend their authority to somebody until a date, and take it back.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::idempotency;
use super::path::Path;
use super::problem::Problem;
use crate::delegations::{Delegation, DelegationBody, DelegationError};
use crate::router::App;
use crate::tokens::Credential;

/// Delegations in force.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DelegationPage {
    pub delegations: Vec<Delegation>,
}

/// `POST /v1/delegations`
pub async fn add(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
    Body(body): Body<DelegationBody>,
) -> Result<Response, Problem> {
    let delegation = app.delegations.add(&caller, body, idempotency::id(&headers, &caller, "delegations")?).await?;
    Ok((StatusCode::CREATED, Json(delegation)).into_response())
}

/// `GET /v1/delegations`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
) -> Result<Json<DelegationPage>, Problem> {
    Ok(Json(DelegationPage { delegations: app.delegations.list(&caller).await? }))
}

/// `POST /v1/delegations/{id}/end`
pub async fn end(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
) -> Result<Json<Delegation>, Problem> {
    Ok(Json(app.delegations.end(&caller, &id).await?))
}

impl From<DelegationError> for Problem {
    fn from(error: DelegationError) -> Self {
        let (status, code) = match error {
            DelegationError::Store(error) => return error.into(),
            DelegationError::Until | DelegationError::To | DelegationError::NoGroups => {
                (StatusCode::UNPROCESSABLE_ENTITY, "field")
            }
            DelegationError::ReasonMissing => (StatusCode::UNPROCESSABLE_ENTITY, "reason-missing"),
            DelegationError::NotYourGroup(_) => (StatusCode::FORBIDDEN, "not-in-group"),
            DelegationError::KeyUsed => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key"),
            DelegationError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        };
        Self::new(status, code, error.to_string())
    }
}
