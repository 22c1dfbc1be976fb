//! What an attacker writes is shown, and whole.

use super::*;

#[test]
fn markup_and_hidden_characters_are_shown_not_obeyed() {
    let page = shown("<script>\u{202e}\"'&\n").to_string();
    let mark = |text: &str| format!("<mark title=\"a hidden character\">{text}</mark>");
    let expected = format!("&#60;script&#62;{}&#34;&#39;&#38;{}", mark("\\u{202e}"), mark("\\u{a}"));
    assert_eq!(page, expected);
}

#[test]
fn call_is_laid_out_with_its_names_told_from_its_strings() {
    let page = CallText::new("{\"title\":\"a</pre><b>\u{200b}\",\"n\":1.0}").to_string();
    assert!(page.starts_with("{\n  <span class=\"name\">&#34;title&#34;</span>: <span class=\"text\">"), "{page}");
    assert!(page.contains("a&#60;/pre&#62;&#60;b&#62;<mark"), "{page}");
    assert!(page.contains(": 1.0\n}"), "{page}");
}

#[test]
fn long_string_is_folded_and_still_whole() {
    let long = "x".repeat(FOLD_CHARS_MIN) + "the end";
    let page = CallText::new(&format!("[\"{long}\"]")).to_string();
    assert!(page.contains("<details class=\"fold\">") && page.contains("409 characters"), "{page}");
    assert!(page.contains(&long), "{page}");
    let short = CallText::new(&format!("[\"{}\"]", "x".repeat(FOLD_CHARS_MIN - 2))).to_string();
    assert!(!short.contains("<details"), "{short}");
}
