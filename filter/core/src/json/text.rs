//! Step 3: bytes to text and string literals to strings.

use super::error::ReadError;

/// Checks the encoding of a whole body. A byte order mark is refused: some parsers skip it, some do not.
pub(super) fn utf8(bytes: Vec<u8>) -> Result<String, ReadError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(ReadError::ByteOrderMark);
    }
    if u32::try_from(bytes.len()).is_err() {
        return Err(ReadError::TooLarge { bytes_found: bytes.len() });
    }
    String::from_utf8(bytes).map_err(|error| ReadError::NotUtf8 { at: error.utf8_error().valid_up_to() })
}

/// What stands between the quotes of a string literal.
pub(super) fn unquoted(literal: &str) -> &str {
    literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default()
}

/// Decodes what stands between the quotes. The reader has checked every escape, so nothing here can go wrong; a part
/// that nevertheless does becomes U+FFFD.
pub(super) fn decode(inner: &str) -> String {
    let mut decoded = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        decoded.push_str(plain);
        let mut chars = escape.chars();
        let (character, after) = match chars.next() {
            Some('u') => unicode_escape(chars.as_str()),
            Some('b') => ('\u{8}', chars.as_str()),
            Some('f') => ('\u{c}', chars.as_str()),
            Some('n') => ('\n', chars.as_str()),
            Some('r') => ('\r', chars.as_str()),
            Some('t') => ('\t', chars.as_str()),
            Some(itself) => (itself, chars.as_str()),
            None => (char::REPLACEMENT_CHARACTER, ""),
        };
        decoded.push(character);
        rest = after;
    }
    decoded.push_str(rest);
    decoded
}

/// The character that `XXXX` or `XXXX\uXXXX` at the start of `digits` names, and what follows it.
fn unicode_escape(digits: &str) -> (char, &str) {
    let Some((first, rest)) = code_unit(digits) else {
        return (char::REPLACEMENT_CHARACTER, digits);
    };
    if let Some(character) = char::from_u32(first) {
        return (character, rest);
    }
    match rest.strip_prefix("\\u").and_then(code_unit) {
        Some((second, rest)) => (surrogate_pair(first, second).unwrap_or(char::REPLACEMENT_CHARACTER), rest),
        None => (char::REPLACEMENT_CHARACTER, rest),
    }
}

/// The character that a high and a low surrogate make together; nothing if they are not that.
pub(super) fn surrogate_pair(high: u32, low: u32) -> Option<char> {
    let high = high.checked_sub(0xd800).filter(|bits| *bits < 0x400)?;
    let low = low.checked_sub(0xdc00).filter(|bits| *bits < 0x400)?;
    char::from_u32(0x1_0000_u32.wrapping_add(high << 10).wrapping_add(low))
}

fn code_unit(digits: &str) -> Option<(u32, &str)> {
    let (unit, rest) = digits.split_at_checked(4)?;
    Some((u32::from_str_radix(unit, 16).ok()?, rest))
}

const EXCERPT_CHARS_MAX: usize = 48;

/// Text that a stranger wrote, fit for an error message: printable ASCII (the rest escaped), and short.
pub(crate) fn excerpt(stranger: &str) -> String {
    let mut shown = String::new();
    for character in stranger.chars() {
        if shown.len() >= EXCERPT_CHARS_MAX {
            shown.push('…');
            break;
        }
        match character {
            ' '..='~' => shown.push(character),
            other => shown.extend(other.escape_default()),
        }
    }
    shown
}
