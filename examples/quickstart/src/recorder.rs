//! Keeps the exact bytes of every body that reached the MCP server, and counts tool calls. The witness of step 10.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

/// The largest body that is recorded, in bytes; the server refuses more.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One message as it reached the server.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its headers, as the gateway sent them.
    pub headers: HeaderMap,
    /// The exact bytes of its body.
    pub body: Bytes,
}

impl Recorded {
    /// The tool that it calls, if it is a `tools/call`.
    pub fn tool(&self) -> Option<String> {
        let message: Value = serde_json::from_slice(&self.body).ok()?;
        if message["method"] != "tools/call" {
            return None;
        }
        message["params"]["name"].as_str().map(str::to_owned)
    }
}

/// Everything that was recorded. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    recorded: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    /// Every message with a body, in order of arrival.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.lock().clone()
    }

    /// Every call of `tool`, in order of arrival.
    pub fn calls_of(&self, tool: &str) -> Vec<Recorded> {
        let mut recorded = self.recorded();
        recorded.retain(|message| message.tool().as_deref() == Some(tool));
        recorded
    }

    /// How often each tool was called.
    pub fn call_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for tool in self.recorded().iter().filter_map(Recorded::tool) {
            *counts.entry(tool).or_default() += 1;
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The middleware: reads the body, keeps it, and hands the same bytes on.
pub(crate) async fn record(State(recorder): State<Recorder>, message: Request, next: Next) -> Response {
    let (head, body) = message.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return (StatusCode::BAD_REQUEST, "the body broke off or is too large").into_response();
    };
    if !body.is_empty() {
        recorder.lock().push(Recorded { headers: head.headers.clone(), body: body.clone() });
    }
    next.run(Request::from_parts(head, Body::from(body))).await
}
