//! `Idempotency-Key`: whatever people make or change, sent again with the same key and body, is done once.

use axum::http::{HeaderMap, HeaderName, StatusCode};
use holdpoint_core::digest::Digest;
use serde::Serialize;
use serde_json::json;

use super::problem::Problem;
use crate::once::{Once, OnceError};
use crate::tokens::Credential;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_BYTES_MAX: usize = 200;
const KEY_TAG: &str = "holdpoint/idempotency/v2";
const ASKED_TAG: &str = "holdpoint/asked/v1";

/// The key that `caller` sent on `path` with what is `asked`; `None` without one.
pub fn once(
    headers: &HeaderMap,
    caller: &Credential,
    path: &str,
    asked: &impl Serialize,
) -> Result<Option<Once>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let Some(key) = key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic())) else {
        let detail = "`Idempotency-Key` takes 1 to 200 printable characters without blanks".to_owned();
        return Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", detail));
    };
    let whose = json!([caller.role.as_str(), caller.issuer, caller.subject, caller.tenant, path, key]).to_string();
    let asked = serde_json::to_string(asked)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    let id = Digest::tagged(KEY_TAG, whose.as_bytes()).to_string();
    Ok(Some(Once::new(id, Digest::tagged(ASKED_TAG, asked.as_bytes()))))
}

impl From<OnceError> for Problem {
    fn from(error: OnceError) -> Self {
        match error {
            OnceError::OtherAsked => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key", error.to_string()),
            OnceError::Store(error) => error.into(),
        }
    }
}
