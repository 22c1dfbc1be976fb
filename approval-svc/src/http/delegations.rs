//! Step 8 over HTTP: approvers lend their authority to somebody until a date, and take it back.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::problem::Problem;
use crate::delegations::{Delegation, DelegationBody, DelegationError};
use crate::router::App;
use crate::tokens::Credential;

/// Delegations in force.
#[derive(Debug, Serialize, Deserialize)]
pub struct DelegationPage {
    pub delegations: Vec<Delegation>,
}

/// `POST /v1/delegations`
pub async fn add(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Body(body): Body<DelegationBody>,
) -> Result<Response, Problem> {
    let delegation = app.delegations.add(&caller, body).await?;
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
            DelegationError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        };
        Self::new(status, code, error.to_string())
    }
}
