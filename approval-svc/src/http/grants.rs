//! Step 8 over HTTP: approvals that reach further, listed and taken back; and many reviews at once.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::Body;
use super::problem::Problem;
use crate::approvals::batch::{BATCH_REVIEWS_MAX, BatchBody};
use crate::approvals::grant::{Grant, RevokeGrantError};
use crate::router::App;
use crate::tokens::Credential;

/// Grants in force.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantPage {
    pub grants: Vec<Grant>,
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
) -> Result<Json<Value>, Problem> {
    if body.reviews.is_empty() || body.reviews.len() > BATCH_REVIEWS_MAX {
        let detail =
            format!("a batch holds 1 to {BATCH_REVIEWS_MAX} reviews, this one {}: split it", body.reviews.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-size", detail));
    }
    let answers = app.approvals.review_batch(&caller, &body).await.into_iter().map(|(id, answer)| match answer {
        Ok(state) => json!({"id": id, "state": state}),
        Err(error) => json!({"id": id, "problem": Problem::from(error)}),
    });
    Ok(Json(json!({"results": answers.collect::<Vec<_>>()})))
}

impl From<RevokeGrantError> for Problem {
    fn from(error: RevokeGrantError) -> Self {
        match error {
            RevokeGrantError::Stuck(error) => error.into(),
            RevokeGrantError::NotFound(_) => Self::not_found(error.to_string()),
        }
    }
}
