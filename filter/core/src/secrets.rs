//! Step 5: whether a text carries a secret: keys and tokens of well-known shape, private keys, passwords in addresses.
//!
//! One pass, bounded, and no guess where a shape is not certain: an unnoticed key of an unknown kind is not worse than
//! before, while false alarms teach people to approve anything. What is found is named by its kind, never shown.

mod assigned;
mod shapes;

#[cfg(test)]
mod tests;

use memchr::memmem;

use crate::json::{Kind, Value};

/// Longer texts are not read to their end: the secret then counts as found, for what cannot be judged is no all-clear.
pub const TEXT_BYTES_MAX: usize = 16_777_216;

/// The kind of the first secret in `text`, such as `github-token`; nothing when none is found.
pub fn find(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    if bytes.len() > TEXT_BYTES_MAX {
        return Some("too-long-to-judge");
    }
    let mut before = b' ';
    for (at, byte) in bytes.iter().enumerate() {
        // Tokens begin where a word does; all other places cost one look-up.
        if !is_word(before)
            && let Some(rest @ [first, second, ..]) = bytes.get(at..)
            && shapes::may_begin(*first, *second)
            && let Some(kind) = shapes::at_start(rest)
        {
            return Some(kind);
        }
        if matches!(byte, b':' | b'=') {
            let (name, value) = (bytes.get(..at).unwrap_or_default(), bytes.get(at..).unwrap_or_default());
            if let Some(kind) = assigned::around(name, value) {
                return Some(kind);
            }
        }
        before = *byte;
    }
    private_key(bytes).or_else(|| shapes::azure_client_secret(bytes))
}

/// As [`find`], for JSON: keys and values, with every escape undone.
pub fn find_in(value: Value<'_>) -> Option<&'static str> {
    // The text as it stands shows whatever is not escaped, and how values stand beside their keys.
    find(value.raw()).or_else(|| if value.raw().contains('\\') { find_escaped(value) } else { None })
}

/// Recurses no deeper than the reader's depth limit.
fn find_escaped(value: Value<'_>) -> Option<&'static str> {
    match value.kind() {
        Kind::String if value.raw().contains('\\') => find(&value.as_str()?),
        Kind::Array => value.elements().find_map(find_escaped),
        Kind::Object => value.members().with_key_values().find_map(|(key, member)| {
            // A name and its value are judged together, whatever their spelling.
            let pair = match (key.as_str(), member.as_str()) {
                (Some(key), Some(text)) if key.len() <= assigned::NAME_BYTES_MAX => find(&format!("{key}={text}")),
                (Some(key), _) => find(&key),
                (None, _) => None,
            };
            pair.or_else(|| find_escaped(member))
        }),
        Kind::String | Kind::Null | Kind::Bool | Kind::Number => None,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// RFC 7468 and its relatives: `-----BEGIN … PRIVATE KEY-----`.
fn private_key(bytes: &[u8]) -> Option<&'static str> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const LABEL_BYTES_MAX: usize = 40;
    memmem::find_iter(bytes, BEGIN).find_map(|at| {
        let label = bytes.get(at.saturating_add(BEGIN.len())..)?;
        let label = label.get(..memmem::find(label.get(..LABEL_BYTES_MAX.min(label.len()))?, b"-----")?)?;
        (label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK")).then_some("private-key")
    })
}

/// How many different bytes there are: what people write as a placeholder has few.
fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        if let Some(cell) = seen.get_mut(usize::from(*byte)) {
            *cell = true;
        }
    }
    seen.into_iter().filter(|seen| *seen).count()
}

/// The bytes at the start of `bytes` that pass.
fn run(bytes: &[u8], passes: impl Fn(u8) -> bool) -> &[u8] {
    let length = bytes.iter().take_while(|byte| passes(**byte)).count();
    bytes.get(..length).unwrap_or_default()
}
