//! Step 3: the reader reads by words, vectors and guesses, and must agree with [`super::oracle`] on every text whatever.

use proptest::prelude::*;

use super::super::{Document, Limits};
use super::oracle;

/// The defaults, and limits so low that they are met.
const LIMITS: [Limits; 3] = [
    Limits { depth_max: 64, nodes_max: 100_000, number_chars_max: 64 },
    Limits { depth_max: 3, nodes_max: 1_000, number_chars_max: 4 },
    Limits { depth_max: 300, nodes_max: 11, number_chars_max: 700 },
];

fn check(bytes: &[u8]) {
    for limits in &LIMITS {
        let read = Document::read(bytes.to_vec(), limits).map(|document| document.nodes);
        assert_eq!(read, oracle::read(bytes, limits), "{:?}", String::from_utf8_lossy(bytes));
    }
}

/// What may stand inside a string: some of it ends one, some of it must not.
const PIECES: &[&str] = &[
    "a",
    "é",
    "😀",
    "\u{7f}",
    "\u{80}",
    "\\n",
    "\\\"",
    "\\\\",
    "\\/",
    "\\u0061",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\u0061",
    "\\u0000",
    "\\u00",
    "\\x",
    "\\",
    "\"",
    "\u{1}",
    "\u{1f}",
    " ",
    "\n",
    "\0",
    "\":",
    ",\"",
];

#[test]
fn whatever_ends_a_string_is_seen_at_every_place() {
    for piece in PIECES {
        for before in 0..140 {
            let filler = "x".repeat(before);
            check(format!("\"{filler}{piece}").as_bytes());
            check(format!("\"{filler}{piece}\"").as_bytes());
            check(format!("[\"{filler}{piece}{filler}\",\"{piece}\"]").as_bytes());
            check(format!("{{\"{filler}{piece}\":{{}},\"{filler}\":1}}").as_bytes());
        }
    }
}

#[test]
fn every_byte_means_the_same_at_every_place() {
    for byte in 0..128_u8 {
        for before in 0..70 {
            let filler = "x".repeat(before);
            let byte = char::from(byte);
            check(format!("[\"{filler}{byte}{filler}\",1]").as_bytes());
        }
        check(&[b'[', byte, b']']);
        check(&[b'[', b'1', byte, b'1', b']']);
    }
}

#[test]
fn white_space_and_numbers_end_at_every_place() {
    for bytes in 0..40 {
        for white_space in [" ", "\n", "\r\n", "\n ", "\t", "\u{b}", "\0", "\u{a0}"] {
            let space = white_space.repeat(bytes);
            check(
                format!("{space}[{space}1{space},{space}{{{space}\"a\"{space}:{space}2{space}}}{space}]{space}")
                    .as_bytes(),
            );
        }
        for end in ["", "]", ",", " ", ".", ".5", "e", "E2", "e400", "-", "x", "/", ":", "\u{b2}"] {
            for digit in ["0", "7", "9"] {
                let number = digit.repeat(bytes);
                check(format!("{number}{end}").as_bytes());
                check(format!("[{number}{end}").as_bytes());
                check(format!("[-{number}{end},{number}{end}       ]").as_bytes());
            }
        }
    }
    for digits in 290..320 {
        check("1".repeat(digits).as_bytes());
        check(format!("[-{}.5]", "1".repeat(digits)).as_bytes());
    }
}

#[test]
fn every_text_is_refused_alike_wherever_it_breaks_off() {
    let text = r#" {"jsonrpc":"2.0","id":1,"é\n":[true,false,null,-1.5e3,{"a":{},"b":[ ]}, "a longer text, of more than sixteen bytes"]} "#;
    for end in 0..text.len() {
        check(&text.as_bytes()[..end]);
        for byte in [0_u8, b' ', b'"', b'\\', b',', b':', b'}', b']', b'0', b'x', 0xff] {
            let mut changed = text.as_bytes().to_vec();
            changed[end] = byte;
            check(&changed);
            changed[end..].rotate_right(1);
            check(&changed);
        }
    }
}

#[test]
fn growing_lists_keep_what_they_hold() {
    for count in [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 500, 2_000] {
        check(format!("[{}1]", "1,".repeat(count)).as_bytes());
        // A dense beginning, then a long text: what was expected was wrong.
        check(format!("[{}\"{}\"{}]", "1,".repeat(count), "long ".repeat(2_000), ",1".repeat(count)).as_bytes());
        check(format!("{}{}", "[".repeat(count), "]".repeat(count)).as_bytes());
        check(format!("{}1{}", "{\"a\":".repeat(count), "}".repeat(count)).as_bytes());
        let keys: String = (0..count).map(|key| format!("\"{key}\":{{\"{key}\":[]}},")).collect();
        check(format!("{{{keys}\"last\":0}}").as_bytes());
        check(format!("{{{keys}\"0\":0}}").as_bytes());
        check(format!("{{{keys}\"\\u0030\":0}}").as_bytes());
    }
}

fn string() -> impl Strategy<Value = String> {
    let length = prop::sample::select(vec![0_usize, 1, 5, 6, 7, 8, 13, 14, 15, 16, 17, 31, 32, 63, 64, 65, 100]);
    let sound = prop::sample::select(&PIECES[..12]);
    (length, prop::collection::vec(sound, 0..4), 0..4_usize).prop_map(|(length, pieces, after)| {
        let filler = if length == 0 { 0 } else { length - 1 };
        format!("\"{}{}{}\"", "f".repeat(filler), pieces.concat(), "z".repeat(after))
    })
}

fn key() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        r#""__proto__""#,
        r#""\u005f_proto__""#,
        r#""__proto_\u005f""#,
        r#""__proto__x""#,
        r#""__prot0__""#,
        r#""a\u0000""#,
        r#""\u0061""#,
        r#""\u00e9""#,
        r#""é""#,
        r#""""#,
        r#""\/""#,
        r#""/""#,
    ]);
    prop_oneof![
        1 => special.prop_map(str::to_owned),
        8 => (0..60_u32).prop_map(|number| format!("\"{number}\"")),
        4 => (0..20_u32).prop_map(|number| format!("\"the same beginning {number}\"")),
        1 => string(),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let number = prop::sample::select(vec![
        "0",
        "-0",
        "1",
        "12",
        "-12",
        "1234567",
        "12345678",
        "123456789",
        "1.5",
        "1e3",
        "1E-2",
        "-12.5e+7",
        "1e309",
        "01",
        "-",
        "1.",
    ]);
    let word = prop::sample::select(vec!["true", "false", "null", "nul", "True", "[]", "{}", "[ ]", "{\n}"]);
    let leaf = prop_oneof![2 => string(), 2 => number.prop_map(str::to_owned), 1 => word.prop_map(str::to_owned)];
    let space = prop::sample::select(vec!["", "", "", "", " ", "\n\t", "\n          "]);
    leaf.prop_recursive(5, 60, 20, move |inner| {
        let member = (key(), space.clone(), inner.clone());
        let object = prop::collection::vec(member, 0..20).prop_map(|members| {
            let members: Vec<_> =
                members.iter().map(|(key, space, value)| format!("{key}{space}:{space}{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let array = (prop::collection::vec(inner, 0..8), space.clone());
        let array = array.prop_map(|(values, space)| format!("[{space}{}{space}]", values.join(&format!("{space},"))));
        prop_oneof![object, array]
    })
}

const EDITS: &[u8] = b"\"\"\"\\\\{}[]:,,01-+.eEutfn \n\t\r\0\x1f\x7f\x80\xc3\xa9\xff/_";

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_json(text in json()) {
        check(text.as_bytes());
    }

    #[test]
    fn on_json_that_was_damaged(
        text in json(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6_u8, prop::sample::select(EDITS)), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (place, edit, byte) in edits {
            let at = place.index(bytes.len() + 1);
            match edit {
                0 | 1 => bytes.insert(at, byte),
                2 if at < bytes.len() => { bytes.remove(at); }
                3 if at < bytes.len() => bytes[at] ^= 1 << (byte & 7),
                4 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        check(&bytes);
        let mut marked = b"\xef\xbb\xbf".to_vec();
        marked.append(&mut bytes);
        check(&marked);
    }

    #[test]
    fn on_objects_of_many_keys(keys in prop::collection::vec(key(), 0..40)) {
        let members: Vec<_> = keys.iter().map(|key| format!("{key}:{{{key}:0}}")).collect();
        check(format!("{{{}}}", members.join(",")).as_bytes());
    }
}
