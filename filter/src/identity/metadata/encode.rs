//! Test support: writes what Envoy would serialise.

use serde_json::Value;

/// A `Metadata` with one namespace.
pub(crate) fn metadata(namespace: &str, members: &Value) -> Vec<u8> {
    entry(namespace, &structure(members))
}

pub(super) fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    bytes_field(1, &[bytes_field(1, name.as_bytes()), bytes_field(2, content)].concat())
}

pub(super) fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("seven bits"));
    out.extend_from_slice(content);
    out
}

/// A `Struct` alone.
pub(crate) fn structure(members: &Value) -> Vec<u8> {
    let members = members.as_object().expect("an object");
    members.iter().flat_map(|(name, member)| entry(name, &value(member))).collect()
}

fn value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![1 << 3, 0],
        Value::Bool(flag) => vec![4 << 3, u8::from(*flag)],
        Value::Number(number) => {
            let mut out = vec![2 << 3 | 1];
            out.extend_from_slice(&number.as_f64().expect("a double").to_le_bytes());
            out
        }
        Value::String(text) => bytes_field(3, text.as_bytes()),
        Value::Array(list) => {
            let elements: Vec<u8> = list.iter().flat_map(|one| bytes_field(1, &self::value(one))).collect();
            bytes_field(6, &elements)
        }
        Value::Object(_) => bytes_field(5, &structure(value)),
    }
}
