//! Step 7 over HTTP: administrators stop and lift; filters fetch the signed list.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::{ETAG, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use holdpoint_core::freeze::Freeze;

use super::approvals::etag;
use super::body::Body;
use super::idempotency;
use super::path::Path;
use super::prefer;
use super::problem::Problem;
use crate::freezes::{FreezeBody, FreezeError};
use crate::once;
use crate::router::App;
use crate::tokens::Credential;

/// `POST /v1/freezes`
pub async fn add(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
    Body(body): Body<FreezeBody>,
) -> Result<Response, Problem> {
    let once = idempotency::once(&headers, &caller, "freezes", &body)?;
    let once = once.as_ref();
    let act = async { Ok(app.freezes.add(&caller, body, once).await?) };
    let freeze: Result<Freeze, Problem> = once::answer(once, &*app.store, act).await;
    Ok((StatusCode::CREATED, Json(freeze?)).into_response())
}

/// `GET /v1/freezes`
pub async fn list(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let known = prefer::if_none_match(&headers)?;
    if known.is_some() && known == Some(app.freezes.version().await?) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let view = app.freezes.view().await?;
    let version: HeaderValue = etag(view.version);
    Ok(([(ETAG, version)], Json(view)).into_response())
}

/// `POST /v1/freezes/{id}/lift`
pub async fn lift(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Freeze>, Problem> {
    let if_version = prefer::if_match(&headers)?;
    let once = idempotency::once(&headers, &caller, &format!("freezes/{id}/lift"), &if_version)?;
    let once = once.as_ref();
    let act = async { Ok(app.freezes.lift(&caller, &id, if_version, once).await?) };
    let freeze: Result<Freeze, Problem> = once::answer(once, &*app.store, act).await;
    Ok(Json(freeze?))
}

impl From<FreezeError> for Problem {
    fn from(error: FreezeError) -> Self {
        let (status, code) = match error {
            FreezeError::Store(error) => return error.into(),
            FreezeError::Scope => (StatusCode::UNPROCESSABLE_ENTITY, "field"),
            FreezeError::ReasonMissing => (StatusCode::UNPROCESSABLE_ENTITY, "reason-missing"),
            FreezeError::TooMany => (StatusCode::CONFLICT, "too-many-freezes"),
            FreezeError::Changed => (StatusCode::PRECONDITION_FAILED, "version-changed"),
            FreezeError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            FreezeError::Text(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, error.to_string())
    }
}
