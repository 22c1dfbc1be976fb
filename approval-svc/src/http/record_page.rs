//! Step 12 in a browser: the record, searched by a form whose address can be kept, and one call from request to outcome.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use holdpoint_core::audit::{EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use jiff::Timestamp;
use serde::Deserialize;

use super::pages::{Page, frame, html, malformed};
use super::path::Path;
use super::problem::Problem;
use super::record::{cursor, read_cursor};
use crate::router::App;
use crate::sessions::Session;
use crate::store::read_word;
use crate::trail::call::CallTrail;
use crate::trail::clue::{Clue, Field};
use crate::trail::{Sought, VALUE_CHARS_MAX};
use crate::web::record::{Asked, RecordPage};
use crate::web::timeline::TimelinePage;

/// Entries on one page.
const ROWS_MAX: u32 = 50;

/// What the form sends. A field that was left empty narrows nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RecordQuery {
    what: String,
    who: String,
    server: String,
    tool: String,
    rule: String,
    since: String,
    until: String,
    trace: String,
    approval: String,
    call: String,
    before: String,
}

/// `GET /record`
pub async fn search(
    State(app): State<App>,
    session: Session,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Page {
    let Query(query) = query.map_err(malformed)?;
    let word = |text: &str| text.trim().chars().take(VALUE_CHARS_MAX).collect::<String>();
    let asked = Asked {
        what: word(&query.what),
        who: word(&query.who),
        server: word(&query.server),
        tool: word(&query.tool),
        rule: word(&query.rule),
        since: word(&query.since),
        until: word(&query.until),
        trace: word(&query.trace),
        approval: word(&query.approval),
        call: word(&query.call),
    };
    let mut clues: Vec<Clue> = what(&asked.what)?.into_iter().collect();
    for (field, value) in [
        (Field::Who, &asked.who),
        (Field::Server, &asked.server),
        (Field::Tool, &asked.tool),
        (Field::Rule, &asked.rule),
        (Field::Trace, &asked.trace),
        (Field::Approval, &asked.approval),
        (Field::CallDigest, &asked.call),
    ] {
        clues.extend((!value.is_empty()).then(|| Clue::new(field, value.as_str())));
    }
    let before = Some(query.before.as_str()).filter(|before| !before.is_empty());
    let sought = Sought {
        clues,
        since_ms: time(&asked.since)?,
        until_ms: time(&asked.until)?,
        before: before.map(read_cursor).transpose()?,
        rows_max: ROWS_MAX,
    };
    let found = app.trail.search(sought, &session.person).await?;
    let older = found.next.map(|place| address(&asked, &cursor(place)));
    let now_ms = app.store.now_ms().await?;
    let page = RecordPage::new(frame(&session, now_ms, "record"), asked, &found, older);
    Ok(html(StatusCode::OK, &page))
}

/// What happened, as the form names it: `verdict:deny`.
fn what(text: &str) -> Result<Option<Clue>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = text.split_once(':').and_then(|(name, word)| match name {
        "kind" => read_word::<EntryKind>(word).map(|kind| Clue::new(Field::Kind, kind.as_str())),
        "verdict" => read_word::<Verdict>(word).map(|verdict| Clue::new(Field::Verdict, verdict.as_str())),
        "outcome" => read_word::<Outcome>(word).map(|outcome| Clue::new(Field::Outcome, outcome.as_str())),
        _ => None,
    });
    read.map(Some).ok_or_else(|| malformed("`what` is nothing that happens"))
}

/// A time as browsers write it, in UTC: `2026-11-26T03:50`, with or without seconds; or a date.
fn time(text: &str) -> Result<Option<u64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let ways = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    let at = ways.iter().find_map(|way| way.parse::<Timestamp>().ok());
    let at_ms = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    at_ms.map(Some).ok_or_else(|| malformed("a time is written `2026-11-26T03:50`, in UTC"))
}

/// The address of the page that begins before this place.
fn address(asked: &Asked, before: &str) -> String {
    let pairs = asked.pairs().into_iter().chain([("before", before)]).filter(|(_, value)| !value.is_empty());
    // Only the part behind the host is kept.
    let Ok(mut url) = reqwest::Url::parse("http://here/record") else { return "/record".to_owned() };
    url.query_pairs_mut().extend_pairs(pairs);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// `GET /record/{seq}`: the call that an entry is about, whole.
pub async fn show(State(app): State<App>, session: Session, Path(seq): Path<String>) -> Page {
    let missing = || Problem::not_found(format!("there is no entry `{seq}`"));
    let number: u64 = seq.parse().map_err(|_| missing())?;
    let first = app.trail.entry(number, &session.person).await?.ok_or_else(missing)?;
    let trail = app.trail.call(first, &session.person).await?;
    timeline(&app, &session, trail).await
}

/// `GET /approvals/{id}/timeline`
pub async fn of_approval(State(app): State<App>, session: Session, Path(id): Path<String>) -> Page {
    let trail = app.trail.approval(&id, &session.person).await?;
    let trail = trail.ok_or_else(|| Problem::not_found(format!("no entry is about an approval `{id}`")))?;
    timeline(&app, &session, trail).await
}

async fn timeline(app: &App, session: &Session, trail: CallTrail) -> Page {
    let now_ms = app.store.now_ms().await?;
    Ok(html(StatusCode::OK, &TimelinePage::new(frame(session, now_ms, "record"), &trail)))
}
