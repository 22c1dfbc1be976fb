//! Patterns over text, and documents that keep their shape.

use std::collections::BTreeSet;

use super::*;
use crate::json::{Document, Limits};

fn redaction(patterns: &[&str], level: RedactionLevel) -> Redaction {
    let redact: BTreeSet<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    Redaction::new(&OutputLimits { max_bytes: None, redact, redaction_level: level })
}

fn check(patterns: &[&str], text: &str, expected: &str) {
    let redaction = redaction(patterns, RedactionLevel::None);
    assert_eq!(redaction.text(text).as_deref().unwrap_or(text), expected);
}

#[test]
fn patterns_take_out_what_they_name_and_nothing_else() {
    check(
        &["Falcon"],
        "Project Falcon, falcon and FalconFalcon",
        "Project [redacted], falcon and [redacted][redacted]",
    );
    check(&["###-##-####"], "ssn 123-45-6789 or 12-345-6789", "ssn [redacted] or 12-345-6789");
    check(&["sk-*"], "key=sk-abc_1, \"sk-x\" sk- sk", "key=[redacted] \"[redacted]\" sk- sk");
    check(&["*@*.com"], "mail bob@acme.com now", "mail [redacted] now");
    check(&["é#*é"], "é1xyé", "[redacted]");
}

#[test]
fn overlapping_matches_become_one() {
    check(&["abcd", "cdef"], "xabcdefx", "x[redacted]x");
}

#[test]
fn patterns_that_would_match_every_word_are_refused() {
    for (pattern, part) in [("*", "at least 2"), ("a*", "at least 2"), ("a*b*c*d*", "at most 3"), ("", "at least 2")] {
        let message = Pattern::parse(pattern).expect_err(pattern);
        assert!(message.contains(part), "{message}");
    }
}

fn document(redaction: &Redaction, text: &str) -> String {
    let document = Document::read(text.as_bytes().to_vec(), &Limits::default()).expect("JSON");
    let mut edits = Edits::default();
    redaction.value(document.root(), &mut edits);
    String::from_utf8(edits.apply(document.bytes()).expect("edits fit")).expect("UTF-8")
}

#[test]
fn every_string_of_a_document_is_looked_at_in_its_decoded_form_and_the_rest_stays_byte_for_byte() {
    let redaction = redaction(&["sk-*"], RedactionLevel::None);
    assert_eq!(
        document(&redaction, r#"{ "a":["sk-1", {"b" : "x \u0073k-2\ty"}], "n": 1.50, "sk-key":null}"#),
        r#"{ "a":["[redacted]", {"b" : "x [redacted]\ty"}], "n": 1.50, "sk-key":null}"#
    );
}

#[test]
fn full_blanks_what_the_server_says_and_keeps_what_tells_how_to_read_it() {
    let redaction = redaction(&[], RedactionLevel::Full);
    assert_eq!(
        document(
            &redaction,
            r#"{"content":[{"type":"text","text":"a"}],"structuredContent":{"rows":[{"name":"b","n":2}]},"isError":false}"#
        ),
        r#"{"content":[{"type":"text","text":"[redacted]"}],"structuredContent":{"rows":[{"name":"[redacted]","n":2}]},"isError":false}"#
    );
}

#[test]
fn secrets_of_well_known_shapes_are_taken_out_wherever_they_stand() {
    let redaction = redaction(&[], RedactionLevel::Secrets);
    let token = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5");
    assert_eq!(
        document(&redaction, &format!(r#"{{"text":"use {token} now","n":1,"list":["{token}","plain"]}}"#)),
        r#"{"text":"use [redacted] now","n":1,"list":["[redacted]","plain"]}"#
    );
    let pem = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\\n-----END PRIVATE KEY-----";
    assert_eq!(document(&redaction, &format!(r#"{{"text":"{pem}"}}"#)), r#"{"text":"[redacted]"}"#);
}
