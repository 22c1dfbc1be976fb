//! Step 8 over HTTP: approvals that reach further, listed and taken back; and many reviews at once.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use holdpoint_core::approval::ApprovalState;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::path::Path;
use super::problem::Problem;
use crate::approvals::batch::{BATCH_REVIEWS_MAX, BatchBody};
use crate::approvals::grant::{Grant, RevokeGrantError};
use crate::router::App;
use crate::tokens::Credential;

/// Grants in force.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GrantPage {
    pub grants: Vec<Grant>,
}

/// What became of many reviews, in their order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchAnswer {
    results: Vec<BatchResult>,
}

/// What became of one: its approval as it stands now, or why the review does not count.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct BatchResult {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<ApprovalState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    problem: Option<Problem>,
}

/// `GET /v1/grants`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
) -> Result<Json<GrantPage>, Problem> {
    Ok(Json(GrantPage { grants: app.approvals.grants(&caller).await? }))
}

/// `POST /v1/grants/{id}/revoke`
pub async fn revoke(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
) -> Result<Json<Grant>, Problem> {
    Ok(Json(app.approvals.revoke_grant(&id, &caller).await?))
}

/// `POST /v1/reviews:batch`
pub async fn batch(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Body(body): Body<BatchBody>,
) -> Result<Json<BatchAnswer>, Problem> {
    if body.reviews.is_empty() || body.reviews.len() > BATCH_REVIEWS_MAX {
        let detail =
            format!("a batch holds 1 to {BATCH_REVIEWS_MAX} reviews, this one {}: split it", body.reviews.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "batch-size", detail));
    }
    let answers = app.approvals.review_batch(&caller, &body).await.into_iter().map(|(id, answer)| match answer {
        Ok(state) => BatchResult { id, state: Some(state), problem: None },
        Err(error) => BatchResult { id, state: None, problem: Some(Problem::from(error)) },
    });
    Ok(Json(BatchAnswer { results: answers.collect() }))
}

impl From<RevokeGrantError> for Problem {
    fn from(error: RevokeGrantError) -> Self {
        match error {
            RevokeGrantError::Stuck(error) => error.into(),
            RevokeGrantError::NotFound(_) => Self::not_found(error.to_string()),
        }
    }
}
