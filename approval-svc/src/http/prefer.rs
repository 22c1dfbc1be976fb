//! The headers of a poll: `Prefer: wait=N` (RFC 7240), `If-None-Match` and `If-Match` with a version.

use std::time::Duration;

use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::approvals::wait::WAIT_MAX;

const PREFER: HeaderName = HeaderName::from_static("prefer");

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

fn version(headers: &HeaderMap, name: HeaderName, sentence: &str) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    version.map(Some).ok_or_else(|| bad(sentence))
}

fn bad(sentence: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-header", sentence.to_owned())
}
