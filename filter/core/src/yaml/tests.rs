//! Text in; nodes as JSON, or located messages, out.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(text: &str) -> serde_json::Value {
    to_json(&read(text, &Limits::default()).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}")))
}

fn wrong(text: &str) -> Vec<String> {
    let small = Limits { text_bytes_max: 4_096, depth_max: 16, nodes_max: 200 };
    read(text, &small).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn plain_scalars_follow_the_core_schema_of_yaml_1_2() {
    let text =
        "[~, null, true, False, no, on, 012, -3, 0x1f, 0o17, 0.5, 1e3, .5, 1., .inf, 1_000, 2026-01-27, '5', \"x\"]";
    let expected = json!([
        null,
        null,
        true,
        false,
        "no",
        "on",
        12,
        -3,
        31,
        15,
        0.5,
        1000.0,
        0.5,
        1.0,
        ".inf",
        "1_000",
        "2026-01-27",
        "5",
        "x"
    ]);
    assert_eq!(check(text), expected);
}

#[test]
fn numbers_keep_their_text() {
    let node = read("[0.50, 012, 1e3]", &Limits::default()).unwrap();
    let Kind::Seq(items) = node.kind else { panic!() };
    let kinds: Vec<Kind> = items.into_iter().map(|item| item.kind).collect();
    assert_eq!(kinds, [Kind::Float("0.50".into()), Kind::Int("012".into()), Kind::Float("1e3".into())]);
}

#[test]
fn places_count_from_one_in_yaml_and_in_json() {
    for text in ["a: 1\nbé:\n  - x: [1, yy]\n", "{\"a\": 1,\n\"bé\":\n  [ {\"x\": [1, \"yy\"]}]}"] {
        let node = read(text, &Limits::default()).unwrap();
        let list = node.get("bé").unwrap();
        let Kind::Seq(items) = &list.kind else { panic!() };
        assert_eq!(items[0].at.line, 3, "{text}");
        assert_eq!(items[0].at.column, 5, "{text}");
    }
}

#[test]
fn json_that_is_not_quite_yaml_reads_too() {
    assert_eq!(check("{\"a\":\t\"\\ud83d\\ude00\\/\",\n\t\"b\":[]}"), json!({"a": "😀/", "b": []}));
    let long_key = "k".repeat(2_000);
    assert_eq!(check(&format!("{{\"{long_key}\": 1}}")), json!({ long_key: 1 }));
}

#[test]
fn yaml_blocks_comments_and_anchors_read() {
    let text = "# comment\nbase: &b {x: 1}\nuse: *b\ntext: |\n  one\n  two\nlist:\n- a\n- b: c\n";
    let expected = json!({"base": {"x": 1}, "use": {"x": 1}, "text": "one\ntwo\n", "list": ["a", {"b": "c"}]});
    assert_eq!(check(text), expected);
    assert_eq!(check(""), json!(null));
    assert_eq!(check("# nothing\n"), json!(null));
    assert_eq!(check("---\na: 1\n...\n"), json!({"a": 1}));
    assert_eq!(check("!!str 5"), json!("5"));
}

#[test]
fn duplicate_keys_are_refused_at_every_level_and_all_at_once() {
    let text = "a: 1\nb:\n  c: 1\n  c: 2\nlist: [{d: 1, d: 2}]\na: 2\n";
    assert_eq!(
        wrong(text),
        [
            "4:3: key `c` stands twice in one mapping, first at 3:3",
            "5:15: key `d` stands twice in one mapping, first at 5:9",
            "6:1: key `a` stands twice in one mapping, first at 1:1",
        ]
    );
    assert_eq!(wrong("{\"a\": 1, \"\\u0061\": 2}"), ["1:10: key `a` stands twice in one mapping, first at 1:2"]);
}

#[test]
fn what_two_readers_could_understand_differently_is_refused() {
    for (text, expected) in [
        ("1: x", "1:1: a key must be a string, found a number: write \"1\" in quotes"),
        ("true: x", "1:1: a key must be a string, found a boolean"),
        ("? [a]\n: x", "1:3: a key must be a string, found a list"),
        ("base: &b {x: 1}\nuse:\n  <<: *b\n", "3:3: merge keys (`<<`) are not read; write the fields out"),
        ("a: !ruby/object x", "1:4: this tag is not read here; leave it out, and quote what must be a string"),
        ("a: !!int x", "1:4: this tag is not read here; leave it out, and quote what must be a string"),
        ("a: !!set {x}", "1:4: this tag is not read here; leave it out"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document starts here; one file holds one document"),
        ("a: &x [*x]", "1:8: this alias stands inside what it refers to; write the value out"),
    ] {
        let found = wrong(text);
        assert!(found.iter().any(|line| line == expected), "{text}: {found:?}");
    }
}

#[test]
fn syntax_errors_say_where() {
    for (text, place) in [("a: [1, 2", "2:1"), ("a: 1\n b: 2", "2:"), ("a: *nowhere", "1:4"), ("a: \"x", "1:")] {
        let found = wrong(text);
        assert!(found[0].starts_with(place), "{text}: {found:?}");
    }
}

#[test]
fn text_depth_and_expanded_size_are_bounded() {
    assert_eq!(wrong(&"#".repeat(5_000)), ["1:1: the text has 5000 bytes, at most 4096 are read"]);
    assert_eq!(wrong(&"[".repeat(17)), ["1:17: more than 16 lists and mappings inside one another"]);
    let bomb =
        "a: &a [x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c]\n";
    let found = wrong(bomb);
    assert!(found[0].contains("more than 200 values once every alias is written out"), "{found:?}");
    let many = format!("[{}]", "1,".repeat(300));
    assert!(wrong(&many)[0].contains("more than 200 values"));
}

#[test]
fn the_billion_laughs_stop_at_the_default_limit() {
    let mut text = "a0: &a0 lol\n".to_owned();
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(read(&text, &Limits::default()).is_err());
}

#[test]
fn the_typed_reader_reports_everything_with_paths_and_suggestions() {
    let node =
        read("list: [1, x]\nnumber: 012\nflag: yes\nword: alow\nextra: 1\nempty: []\n", &Limits::default()).unwrap();
    let mut problems = Problems::new();
    let root = Cursor::root(&node).about("the test");
    let known = ["list", "number", "flag", "word", "empty", "missing"];
    let fields = root.fields(&known, &mut problems).unwrap();
    fields.get("list").unwrap().strings(&mut problems);
    fields.get("number").unwrap().whole_number(1..=9, &mut problems);
    fields.get("flag").unwrap().boolean(&mut problems);
    fields.get("word").unwrap().one_of("word", &[("allow", 1), ("deny", 2)], &mut problems);
    fields.get("empty").unwrap().one_or_more(&mut problems);
    fields.require("missing", &mut problems);
    let expected = "\
1:1: the test: field `missing` is missing
1:8: list[0]: the test: expected a string (in quotes), found the number `1`
2:9: number: the test: expected a whole number from 1 to 9, found `012`
3:7: flag: the test: expected `true` or `false`, found the string `yes`
4:7: word: the test: unknown word `alow` (did you mean `allow`?)
5:1: the test: unknown field `extra` (known: list, number, flag, word, empty, missing)
6:8: empty: the test: an empty list never matches; leave the field out or fill it";
    assert_eq!(problems.to_string(), expected);
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[-a0:\\[\\]{},&*!|>'\"#%@ \n\t~<.?\\\\]{0,60}") {
        let _ = read(&text, &Limits::default());
    }

    #[test]
    fn json_reads_as_it_stands(numbers in proptest::collection::vec(any::<i64>(), 0..5), text in any::<String>()) {
        let value = json!({"numbers": numbers, "text": text, "nested": [{"x": null, "y": true}]});
        prop_assert_eq!(check(&value.to_string()), value);
    }
}
