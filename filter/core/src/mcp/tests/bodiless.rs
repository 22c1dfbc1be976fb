//! GET and DELETE: a session's stream and its end.

use super::*;

const SSE: (&str, &str) = ("accept", "text/event-stream");

fn read_by(method: &[u8], headers: Headers<'_>) -> Result<McpMessage, Malformed> {
    read_bodiless(&Head { method, path: b"/mcp", headers: &pairs(headers) }, false)
}

fn check_refused_by(method: &[u8], headers: Headers<'_>, status: u16, expected: &str) {
    let error = read_by(method, headers).expect_err(expected);
    assert!(error.status == status && error.detail.contains(expected), "{headers:?}: {error}");
}

#[test]
fn stream_of_a_session_is_opened_and_resumed() {
    for more in [
        &[("mcp-protocol-version", "2025-11-25")][..],
        &[("last-event-id", "7_abc")],
        &[("mcp-protocol-version", "2025-03-26"), ("last-event-id", "7")],
        // What clients of 2026-07-28 do that were given a session: the version, and a stale name of a method.
        &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")],
        &[],
    ] {
        let headers: Vec<_> = [SSE, ("mcp-session-id", "s-1")].iter().chain(more).copied().collect();
        let message = read_by(b"GET", &headers).unwrap_or_else(|error| panic!("{headers:?}: {error}"));
        assert_eq!((message.kind(), message.method()), (MessageKind::Bodiless, &Method::StreamOpen));
        assert_eq!((message.mcp_session_id(), message.id_raw()), (Some("s-1"), None));
        assert_eq!(message.method().class(), MethodClass::Lifecycle);
    }
    let browser = ("accept", "*/*, application/json, Text/Event-Stream;q=0.5");
    assert!(read_by(b"GET", &[browser, ("mcp-session-id", "s-1")]).is_ok());
}

#[test]
fn session_is_ended_by_its_name() {
    let message = read_by(b"DELETE", &[("mcp-session-id", "s-1"), ("mcp-protocol-version", "2025-06-18")]).unwrap();
    assert_eq!((message.method(), message.era()), (&Method::SessionEnd, Era::V2025_06_18));
    check_refused_by(b"DELETE", &[], 400, "names none");
    check_refused_by(b"DELETE", &[("mcp-protocol-version", "2026-07-28")], 405, "2026-07-28 has no DELETE");
}

#[test]
fn the_oldest_transport_is_told_what_to_speak() {
    check_refused_by(b"GET", &[SSE], 405, "HTTP+SSE transport of 2024-11-05 is not governed");
    check_refused_by(b"GET", &[SSE, ("mcp-protocol-version", "2024-11-05")], 405, "Streamable HTTP by POST");
}

#[test]
fn stream_that_nobody_could_tell_whose_it_is_is_refused() {
    check_refused_by(b"GET", &[SSE, ("mcp-protocol-version", "2025-11-25")], 405, "`mcp-session-id`");
    check_refused_by(b"GET", &[SSE, ("last-event-id", "7")], 405, "resumed with the `mcp-session-id`");
    check_refused_by(b"GET", &[SSE, ("mcp-protocol-version", "2026-07-28")], 405, "2026-07-28 has no GET");
    check_refused_by(b"GET", &[("accept", "text/html"), ("mcp-session-id", "s")], 405, "accept `text/event-stream`");
    check_refused_by(b"GET", &[SSE, ("mcp-session-id", "a"), ("mcp-session-id", "b")], 400, "more than once");
    check_refused_by(b"GET", &[SSE, ("mcp-session-id", "a"), ("last-event-id", "")], 400, "last-event-id");
    check_refused_by(b"GET", &[SSE, ("mcp-session-id", "a"), ("mcp-protocol-version", "1")], 400, "not known");
    check_refused_by(b"PUT", &[], 405, "POST, GET and DELETE");
    let headers = pairs(&[SSE, ("mcp-session-id", "a")]);
    assert!(read_bodiless(&Head { method: b"GET", path: b"/mcp", headers: &headers }, true).is_err());
}
