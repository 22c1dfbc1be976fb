//! Step 8 over HTTP: which notices went where, and how their delivery stands; tried again, and tried out.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::path::Path;
use super::problem::Problem;
use crate::notify::notice::{NoticeFilter, NoticeState, NoticeView};
use crate::router::App;
use crate::store::{Change, CommitError, Conflict, Write};
use crate::tokens::Credential;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;

/// What a list may be narrowed by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticesQuery {
    state: Option<NoticeState>,
    approval: Option<String>,
    channel: Option<String>,
    limit: Option<u32>,
}

/// Notices, the newest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NoticePage {
    pub notices: Vec<NoticeView>,
}

/// `GET /v1/notices`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    query: Result<Query<NoticesQuery>, QueryRejection>,
) -> Result<Json<NoticePage>, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed-query", error.body_text()))?;
    let filter = NoticeFilter {
        state: query.state,
        approval_id: query.approval,
        channel: query.channel,
        tenant: caller.tenant,
        rows_max: query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX),
    };
    let notices = app.store.notices(filter).await?;
    Ok(Json(NoticePage { notices: notices.into_iter().map(NoticeView::from).collect() }))
}

/// `GET /v1/notices/{id}`
pub async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
) -> Result<Json<NoticeView>, Problem> {
    let notice = app.store.notice(&id).await?.filter(|notice| caller.sees_tenant(notice.tenant.as_deref()));
    Ok(Json(notice.ok_or_else(|| missing(&id))?.into()))
}

/// `POST /v1/notices/{id}/retry`
pub async fn retry(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
) -> Result<Json<NoticeView>, Problem> {
    let notice = app.store.notice(&id).await?.filter(|notice| caller.sees_tenant(notice.tenant.as_deref()));
    if !notice.ok_or_else(|| missing(&id)).is_ok_and(|notice| notice.state == NoticeState::Dead) {
        return Err(not_given_up(&id));
    }
    let write = Write::RetryNotice { id: id.clone(), at_ms: app.store.now_ms().await? };
    match app.ledger.commit(Change { writes: vec![write], entries: Vec::new() }).await {
        Ok(()) => show(State(app), Extension(caller), Path(id)).await,
        Err(CommitError::Conflict(Conflict::Missing)) => Err(not_given_up(&id)),
        Err(error) => Err(error.into()),
    }
}

/// Body of `POST /v1/notices:test`.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestBody {
    pub channel: String,
}

/// `POST /v1/notices:test`
pub async fn test(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Body(body): Body<TestBody>,
) -> Result<Response, Problem> {
    let now_ms = app.store.now_ms().await?;
    let Some(notice) = app.approvals.notify.test(&body.channel, &caller.name(), now_ms) else {
        let known: Vec<&str> = app.approvals.notify.settings().channels.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none: see `holdpoint serve --notify`".to_owned() } else { known.join(", ") };
        return Err(Problem::not_found(format!("there is no channel `{}`; there is {known}", body.channel)));
    };
    let view = NoticeView::from(notice.clone());
    let write = Write::AddNotice(Box::new(notice));
    app.ledger.commit(Change { writes: vec![write], entries: Vec::new() }).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no notice `{id}`: list them with GET /v1/notices"))
}

fn not_given_up(id: &str) -> Problem {
    let detail = format!("`{id}` is no notice that was given up: list those with GET /v1/notices?state=dead");
    Problem::new(StatusCode::CONFLICT, "not-dead", detail)
}
