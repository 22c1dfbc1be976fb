//! Step 8 over HTTP: open, poll, list, review, claim and revoke approvals.

use axum::extract::{Extension, Query, State};
use axum::http::header::{ETAG, HeaderValue, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::rejection::QueryRejection};
use holdpoint_core::approval::{ApprovalState, ApprovalStatus, ClaimRequest, OpenApproval, SignedClaim};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::idempotency;
use super::list;
use super::path::Path;
use super::prefer;
use super::problem::Problem;
use crate::approvals::review::ReviewBody;
use crate::approvals::revoke::RevokeBody;
use crate::approvals::view::ApprovalLine;
use crate::approvals::wait::Until;
use crate::once;
use crate::router::App;
use crate::store::row::ApprovalFilter;
use crate::tokens::{Credential, Role};

/// Seconds after which a caller told "pending" may ask again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 200;
/// What cursors of this list are for.
const LIST: &str = "approvals";

/// `POST /v1/approvals`
pub async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    Body(asked): Body<OpenApproval>,
) -> Result<Response, Problem> {
    let wait = prefer::wait(&headers)?;
    // Thousands of calls wait below: what opening takes is put elsewhere, and the headers are not needed any more.
    drop(headers);
    let opened = Box::pin(app.approvals.open(asked)).await?;
    let state = if wait.is_zero() {
        opened
    } else {
        match app.approvals.wait(&opened.id, Until::Decided, wait).await? {
            Some(state) => ApprovalState { come_back: opened.come_back, ..state },
            None => opened,
        }
    };
    let location = HeaderValue::from_str(&format!("/v1/approvals/{}", state.id)).ok();
    let mut response = match state.status {
        ApprovalStatus::Pending => {
            (StatusCode::ACCEPTED, [(RETRY_AFTER, RETRY_AFTER_SECONDS)], tagged(&state)).into_response()
        }
        ApprovalStatus::Approved
        | ApprovalStatus::Denied
        | ApprovalStatus::Expired
        | ApprovalStatus::Withdrawn
        | ApprovalStatus::Superseded
        | ApprovalStatus::Consumed
        | ApprovalStatus::Lapsed
        | ApprovalStatus::Revoked => tagged(&state).into_response(),
    };
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/approvals/{id}`
pub async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = prefer::wait(&headers)?;
    let known = prefer::if_none_match(&headers)?;
    drop(headers);
    let until = known.map_or(Until::Decided, |from_version| Until::Moved { from_version });
    let missing = || Problem::not_found(format!("there is no approval `{id}`: list them with GET /v1/approvals"));
    // Before anything is waited for or found unchanged: another tenant's approval is not there at all.
    // What only people are shown is put elsewhere: every call that waits, thousands of them, keeps this in memory.
    if caller.role != Role::Enforcer && Box::pin(app.approvals.view(&id, &caller)).await?.is_none() {
        return Err(missing());
    }
    let state = app.approvals.wait(&id, until, wait).await?.ok_or_else(missing)?;
    if known == Some(state.version) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(state.version))]).into_response());
    }
    match caller.role {
        Role::Enforcer => Ok(tagged(&state).into_response()),
        Role::Approver | Role::BreakGlass | Role::Auditor | Role::Admin => {
            let view = Box::pin(app.approvals.view(&id, &caller)).await?.ok_or_else(missing)?;
            Ok(([(ETAG, etag(view.state.version))], Json(view)).into_response())
        }
    }
}

/// What a list may be narrowed by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    status: Option<ApprovalStatus>,
    server: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// One page of a list, newest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApprovalPage {
    pub approvals: Vec<ApprovalLine>,
    /// Send it as `cursor` for the next page; absent on the last one. Its form may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `GET /v1/approvals`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ApprovalPage>, Problem> {
    let query = list::read(query)?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    // One more than asked for tells whether there is a next page.
    let filter = ApprovalFilter {
        status: query.status,
        server: query.server,
        tenant: caller.tenant,
        before_id: query.cursor.as_deref().map(|cursor| list::read_cursor(LIST, cursor)).transpose()?,
        rows_max: limit + 1,
    };
    let (rows, next_cursor) = list::cut(LIST, app.store.approvals(filter).await?, |row| &row.id, limit);
    Ok(Json(ApprovalPage { approvals: rows.iter().map(ApprovalLine::new).collect(), next_cursor }))
}

/// `POST /v1/approvals/{id}/reviews`
pub async fn review(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body<ReviewBody>,
) -> Result<Response, Problem> {
    let if_version = prefer::if_match(&headers)?;
    let once = idempotency::once(&headers, &caller, &format!("approvals/{id}/reviews"), &(&body, if_version))?;
    let state = app.approvals.review_once(&id, &caller, &body, if_version, once.as_ref()).await?;
    Ok((StatusCode::CREATED, tagged(&state)).into_response())
}

/// `POST /v1/approvals/{id}/claim`
pub async fn claim(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    Body(body): Body<ClaimRequest>,
) -> Result<Json<SignedClaim>, Problem> {
    Ok(Json(app.approvals.claim(&id, &body, &caller.name()).await?))
}

/// `POST /v1/approvals/{id}/revoke`
pub async fn revoke(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body<RevokeBody>,
) -> Result<Response, Problem> {
    let if_version = prefer::if_match(&headers)?;
    let once = idempotency::once(&headers, &caller, &format!("approvals/{id}/revoke"), &(&body, if_version))?;
    let once = once.as_ref();
    let act = async { Ok(app.approvals.revoke(&id, &caller, &body, if_version, once).await?) };
    let state: Result<ApprovalState, Problem> = once::answer(once, &*app.store, act).await;
    Ok(tagged(&state?).into_response())
}

fn tagged(state: &ApprovalState) -> impl IntoResponse + use<> {
    ([(ETAG, etag(state.version))], Json(state.clone()))
}

/// A version as an ETag.
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
