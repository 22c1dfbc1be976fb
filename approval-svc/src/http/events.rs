//! Steps 8 and 12 over HTTP: what happens to approvals, live, as server-sent events that can be resumed.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use holdpoint_core::audit::AuditEntry;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

use super::problem::Problem;
use crate::ledger::{Event, News};
use crate::router::App;
use crate::tokens::{Credential, Proof};

const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Entries read back for a listener that comes again; whoever missed more reloads.
const RESUME_ENTRIES_MAX: u32 = 1_000;

/// `GET /v1/events`
pub async fn stream(
    State(app): State<App>,
    Extension(caller): Extension<Credential>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    follow(&app, caller, &headers).await
}

/// The same for whoever has proven to be `reader`, for as long as that proof holds.
pub async fn follow(app: &App, reader: Credential, headers: &HeaderMap) -> Result<Response, Problem> {
    let end = Box::pin(ended(app.clone(), reader.proof.clone()));
    // Listen first and read back afterwards: then nothing falls between; what comes twice is dropped below.
    let live = BroadcastStream::new(app.ledger.listen());
    let last_seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let (missed, more) = match last_seen {
        Some(seq) => missed(app, seq, &reader).await?,
        None => (Vec::new(), false),
    };
    let replayed_to = missed.last().map(|event| event.seq).or(last_seen);
    let live = live.filter_map(move |event| {
        std::future::ready(match event {
            Ok(News::Event(event)) if replayed_to.is_some_and(|seq| event.seq <= seq) => None,
            Ok(News::Event(event)) if !reader.sees_tenant(event.tenant.as_deref()) => None,
            Ok(News::Event(event)) => Some(sse_of(&event)),
            // Not told, or too slow to read: what was missed can only be loaded anew.
            Ok(News::Missed) | Err(BroadcastStreamRecvError::Lagged(_)) => Some(reload()),
        })
    });
    // Missing more than can be read back must not look like missing nothing.
    let reload = more.then(reload);
    let replay = stream::iter(missed.iter().map(sse_of).chain(reload).collect::<Vec<_>>());
    let events = until_stopping(app, replay.chain(live)).take_until(end).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    // Proxies that buffer answers would hold events back.
    Ok(([("x-accel-buffering", "no")], Sse::new(events).keep_alive(keep_alive)).into_response())
}

/// Returns when `proof` does not hold any more.
async fn ended(app: App, proof: Proof) {
    if let Err(error) = app.revocations.ended(&*app.store, &proof).await {
        // Who may read cannot be said: then nobody does, and whoever may comes back.
        tracing::warn!(%error, "a stream of events ends, because its reader cannot be checked");
    }
}

async fn missed(app: &App, after: u64, reader: &Credential) -> Result<(Vec<Event>, bool), Problem> {
    let rows = app.store.entries(after.saturating_add(1), RESUME_ENTRIES_MAX).await?;
    let more = rows.len() >= usize::try_from(RESUME_ENTRIES_MAX).unwrap_or(usize::MAX);
    let event_of = |row: crate::store::row::LogEntry| {
        let entry: AuditEntry = serde_json::from_str(&row.body).ok()?;
        Event::of(row.seq, &entry).filter(|event| reader.sees_tenant(event.tenant.as_deref()))
    };
    Ok((rows.into_iter().filter_map(event_of).collect(), more))
}

fn until_stopping<T, S: Stream<Item = T>>(app: &App, events: S) -> impl Stream<Item = T> + use<T, S> {
    let stopping = WatchStream::new(app.approvals.stopping.clone());
    let stop = Box::pin(stopping.filter(|stopping| std::future::ready(*stopping)).into_future());
    events.take_until(stop)
}

fn reload() -> sse::Event {
    sse::Event::default().event("reload").data("{}")
}

fn sse_of(event: &Event) -> sse::Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    sse::Event::default().id(event.seq.to_string()).event("approval").data(data)
}
