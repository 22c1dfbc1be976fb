//! Serialised metadata in, JSON values out.

use serde_json::json;

use super::encode::{bytes_field, entry, metadata};
use super::*;

fn claims() -> serde_json::Value {
    json!({"sub": "alice", "admin": true, "exp": 1_700_000_000, "ratio": 0.5, "none": null,
           "groups": ["sre", "dev"], "act": {"sub": "agent"}})
}

#[test]
fn values_keep_their_types() {
    let bytes = [entry("other", &[]), metadata("jwt", &claims())].concat();
    let read = namespace(&bytes, "jwt").expect("a Metadata").expect("the namespace");
    assert_eq!(serde_json::Value::Object(read), claims());
}

#[test]
fn an_absent_namespace_is_none() {
    assert_eq!(namespace(&metadata("jwt", &json!({})), "holdpoint"), Ok(None));
    assert_eq!(namespace(&[], "holdpoint"), Ok(None));
}

#[test]
fn no_cut_message_passes_for_a_whole_one() {
    let bytes = metadata("jwt", &claims());
    for end in 1..bytes.len() {
        assert_eq!(namespace(&bytes[..end], "jwt"), Err(MetadataError), "cut at {end}");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut nested = bytes_field(3, b"x");
    for _ in 0..20 {
        nested = bytes_field(6, &bytes_field(1, &nested));
    }
    let bytes = entry("jwt", &entry("deep", &nested));
    assert_eq!(namespace(&bytes, "jwt"), Err(MetadataError));
}
