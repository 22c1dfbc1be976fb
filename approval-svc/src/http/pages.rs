//! Step 8 in a browser: inbox, one approval, the decision, signing in and out. Plain forms; live with the script.

use std::collections::BTreeSet;

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::events;
use super::form::{Fields, OwnForm};
use super::path::Path;
use super::problem::Problem;
use super::session::set_cookie;
use super::status::TELL_MS_MAX;
use crate::approvals::review::{self, ReviewBody};
use crate::approvals::view::{ApprovalView, may_read_arguments};
use crate::approvals::{ReviewVerdict, grant, view};
use crate::freezes;
use crate::inventory::seen;
use crate::notify::notice::NoticeFilter;
use crate::router::App;
use crate::sessions::{self, Secret, Session, SignInError};
use crate::store::row::{Approval, ApprovalFilter, Dossier, HistoryFilter};
use crate::store::{StoreError, read_word};
use crate::text::span;
use crate::tokens::Role;
use crate::web::approval::{ApprovalPage, Around, Reader};
use crate::web::confirm::ConfirmPage;
use crate::web::inbox::{Inbox, Row, RowPage, Stop};
use crate::web::sign_in::{LoginPage, TroublePage};
use crate::web::{self, Frame, reach, shown};
use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::Outcome;

/// Pending approvals on one page.
const WAITING_MAX: u32 = 200;
/// Decided approvals on one page.
const RECENT_MAX: u32 = 30;
/// Calls like the one that is shown.
const SIMILAR_MAX: u32 = 5;
/// Notices that one page shows.
const NOTICES_MAX: u32 = 50;
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
    let over = HistoryFilter {
        over: true,
        tenant: session.person.tenant.clone(),
        rows_max: RECENT_MAX,
        ..HistoryFilter::default()
    };
    let recent = app.store.history(over).await?.rows;
    let notice = match query.decided {
        Some(id) => app
            .store
            .dossier(&id)
            .await?
            .filter(|one| session.person.sees_tenant(one.approval.asked.principal.tenant.as_deref())),
        None => None,
    };
    let untold = untold(&app, now_ms).await?;
    let page = Inbox {
        frame: frame(&session, now_ms, "waiting"),
        stopped: app.store.freezes().await?.freezes.iter().map(|freeze| Stop::new(freeze, now_ms)).collect(),
        may_choose: session.person.role == Role::Approver,
        waiting: waiting.iter().map(|row| line(row, None, &session, &untold, now_ms)).collect(),
        more_wait,
        recent: recent.iter().map(|past| Row::new(&past.approval, past.outcome, now_ms)).collect(),
        notice: notice.map(|one| Row::new(&one.approval, one.outcome, now_ms)),
    };
    Ok(html(StatusCode::OK, &page))
}

/// `GET /approvals/{id}/row`: one line of the inbox, for the script.
pub async fn row(State(app): State<App>, session: Session, Path(id): Path<String>) -> Page {
    let now_ms = app.store.now_ms().await?;
    let dossier = app.store.dossier(&id).await?;
    let is_ours = |one: &Dossier| session.person.sees_tenant(one.approval.asked.principal.tenant.as_deref());
    let Dossier { approval, outcome, .. } = dossier.filter(is_ours).ok_or_else(|| missing(&id))?;
    let untold = untold(&app, now_ms).await?;
    Ok(html(StatusCode::OK, &RowPage { row: line(&approval, outcome, &session, &untold, now_ms) }))
}

/// Pending approvals of which nobody was notified.
async fn untold(app: &App, now_ms: u64) -> Result<BTreeSet<String>, StoreError> {
    // Where nobody is ever notified, saying so at each of them tells nothing.
    if !app.approvals.notify.is_configured() {
        return Ok(BTreeSet::new());
    }
    Ok(app.store.untold(now_ms.saturating_sub(TELL_MS_MAX), WAITING_MAX).await?.into_iter().collect())
}

fn line(
    approval: &Approval,
    outcome: Option<Outcome>,
    session: &Session,
    untold: &BTreeSet<String>,
    now_ms: u64,
) -> Row {
    let choosable = is_choosable(approval, session);
    Row { choosable, untold: untold.contains(&approval.id), ..Row::new(approval, outcome, now_ms) }
}

/// Whether it may be looked at together with others: what its kind allows, and the reader may see.
fn is_choosable(approval: &Approval, session: &Session) -> bool {
    approval.status == ApprovalStatus::Pending
        && session.person.role == Role::Approver
        && !grant::is_destructive(approval)
        && may_read_arguments(approval, &session.person)
}

/// `GET /approvals/{id}`
pub async fn show(State(app): State<App>, session: Session, Path(id): Path<String>) -> Page {
    detail(&app, &session, &id, StatusCode::OK, Reader::default()).await
}

/// `POST /approvals/{id}/review`
pub async fn decide(State(app): State<App>, Path(id): Path<String>, form: OwnForm) -> Page {
    let OwnForm { session, fields } = form;
    let role = session.person.role;
    if !matches!(role, Role::Approver | Role::BreakGlass) {
        let detail = format!("a session of role {role} decides nothing");
        return Err(Problem::new(StatusCode::FORBIDDEN, "role", detail).into());
    }
    let verdict: ReviewVerdict =
        read_word(fields.text("verdict")).ok_or_else(|| malformed("`verdict` is no verdict"))?;
    // The digest of the call that was shown.
    let seen = fields.text("call_digest").parse().map_err(|_| malformed("`call_digest` is no digest"))?;
    let reason = fields.text("reason").to_owned();
    let asked_reach = !matches!(fields.text("uses"), "" | "1");
    let refused = async |sentence: String, status| {
        let reader = Reader { error: Some(sentence), draft: reason.clone(), asked_reach, ..Reader::default() };
        detail(&app, &session, &id, status, reader).await
    };
    let mut scope = None;
    if verdict == ReviewVerdict::Approve {
        let approval = app.store.approval(&id).await?.ok_or_else(|| missing(&id))?;
        let is_read = may_read_arguments(&approval, &session.person);
        let call_text = if is_read { approval.asked.call_text.as_str() } else { "" };
        if fields.text("opened") != "yes" && web::folds(&approval.asked.call_text) > 0 {
            let sentence = "open every long value of the call first, and say that you have read it".to_owned();
            return refused(sentence, StatusCode::UNPROCESSABLE_ENTITY).await;
        }
        let limits = approval.asked.requirement.grants;
        scope = match reach::asked(call_text, limits, |name| fields.text(name).to_owned()) {
            Ok(scope) => scope,
            Err(sentence) => return refused(sentence, StatusCode::UNPROCESSABLE_ENTITY).await,
        };
        let question = match (role == Role::BreakGlass, grant::is_destructive(&approval), &scope) {
            (true, _, _) => Some("Approve alone? Everybody sees that you broke the glass, and why.".to_owned()),
            (false, true, _) => Some(
                "Approve this call? It is of a kind that may change or destroy what cannot be brought back.".to_owned(),
            ),
            (false, false, Some(scope)) => Some(format!(
                "Approve {} calls within {}? Further ones run without being asked for again.",
                scope.uses,
                span(scope.within_ms)
            )),
            (false, false, None) => None,
        };
        if let Some(question) = question.filter(|_| !fields.is_confirmed()) {
            let (action, back) = (format!("/approvals/{id}/review"), format!("/approvals/{id}"));
            return confirm(&app, &session, &fields, &question, &action, "Approve", &back).await;
        }
    }
    let body = ReviewBody { verdict, call_digest: Some(seen), reason: Some(reason.clone()), scope };
    match app.approvals.review(&id, &session.person, &body, None).await {
        Ok(_) => Ok(Redirect::to(&format!("/approvals?decided={id}")).into_response()),
        Err(error) => {
            let sentence = error.to_string();
            refused(sentence, Problem::from(error).status()).await
        }
    }
}

/// Asks once more, on a page of its own: the browser's script has not.
pub(super) async fn confirm(
    app: &App,
    session: &Session,
    fields: &Fields,
    question: &str,
    action: &str,
    go: &str,
    back: &str,
) -> Page {
    let frame = frame(session, app.store.now_ms().await?, "");
    Ok(html(StatusCode::OK, &ConfirmPage::new(frame, question, action, &fields.0, go, back)))
}

async fn detail(app: &App, session: &Session, id: &str, status: StatusCode, reader: Reader) -> Page {
    let dossier: Dossier = app.store.dossier(id).await?.ok_or_else(|| missing(id))?;
    let now_ms = app.store.now_ms().await?;
    let decides = matches!(session.person.role, Role::Approver | Role::BreakGlass);
    let barrier = |verdict| match review::barrier(&dossier, &session.person, verdict, now_ms) {
        _ if !decides => Some(format!("you are signed in as {}, and that role only looks", session.person.role)),
        Some(error) => Some(error.to_string()),
        None => None,
    };
    let reader = Reader {
        approve_barrier: barrier(ReviewVerdict::Approve),
        deny_barrier: barrier(ReviewVerdict::Deny),
        glass: session.person.role == Role::BreakGlass,
        decides,
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
    let definition = seen::of(&*app.store, asked, dossier.approval.opened_at_ms).await?;
    let filter = NoticeFilter { approval_id: Some(id.to_owned()), rows_max: NOTICES_MAX, ..NoticeFilter::default() };
    let mut notices = app.store.notices(filter).await?;
    notices.reverse();
    let destructive = grant::is_destructive(&dossier.approval);
    let tells = app.approvals.notify.is_configured();
    let around = Around { similar, stopped, notices, tells, destructive };
    let view = view::view_of(dossier, &session.person, now_ms).ok_or_else(|| missing(id))?;
    let view = ApprovalView { definition, ..view };
    let page = ApprovalPage::new(frame(session, now_ms, ""), &view, reader, &around);
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

/// `POST /logout`
pub async fn sign_out(State(app): State<App>, headers: HeaderMap, form: OwnForm) -> Page {
    sessions::sign_out(&*app.store, &form.session).await?;
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
