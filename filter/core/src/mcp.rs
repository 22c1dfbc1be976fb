//! Step 3: one HTTP request to the MCP messages in it, or the reason why two readers could take it for two things.

pub mod answer;
mod batch;
mod bodiless;
mod era;
mod head;
mod malformed;
mod message;
mod method;
mod near_key;
mod own_round;
mod param_headers;
pub mod sse;
mod target;

pub use batch::BATCH_MESSAGES_MAX;
pub use era::Era;
pub use head::Head;
pub use malformed::{Malformed, MalformedKind};
pub use message::{McpMessage, MessageKind};
pub use method::{Method, MethodClass};
pub use own_round::{OWN_KEY_PREFIX, OwnRound, wrap};
pub use target::{CompletionRef, Target};

use crate::json;

/// Reads the body of one POST as one message. Refuses whatever another reader, of the body or of the headers, could
/// understand differently; what is merely unknown is read, and left to the policy.
///
/// `limits` bounds what is read; the caller has bounded `body` in bytes already.
pub fn read(head: &Head<'_>, body: Vec<u8>, limits: &json::Limits) -> Result<McpMessage, Malformed> {
    head.check()?;
    let document = json::Document::read(body, limits).map_err(|error| Malformed::json(&error))?;
    message::read(head, document)
}

/// What the body of one POST holds.
#[derive(Clone, Debug)]
pub enum Posted {
    One(Box<McpMessage>),
    /// An array of 2025-03-26: 1 to [`BATCH_MESSAGES_MAX`] messages, in their order. Their server gets all or none.
    Batch(Vec<McpMessage>),
}

/// Reads the body of one POST as one message or as one batch; otherwise as [`read`].
pub fn read_posted(head: &Head<'_>, body: Vec<u8>, limits: &json::Limits) -> Result<Posted, Malformed> {
    head.check()?;
    let document = json::Document::read(body, limits).map_err(|error| Malformed::json(&error))?;
    if document.root().kind() == json::Kind::Array {
        return batch::read(head, document.root(), limits).map(Posted::Batch);
    }
    message::read(head, document).map(|message| Posted::One(Box::new(message)))
}

/// Reads a GET or a DELETE, whose head says all there is to say; one `with_body` is refused.
pub fn read_bodiless(head: &Head<'_>, with_body: bool) -> Result<McpMessage, Malformed> {
    if with_body {
        return Err(Malformed::new(MalformedKind::Envelope, "a GET or DELETE of MCP has no body and no trailers"));
    }
    bodiless::read(head)
}

#[cfg(test)]
mod tests;
