//! Lists with entries taken out, and long answers looked through.

use proptest::prelude::*;

use super::*;

fn hidden(text: &str, shown: &[&str]) -> (String, u32) {
    let answer = Answer::read(text.as_bytes().to_vec()).expect("readable");
    let mut edits = Edits::default();
    let mut may_show = |offered: Offered<'_>, _: Value<'_>| match offered {
        Offered::Tool(name) | Offered::Resource(name) | Offered::ResourceTemplate(name) | Offered::Prompt(name) => {
            shown.contains(&name)
        }
    };
    let hidden = answer.hide(&mut may_show, &mut edits);
    let text = edits.apply(answer.bytes()).expect("edits fit");
    (String::from_utf8(text).expect("UTF-8"), hidden)
}

fn check(list: &str, shown: &[&str], expected: &str) {
    let text = |list: &str| format!(r#"{{"id":1, "result":{{"nextCursor":"c", "tools":{list} ,"ttlMs":1.50}}}}"#);
    assert_eq!(hidden(&text(list), shown).0, text(expected), "{list} {shown:?}");
}

#[test]
fn what_stays_is_not_touched() {
    let three = "[ {\"name\":\"a\" } ,\n {\"name\":\"b\"},{\"x\":1e0,\"name\":\"c\"} ]";
    check(three, &["a", "b", "c"], three);
    check(three, &["a", "b"], "[ {\"name\":\"a\" } ,\n {\"name\":\"b\"} ]");
    check(three, &["a", "c"], "[ {\"name\":\"a\" },{\"x\":1e0,\"name\":\"c\"} ]");
    check(three, &["b"], "[ {\"name\":\"b\"} ]");
    check(three, &["c"], "[ {\"x\":1e0,\"name\":\"c\"} ]");
    check(three, &["a"], "[ {\"name\":\"a\" } ]");
    check(three, &[], "[  ]");
    check("[]", &[], "[]");
}

#[test]
fn an_entry_without_one_certain_name_is_hidden() {
    check(r#"[{"name":"a","Name":"b"},{"n\u0061me":"a"},{"name":5},7,{}]"#, &["a", "b"], r#"[{"n\u0061me":"a"}]"#);
}

#[test]
fn every_kind_of_list_is_filtered_and_made_private() {
    let (text, count) = hidden(
        r#"[{"id":1,"result":{"resources":[{"uri":"a:"},{"uri":"b:"}],"cacheScope":"public"}},
            {"id":2,"result":{"resourceTemplates":[{"uriTemplate":"a:"}],"cacheScope":"private"}},
            {"id":3,"result":{"prompts":[{"name":"p"}]}},{"id":4,"result":{"content":[],"cacheScope":"public"}}]"#,
        &["b:"],
    );
    assert_eq!(
        text,
        r#"[{"id":1,"result":{"resources":[{"uri":"b:"}],"cacheScope":"private"}},
            {"id":2,"result":{"resourceTemplates":[],"cacheScope":"private"}},
            {"id":3,"result":{"prompts":[]}},{"id":4,"result":{"content":[],"cacheScope":"public"}}]"#
    );
    assert_eq!(count, 3);
}

#[test]
fn what_could_be_read_in_two_ways_is_an_error() {
    for text in [
        r#"{"result":{"tools":[],"Tools":[{"name":"x"}]}}"#,
        r#"{"result":{"Tools":[{"name":"x"}]}}"#,
        r#"{"Result":{"tools":[]}}"#,
        r#"{"result":{"tools":[]},"result":{}}"#,
        r#"{"result":{"input_requests":{}}}"#,
        "{",
    ] {
        assert!(Answer::read(text.as_bytes().to_vec()).is_err(), "{text}");
    }
}

#[test]
fn requests_of_a_server_are_found_in_both_eras() {
    let answer =
        Answer::read(br#"{"id":"s-1","method":"sampling/createMessage","params":{"a":1}}"#.to_vec()).expect("ok");
    let asked = server_request(answer.messages()[0]).expect("a request");
    assert_eq!((asked.method, asked.id_raw), ("sampling/createMessage", Some("\"s-1\"")));
    let text = br#"{"id":1,"result":{"inputRequests":{"a":{"method":"roots/list"},"b":{"method":"elic\u0069tation/create"}}}}"#;
    let answer = Answer::read(text.to_vec()).expect("ok");
    let asked: Vec<&str> = input_requests(answer.messages()[0]).iter().map(|asked| asked.method).collect();
    assert_eq!(asked, ["roots/list", "elic\\u0069tation/create"], "escaped, so unknown");
    assert!(answer.is_response() && !answer.says_error());
}

fn scans(text: &str) -> bool {
    let whole = Scanner::new().push(text.as_bytes());
    let mut scanner = Scanner::new();
    let bytewise = text.bytes().fold(false, |_, byte| scanner.push(&[byte]));
    assert_eq!(whole, bytewise, "{text}");
    whole
}

#[test]
fn a_long_answer_is_looked_through_for_what_it_asks() {
    for text in [
        r#"{"result":{"content":[{"text":"x"}],"inputRequests":{}}}"#,
        r#"[{"id":1},{"result":{"InputRequests":{}}}]"#,
        r#"{"a":[{}],"result" : { "x":{"y":[1,2]} , "input\u0052equests":1}}"#,
        r#"{"resul\u0074":{"inputRequests":{}}}"#,
        r#"{"id":1,"params":{"a":[{}]},"Method":"sampling/createMessage"}"#,
    ] {
        assert!(scans(text), "{text}");
    }
    for text in [
        r#"{"result":{"content":[{"text":"inputRequests","inputRequests":1}],"structuredContent":{"inputRequests":{}}}}"#,
        r#"{"id":"inputRequests","error":{"inputRequests":{}}}"#,
        r#"{"result":{"a":"\",\"inputRequests\":"}}"#,
        r#"{"result":{"a":["inputRequests"],"method":1},"inputRequests":1,"error":{"method":1}}"#,
    ] {
        assert!(!scans(text), "{text}");
    }
}

proptest! {
    /// Filtering shows exactly what is to be shown, in order, and what it makes is a list again.
    #[test]
    fn any_list_keeps_exactly_what_may_be_shown(names in prop::collection::vec("[a-e]", 0..12), shown in prop::collection::vec("[a-e]", 0..4)) {
        let entries: Vec<String> = names.iter().map(|name| format!("{{\"name\":\"{name}\"}}")).collect();
        let text = format!("{{\"result\":{{\"prompts\":[{}]}}}}", entries.join(" , "));
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let (text, _) = hidden(&text, &shown);
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let left: Vec<&str> = read["result"]["prompts"].as_array().expect("a list").iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
        let expected: Vec<&str> = names.iter().map(String::as_str).filter(|name| shown.contains(name)).collect();
        prop_assert_eq!(left, expected);
    }
}
