//! Step 8 in a browser: the page that whoever asked for a call is given. Nothing can be decided there.

use axum::extract::State;
use axum::http::StatusCode;

use super::pages::{Page, html};
use super::path::Path;
use super::problem::Problem;
use crate::approvals::view::view_of;
use crate::router::App;
use crate::tokens::{Credential, Proof, Role};
use crate::web::requester::RequesterPage;

/// `GET /status/{page}`
pub async fn show(State(app): State<App>, Path(page): Path<String>) -> Page {
    let missing = || Problem::not_found("there is no such page: the link was cut, or is from elsewhere".to_owned());
    let dossier = app.approvals.by_status_page(&page).await?.ok_or_else(missing)?;
    let now_ms = app.store.now_ms().await?;
    // Whoever has the address: nobody in particular, who sees no arguments.
    let anybody = Credential {
        role: Role::Enforcer,
        issuer: String::new(),
        subject: String::new(),
        groups: Default::default(),
        tenant: None,
        client_id: None,
        proof: Proof::Nothing,
        lent: Vec::new(),
    };
    let view = view_of(dossier, &anybody, now_ms).ok_or_else(missing)?;
    Ok(html(StatusCode::OK, &RequesterPage::new(&view)))
}
