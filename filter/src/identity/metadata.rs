//! Step 4: reads `envoy.config.core.v3.Metadata` as Envoy serialises it, with the types of its values kept.
//!
//! The host's own map form loses types (`"5"` and `5` look alike), which would let one claim pass for another. Only the
//! fields named in `metadata.proto` and `struct.proto` are read; every length is checked, depth is bounded.

use serde_json::{Map, Number, Value};

#[cfg(test)]
pub(crate) mod encode;
#[cfg(test)]
mod tests;

/// Values nest at most this deep; claims that nest deeper are refused.
const DEPTH_MAX: u32 = 16;

/// `filter_metadata[namespace]` of a serialised `Metadata`.
///
/// `Ok(None)` when the namespace is not there; `Err` when the bytes are not such a message.
pub fn namespace(metadata: &[u8], namespace: &str) -> Result<Option<Map<String, Value>>, MetadataError> {
    let mut found = None;
    for field in fields(metadata) {
        // map<string, google.protobuf.Struct> filter_metadata = 1;
        if let (1, Wire::Bytes(entry)) = field? {
            let (name, content) = map_entry(entry)?;
            if name == namespace {
                found = Some(structure(content, 0)?);
            }
        }
    }
    Ok(found)
}

/// The bytes are not a message of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataError;

impl std::fmt::Display for MetadataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("metadata is not a serialised envoy.config.core.v3.Metadata")
    }
}

impl std::error::Error for MetadataError {}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// One key and one value of a protobuf map; both are fields 1 and 2 of an entry message.
fn map_entry(entry: &[u8]) -> Result<(&str, &[u8]), MetadataError> {
    let (mut name, mut content) = ("", &[][..]);
    for field in fields(entry) {
        match field? {
            (1, Wire::Bytes(bytes)) => name = std::str::from_utf8(bytes).map_err(|_| MetadataError)?,
            (2, Wire::Bytes(bytes)) => content = bytes,
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) | Wire::Fixed32) => {}
        }
    }
    Ok((name, content))
}

/// `google.protobuf.Struct`: map<string, Value> fields = 1.
fn structure(bytes: &[u8], depth: u32) -> Result<Map<String, Value>, MetadataError> {
    if depth >= DEPTH_MAX {
        return Err(MetadataError);
    }
    let mut members = Map::new();
    for field in fields(bytes) {
        if let (1, Wire::Bytes(entry)) = field? {
            let (name, content) = map_entry(entry)?;
            members.insert(name.to_owned(), value(content, depth + 1)?);
        }
    }
    Ok(members)
}

/// `google.protobuf.Value`: null 1, number 2, string 3, bool 4, struct 5, list 6.
fn value(bytes: &[u8], depth: u32) -> Result<Value, MetadataError> {
    if depth >= DEPTH_MAX {
        return Err(MetadataError);
    }
    let mut read = Value::Null;
    for field in fields(bytes) {
        read = match field? {
            (2, Wire::Fixed64(bits)) => number(f64::from_bits(bits)),
            (3, Wire::Bytes(text)) => Value::String(std::str::from_utf8(text).map_err(|_| MetadataError)?.to_owned()),
            (4, Wire::Varint(flag)) => Value::Bool(flag != 0),
            (5, Wire::Bytes(content)) => Value::Object(structure(content, depth + 1)?),
            (6, Wire::Bytes(content)) => Value::Array(list(content, depth + 1)?),
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) | Wire::Fixed32) => Value::Null,
        };
    }
    Ok(read)
}

/// `google.protobuf.ListValue`: repeated Value values = 1.
fn list(bytes: &[u8], depth: u32) -> Result<Vec<Value>, MetadataError> {
    let mut elements = Vec::new();
    for field in fields(bytes) {
        if let (1, Wire::Bytes(content)) = field? {
            elements.push(value(content, depth + 1)?);
        }
    }
    Ok(elements)
}

/// Whole numbers come back as integers: `exp` is a double only because protobuf's `Value` knows no other number.
fn number(double: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    if double.fract() == 0.0 && double.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, checked above")]
        return Value::Number(Number::from(double as i64));
    }
    Number::from_f64(double).map_or(Value::Null, Value::Number)
}

/// Walks the fields of one message: (field number, value).
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), MetadataError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or(MetadataError))
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Wire::Fixed32
        }
        _ => return None,
    };
    Some((key >> 3, wire))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut read = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        read |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(read);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}
