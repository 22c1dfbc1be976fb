//! The reader against tables of texts, and against serde_json on texts nobody thought of.

use std::time::Instant;

use proptest::prelude::*;

use super::*;

mod agreement;
mod oracle;

fn read(text: &str) -> Result<Document, ReadError> {
    Document::read(text.as_bytes().to_vec(), &Limits::default())
}

fn check_refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = read(text).expect_err(text);
        assert_eq!(error.to_string(), *expected, "{text}");
    }
}

#[test]
fn every_kind_is_read_and_keeps_its_text() {
    for (text, kind) in [
        ("null", Kind::Null),
        (" true ", Kind::Bool),
        ("\t\r\nfalse", Kind::Bool),
        ("-0", Kind::Number),
        ("1.50e+07", Kind::Number),
        (r#""a\u0000é😀""#, Kind::String),
        ("[ 1 , [ ] ]", Kind::Array),
        (r#"{ "a" : { } }"#, Kind::Object),
    ] {
        let document = read(text).expect(text);
        assert_eq!(document.root().kind(), kind, "{text}");
        assert_eq!(document.root().raw(), text.trim(), "{text}");
        assert_eq!(document.bytes(), text.as_bytes());
        assert_eq!(document.into_bytes(), text.as_bytes());
    }
}

#[test]
fn accessors_answer_for_their_kind_only() {
    let document = read(r#"{"s":"a\"\u0062","n":1.0,"t":true,"z":null,"l":[1,[2,3],{}],"o":{"k":"v"}}"#).unwrap();
    let root = document.root();
    assert_eq!(root.len(), 6);
    assert_eq!(root.get("s").unwrap().as_str().unwrap(), "a\"b");
    assert_eq!(root.get("n").unwrap().number_text(), Some("1.0"));
    assert_eq!(root.get("t").unwrap().as_bool(), Some(true));
    assert!(root.get("z").unwrap().is_null());
    let list = root.get("l").unwrap();
    assert_eq!((list.len(), list.at(1).unwrap().raw(), list.at(2).unwrap().is_empty()), (3, "[2,3]", true));
    assert!(list.at(3).is_none() && list.get("l").is_none() && list.as_str().is_none() && list.as_bool().is_none());
    assert!(root.get("missing").is_none() && root.at(0).is_none() && root.number_text().is_none());
    let keys: Vec<_> = root.members().map(|(key, _)| key.into_owned()).collect();
    assert_eq!(keys, ["s", "n", "t", "z", "l", "o"]);
    let list_text = document.bytes().get(list.span()).unwrap();
    assert_eq!(list_text, b"[1,[2,3],{}]");
    assert_eq!(document.value(list.id()).unwrap().raw(), "[1,[2,3],{}]");
}

#[test]
fn pointers_lead_where_rfc_6901_says() {
    let document = read(r#"{"a":{"b/c":[10,{"~":"x"}]},"":1}"#).unwrap();
    for (pointer, raw) in [
        ("/a/b~1c/0", Some("10")),
        ("/a/b~1c/1/~0", Some("\"x\"")),
        ("/", Some("1")),
        ("/a/b~1c/00", None),
        ("/a/b~1c/+0", None),
        ("/a/b~1c/-", None),
        ("/a/b~1c/2", None),
        ("a", None),
        ("/a/b~1c/0/x", None),
    ] {
        assert_eq!(document.root().pointer(pointer).map(|value| value.raw()), raw, "{pointer}");
    }
    assert_eq!(document.root().pointer("").unwrap().kind(), Kind::Object);
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    check_refused(&[
        ("", "byte 0: expected a value, found the end of the text"),
        ("  ", "byte 2: expected a value, found the end of the text"),
        ("{", "byte 1: expected a key or `}`, found the end of the text"),
        ("[1,]", "byte 3: expected a value, found `]`"),
        (r#"{"a":1,}"#, "byte 7: expected a key, found `}`"),
        (r#"{"a" 1}"#, "byte 5: expected `:`, found `1`"),
        (r#"{"a":1 "b":2}"#, "byte 7: expected `,` or `}`, found `\"`"),
        ("[1 2]", "byte 3: expected `,` or `]`, found `2`"),
        ("[1}", "byte 2: expected `,` or `]`, found `}`"),
        ("{a:1}", "byte 1: expected a key or `}`, found `a`"),
        ("{'a':1}", "byte 1: expected a key or `}`, found `'`"),
        ("NaN", "byte 0: expected a value, found `N`"),
        ("nul", "byte 0: expected a value, found `n`"),
        ("Infinity", "byte 0: expected a value, found `I`"),
        ("// x\n1", "byte 0: expected a value, found `/`"),
        ("1 // x", "byte 2: something follows the value; send one value and nothing after it"),
        ("{}{}", "byte 2: something follows the value; send one value and nothing after it"),
        ("1\0", "byte 1: something follows the value; send one value and nothing after it"),
        ("\u{b}1", "byte 0: expected a value, found byte 0x0b"),
        ("\u{a0}1", "byte 0: expected a value, found byte 0xc2"),
        ("\u{feff}1", "byte 0: the text starts with a byte order mark; send UTF-8 without one"),
    ]);
}

#[test]
fn numbers_have_one_grammar() {
    check_refused(&[
        ("+1", "byte 0: expected a value, found `+`"),
        (".5", "byte 0: expected a value, found `.`"),
        ("-", "byte 0: a minus sign without digits"),
        ("-a", "byte 0: a minus sign without digits"),
        ("[01]", "byte 1: a number with a leading zero; write it without"),
        ("-00", "byte 0: a number with a leading zero; write it without"),
        ("1.", "byte 0: a decimal point without digits behind it"),
        ("1.e5", "byte 0: a decimal point without digits behind it"),
        ("1e", "byte 0: an exponent without digits"),
        ("1e+", "byte 0: an exponent without digits"),
        ("1e400", "byte 0: a number too large for a double; send it as a string"),
        ("-1e309", "byte 0: a number too large for a double; send it as a string"),
        ("0x10", "byte 1: something follows the value; send one value and nothing after it"),
    ]);
    let long = "1".repeat(65);
    check_refused(&[(&long, "byte 0: a number of more than 64 characters; send it as a string")]);
    assert!(read(&"1".repeat(64)).is_ok() && read("1e308").is_ok() && read("1e-400").is_ok());
}

#[test]
fn strings_name_whole_characters() {
    let escape = "unknown escape; after a backslash comes one of `\"\\/bfnrt` or `u` and four hex digits";
    let surrogate = "half of a surrogate pair; write both halves or the character";
    let refused = [
        (r#""a"#, "byte 2: expected a closing `\"`, found the end of the text".to_owned()),
        (r#""\"#, format!("byte 1: {escape}")),
        (r#""\x41""#, format!("byte 1: {escape}")),
        (r#""\u12g4""#, format!("byte 1: {escape}")),
        (r#""\u+123""#, format!("byte 1: {escape}")),
        (r#""\u12"#, format!("byte 1: {escape}")),
        (r#""\ud800""#, format!("byte 1: {surrogate}")),
        (r#""\udc00\ud800""#, format!("byte 1: {surrogate}")),
        (r#""\ud800\ud800""#, format!("byte 1: {surrogate}")),
        (r#""12345678\ud83dx""#, format!("byte 9: {surrogate}")),
        ("\"a\nb\"", "byte 2: control character 0x0a inside a string; write it as `\\u000a`".to_owned()),
        ("\"12345678\u{1f}\"", "byte 9: control character 0x1f inside a string; write it as `\\u001f`".to_owned()),
    ];
    for (text, expected) in &refused {
        check_refused(&[(text, expected)]);
    }
    for (text, decoded) in [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00e9\u00E9\ud83d\uDE00z""#, "éé😀z"),
        ("\"\u{7f}\u{80}\u{2028}\"", "\u{7f}\u{80}\u{2028}"),
        (r#""\\u0041""#, "\\u0041"),
    ] {
        assert_eq!(read(text).unwrap().root().as_str().unwrap(), decoded, "{text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    for (bytes, at) in [(&b"\"\xff\""[..], 1), (b"\"\xc0\x80\"", 1), (b"\"a\xed\xa0\x80\"", 2), (b"{\"a\":\xe9}", 5)] {
        let error = Document::read(bytes.to_vec(), &Limits::default()).unwrap_err();
        assert_eq!(error, ReadError::NotUtf8 { at });
    }
}

#[test]
fn a_stop_is_found_at_every_place_of_a_word() {
    for filler in ["x", "é", "\u{7f}"] {
        for before in 0..20 {
            let text = format!("\"{}\\\"{}\"", filler.repeat(before), filler.repeat(19 - before));
            let expected = format!("{}\"{}", filler.repeat(before), filler.repeat(19 - before));
            assert_eq!(read(&text).unwrap().root().as_str().unwrap(), expected);
            let control = format!("\"{}\u{1}", filler.repeat(before));
            let at = 1 + filler.len() * before;
            assert_eq!(read(&control).unwrap_err(), ReadError::ControlCharacter { at, byte: 1 });
        }
    }
}

#[test]
fn a_key_stands_once_however_it_is_spelled() {
    check_refused(&[
        (r#"{"a":1,"a":1}"#, "byte 7: key `a` stands twice in one object; send it once"),
        (r#"{"a":1,"\u0061":1}"#, "byte 7: key `a` stands twice in one object; send it once"),
        (r#"{"\u0061":1,"b":2,"a":1}"#, "byte 18: key `a` stands twice in one object; send it once"),
        (r#"{"x":{"y":[{"b":1,"b":2}]}}"#, "byte 18: key `b` stands twice in one object; send it once"),
        (r#"{"":1,"":2}"#, "byte 6: key `` stands twice in one object; send it once"),
        (r#"{"\/":1,"/":2}"#, "byte 8: key `/` stands twice in one object; send it once"),
        (r#"{"é":1,"\u00e9":2}"#, "byte 8: key `\\u{e9}` stands twice in one object; send it once"),
    ]);
    assert!(read(r#"{"a":{"a":{"a":1}},"A":[{"a":1},{"a":1}]}"#).is_ok());
    // Beyond a dozen keys another way of looking is taken.
    let many: String = (0..40).map(|n| format!("\"k{n}\":{n},")).collect();
    assert!(read(&format!("{{{many}\"k\":0}}")).is_ok());
    assert!(
        matches!(read(&format!("{{{many}\"k7\":0}}")), Err(ReadError::DuplicateKey { key, at: 341 }) if key == "k7")
    );
    assert!(
        matches!(read(&format!("{{{many}\"\\u006b7\":0}}")), Err(ReadError::DuplicateKey { key, .. }) if key == "k7")
    );
}

#[test]
fn keys_that_some_readers_take_for_another_are_refused() {
    let what = "is `__proto__` or holds a NUL, which some readers take for another key; leave it out";
    for (text, at, key) in [
        (r#"{"__proto__":1}"#, 1, "__proto__"),
        (r#"{"a":[{"\u005f_proto__":1}]}"#, 7, "__proto__"),
        (r#"{"a":1,"name\u0000x":1}"#, 7, r"name\u{0}x"),
    ] {
        check_refused(&[(text, &format!("byte {at}: key `{key}` {what}"))]);
    }
    assert!(read(r#"{"_proto_":1,"__proto__x":"__proto__","constructor":"\u0000"}"#).is_ok());
}

#[test]
fn a_strangers_key_is_shown_short_and_escaped() {
    let key = "\u{202e}".repeat(1000);
    let error = read(&format!("{{\"{key}\":1,\"{key}\":2}}")).unwrap_err().to_string();
    assert!(error.len() < 140 && error.is_ascii() | error.contains('…') && error.contains(r"\u{202e}"), "{error}");
}

#[test]
fn limits_hold_at_their_edge() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(64)).is_ok());
    check_refused(&[(&nested(65), "byte 64: more than 64 objects and arrays inside one another")]);
    check_refused(&[(&"{\"a\":".repeat(200_000), "byte 320: more than 64 objects and arrays inside one another")]);
    let few = Limits { nodes_max: 3, ..Limits::default() };
    assert!(Document::read(b"{\"a\":1}".to_vec(), &few).is_ok());
    let error = Document::read(b"{\"a\":[1]}".to_vec(), &few).unwrap_err();
    assert_eq!(error.to_string(), "byte 6: more than 3 values and keys in one text");
    let boundless = Limits { depth_max: u32::MAX, nodes_max: u32::MAX, number_chars_max: 2000 };
    assert!(Document::read(nested(256).into_bytes(), &boundless).is_ok());
    let error = Document::read(nested(257).into_bytes(), &boundless).unwrap_err();
    assert_eq!(error, ReadError::TooDeep { at: 256, depth_max: 256 });
    let error = Document::read("9".repeat(1000).into_bytes(), &boundless).unwrap_err();
    assert_eq!(error, ReadError::NumberTooLarge { at: 0 });
}

#[test]
fn thousands_of_keys_cost_no_squares() {
    let object = |keys: usize| {
        let members: Vec<String> = (0..keys).map(|n| format!("\"the same beginning \\u0061 {n}\":{n}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let best_of_five = |text: String| {
        let run = |_| {
            let started = Instant::now();
            assert!(read(&text).is_ok());
            started.elapsed()
        };
        (0..5).map(run).min().unwrap_or_default()
    };
    let small = best_of_five(object(2_000));
    let large = best_of_five(object(40_000));
    // Twenty times the keys: about 30 times the work when sorted, 400 times when each is compared with each. A busy
    // machine lies in between at worst.
    assert!(large < small * 250, "2,000 keys took {small:?}, 40,000 took {large:?}");
}

/// The value as serde_json would have it; numbers are left to serde_json itself.
fn to_serde(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool => value.as_bool().unwrap().into(),
        Kind::Number => serde_json::from_str(value.number_text().unwrap()).unwrap(),
        Kind::String => value.as_str().unwrap().into(),
        Kind::Array => value.elements().map(to_serde).collect(),
        Kind::Object => value.members().map(|(key, value)| (key.into_owned(), to_serde(value))).collect(),
    }
}

fn check_against_serde(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    match Document::read(bytes.to_vec(), &Limits::default()) {
        Ok(document) => {
            let theirs = theirs.map_err(|error| TestCaseError::fail(format!("serde_json refuses: {error}")))?;
            prop_assert_eq!(to_serde(document.root()), theirs.clone());
            let mut canonical = String::new();
            canonical::write(document.root(), &mut canonical);
            let again = read(&canonical).unwrap();
            prop_assert_eq!(to_serde(again.root()), theirs);
            let mut twice = String::new();
            canonical::write(again.root(), &mut twice);
            prop_assert_eq!(twice, canonical);
        }
        // Where serde_json is content, only what it lets pass on purpose may be refused.
        Err(
            ReadError::DuplicateKey { .. }
            | ReadError::SpecialKey { .. }
            | ReadError::TooDeep { .. }
            | ReadError::NumberTooLong { .. }
            | ReadError::TooManyNodes { .. },
        ) => {}
        Err(error) => prop_assert!(theirs.is_err(), "refused alone: {error}"),
    }
    Ok(())
}

/// JSON text, mostly sound, with many spellings of few keys so that duplicates are common.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "1.0",
        "1e3",
        "1E-2",
        "-12.5e+7",
        "1e309",
        "01",
        "9007199254740993",
        r#""""#,
        r#""a""#,
        r#""\u0061\n""#,
        r#""\ud83d\ude00""#,
        r#""\ud800""#,
        r#""é\\\"""#,
        "\"\u{1}\"",
        "-",
        "1.",
        "[]",
        "{}",
    ]);
    let leaf = leaf.prop_map(str::to_owned);
    let space = prop::sample::select(vec!["", "", "", " ", "\n\t"]);
    let key =
        prop::sample::select(vec![r#""a""#, r#""\u0061""#, r#""b""#, r#""ab""#, r#""é""#, r#""\u00e9""#, r#""""#]);
    leaf.prop_recursive(6, 40, 6, move |inner| {
        let member = (key.clone(), space.clone(), inner.clone());
        let object = prop::collection::vec(member, 0..6).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(key, space, value)| format!("{key}{space}:{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let array = (prop::collection::vec(inner, 0..6), space.clone());
        let array = array.prop_map(|(values, space)| format!("[{space}{}]", values.join(",")));
        prop_oneof![object, array]
    })
}

const EDITS: &[u8] = b"\"\\{}[]:,0919-+.eEutfna \n\t\r\0\x1f\x7f\x80\xc3\xa9\xff/'";

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reader_agrees_with_serde_json_on_json(text in json_text()) {
        check_against_serde(text.as_bytes())?;
    }

    #[test]
    fn reader_agrees_with_serde_json_on_broken_json(
        text in json_text(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, prop::sample::select(EDITS)), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (place, edit, byte) in edits {
            let at = place.index(bytes.len() + 1);
            match edit {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => { bytes.remove(at); }
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at / 2),
            }
        }
        check_against_serde(&bytes)?;
    }

    #[test]
    fn reader_never_panics_on_bytes(bytes in prop::collection::vec(prop_oneof![prop::sample::select(EDITS), any::<u8>()], 0..64)) {
        check_against_serde(&bytes)?;
    }
}
