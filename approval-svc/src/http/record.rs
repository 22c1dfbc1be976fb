//! Step 12 over HTTP: the record searched by what its entries say, and all of one call.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use holdpoint_core::audit::{EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use holdpoint_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::audit::NumberedEntry;
use super::list;
use super::path::Path;
use super::problem::Problem;
use crate::router::App;
use crate::store::StoreError;
use crate::store::row::Place;
use crate::tokens::Credential;
use crate::trail::call::Standing;
use crate::trail::clue::{Clue, Field};
use crate::trail::{Numbered, Sought, VALUE_CHARS_MAX};

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 200;
/// What cursors of this list are for.
const LIST: &str = "record";

/// What entries must say. Names are exact.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordQuery {
    since_ms: Option<u64>,
    until_ms: Option<u64>,
    kind: Option<EntryKind>,
    verdict: Option<Verdict>,
    outcome: Option<Outcome>,
    who: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    rule: Option<String>,
    trace: Option<String>,
    approval: Option<String>,
    call: Option<Digest>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Entries that were found, the latest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RecordPage {
    pub entries: Vec<NumberedEntry>,
    /// Send it as `cursor` to go on; absent where there is nothing further. A page may be short, or even empty, and have
    /// one: a search looks at a bounded number of entries at a time. Its form may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// So many of the newest entries could not be searched yet.
    pub unsearched: u64,
}

/// All that the record says of one call, in the order of what happened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CallView {
    pub standing: Standing,
    pub entries: Vec<NumberedEntry>,
    /// There are more entries than are shown.
    pub is_cut: bool,
    /// Gaps in what the same gateways reported at about that time.
    pub gaps: Vec<NumberedEntry>,
}

/// `GET /v1/record`
pub async fn search(
    State(app): State<App>,
    Extension(reader): Extension<Credential>,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Json<RecordPage>, Problem> {
    let query = list::read(query)?;
    let mut clues = Vec::new();
    let mut add = |field: Field, value: Option<String>| clues.extend(value.map(|value| Clue::new(field, value)));
    for (field, name, value) in [
        (Field::Who, "who", query.who),
        (Field::Server, "server", query.server),
        (Field::Tool, "tool", query.tool),
        (Field::Rule, "rule", query.rule),
        (Field::Trace, "trace", query.trace),
        (Field::Approval, "approval", query.approval),
    ] {
        if value.as_ref().is_some_and(|value| value.chars().count() > VALUE_CHARS_MAX) {
            return Err(malformed(format!("`{name}` is longer than {VALUE_CHARS_MAX} characters")));
        }
        add(field, value);
    }
    add(Field::Kind, query.kind.map(|kind| kind.as_str().to_owned()));
    add(Field::Verdict, query.verdict.map(|verdict| verdict.as_str().to_owned()));
    add(Field::Outcome, query.outcome.map(|outcome| outcome.as_str().to_owned()));
    add(Field::CallDigest, query.call.map(|call| call.to_string()));
    let sought = Sought {
        clues,
        since_ms: query.since_ms,
        until_ms: query.until_ms,
        before: query.cursor.as_deref().map(read_cursor).transpose()?,
        rows_max: query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX),
    };
    let found = app.trail.search(sought, &reader).await?;
    Ok(Json(RecordPage {
        entries: numbered(found.entries)?,
        next_cursor: found.next.map(cursor),
        unsearched: found.unsearched,
    }))
}

/// `GET /v1/record/{seq}/call`
pub async fn call(
    State(app): State<App>,
    Extension(reader): Extension<Credential>,
    Path(seq): Path<String>,
) -> Result<Json<CallView>, Problem> {
    let missing = || Problem::not_found("there is no such entry".to_owned());
    let seq: u64 = seq.parse().map_err(|_| missing())?;
    let first = app.trail.entry(seq, &reader).await?.ok_or_else(missing)?;
    let trail = app.trail.call(first, &reader).await?;
    Ok(Json(CallView {
        standing: trail.standing,
        entries: numbered(trail.entries)?,
        is_cut: trail.is_cut,
        gaps: numbered(trail.gaps)?,
    }))
}

fn numbered(entries: Vec<Numbered>) -> Result<Vec<NumberedEntry>, StoreError> {
    let value = |one: Numbered| match serde_json::to_value(&one.entry) {
        Ok(entry) => Ok(NumberedEntry { seq: one.seq, entry }),
        Err(error) => Err(StoreError::Corrupt { what: "an audit entry", problem: error.to_string() }),
    };
    entries.into_iter().map(value).collect::<Result<Vec<NumberedEntry>, _>>()
}

/// Before which place the next page begins.
pub(super) fn cursor(place: Place) -> String {
    list::cursor(LIST, &format!("{} {}", place.at_ms, place.seq))
}

pub(super) fn read_cursor(cursor: &str) -> Result<Place, Problem> {
    let key = list::read_cursor(LIST, cursor)?;
    let place =
        key.split_once(' ').and_then(|(at_ms, seq)| Some(Place { at_ms: at_ms.parse().ok()?, seq: seq.parse().ok()? }));
    place.ok_or_else(|| malformed("`cursor` is none that this list gave: begin without one".to_owned()))
}

fn malformed(why: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-query", why)
}
