//! `Idempotency-Key`: what is sent again with the same key and body is done once, however often and after whatever crash.
//!
//! The key names the row: of one person's key and path, always the same id. So the database itself keeps a second row out,
//! and what is there already is the answer. Opening is idempotent by its `hold_id`, a review by its author, a batch of
//! entries by its counters.

use axum::http::{HeaderMap, HeaderName, StatusCode};
use holdpoint_core::digest::{Digest, hex_encode};
use serde_json::json;

use super::problem::Problem;
use crate::tokens::Credential;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_BYTES_MAX: usize = 200;
const TAG: &str = "holdpoint/idempotency/v1";

/// The id of what `caller` makes on `path` under the key that was sent; `None` without one.
pub fn id(headers: &HeaderMap, caller: &Credential, path: &str) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let Some(key) = key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic())) else {
        let detail = "`Idempotency-Key` takes 1 to 200 printable characters without blanks".to_owned();
        return Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", detail));
    };
    let whose = json!([caller.role.as_str(), caller.issuer, caller.subject, caller.tenant, path, key]).to_string();
    let digest = Digest::tagged(TAG, whose.as_bytes());
    Ok(Some(hex_encode(digest.as_bytes().get(..16).unwrap_or_default())))
}
