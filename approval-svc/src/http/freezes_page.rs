//! Step 7 in a browser: what is stopped everywhere; administrators stop and lift.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use holdpoint_core::freeze::FreezeScope;

use super::form::OwnForm;
use super::pages::{Page, confirm, frame, html};
use super::problem::Problem;
use crate::freezes::FreezeBody;
use crate::router::App;
use crate::sessions::Session;
use crate::tokens::Role;
use crate::web::freezes::FreezesPage;

/// `GET /freezes`
pub async fn list(State(app): State<App>, session: Session) -> Page {
    shown(&app, &session, None, StatusCode::OK).await
}

async fn shown(app: &App, session: &Session, error: Option<String>, status: StatusCode) -> Page {
    let now_ms = app.store.now_ms().await?;
    let list = app.store.freezes().await?;
    let is_admin = session.person.role == Role::Admin;
    let page = FreezesPage::new(frame(session, now_ms, "freezes"), &list.freezes, is_admin, error);
    Ok(html(status, &page))
}

/// `POST /freezes`
pub async fn add(State(app): State<App>, form: OwnForm) -> Page {
    let OwnForm { session, fields } = form;
    admin(&session)?;
    let scope =
        FreezeScope { server: fields.some("server"), tool: fields.some("tool"), principal: fields.some("principal") };
    if !fields.is_confirmed() && !scope.is_empty() {
        let question =
            format!("Stop {} on every gateway? Such calls are refused within seconds, approved or not.", scope)
                .replace('`', "");
        return confirm(&app, &session, &fields, &question, "/freezes", "Stop it", "/freezes").await;
    }
    match app.freezes.add(&session.person, FreezeBody { scope, reason: fields.text("reason").to_owned() }, None).await {
        Ok(_) => Ok(Redirect::to("/freezes").into_response()),
        Err(error) => {
            let sentence = error.to_string();
            let status = Problem::from(error).status();
            shown(&app, &session, Some(sentence), status).await
        }
    }
}

/// `POST /freezes/{id}/lift`
pub async fn lift(State(app): State<App>, Path(id): Path<String>, form: OwnForm) -> Page {
    let OwnForm { session, fields } = form;
    admin(&session)?;
    if !fields.is_confirmed() {
        let question = "Let it go on? Calls that were refused since run again as the policy says.";
        let action = format!("/freezes/{id}/lift");
        return confirm(&app, &session, &fields, question, &action, "Lift it", "/freezes").await;
    }
    app.freezes.lift(&session.person, &id, None, None).await?;
    Ok(Redirect::to("/freezes").into_response())
}

fn admin(session: &Session) -> Result<(), Problem> {
    if session.person.role == Role::Admin {
        return Ok(());
    }
    let detail =
        "only an administrator stops something everywhere, or lets it go on: see `holdpoint login --role admin`";
    Err(Problem::new(StatusCode::FORBIDDEN, "role", detail.to_owned()))
}
