//! Step 8 in a browser: who decides in whose place until when; lent by a form, and ended.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::form::{Fields, OwnForm};
use super::pages::{Page, frame, html, malformed};
use super::problem::Problem;
use crate::delegations::{DelegationBody, Person};
use crate::router::App;
use crate::sessions::Session;
use crate::tokens::{ISSUER_LOCAL, Role};
use crate::web::delegations::{DelegationsPage, Draft};

const HOUR_MS: u64 = 3_600_000;

/// `GET /delegations`
pub async fn list(State(app): State<App>, session: Session) -> Page {
    shown(&app, &session, None, Draft::default(), StatusCode::OK).await
}

async fn shown(app: &App, session: &Session, error: Option<String>, draft: Draft, status: StatusCode) -> Page {
    let now_ms = app.store.now_ms().await?;
    let all = app.delegations.list(&session.person).await?;
    let page = DelegationsPage::new(frame(session, now_ms, "delegations"), &session.person, &all, error, draft);
    Ok(html(status, &page))
}

/// `POST /delegations`
pub async fn add(State(app): State<App>, form: OwnForm) -> Page {
    let OwnForm { session, fields } = form;
    if session.person.role != Role::Approver {
        let detail = format!("a session of role {} has nothing to lend", session.person.role);
        return Err(Problem::new(StatusCode::FORBIDDEN, "role", detail).into());
    }
    let hours: u64 = fields.text("hours").parse().map_err(|_| malformed("`hours` is no number"))?;
    let groups: BTreeSet<String> = fields.all("group").map(str::to_owned).collect();
    let body = DelegationBody {
        to: Person {
            issuer: fields.some("issuer").unwrap_or_else(|| ISSUER_LOCAL.to_owned()),
            subject: fields.text("subject").to_owned(),
        },
        // None chosen is not all of them: what is lent is said.
        groups: Some(groups),
        until_ms: app.store.now_ms().await?.saturating_add(hours.saturating_mul(HOUR_MS)),
        reason: fields.text("reason").to_owned(),
    };
    match app.delegations.add(&session.person, body, None).await {
        Ok(_) => Ok(Redirect::to("/delegations").into_response()),
        Err(error) => {
            let sentence = error.to_string();
            let status = Problem::from(error).status();
            shown(&app, &session, Some(sentence), draft(&fields), status).await
        }
    }
}

fn draft(fields: &Fields) -> Draft {
    Draft { subject: fields.text("subject").to_owned(), reason: fields.text("reason").to_owned() }
}

/// `POST /delegations/{id}/end`
pub async fn end(State(app): State<App>, Path(id): Path<String>, form: OwnForm) -> Page {
    app.delegations.end(&form.session.person, &id, None).await?;
    Ok(Redirect::to("/delegations").into_response())
}
