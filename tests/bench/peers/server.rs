//! The MCP server behind all peers: speaks the protocol as far as a gateway asks for it, and costs nothing.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::ALLOWED_TOOL;
use crate::calls::DENIED_TOOL;
use crate::served::Answered;

/// What every tool says.
pub(super) const DONE: &str = "done";

/// Answers one message; of a stream that a gateway opens there is none.
pub(super) async fn answer(message: Request<Incoming>) -> Answered {
    let body = message.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match asked["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tracker", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": [tool(ALLOWED_TOOL), tool(DENIED_TOOL)]}),
        Some("tools/call") => json!({"content": [{"type": "text", "text": DONE}], "isError": false}),
        Some("ping") => json!({}),
        Some(_) => return bare(StatusCode::ACCEPTED),
        None => return bare(StatusCode::METHOD_NOT_ALLOWED),
    };
    let text = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string();
    let mut answered = Response::new(Full::from(text).boxed());
    answered.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answered
}

fn tool(name: &str) -> Value {
    let project = json!({"type": "string", "description": "The short name of the project"});
    let schema = json!({"type": "object", "properties": {"project": project}, "required": ["project"]});
    json!({"name": name, "description": "Works on one project", "inputSchema": schema})
}

fn bare(status: StatusCode) -> Answered {
    let mut answered = Response::new(Full::from(Bytes::new()).boxed());
    *answered.status_mut() = status;
    answered
}
