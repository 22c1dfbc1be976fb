//! Step 8 over HTTP: approvers lend their authority to somebody until a date, and take it back.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::idempotency;
use super::list::{self, PageQuery};
use super::path::Path;
use super::prefer;
use super::problem::Problem;
use crate::delegations::{Delegation, DelegationBody, DelegationError};
use crate::once;
use crate::router::App;
use crate::tokens::Credential;

/// What cursors of this list are for.
const LIST: &str = "delegations";

/// Delegations in force.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DelegationPage {
    pub delegations: Vec<Delegation>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `POST /v1/delegations`
pub async fn add(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
    Body(body): Body<DelegationBody>,
) -> Result<Response, Problem> {
    let once = idempotency::once(&headers, &caller, "delegations", &body)?;
    let once = once.as_ref();
    let act = async { Ok(app.delegations.add(&caller, body, once).await?) };
    let delegation: Result<Delegation, Problem> = once::answer(once, &*app.store, act).await;
    Ok((StatusCode::CREATED, Json(delegation?)).into_response())
}

/// `GET /v1/delegations`
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<DelegationPage>, Problem> {
    let lent = app.delegations.list(&caller).await?;
    let (delegations, next_cursor) = list::page(LIST, lent, |one| &one.id, &list::read(query)?)?;
    Ok(Json(DelegationPage { delegations, next_cursor }))
}

/// `GET /v1/delegations/{id}`
pub async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(prefer::tagged(&headers, &one(&app, &caller, id).await?))
}

/// `POST /v1/delegations/{id}/end`
pub async fn end(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Delegation>, Problem> {
    let seen = prefer::if_match_tag(&headers)?;
    let once = idempotency::once(&headers, &caller, &format!("delegations/{id}/end"), &seen)?;
    let once = once.as_ref();
    let act = async {
        if seen.is_some() {
            prefer::unchanged(&headers, &one(&app, &caller, id.clone()).await?)?;
        }
        Ok(app.delegations.end(&caller, &id, once).await?)
    };
    let delegation: Result<Delegation, Problem> = once::answer(once, &*app.store, act).await;
    Ok(Json(delegation?))
}

async fn one(app: &App, caller: &Credential, id: String) -> Result<Delegation, Problem> {
    let found = app.delegations.list(caller).await?.into_iter().find(|one| one.id == id);
    Ok(found.ok_or(DelegationError::NotFound(id))?)
}

impl From<DelegationError> for Problem {
    fn from(error: DelegationError) -> Self {
        let (status, code) = match error {
            DelegationError::Store(error) => return error.into(),
            DelegationError::Until | DelegationError::To | DelegationError::NoGroups => {
                (StatusCode::UNPROCESSABLE_ENTITY, "field")
            }
            DelegationError::ReasonMissing => (StatusCode::UNPROCESSABLE_ENTITY, "reason-missing"),
            DelegationError::NotYourGroup(_) => (StatusCode::FORBIDDEN, "not-in-group"),
            DelegationError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        };
        Self::new(status, code, error.to_string())
    }
}
