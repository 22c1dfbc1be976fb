//! The headers of a poll and of a change: `Prefer: wait=N` (RFC 7240), `If-None-Match` and `If-Match`, with a version or with
//! the digest of what was shown.

use std::time::Duration;

use axum::Json;
use axum::http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use holdpoint_core::digest::{Digest, hex_encode};
use serde::Serialize;

use super::problem::Problem;
use crate::approvals::wait::WAIT_MAX;

/// By which a caller says that it waits.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long the caller is ready to wait; zero when it does not say. More than the longest wait is cut to it.
pub fn wait(headers: &HeaderMap) -> Result<Duration, Problem> {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut waits = preferences.flat_map(|value| value.split(',')).filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>())
    });
    match waits.next() {
        None => Ok(Duration::ZERO),
        Some(Ok(seconds)) => Ok(Duration::from_secs(seconds).min(WAIT_MAX)),
        Some(Err(_)) => Err(bad("`Prefer: wait=` takes whole seconds, at most 60")),
    }
}

/// The version that the caller has.
pub fn if_none_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    version(headers, IF_NONE_MATCH, "`If-None-Match` takes one version in quotes, such as \"3\"")
}

/// The version that the caller acts on.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    version(headers, IF_MATCH, "`If-Match` takes one version in quotes, such as \"3\"")
}

/// What has no version of its own is named by a digest of how it is shown, in quotes.
pub fn tag_of(shown: &impl Serialize) -> String {
    let text = serde_json::to_string(shown).unwrap_or_default();
    let digest = Digest::of(text.as_bytes());
    format!("\"{}\"", hex_encode(digest.as_bytes().get(..8).unwrap_or_default()))
}

/// Shows it under its tag, or says that it is still what the caller has.
pub fn tagged(headers: &HeaderMap, shown: &impl Serialize) -> Response {
    let tag = tag_of(shown);
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"0\""));
    match is_known {
        true => (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response(),
        false => ([(ETAG, tag)], Json(shown)).into_response(),
    }
}

/// The tag that the caller acts on.
pub fn if_match_tag(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let tag =
        value.to_str().ok().map(str::trim).filter(|tag| tag.len() > 1 && tag.starts_with('"') && tag.ends_with('"'));
    tag.map(Some).ok_or_else(|| bad("`If-Match` takes one `ETag`, as it was given"))
}

/// Nothing, if it is still what the caller saw, or the caller does not say.
pub fn unchanged(headers: &HeaderMap, shown: &impl Serialize) -> Result<(), Problem> {
    match if_match_tag(headers)? {
        Some(seen) if seen != tag_of(shown) => Err(changed()),
        Some(_) | None => Ok(()),
    }
}

fn changed() -> Problem {
    let detail = "it has changed since you looked: look at it again".to_owned();
    Problem::new(StatusCode::PRECONDITION_FAILED, "version-changed", detail)
}

fn version(headers: &HeaderMap, name: HeaderName, sentence: &str) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    version.map(Some).ok_or_else(|| bad(sentence))
}

fn bad(sentence: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-header", sentence.to_owned())
}
