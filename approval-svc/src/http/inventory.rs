//! Step 11 over HTTP: filters send what they saw of servers, approvers and auditors read it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::inventory::ObservationBatch;
use serde::Deserialize;

use super::body::Body;
use super::list::{self, PageQuery};
use super::problem::Problem;
use crate::inventory::ObserveError;
use crate::inventory::view::{DefinitionsView, ServerView, ServersView};
use crate::router::App;
use crate::tokens::Credential;

/// What cursors of this list are for.
const LIST: &str = "servers";

/// `POST /v1/inventory/observations`
pub async fn observe(State(app): State<App>, Body(batch): Body<ObservationBatch>) -> Result<StatusCode, Problem> {
    app.inventory.observe(batch).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/inventory/servers`
pub async fn servers(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<ServersView>, Problem> {
    let query = list::read(query)?;
    let servers = app.inventory.servers().await?.servers;
    let (servers, next_cursor) = list::page(LIST, servers, |line| &line.server, &query)?;
    Ok(Json(ServersView { servers, next_cursor }))
}

/// `GET /v1/inventory/servers/{server}`
pub async fn server(
    State(app): State<App>,
    Extension(reader): Extension<Credential>,
    Path(server): Path<String>,
) -> Result<Json<ServerView>, Problem> {
    let view = app.inventory.server(&server, &reader).await?;
    view.map(Json).ok_or_else(|| Problem::not_found(format!("no list of server `{server}` has been seen")))
}

/// Which entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionQuery {
    kind: DefinitionKind,
    name: String,
}

/// `GET /v1/inventory/servers/{server}/definitions?kind=tool&name=…`
pub async fn definitions(
    State(app): State<App>,
    Path(server): Path<String>,
    query: Result<Query<DefinitionQuery>, QueryRejection>,
) -> Result<Json<DefinitionsView>, Problem> {
    let Query(DefinitionQuery { kind, name }) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed-query", error.body_text()))?;
    let view = app.inventory.definitions(&server, kind, &name).await?;
    let missing = || Problem::not_found(format!("no {} `{name}` of server `{server}` has been seen", kind.as_str()));
    view.map(Json).ok_or_else(missing)
}

impl From<ObserveError> for Problem {
    fn from(error: ObserveError) -> Self {
        let (status, code) = match error {
            ObserveError::Store(error) => return error.into(),
            ObserveError::Count(_) => (StatusCode::UNPROCESSABLE_ENTITY, "batch-size"),
            ObserveError::Field { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "field"),
            ObserveError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, code, error.to_string())
    }
}
