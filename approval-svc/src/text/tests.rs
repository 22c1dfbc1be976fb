//! Attackers' text, on a terminal or a page: shown, never obeyed.

use super::*;

#[test]
fn hidden_characters_are_written_out() {
    assert_eq!(visible("a\u{202e}b\u{1b}[31m\u{200b}\n"), "a\\u{202e}b\\u{1b}[31m\\u{200b}\\u{a}");
    assert_eq!(visible("Grüße, 世界 😀"), "Grüße, 世界 😀");
    assert_eq!(visible("a\u{a0}b\u{3000}c\u{e0041}"), "a\\u{a0}b\\u{3000}c\\u{e0041}");
}

#[test]
fn json_is_indented_without_touching_its_numbers() {
    let shown =
        indented("{\"a\":[1,12345678901234567890123,1.0],\"b\":{},\"c\":[],\"d\":\"x,{\\\"}\",\"e\":\"\u{202e}\"}");
    let expected = "{\n  \"a\": [\n    1,\n    12345678901234567890123,\n    1.0\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"d\": \"x,{\\\"}\",\n  \"e\": \"\\u{202e}\"\n}";
    assert_eq!(shown, expected);
}

#[test]
fn hidden_characters_stand_apart_from_text_that_only_looks_like_them() {
    let plain = |text: &str| Piece::Plain(text.to_owned());
    assert_eq!(pieces("a\\u{202e}"), [plain("a\\u{202e}")]);
    assert_eq!(pieces("a\u{202e}b"), [plain("a"), Piece::Hidden("\\u{202e}".to_owned()), plain("b")]);
}

#[test]
fn json_names_are_told_from_strings() {
    let layout = |text: &str| JsonPart::Layout(text.to_owned());
    let expected =
        [layout("{\n  "), JsonPart::Name("\"a\\\"\""), layout(": "), JsonPart::Text("\"b:\""), layout("\n}")];
    assert_eq!(laid_out("{\"a\\\"\":\"b:\"}"), expected);
    assert_eq!(laid_out("\"open"), [JsonPart::Text("\"open")]);
}

#[test]
fn times_and_spans_read_well() {
    assert_eq!(time(1_700_000_000_123), "2023-11-14 22:13:20Z");
    assert_eq!([span(5), span(61_000), span(900_000), span(86_400_000)], ["5 ms", "61 s", "15 min", "24 h"]);
    assert_eq!([span(259_199_999), span(259_200_000)], ["71 h", "3 days"]);
}
