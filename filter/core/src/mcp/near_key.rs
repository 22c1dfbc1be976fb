//! Step 3: keys that one reader takes for a key of the protocol and another does not.
//!
//! Go's decoder matches keys without case and by Unicode folding, Java compares by upper case, lenient readers strip
//! white space, underscores and hyphens. Such a key beside the real one would let a server run what nobody judged.

use super::malformed::{Malformed, MalformedKind};
use crate::json::{Value, text};

#[cfg(test)]
mod tests;

/// Keys of a JSON-RPC message.
pub(super) const TOP_LEVEL: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// Keys of `params` that change what a method does.
pub(super) const PARAMS: &[&str] = &[
    "_meta",
    "name",
    "arguments",
    "uri",
    "ref",
    "argument",
    "context",
    "cursor",
    "taskId",
    "task",
    "notifications",
    "requestState",
    "inputResponses",
    "requestId",
    "protocolVersion",
    "capabilities",
    "level",
];

/// Keys of `params._meta` that the protocol or Holdpoint reads.
pub(super) const META: &[&str] = &[
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/subscriptionId",
    "io.modelcontextprotocol/related-task",
    "progressToken",
    "traceparent",
    "tracestate",
    "baggage",
    "holdpoint.dev/tags",
    "holdpoint.dev/decision",
];

/// Keys of `params.ref`.
pub(super) const REF: &[&str] = &["type", "name", "uri"];

/// Keys of `params.argument`.
pub(super) const ARGUMENT: &[&str] = &["name", "value"];

/// Keys of `params.notifications`.
pub(super) const NOTIFICATIONS: &[&str] = &["resourceSubscriptions", "taskIds"];

/// Refuses `object` if one of its own keys is nearly, but not exactly, one of `protocol_keys`.
pub(super) fn refuse(object: Value<'_>, protocol_keys: &[&'static str]) -> Result<(), Malformed> {
    for (key, _) in object.members() {
        if protocol_keys.contains(&key.as_ref()) {
            continue;
        }
        if let Some(meant) = protocol_keys.iter().find(|protocol_key| is_near(&key, protocol_key)) {
            let shown = text::excerpt(&key);
            let detail = format!("key `{shown}` could be taken for `{meant}`; spell it `{meant}` or leave it out");
            return Err(Malformed::new(MalformedKind::NearKey, detail));
        }
    }
    Ok(())
}

/// Whether the most lenient reader takes one for the other.
fn is_near(key: &str, protocol_key: &str) -> bool {
    // Nearly all keys are ASCII, and every entry of a long list has some: for them bytes will do.
    match key.is_ascii() {
        true => folded_ascii(key).eq(folded_ascii(protocol_key)),
        false => folded(key).eq(folded(protocol_key)),
    }
}

/// As [`folded`], of a key that is ASCII.
fn folded_ascii(key: &str) -> impl Iterator<Item = u8> {
    let seen = key.bytes().filter(|byte| !(matches!(byte, b' ' | b'_' | b'-') || byte.is_ascii_control()));
    seen.map(|byte| byte.to_ascii_lowercase())
}

/// The key as the most lenient reader sees it.
fn folded(key: &str) -> impl Iterator<Item = char> {
    let seen = key.chars().filter(|character| {
        let unseen = character.is_whitespace() || character.is_control() || is_invisible(*character);
        !(unseen || matches!(character, '_' | '-'))
    });
    seen.flat_map(char::to_lowercase).filter_map(|character| match character {
        // The two letters beyond ASCII that fold to ASCII, and the two that Java's comparison by upper case reaches.
        '\u{17f}' => Some('s'),
        '\u{212a}' => Some('k'),
        '\u{131}' => Some('i'),
        // What lower-casing U+0130 leaves behind its `i`.
        '\u{307}' => None,
        other => Some(other),
    })
}

/// Characters that are written and not seen: soft hyphen, zero-width and direction marks, variation selectors.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
