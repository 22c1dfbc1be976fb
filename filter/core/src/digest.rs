//! Names bytes by their SHA-256 and writes bytes as hex. Serves steps 5 (call digest), 6 (snapshot id) and 12 (the log).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";
const SHORT_CHARS: usize = 12;

/// A SHA-256 of something, written as `sha256:` and 64 lower-case hex digits. Ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// sha256(`tag` ‖ line feed ‖ `bytes`): the same bytes under two tags never share a digest. A tag names its use and
    /// version (`holdpoint/call/v1`) and holds no line feed.
    pub fn tagged(tag: &str, bytes: &[u8]) -> Self {
        Self::tagged_all(tag, &[bytes])
    }

    /// The same of all `parts`, one after the other.
    pub fn tagged_all(tag: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(tag.as_bytes());
        hash.update(b"\n");
        parts.iter().for_each(|part| hash.update(part));
        Self(hash.finalize().into())
    }

    /// Takes 32 bytes that already are a SHA-256, as a tree node or a stored column holds them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits, for people; never compare by it.
    pub fn short(&self) -> String {
        let mut hex = hex_encode(&self.0);
        hex.truncate(SHORT_CHARS);
        hex
    }

    /// What `Display` writes, in one piece and without the formatting machinery: several are written for every call.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(PREFIX.len().saturating_add(self.0.len().saturating_mul(2)));
        self.push_text(&mut text);
        text
    }

    /// Appends the same to `out`.
    pub fn push_text(&self, out: &mut String) {
        out.push_str(PREFIX);
        push_hex(out, &self.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    /// Reads exactly what `Display` writes: one digest has one spelling.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let hex = text.strip_prefix(PREFIX).ok_or(ParseDigestError::Prefix)?;
        let bytes = hex_decode(hex).map_err(ParseDigestError::Hex)?;
        let bytes_found = bytes.len();
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| ParseDigestError::Length { bytes_found })?;
        Ok(Self(bytes))
    }
}

/// Described as it is written: `sha256:` and 64 hex digits.
#[cfg(feature = "schema")]
impl utoipa::PartialSchema for Digest {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^sha256:[0-9a-f]{64}$")).into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::ToSchema for Digest {}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest such as `sha256:` and 64 lower-case hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseDigestError {
    /// The algorithm prefix is missing.
    Prefix,
    /// What follows the prefix is not lower-case hex.
    Hex(HexError),
    /// The hex is not 32 bytes long.
    Length { bytes_found: usize },
}

impl fmt::Display for ParseDigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => f.write_str("a digest starts with `sha256:`"),
            Self::Hex(error) => write!(f, "after `sha256:` {error}"),
            Self::Length { bytes_found } => {
                write!(f, "a digest has 64 hex digits after `sha256:`, found {}", bytes_found.saturating_mul(2))
            }
        }
    }
}

impl std::error::Error for ParseDigestError {}

/// Writes `bytes` as lower-case hex, two digits a byte.
pub fn hex_encode(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len().saturating_mul(2));
    push_hex(&mut hex, bytes);
    hex
}

/// Appends the same to `text`.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    // In pieces, for a text that grows by one digit at a time asks each time whether there is room.
    const PIECE: usize = 32;
    let (pieces, rest) = bytes.as_chunks::<PIECE>();
    for piece in pieces {
        let digits = piece.map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 0x0f)]);
        text.push_str(std::str::from_utf8(digits.as_flattened()).unwrap_or_default());
    }
    for byte in rest {
        text.push(char::from(hex_digit(byte >> 4)));
        text.push(char::from(hex_digit(byte & 0x0f)));
    }
}

/// Reads what [`hex_encode`] writes. Upper-case digits are refused, so that the same bytes have one spelling.
pub fn hex_decode(hex: &str) -> Result<Vec<u8>, HexError> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(HexError::Odd);
    }
    pairs
        .iter()
        .enumerate()
        .map(|(pair, [high, low])| match (hex_value(*high), hex_value(*low)) {
            (Some(high), Some(low)) => Ok((high << 4) | low),
            (None, _) => Err(HexError::Digit { at: pair.saturating_mul(2) }),
            (_, None) => Err(HexError::Digit { at: pair.saturating_mul(2).saturating_add(1) }),
        })
        .collect()
}

/// Why a text is not lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HexError {
    /// The number of digits is odd.
    Odd,
    /// The byte at this offset is no lower-case hex digit.
    Digit { at: usize },
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Odd => f.write_str("hex comes in pairs of digits, found an odd number"),
            Self::Digit { at } => {
                write!(f, "hex digits are `0`-`9` and lower-case `a`-`f`, found another at byte {at}")
            }
        }
    }
}

impl std::error::Error for HexError {}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0'.wrapping_add(nibble) } else { b'a'.wrapping_sub(10).wrapping_add(nibble) }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
