//! Step 8: requests of gateways as spans of the trace that they say they belong to.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use holdpoint_core::digest::{Digest, hex_encode};
use holdpoint_core::trace_parent::TraceParent;
use serde_json::json;

use crate::otlp::Origin;
use crate::otlp::requests::RequestSpans;
use crate::otlp::spans::{Span, SpanKind};
use crate::router::App;

/// Around every route where a collector is told. Costs nothing where a request names no trace.
pub async fn trace(State((app, spans)): State<(App, RequestSpans)>, request: Request, next: Next) -> Response {
    let parent = request.headers().get("traceparent").and_then(|value| TraceParent::parse(value.to_str().ok()?));
    let (Some(parent), Ok(start_ms)) = (parent, app.store.now_ms().await) else { return next.run(request).await };
    // The route and not the path: ids in names would be as many as there are requests.
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let method = request.method().to_string();
    let response = next.run(request).await;
    let end_ms = app.store.now_ms().await.unwrap_or(start_ms);
    let status = response.status();
    let text = |name: &str, value: &str| json!({ "key": name, "value": { "stringValue": value } });
    let number = json!({ "key": "http.response.status_code", "value": { "intValue": status.as_u16().to_string() } });
    spans.push(Span {
        origin: Origin::Service,
        span_id: fresh_id(),
        trace_id: parent.trace_id,
        parent_span_id: Some(parent.span_id),
        name: format!("{method} {route}"),
        kind: SpanKind::Server,
        start_ms,
        end_ms,
        attributes: vec![text("http.request.method", &method), text("http.route", &route), number],
        events: Vec::new(),
        error: status.is_server_error().then(|| status.to_string()),
    });
    response
}

/// An id that no other request has.
fn fresh_id() -> String {
    let digest = Digest::of(uuid::Uuid::now_v7().as_bytes());
    hex_encode(digest.as_bytes().split_at(8).0)
}
