//! Step 3: bytes of one POST to one MCP message, or the reason why two readers could take it for two things.

mod era;
mod head;
mod malformed;
mod message;
mod method;
mod near_key;
mod target;

pub use era::Era;
pub use head::Head;
pub use malformed::{Malformed, MalformedKind};
pub use message::{McpMessage, MessageKind};
pub use method::{Method, MethodClass};
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

#[cfg(test)]
mod tests;
