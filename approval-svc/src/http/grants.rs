//! Step 8 over HTTP: approvals that reach further, listed and taken back; and many reviews at once.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdpoint_core::approval::ApprovalState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::Body;
use super::idempotency;
use super::list::{self, PageQuery};
use super::path::Path;
use super::prefer;
use super::problem::Problem;
use crate::approvals::batch::{BATCH_REVIEWS_MAX, BatchBody};
use crate::approvals::grant::{Grant, RevokeGrantError};
use crate::once;
use crate::router::App;
use crate::store::{Change, StoreError};
use crate::tokens::Credential;

/// What cursors of this list are for.
const LIST: &str = "grants";

/// Grants in force.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GrantPage {
    pub grants: Vec<Grant>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
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
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<GrantPage>, Problem> {
    let grants = app.approvals.grants(&caller).await?;
    let (grants, next_cursor) = list::page(LIST, grants, |grant| &grant.id, &list::read(query)?)?;
    Ok(Json(GrantPage { grants, next_cursor }))
}

/// `GET /v1/grants/{id}`
pub async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = app.approvals.grant(&id, &caller).await?.ok_or_else(|| RevokeGrantError::NotFound(id.clone()))?;
    Ok(prefer::tagged(&headers, &grant))
}

/// `POST /v1/grants/{id}/revoke`
pub async fn revoke(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Grant>, Problem> {
    let seen = prefer::if_match_tag(&headers)?;
    let once = idempotency::once(&headers, &caller, &format!("grants/{id}/revoke"), &seen)?;
    let once = once.as_ref();
    let act = async {
        let mut if_uses_left = None;
        if seen.is_some() {
            let grant = app.approvals.grant(&id, &caller).await?;
            let grant = grant.ok_or_else(|| RevokeGrantError::NotFound(id.clone()))?;
            prefer::unchanged(&headers, &grant)?;
            if_uses_left = Some(grant.uses_left);
        }
        Ok(app.approvals.revoke_grant(&id, &caller, if_uses_left, once).await?)
    };
    let grant: Result<Grant, Problem> = once::answer(once, &*app.store, act).await;
    Ok(Json(grant?))
}

/// `POST /v1/reviews:batch`
pub async fn batch(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
    Body(body): Body<BatchBody>,
) -> Result<Json<Value>, Problem> {
    if body.reviews.is_empty() || body.reviews.len() > BATCH_REVIEWS_MAX {
        let detail =
            format!("a batch holds 1 to {BATCH_REVIEWS_MAX} reviews, this one {}: split it", body.reviews.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "batch-size", detail));
    }
    let once = idempotency::once(&headers, &caller, "reviews:batch", &body)?;
    let once = once.as_ref();
    let act = async {
        let answers =
            app.approvals.review_batch(&caller, &body, once).await.into_iter().map(|(id, answer)| match answer {
                Ok(state) => BatchResult { id, state: Some(state), problem: None },
                Err(error) => BatchResult { id, state: None, problem: Some(Problem::from(error)) },
            });
        let problem = |error: serde_json::Error| StoreError::Corrupt { what: "an answer", problem: error.to_string() };
        let answer = serde_json::to_value(BatchAnswer { results: answers.collect() }).map_err(problem)?;
        // Each review has kept its own answer; this keeps why some do not count.
        if let Some(once) = once {
            let writes = vec![once.keep(&answer, app.store.now_ms().await?)?];
            app.ledger.commit(Change { writes, entries: Vec::new() }).await?;
        }
        Ok(answer)
    };
    let answer: Result<Value, Problem> = once::answer(once, &*app.store, act).await;
    Ok(Json(answer?))
}

impl From<RevokeGrantError> for Problem {
    fn from(error: RevokeGrantError) -> Self {
        match error {
            RevokeGrantError::Stuck(error) => error.into(),
            RevokeGrantError::NotFound(_) => Self::not_found(error.to_string()),
            RevokeGrantError::Changed => {
                Self::new(StatusCode::PRECONDITION_FAILED, "version-changed", error.to_string())
            }
        }
    }
}
