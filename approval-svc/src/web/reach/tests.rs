//! What a form offers of a call, and what comes back from it.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

const LIMITS: GrantLimits = GrantLimits { uses_max: 5, within_ms_max: 600_000 };

fn call() -> String {
    json!({"params": {"arguments": {"a/b": "x", "n": 3, "ok": true, "deep": {"x": 1}, "long": "y".repeat(300)}}})
        .to_string()
}

fn read(fields: &[(&str, &str)]) -> Result<Option<Scope>, String> {
    let fields: BTreeMap<&str, &str> = fields.iter().copied().collect();
    asked(&call(), Some(LIMITS), |name| fields.get(name).copied().unwrap_or_default().to_owned())
}

#[test]
fn plain_arguments_are_offered_and_nothing_else() {
    let reach = Reach::new(LIMITS, &call());
    let offered: Vec<&str> = reach.arguments.iter().map(|one| one.pointer.as_str()).collect();
    assert_eq!(offered, ["/a~1b", "/n", "/ok"]);
    assert_eq!((reach.uses_max, reach.minutes_max), (5, 10));
}

#[test]
fn form_says_how_far_and_which_arguments_may_differ_how() {
    assert_eq!(read(&[("uses", ""), ("minutes", "5")]), Ok(None));
    assert_eq!(read(&[("uses", "1")]), Ok(None));
    let scope = read(&[
        ("uses", "3"),
        ("minutes", "5"),
        ("differs:/a~1b", "one_of"),
        ("value:/a~1b", "x, y"),
        ("differs:/n", "lte"),
        ("value:/n", "9"),
        ("differs:/ok", ""),
        ("differs:/deep", "prefix"),
        ("value:/deep", "x"),
    ]);
    let scope = serde_json::to_value(scope.unwrap().unwrap()).unwrap();
    let differ = json!({"/a~1b": {"one_of": ["x", "y"]}, "/n": {"lte": 9}});
    assert_eq!(scope, json!({"uses": 3, "within_ms": 300_000, "arguments": differ}));
    let numbers = read(&[("uses", "2"), ("minutes", "1"), ("differs:/n", "one_of"), ("value:/n", "1,2")]);
    assert_eq!(serde_json::to_value(numbers.unwrap().unwrap().arguments).unwrap(), json!({"/n": {"one_of": [1, 2]}}));
    for wrong in [
        vec![("uses", "many")],
        vec![("uses", "2"), ("minutes", "")],
        vec![("uses", "2"), ("minutes", "1"), ("differs:/a~1b", "prefix")],
        vec![("uses", "2"), ("minutes", "1"), ("differs:/n", "lte"), ("value:/n", "-1")],
        vec![("uses", "2"), ("minutes", "1"), ("differs:/n", "one_of"), ("value:/n", "1,x")],
        vec![("uses", "2"), ("minutes", "1"), ("differs:/a~1b", "anything"), ("value:/a~1b", "x")],
    ] {
        assert!(read(&wrong).is_err(), "{wrong:?}");
    }
}
