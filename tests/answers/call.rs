//! The stack of this suite, and messages of the eras that it speaks.

use std::time::Duration;

use bytes::Bytes;
use holdpoint_tests::client::HttpCall;
use holdpoint_tests::stack::{Stack, StackBuilder};
use holdpoint_tests::upstream::Answer;

/// Two workers under the quickstart's policy.
pub(crate) fn stack() -> StackBuilder {
    Stack::builder().workers(2)
}

/// The server answers every message with this JSON text.
pub(crate) fn answers_json(stack: &Stack, body: impl Into<String>) {
    let body = body.into();
    stack.upstream.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: body.clone() }));
}

/// The server answers every message with this stream.
pub(crate) fn answers_stream(stack: &Stack, stream: impl Into<String>) {
    let stream = stream.into();
    stack.upstream.answer_with(move |_| {
        let events = vec![(Duration::ZERO, stream.clone())];
        (Duration::ZERO, Answer::Sse { events })
    });
}

/// The server answers with exactly these headers and this body.
pub(crate) fn answers_http(stack: &Stack, headers: &[(&'static str, &str)], body: impl Into<Bytes>) {
    let body = body.into();
    let headers: Vec<(&'static str, String)> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    stack
        .upstream
        .answer_with(move |_| (Duration::ZERO, Answer::Http { headers: headers.clone(), body: body.clone() }));
}

/// A request of 2025-11-25 with id 1.
pub(crate) fn ask(method: &str, token: &str) -> HttpCall {
    HttpCall::post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#))
        .header("mcp-protocol-version", "2025-11-25")
        .bearer(token)
}

/// The same of 2026-07-28.
pub(crate) fn ask_modern(method: &str, token: &str) -> HttpCall {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"harness","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
    HttpCall::post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"_meta":{meta}}}}}"#))
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .bearer(token)
}
