//! Texts in; found or not, and how well over the whole corpus.

use super::*;
use crate::json::{Document, Limits};

const SECRETS: &str = include_str!("corpus/secrets.txt");
const HARMLESS: &str = include_str!("corpus/harmless.txt");

fn lines(corpus: &str) -> impl Iterator<Item = &str> {
    corpus.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

#[test]
fn the_corpus_is_told_apart_with_few_misses_and_fewer_false_alarms() {
    let mut missed = Vec::new();
    let mut misnamed = Vec::new();
    let mut found = 0_u32;
    for line in lines(SECRETS) {
        let (kind, text) = line.split_once('\t').unwrap();
        let text = text.replace('¦', "").replace("\\n", "\n");
        match find(&text) {
            Some(named) if named == kind => found += 1,
            Some(named) => {
                found += 1;
                misnamed.push(format!("{kind} as {named}"));
            }
            None => missed.push(kind),
        }
    }
    let alarms: Vec<&str> = lines(HARMLESS).filter(|text| find(&text.replace("\\n", "\n")).is_some()).collect();
    let secrets = found + u32::try_from(missed.len()).unwrap();
    let recall = f64::from(found) / f64::from(secrets);
    let precision = f64::from(found) / (f64::from(found) + alarms.len() as f64);
    eprintln!(
        "secrets: {found} of {secrets} found (recall {recall:.3}), {} false alarms in {} harmless texts (precision \
         {precision:.3}); missed {missed:?}, named otherwise {misnamed:?}, alarms {alarms:?}",
        alarms.len(),
        lines(HARMLESS).count(),
    );
    assert!(recall >= 0.95 && precision >= 0.98, "recall {recall}, precision {precision}: {missed:?} {alarms:?}");
    let unexpected: Vec<&&str> = missed.iter().filter(|kind| **kind != "missed").collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

#[test]
fn json_is_searched_with_every_escape_undone() {
    let token = "npm_0123456789abcdefghijABCDEFGHIJ012345";
    let escaped = token.replace("npm", r"\u006epm");
    let in_json = |text: &str| {
        let document = Document::read(text.as_bytes().to_vec(), &Limits::default()).unwrap();
        find_in(document.root())
    };
    for (text, expected) in [
        (format!(r#"{{"a":["{token}"]}}"#), Some("npm-token")),
        (format!(r#"{{"{token}":0}}"#), Some("npm-token")),
        (format!(r#"{{"a":{{"b":"\t{token}"}}}}"#), Some("npm-token")),
        (format!(r#"{{"a":"{escaped}"}}"#), Some("npm-token")),
        (format!(r#"{{"{escaped}":1}}"#), Some("npm-token")),
        (r#"{"password":"Zx9Kq2Lm8Rt4Vb7N"}"#.to_owned(), Some("named-secret")),
        (r#"{"pass\u0077ord":"Zx9Kq2Lm8Rt4Vb7N"}"#.to_owned(), Some("named-secret")),
        (r#"{"key":"-----BEGIN PRIVATE KEY-----\nMIG"}"#.to_owned(), Some("private-key")),
        (r#"{"a":"plain\ttext"}"#.to_owned(), None),
        ("{}".to_owned(), None),
    ] {
        assert_eq!(in_json(&text), expected, "{text}");
    }
}

#[test]
fn a_token_needs_its_own_beginning_length_and_end() {
    let tail = "0123456789abcdefghijABCDEFGHIJ012345";
    for (text, expected) in [
        (format!("ghp_{tail}"), true),
        (format!("xghp_{tail}"), false),
        (format!("-ghp_{tail}-"), true),
        (format!("ghp_{}", tail.trim_end_matches("012345")), false),
        (format!("npm_{tail}x"), false),
        (format!("npm_{tail}."), true),
        (format!("ghp_{}", "ab".repeat(18)), false),
        ("AKIAABCDEFGHIJ234567".to_owned(), true),
        ("AKIAABCDEFGHIJ2345678".to_owned(), false),
    ] {
        assert_eq!(find(&text).is_some(), expected, "{text}");
    }
}

#[test]
fn a_text_too_long_to_judge_is_no_all_clear() {
    assert_eq!(find(&" ".repeat(TEXT_BYTES_MAX + 1)), Some("too-long-to-judge"));
    assert_eq!(find(&"password=://".repeat(20_000)), None);
}

proptest::proptest! {
    #[test]
    fn searching_never_panics(text in "(ghp_|eyJ|://|@|:|=|password|Q~|-----BEGIN |PRIVATE KEY-----|[a-zA-Z0-9é\"\\\\ ./-]){0,60}") {
        let _ = find(&text);
    }
}
