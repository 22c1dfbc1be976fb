//! Serialised metadata in, JSON values out.

use serde_json::json;

use super::encode::{bytes_field, entry, metadata};
use super::*;

/// All of a namespace.
fn read(metadata: &[u8], name: &str) -> Result<Option<serde_json::Value>, MetadataError> {
    fn structure(read: Structure<'_>) -> Result<serde_json::Value, MetadataError> {
        let member = |member| {
            let (name, said): (&str, Said<'_>) = member?;
            Ok((name.to_owned(), value(said)?))
        };
        Ok(serde_json::Value::Object(read.members().map(member).collect::<Result<_, _>>()?))
    }
    fn value(said: Said<'_>) -> Result<serde_json::Value, MetadataError> {
        Ok(match said {
            Said::Null => serde_json::Value::Null,
            #[expect(clippy::cast_possible_truncation, reason = "whole, and small")]
            Said::Number(number) if number.fract() == 0.0 => json!(number as i64),
            Said::Number(number) => json!(number),
            Said::Text(text) => json!(text),
            Said::Bool(flag) => json!(flag),
            Said::Structure(read) => structure(read)?,
            Said::List(list) => {
                let elements = list.elements().map(|element| value(element?));
                serde_json::Value::Array(elements.collect::<Result<_, _>>()?)
            }
        })
    }
    namespace(metadata, name)?.map(structure).transpose()
}

fn claims() -> serde_json::Value {
    json!({"sub": "alice", "admin": true, "exp": 1_700_000_000, "ratio": 0.5, "none": null,
           "groups": ["sre", "dev"], "act": {"sub": "agent"}})
}

#[test]
fn values_keep_their_types() {
    let bytes = [entry("other", &[]), metadata("jwt", &claims())].concat();
    assert_eq!(read(&bytes, "jwt"), Ok(Some(claims())));
}

#[test]
fn an_absent_namespace_is_none() {
    assert_eq!(read(&metadata("jwt", &json!({})), "holdpoint"), Ok(None));
    assert_eq!(read(&[], "holdpoint"), Ok(None));
}

#[test]
fn no_cut_message_passes_for_a_whole_one() {
    let bytes = metadata("jwt", &claims());
    for end in 1..bytes.len() {
        assert_eq!(read(&bytes[..end], "jwt"), Err(MetadataError), "cut at {end}");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut nested = bytes_field(3, b"x");
    for _ in 0..20 {
        nested = bytes_field(6, &bytes_field(1, &nested));
    }
    let bytes = entry("jwt", &entry("deep", &nested));
    assert_eq!(read(&bytes, "jwt"), Err(MetadataError));
}
