//! Step 8 in a browser: inbox, one approval, the decision, signing in and out. Plain forms; live with the script.

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::events;
use super::problem::Problem;
use super::session::{is_own_form, not_own_form, set_cookie};
use crate::approvals::review::{self, ReviewBody};
use crate::approvals::{ReviewVerdict, view};
use crate::freezes;
use crate::router::App;
use crate::sessions::{self, Secret, Session, SignInError};
use crate::store::row::{Approval, ApprovalFilter, Dossier, HistoryFilter};
use crate::store::{StoreError, read_word};
use crate::web::approval::{ApprovalPage, Around, Reader};
use crate::web::inbox::{Inbox, Row, RowPage, Stop};
use crate::web::sign_in::{LoginPage, TroublePage};
use crate::web::{self, Frame, shown};
use holdpoint_core::approval::ApprovalStatus;

/// Pending approvals on one page.
const WAITING_MAX: u32 = 200;
/// Decided approvals on one page.
const RECENT_MAX: usize = 30;
/// Rows looked at to find them among the pending ones.
const RECENT_ROWS_MAX: u32 = 230;
/// Calls like the one that is shown.
const SIMILAR_MAX: u32 = 5;
/// After this long, a page that may be kept is asked for again.
const ASSET_AGE: HeaderValue = HeaderValue::from_static("no-cache");

/// A failure as a page.
#[derive(Debug)]
pub struct PageError(Problem);

impl<E: Into<Problem>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        trouble(&self.0)
    }
}

/// A page, or a page that says why there is none.
pub type Page = Result<Response, PageError>;

/// `GET /`
pub async fn home() -> Redirect {
    Redirect::to("/approvals")
}

/// What the reader decided just before.
#[derive(Debug, Deserialize)]
pub struct InboxQuery {
    decided: Option<String>,
}

/// `GET /approvals`
pub async fn inbox(State(app): State<App>, session: Session, Query(query): Query<InboxQuery>) -> Page {
    let now_ms = app.store.now_ms().await?;
    let waiting = ApprovalFilter {
        status: Some(ApprovalStatus::Pending),
        tenant: session.person.tenant.clone(),
        rows_max: WAITING_MAX + 1,
        ..ApprovalFilter::default()
    };
    let mut waiting = app.store.approvals(waiting).await?;
    let more_wait = waiting.len() > WAITING_MAX as usize;
    waiting.truncate(WAITING_MAX as usize);
    let recent = app
        .store
        .approvals(ApprovalFilter {
            tenant: session.person.tenant.clone(),
            rows_max: RECENT_ROWS_MAX,
            ..ApprovalFilter::default()
        })
        .await?;
    let recent = recent.iter().filter(|row| row.status != ApprovalStatus::Pending).take(RECENT_MAX);
    let notice = match query.decided {
        Some(id) => app
            .store
            .approval(&id)
            .await?
            .filter(|row| session.person.sees_tenant(row.asked.principal.tenant.as_deref())),
        None => None,
    };
    let page = Inbox {
        frame: frame(&session, now_ms, "waiting"),
        stopped: app.store.freezes().await?.freezes.iter().map(|freeze| Stop::new(freeze, now_ms)).collect(),
        waiting: waiting.iter().map(|row| Row::new(row, now_ms)).collect(),
        more_wait,
        recent: recent.map(|row| Row::new(row, now_ms)).collect(),
        notice: notice.map(|row| Row::new(&row, now_ms)),
    };
    Ok(html(StatusCode::OK, &page))
}

/// `GET /approvals/{id}/row`: one line of the inbox, for the script.
pub async fn row(State(app): State<App>, session: Session, Path(id): Path<String>) -> Page {
    let now_ms = app.store.now_ms().await?;
    let approval = app.store.approval(&id).await?;
    let is_ours = |row: &Approval| session.person.sees_tenant(row.asked.principal.tenant.as_deref());
    let approval = approval.filter(is_ours).ok_or_else(|| missing(&id))?;
    Ok(html(StatusCode::OK, &RowPage { row: Row::new(&approval, now_ms) }))
}

/// `GET /approvals/{id}`
pub async fn show(State(app): State<App>, session: Session, Path(id): Path<String>) -> Page {
    detail(&app, &session, &id, StatusCode::OK, Reader::default()).await
}

/// What the forms of one approval send.
#[derive(Debug, Deserialize)]
pub struct ReviewForm {
    #[serde(default)]
    form_token: String,
    verdict: String,
    /// Digest of the call that was shown.
    call_digest: String,
    #[serde(default)]
    reason: String,
    /// Every long value was opened: said by the reader, or by the script that saw it.
    #[serde(default)]
    opened: String,
}

/// `POST /approvals/{id}/review`
pub async fn decide(
    State(app): State<App>,
    session: Session,
    Path(id): Path<String>,
    form: Result<Form<ReviewForm>, FormRejection>,
) -> Page {
    let Form(form) = form.map_err(malformed)?;
    if !is_own_form(&session, &form.form_token) {
        return Ok(not_own_form());
    }
    let verdict: ReviewVerdict = read_word(&form.verdict).ok_or_else(|| malformed("`verdict` is no verdict"))?;
    let seen = form.call_digest.parse().map_err(|_| malformed("`call_digest` is no digest"))?;
    if verdict == ReviewVerdict::Approve && form.opened != "yes" {
        let folds = app.store.approval(&id).await?.map_or(0, |approval| web::folds(&approval.asked.call_text));
        if folds > 0 {
            let sentence = "open every long value of the call first, and say that you have read it".to_owned();
            let reader = Reader { error: Some(sentence), draft: form.reason, ..Reader::default() };
            return detail(&app, &session, &id, StatusCode::UNPROCESSABLE_ENTITY, reader).await;
        }
    }
    let body = ReviewBody { verdict, call_digest: Some(seen), reason: Some(form.reason.clone()), scope: None };
    match app.approvals.review(&id, &session.person, &body, None).await {
        Ok(_) => Ok(Redirect::to(&format!("/approvals?decided={id}")).into_response()),
        Err(error) => {
            let sentence = error.to_string();
            let problem = Problem::from(error);
            let reader = Reader { error: Some(sentence), draft: form.reason, ..Reader::default() };
            detail(&app, &session, &id, problem.status(), reader).await
        }
    }
}

async fn detail(app: &App, session: &Session, id: &str, status: StatusCode, reader: Reader) -> Page {
    let dossier: Dossier = app.store.dossier(id).await?.ok_or_else(|| missing(id))?;
    let now_ms = app.store.now_ms().await?;
    let barrier = |verdict| review::barrier(&dossier, &session.person, verdict, now_ms).map(|error| error.to_string());
    let reader = Reader {
        approve_barrier: barrier(ReviewVerdict::Approve),
        deny_barrier: barrier(ReviewVerdict::Deny),
        ..reader
    };
    let asked = &dossier.approval.asked;
    let like = HistoryFilter {
        over: true,
        server: Some(asked.server.clone()),
        tenant: session.person.tenant.clone(),
        method: Some(asked.method.clone()),
        target: asked.target.clone(),
        rows_max: SIMILAR_MAX + 1,
        ..HistoryFilter::default()
    };
    let mut similar = app.store.history(like).await?.rows;
    similar.retain(|past| past.approval.id != id);
    similar.truncate(SIMILAR_MAX as usize);
    let stopped = freezes::stops(&*app.store, asked).await?.into_iter().collect();
    let view = view::view_of(dossier, &session.person, now_ms).ok_or_else(|| missing(id))?;
    let page = ApprovalPage::new(frame(session, now_ms, ""), &view, reader, &Around { similar, stopped });
    Ok(html(status, &page))
}

/// `GET /live`: the events of `/v1/events`, for as long as the session lasts.
pub async fn live(State(app): State<App>, session: Session, headers: HeaderMap) -> Page {
    Ok(events::follow(&app, session.person, &headers).await?)
}

/// The code of a sign-in link.
#[derive(Debug, Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    code: String,
}

/// `GET /login?code=…`: uses nothing up.
pub async fn ask_to_sign_in(State(app): State<App>, Query(form): Query<CodeForm>) -> Page {
    let visitor = sessions::invited(&*app.store, &Secret::presented(&form.code)).await?;
    let groups: Vec<&str> = visitor.groups.iter().map(String::as_str).collect();
    let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
    let page = LoginPage { subject: shown(&visitor.subject), groups: shown(&groups), code: form.code };
    Ok(html(StatusCode::OK, &page))
}

/// `POST /login`
pub async fn sign_in(State(app): State<App>, headers: HeaderMap, form: Result<Form<CodeForm>, FormRejection>) -> Page {
    let Form(form) = form.map_err(malformed)?;
    let session = sessions::sign_in(&*app.store, &Secret::presented(&form.code)).await?;
    Ok(([set_cookie(Some(&session), &headers)], Redirect::to("/approvals")).into_response())
}

/// What a form without further fields sends.
#[derive(Debug, Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    form_token: String,
}

/// `POST /logout`
pub async fn sign_out(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    form: Result<Form<TokenForm>, FormRejection>,
) -> Page {
    let Form(form) = form.map_err(malformed)?;
    if !is_own_form(&session, &form.form_token) {
        return Ok(not_own_form());
    }
    sessions::sign_out(&*app.store, &session).await?;
    Ok(([set_cookie(None, &headers)], Redirect::to("/approvals")).into_response())
}

/// `GET /web/page.css`
pub async fn css() -> Response {
    asset("text/css; charset=utf-8", web::CSS)
}

/// `GET /web/page.js`
pub async fn js() -> Response {
    asset("text/javascript; charset=utf-8", web::JS)
}

/// `GET /web/mark.svg`
pub async fn mark() -> Response {
    asset("image/svg+xml", web::MARK)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, ASSET_AGE)], text).into_response()
}

/// What stands around the page `here` for whoever is signed in.
pub fn frame(session: &Session, now_ms: u64, here: &'static str) -> Frame {
    Frame::new(&session.person, session.form_token.clone(), now_ms, here)
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no approval `{id}`"))
}

pub(super) fn malformed(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-form", format!("the form cannot be read ({error}): try again"))
}

/// A page as an answer.
pub fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the page cannot be written".to_owned())
                .into_response()
        }
    }
}

/// A problem as a page.
pub fn trouble(problem: &Problem) -> Response {
    let page = TroublePage { title: problem.title(), sentence: shown(problem.detail()) };
    html(problem.status(), &page)
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Used => Self::new(StatusCode::GONE, "link-used", error.to_string()),
            SignInError::Random(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
            SignInError::Store(error) => StoreError::into(error),
        }
    }
}
