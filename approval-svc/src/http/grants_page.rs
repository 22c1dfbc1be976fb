//! Step 8 in a browser: approvals that reach further calls, and taking them back.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::form::OwnForm;
use super::pages::{Page, confirm, frame, html};
use super::problem::Problem;
use crate::router::App;
use crate::sessions::Session;
use crate::tokens::Role;
use crate::web::grants::GrantsPage;

/// `GET /grants`
pub async fn list(State(app): State<App>, session: Session) -> Page {
    let now_ms = app.store.now_ms().await?;
    let grants = app.approvals.grants(&session.person).await?;
    let may_end = may_take_back(session.person.role);
    Ok(html(StatusCode::OK, &GrantsPage::new(frame(&session, now_ms, "grants"), &grants, may_end)))
}

/// `POST /grants/{id}/revoke`
pub async fn revoke(State(app): State<App>, Path(id): Path<String>, form: OwnForm) -> Page {
    let OwnForm { session, fields } = form;
    if !may_take_back(session.person.role) {
        let detail = format!("a session of role {} takes no grant back", session.person.role);
        return Err(Problem::new(StatusCode::FORBIDDEN, "role", detail).into());
    }
    if !fields.is_confirmed() {
        let question = "Take this grant back? Calls that it would have let run are asked for one by one again.";
        let action = format!("/grants/{id}/revoke");
        return confirm(&app, &session, &fields, question, &action, "Take it back", "/grants").await;
    }
    app.approvals.revoke_grant(&id, &session.person, None, None).await?;
    Ok(Redirect::to("/grants").into_response())
}

fn may_take_back(role: Role) -> bool {
    matches!(role, Role::Approver | Role::Admin)
}
