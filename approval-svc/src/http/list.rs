//! Lists in pages: how many at once, and where the next page begins, in words that mean nothing to anybody else.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::problem::Problem;

/// Rows of one page of what is kept in memory anyway, unless less is asked for.
const ROWS_DEFAULT: u32 = 100;
const ROWS_MAX: u32 = 500;

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

/// What the query says, or why it cannot be read.
pub fn read<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "malformed-query", error.body_text())),
    }
}

/// The cursor of the page of `list` that goes on behind `key`.
pub fn cursor(list: &str, key: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{list} {key}"))
}

/// Behind which key a page of `list` goes on.
pub fn read_cursor(list: &str, cursor: &str) -> Result<String, Problem> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = text.and_then(|text| text.strip_prefix(list)?.strip_prefix(' ').map(str::to_owned));
    key.ok_or_else(|| {
        let detail = "`cursor` is none that this list gave: begin without one".to_owned();
        Problem::new(StatusCode::BAD_REQUEST, "malformed-query", detail)
    })
}

/// The page of `rows`, which stand in the order of their keys, and the cursor of the next one.
pub fn page<T>(
    list: &str,
    rows: Vec<T>,
    key: impl Fn(&T) -> &str,
    query: &PageQuery,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let behind = query.cursor.as_deref().map(|text| read_cursor(list, text)).transpose()?;
    let rest = rows.into_iter().filter(|row| behind.as_deref().is_none_or(|behind| key(row) > behind));
    let limit = query.limit.unwrap_or(ROWS_DEFAULT).clamp(1, ROWS_MAX);
    Ok(cut(list, rest.collect(), key, limit))
}

/// The first `limit` of `rows`, and the cursor of the next page if there are more.
pub fn cut<T>(list: &str, mut rows: Vec<T>, key: impl Fn(&T) -> &str, limit: u32) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| cursor(list, key(last)));
    (rows, next)
}
