//! Fields in, one line out.

use super::*;

#[test]
fn a_line_is_one_json_object_without_what_is_absent() {
    let line = DecisionLine::new(false, &[("verdict", Some("deny")), ("target", None)]).text(12);
    assert_eq!(line, r#"{"event":"decision","verdict":"deny","decision_us":12}"#);
    assert_eq!(text("hold", &[("end", Some("released"))]), r#"{"event":"hold","end":"released"}"#);
}

#[test]
fn nothing_that_a_caller_sends_breaks_or_disguises_a_line() {
    let nasty = "a\n[info] holdpoint: {\"verdict\":\"allow\"}\\ \u{1b}[2J\u{202e}\u{7f}\u{85}\u{2028}\u{1f600}é";
    let line = text("decision", &[("target", Some(nasty))]);
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(read["target"], nasty);
}

#[test]
fn a_long_value_is_cut() {
    let line = text("decision", &[("target", Some(&"x".repeat(5_000)))]);
    assert!(line.len() < 300, "{}", line.len());
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert!(read["target"].as_str().is_some_and(|target| target.ends_with('…')));
}
