//! Step 6 in a browser: which policy decides where, and what candidates would have decided otherwise.

use axum::extract::State;
use axum::http::StatusCode;

use super::pages::{Page, frame, html};
use crate::candidates;
use crate::policies;
use crate::router::App;
use crate::sessions::Session;
use crate::web::policies::PoliciesPage;

/// `GET /policies`
pub async fn list(State(app): State<App>, session: Session) -> Page {
    let now_ms = app.store.now_ms().await?;
    let in_force = policies::in_force(&*app.store, now_ms).await?;
    let tried = match session.person.tenant {
        Some(_) => None,
        None => Some(candidates::list(&*app.store).await?),
    };
    let page = PoliciesPage::new(frame(&session, now_ms, "policies"), &in_force, tried.as_deref());
    Ok(html(StatusCode::OK, &page))
}
