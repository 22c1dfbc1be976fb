//! Step 8 in a browser: the history, searched by a form whose address can be kept and sent on.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use holdpoint_core::approval::ApprovalStatus;
use serde::Deserialize;

use super::pages::{Page, frame, html, malformed};
use crate::approvals::view::may_read_arguments;
use crate::router::App;
use crate::sessions::Session;
use crate::store::read_word;
use crate::store::row::{HistoryFilter, Judge, Readable};
use crate::tokens::Role;
use crate::web::history::{Asked, HistoryPage};

/// Approvals on one page.
const ROWS_MAX: u32 = 50;
/// Longest word that is looked for.
const WORD_CHARS_MAX: usize = 1_000;

/// What the form sends. A field that was left empty narrows nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryQuery {
    status: String,
    server: String,
    tool: String,
    who: String,
    text: String,
    before: String,
}

/// `GET /history`
pub async fn search(
    State(app): State<App>,
    session: Session,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Page {
    let Query(query) = query.map_err(malformed)?;
    let status = match query.status.as_str() {
        "" => None,
        word => Some(read_word::<ApprovalStatus>(word).ok_or_else(|| malformed("`status` is no status"))?),
    };
    let word = |text: &str| text.trim().chars().take(WORD_CHARS_MAX).collect::<String>();
    let asked = Asked {
        status,
        server: word(&query.server),
        tool: word(&query.tool),
        who: word(&query.who),
        text: word(&query.text),
    };
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let reader = session.person.clone();
    let readable = match reader.role {
        Role::Auditor | Role::BreakGlass => Readable::All,
        Role::Admin | Role::Enforcer => Readable::Nothing,
        Role::Approver => Readable::Judged(Judge(Arc::new(move |approval| may_read_arguments(approval, &reader)))),
    };
    let found = app
        .store
        .history(HistoryFilter {
            status,
            server: some(&asked.server),
            tenant: session.person.tenant.clone(),
            target: some(&asked.tool),
            who: some(&asked.who),
            text: some(&asked.text),
            // Who may not see arguments must not find by them, nor learn from the pages whether others would.
            readable,
            before_id: some(&query.before),
            rows_max: ROWS_MAX,
            ..HistoryFilter::default()
        })
        .await?;
    let older = found.next_before_id.as_deref().map(|before| address(&asked, before));
    let now_ms = app.store.now_ms().await?;
    let page = HistoryPage::new(frame(&session, now_ms, "history"), asked, &found.rows, older);
    Ok(html(StatusCode::OK, &page))
}

/// The address of the page that begins before this id.
fn address(asked: &Asked, before: &str) -> String {
    let pairs = [
        ("status", asked.status.map_or("", ApprovalStatus::as_str)),
        ("server", &asked.server),
        ("tool", &asked.tool),
        ("who", &asked.who),
        ("text", &asked.text),
        ("before", before),
    ];
    // Only the part behind the host is kept.
    let Ok(mut url) = reqwest::Url::parse("http://here/history") else { return "/history".to_owned() };
    url.query_pairs_mut().extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}
