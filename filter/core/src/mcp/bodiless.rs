//! Step 3: a GET or a DELETE: the stream and the end of a session, in the eras that have sessions.

use super::era::Era;
use super::head::Head;
use super::malformed::{Malformed, MalformedKind};
use super::message::{self, McpMessage};
use super::method::Method;

/// What a client of the oldest transport is told: its stream would carry answers to posts that went another way.
const HTTP_WITH_SSE: &str = "the HTTP+SSE transport of 2024-11-05 is not governed here: speak Streamable HTTP by POST, or \
                             ask the operator for a route that says `passthrough`";

/// Reads a request whose HTTP method says it all. A session is named by every GET and DELETE that a gateway may let pass:
/// without one, nobody could say whose stream it is.
pub(super) fn read(head: &Head<'_>) -> Result<McpMessage, Malformed> {
    head.refuse_overrides()?;
    let refused = |detail: &str| Err(Malformed::new(MalformedKind::HttpMethod, detail));
    match head.method {
        b"GET" => {
            if !head.accepts_events() {
                return refused("a GET on this route opens an event stream: accept `text/event-stream`, or POST");
            }
            let names_version = head.routing()?.version.is_some();
            let resumes = head.last_event_id()?.is_some();
            let message = message::bodiless(head, Method::StreamOpen)?;
            match (message.era(), message.mcp_session_id()) {
                (Era::V2024_11_05, _) => refused(HTTP_WITH_SSE),
                (_, None) if !names_version && !resumes => refused(HTTP_WITH_SSE),
                (Era::V2026_07_28, None) => refused("2026-07-28 has no GET; send the request again by POST"),
                (_, None) if resumes => refused("a stream is resumed with the `mcp-session-id` that it belongs to"),
                (_, None) => refused("a stream is opened with the `mcp-session-id` that it belongs to"),
                // A client that was answered 2026-07-28 to its `initialize` has a session all the same.
                (_, Some(_)) => Ok(message),
            }
        }
        b"DELETE" => {
            let message = message::bodiless(head, Method::SessionEnd)?;
            match (message.era(), message.mcp_session_id()) {
                (Era::V2026_07_28, None) => refused("2026-07-28 has no DELETE: there is no session to end"),
                (_, None) => {
                    let detail = "a DELETE ends the session that its `mcp-session-id` names, and this one names none";
                    Err(Malformed::new(MalformedKind::Envelope, detail))
                }
                (_, Some(_)) => Ok(message),
            }
        }
        _ => refused("this route takes MCP by POST, GET and DELETE"),
    }
}
