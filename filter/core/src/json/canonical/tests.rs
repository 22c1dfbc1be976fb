//! Published vectors of the canonical form.

use super::*;
use crate::json::{Document, Limits};

fn document(text: &str) -> Document {
    Document::read(text.as_bytes().to_vec(), &Limits::default()).expect(text)
}

fn canonical(text: &str) -> String {
    let mut out = String::new();
    write(document(text).root(), &mut out);
    out
}

#[test]
fn one_value_has_one_spelling() {
    for (text, expected) in [
        (" { } ", "{}"),
        ("[ ]", "[]"),
        (r#"{"b":1,"a":{"d":[ 1 , 2 ],"c":null}}"#, r#"{"a":{"c":null,"d":[1,2]},"b":1}"#),
        (r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        // Bytes of the decoded key, not UTF-16 units: U+FB33 stands before U+1F600.
        (r#"{"😀":1,"דּ":2,"é":3,"z":4,"":5}"#, r#"{"":5,"z":4,"é":3,"דּ":2,"😀":1}"#),
        (r#""\u0041\/\u00e9\ud83d\ude00""#, r#""A/é😀""#),
        (r#""\"\\\b\t\n\f\r\u0000\u001F\u007f""#, "\"\\\"\\\\\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}\""),
        (r#""\u0008\u0009\u000a\u000c\u000d\u0022\u005c""#, r#""\b\t\n\f\r\"\\""#),
        ("[1,1.0,1e0,-0,1E+05]", "[1,1.0,1e0,-0,1E+05]"),
        ("[true,false,null]", "[true,false,null]"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn members_left_out_leave_no_trace_and_only_at_the_top() {
    let document = document(r#"{"_meta":{"x":1},"name":"n","arguments":{"task":1,"_meta":2},"task":{}}"#);
    let mut out = String::new();
    write_where(document.root(), |key| !matches!(key, "_meta" | "task"), &mut out);
    assert_eq!(out, r#"{"arguments":{"_meta":2,"task":1},"name":"n"}"#);
    out.clear();
    write_where(document.root(), |_| false, &mut out);
    assert_eq!(out, "{}");
    out.clear();
    write_where(document.root().get("name").unwrap(), |_| false, &mut out);
    assert_eq!(out, "\"n\"");
}

#[test]
fn objects_made_of_parts_equal_objects_read() {
    let document = document(r#"{"k":[2,{"z":1,"y":2}]}"#);
    let object = ObjectWriter::new()
        .string("tool", "a\"b")
        .fragment("list", "[]".to_owned())
        .value("arguments", document.root())
        .number("at", 7);
    assert_eq!(object.finish(), r#"{"arguments":{"k":[2,{"y":2,"z":1}]},"at":7,"list":[],"tool":"a\"b"}"#);
    assert_eq!(canonical(&object.finish()), object.finish());
    assert_eq!(ObjectWriter::new().string("a", "1").string("a", "2").finish(), r#"{"a":"2"}"#);
}
