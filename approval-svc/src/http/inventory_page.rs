//! Step 11 in a browser: which servers there are, what each offers, who calls it, and how it came to differ.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use holdpoint_core::definition::DefinitionKind;
use serde::Deserialize;

use super::pages::{Page, frame, html, malformed};
use super::path::Path;
use super::problem::Problem;
use crate::router::App;
use crate::sessions::Session;
use crate::web::inventory::{DefinitionPage, InventoryPage, ServerPage};

/// `GET /inventory`
pub async fn list(State(app): State<App>, session: Session) -> Page {
    let now_ms = app.store.now_ms().await?;
    let servers = app.inventory.servers().await?;
    Ok(html(StatusCode::OK, &InventoryPage::new(frame(&session, now_ms, "inventory"), &servers)))
}

/// `GET /inventory/{server}`
pub async fn server(State(app): State<App>, session: Session, Path(server): Path<String>) -> Page {
    let now_ms = app.store.now_ms().await?;
    let view = app.inventory.server(&server, &session.person).await?;
    let view = view.ok_or_else(|| Problem::not_found(format!("no list of server `{server}` has been seen")))?;
    Ok(html(StatusCode::OK, &ServerPage::new(frame(&session, now_ms, "inventory"), &view)))
}

/// Which entry.
#[derive(Debug, Deserialize)]
pub struct DefinitionQuery {
    kind: DefinitionKind,
    name: String,
}

/// `GET /inventory/{server}/definition?kind=tool&name=…`
pub async fn definition(
    State(app): State<App>,
    session: Session,
    Path(server): Path<String>,
    query: Result<Query<DefinitionQuery>, QueryRejection>,
) -> Page {
    let Query(DefinitionQuery { kind, name }) = query.map_err(malformed)?;
    let now_ms = app.store.now_ms().await?;
    let missing = || Problem::not_found(format!("no {} `{name}` of server `{server}` has been seen", kind.as_str()));
    let view = app.inventory.server(&server, &session.person).await?.ok_or_else(missing)?;
    let item = view.items.iter().find(|item| item.kind == kind && item.name == name).ok_or_else(missing)?;
    let kept = app.inventory.definitions(&server, kind, &name).await?.ok_or_else(missing)?;
    let page = DefinitionPage::new(frame(&session, now_ms, "inventory"), &server, item, &kept.definitions);
    Ok(html(StatusCode::OK, &page))
}
