//! Step 3: an array of messages, which 2025-03-26 alone has. Each is read as if it had come by itself.

use super::era::Era;
use super::head::Head;
use super::malformed::{Malformed, MalformedKind};
use super::message::{self, McpMessage, MessageKind};
use super::method::Method;
use crate::json::{self, Document, Kind, Value};

/// Most messages of one batch.
pub const BATCH_MESSAGES_MAX: usize = 32;

/// Reads the elements of `root`, an array, as messages of one batch: requests and notifications, or responses, never both.
pub(super) fn read(head: &Head<'_>, root: Value<'_>, limits: &json::Limits) -> Result<Vec<McpMessage>, Malformed> {
    let version = head.routing()?.version;
    if version.is_some_and(|version| version != Era::V2025_03_26.as_str()) {
        return Err(refused("this protocol version has no batches; send each message by itself"));
    }
    if !(1..=BATCH_MESSAGES_MAX).contains(&root.len()) {
        return Err(refused(format!("a batch has 1 to {BATCH_MESSAGES_MAX} messages")));
    }
    let mut messages: Vec<McpMessage> = Vec::with_capacity(root.len());
    for (index, element) in root.elements().enumerate() {
        let message = one(head, element, limits).map_err(|error| {
            let place = index.saturating_add(1);
            // Nobody can be sure which request an answer under this id would be for.
            Malformed {
                id: None,
                detail: format!("message {place} of the batch: {}", error.detail),
                status: 400,
                ..error
            }
        })?;
        let repeats =
            |earlier: &McpMessage| message.id().is_some_and(|id| earlier.id().is_some_and(|other| same_id(id, other)));
        if messages.iter().any(repeats) {
            return Err(refused("two messages of the batch have the same `id`"));
        }
        messages.push(message);
    }
    let responses = messages.iter().filter(|message| message.kind() == MessageKind::Response).count();
    if responses != 0 && responses != messages.len() {
        return Err(refused("a batch holds requests and notifications, or responses, not both"));
    }
    Ok(messages)
}

fn one(head: &Head<'_>, element: Value<'_>, limits: &json::Limits) -> Result<McpMessage, Malformed> {
    if element.kind() != Kind::Object {
        return Err(refused("a message is an object"));
    }
    let document =
        Document::read(element.raw().as_bytes().to_vec(), limits).map_err(|error| Malformed::json(&error))?;
    let message = message::read(head, document)?;
    if *message.method() == Method::Initialize {
        return Err(refused("`initialize` is never part of a batch"));
    }
    if message.era() != Era::V2025_03_26 {
        return Err(refused("only messages of 2025-03-26 come in batches; send it by itself"));
    }
    Ok(message)
}

/// Ids are strings, or integers with one spelling each.
fn same_id(one: Value<'_>, other: Value<'_>) -> bool {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.raw() == other.raw(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn refused(detail: impl Into<String>) -> Malformed {
    Malformed::new(MalformedKind::Batch, detail)
}
