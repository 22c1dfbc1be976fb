//! Step 6 over HTTP: gateways say what a candidate would have decided otherwise; people read the sum of it.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use holdpoint_core::candidate::CandidateReport;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::problem::Problem;
use crate::candidates::{self, CandidateView, ReportError};
use crate::router::App;
use crate::tokens::Credential;

/// `POST /v1/policies/candidates`
pub async fn report(State(app): State<App>, Body(report): Body<CandidateReport>) -> Result<StatusCode, Problem> {
    candidates::take(&*app.store, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Answer of `GET /v1/policies/candidates`.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Candidates {
    pub candidates: Vec<CandidateView>,
}

/// `GET /v1/policies/candidates`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
) -> Result<Json<Candidates>, Problem> {
    if caller.tenant.is_some() {
        let detail = "what a candidate would have decided is told of the calls of all tenants".to_owned();
        return Err(Problem::new(StatusCode::FORBIDDEN, "other-tenants", detail));
    }
    Ok(Json(Candidates { candidates: candidates::list(&*app.store).await? }))
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Store(error) => error.into(),
            ReportError::Commit(error) => error.into(),
            ReportError::Name(_) | ReportError::LongName | ReportError::TooMany | ReportError::Sum => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "field", error.to_string())
            }
        }
    }
}
