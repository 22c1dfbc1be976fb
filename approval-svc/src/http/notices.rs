//! Step 8 over HTTP: which notices went where, and how their delivery stands; tried again, and tried out.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::idempotency;
use super::list;
use super::path::Path;
use super::prefer;
use super::problem::Problem;
use crate::notify::notice::{Notice, NoticeFilter, NoticeState, NoticeView};
use crate::notify::record;
use crate::once;
use crate::router::App;
use crate::store::{Change, CommitError, Conflict, Write};
use crate::tokens::Credential;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;
/// What cursors of this list are for.
const LIST: &str = "notices";

/// What a list may be narrowed by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticesQuery {
    state: Option<NoticeState>,
    approval: Option<String>,
    channel: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Notices, the newest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NoticePage {
    pub notices: Vec<NoticeView>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `GET /v1/notices`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    query: Result<Query<NoticesQuery>, QueryRejection>,
) -> Result<Json<NoticePage>, Problem> {
    let query = list::read(query)?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let filter = NoticeFilter {
        state: query.state,
        approval_id: query.approval,
        channel: query.channel,
        tenant: caller.tenant,
        before_id: query.cursor.as_deref().map(|cursor| list::read_cursor(LIST, cursor)).transpose()?,
        rows_max: limit + 1,
    };
    let (notices, next_cursor) = list::cut(LIST, app.store.notices(filter).await?, |notice| &notice.id, limit);
    Ok(Json(NoticePage { notices: notices.into_iter().map(NoticeView::from).collect(), next_cursor }))
}

/// `GET /v1/notices/{id}`
pub async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(prefer::tagged(&headers, &NoticeView::from(one(&app, &caller, &id).await?)))
}

/// `POST /v1/notices/{id}/retry`
pub async fn retry(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<NoticeView>, Problem> {
    let seen = prefer::if_match_tag(&headers)?;
    let once = idempotency::once(&headers, &caller, &format!("notices/{id}/retry"), &seen)?;
    let once = once.as_ref();
    let act = async {
        let notice = one(&app, &caller, &id).await.map_err(|_| not_given_up(&id))?;
        if notice.state != NoticeState::Dead {
            return Err(not_given_up(&id));
        }
        prefer::unchanged(&headers, &NoticeView::from(notice.clone()))?;
        let at_ms = app.store.now_ms().await?;
        let again = Notice { state: NoticeState::Waiting, tries: 0, next_try_ms: at_ms, ended_at_ms: None, ..notice };
        let approval = match &again.approval_id {
            Some(approval) => app.store.approval(approval).await?,
            None => None,
        };
        let entries = vec![record::entry(&again, approval.as_ref(), "retried", Some(&caller.name()), at_ms)];
        let view = NoticeView::from(again);
        let mut writes = vec![Write::RetryNotice { id: id.clone(), at_ms }];
        if let Some(once) = once {
            writes.push(once.keep(&view, at_ms)?);
        }
        match app.ledger.commit(Change { writes, entries }).await {
            Ok(()) => Ok(view),
            Err(CommitError::Conflict(Conflict::Missing)) => Err(not_given_up(&id)),
            Err(error) => Err(error.into()),
        }
    };
    let view: Result<NoticeView, Problem> = once::answer(once, &*app.store, act).await;
    Ok(Json(view?))
}

async fn one(app: &App, caller: &Credential, id: &str) -> Result<Notice, Problem> {
    let notice = app.store.notice(id).await?.filter(|notice| caller.sees_tenant(notice.tenant.as_deref()));
    notice.ok_or_else(|| missing(id))
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
    headers: HeaderMap,
    Body(body): Body<TestBody>,
) -> Result<Response, Problem> {
    let once = idempotency::once(&headers, &caller, "notices:test", &body)?;
    let once = once.as_ref();
    let act = async {
        let now_ms = app.store.now_ms().await?;
        let notify = &app.approvals.notify;
        let Some(notice) = notify.test(&body.channel, &caller.name(), now_ms) else {
            let known: Vec<&str> = notify.settings().channels.keys().map(String::as_str).collect();
            let known =
                if known.is_empty() { "none: see `holdpoint serve --notify`".to_owned() } else { known.join(", ") };
            return Err(Problem::not_found(format!("there is no channel `{}`; there is {known}", body.channel)));
        };
        let view = NoticeView::from(notice.clone());
        let entries = vec![record::entry(&notice, None, "tested", Some(&caller.name()), now_ms)];
        let mut writes = vec![Write::AddNotice(Box::new(notice))];
        if let Some(once) = once {
            writes.push(once.keep(&view, now_ms)?);
        }
        app.ledger.commit(Change { writes, entries }).await?;
        Ok(view)
    };
    let view: Result<NoticeView, Problem> = once::answer(once, &*app.store, act).await;
    Ok((StatusCode::ACCEPTED, Json(view?)).into_response())
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no notice `{id}`: list them with GET /v1/notices"))
}

fn not_given_up(id: &str) -> Problem {
    let detail = format!("`{id}` is no notice that was given up: list those with GET /v1/notices?state=dead");
    Problem::new(StatusCode::CONFLICT, "not-dead", detail)
}
