//! Steps 8 to 12: how values stand in columns, and back. Databases count with signed
//! 64 bits; all of ours fit.

use holdpoint_core::digest::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{StoreError, read_word};

/// A count or a time as a column holds it.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count or a time as a column held it.
pub(super) fn nat(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// So much of a name as an index of every database takes, whatever a caller asks for.
const INDEXED_CHARS_MAX: usize = 500;

/// The beginning of a name, by which it is found.
pub(super) fn indexed(name: &str) -> String {
    name.chars().take(INDEXED_CHARS_MAX).collect()
}

/// A small count as a column held it.
pub(super) fn count(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

/// 32 bytes as a digest.
pub(super) fn digest_from_blob(bytes: &[u8], what: &'static str) -> Result<Digest, StoreError> {
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) => Ok(Digest::from_bytes(bytes)),
        Err(_) => Err(StoreError::Corrupt { what, problem: format!("{} bytes where 32 belong", bytes.len()) }),
    }
}

/// A digest from its text.
pub(super) fn digest_from_text(text: &str, what: &'static str) -> Result<Digest, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt { what, problem: format!("`{text}`: {error}") })
}

/// A unit enum from its word.
pub(super) fn word<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    read_word(text).ok_or_else(|| StoreError::Corrupt { what, problem: format!("`{text}` is no known word") })
}

/// JSON into a text column.
pub(super) fn to_json<T: Serialize>(value: &T, what: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}

/// JSON out of a text column that may be null.
pub(super) fn optional_json<T: DeserializeOwned>(
    text: Option<&str>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    text.map(|text| from_json(text, what)).transpose()
}

/// JSON out of a text column.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}
