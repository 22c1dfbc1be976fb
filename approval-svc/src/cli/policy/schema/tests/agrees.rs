//! Schema and reader agree: what one accepts the other accepts, by a validator that is not ours.

use std::path::PathBuf;

use holdpoint_core::config::FilterConfig;
use holdpoint_core::policy;
use holdpoint_core::yaml;

use super::super::*;

/// Every field of the grammar, and every form of value that has more than one.
const WHOLE: &str = include_str!("whole.yaml");

/// What the reader refuses and no schema can say: it is about two values at once, or about a text's inner grammar.
const BEYOND_A_SCHEMA: [&str; 4] = [
    // `every` and `optional` alone test nothing.
    "expected at least one of equals",
    // Patterns are matched against the words that there are.
    "unknown action",
    "unknown topic",
    "a prefix starts with `/`",
];

fn validator(of: Of) -> jsonschema::Validator {
    jsonschema::draft7::new(&schema(of).expect("the schema")).expect("a schema")
}

fn json_of(text: &str) -> Value {
    yaml::to_json(&yaml::read(text, &yaml::Limits::default()).unwrap_or_else(|error| panic!("{error:?}")))
}

fn reader_refuses(document: &Value) -> Option<String> {
    let text = document.to_string();
    match policy::read_file(&text).and_then(|document| policy::compile(&document)) {
        Ok(_) => None,
        Err(problems) => Some(problems.to_string()),
    }
}

fn files(ending: &str) -> Vec<PathBuf> {
    let mut dirs = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_string_lossy().ends_with(ending) && !path.ends_with("cases.yaml") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_example_is_a_document_of_the_schema() {
    let (policy, filter) = (validator(Of::Policy), validator(Of::Filter));
    let mut seen = 0;
    for path in files(".yaml") {
        let text = std::fs::read_to_string(&path).expect("a file");
        let document = json_of(&text);
        let (validator, is_read) = if document.get("rules").is_some() {
            (&policy, policy::read_file(&text).is_ok())
        } else if document.get("approval").is_some() {
            (&filter, FilterConfig::read(text.as_bytes()).is_ok())
        } else {
            continue;
        };
        seen += 1;
        let wrong: Vec<String> =
            validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(is_read && wrong.is_empty(), "{}: {wrong:#?}", path.display());
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn document_with_every_field_is_accepted_by_both() {
    let document = json_of(WHOLE);
    assert_eq!(reader_refuses(&document), None);
    let errors: Vec<String> = validator(Of::Policy).iter_errors(&document).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0]);
}

/// Where a value stands.
type Path = Vec<String>;

fn paths(value: &Value, here: &mut Path, found: &mut Vec<Path>) {
    found.push(here.clone());
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inside {
        here.push(key);
        paths(value, here, found);
        here.pop();
    }
}

fn at<'v>(value: &'v mut Value, path: &[String]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
        other => &mut other[step.as_str()],
    })
}

/// The whole document with one thing changed, each in turn.
fn mutants() -> Vec<(String, Value)> {
    let whole = json_of(WHOLE);
    let mut all = Vec::new();
    paths(&whole, &mut Vec::new(), &mut all);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(""),
        json!([]),
        json!({}),
        json!("qqq"),
        json!([""]),
        json!(7),
    ];
    let mut mutants = Vec::new();
    for path in all {
        let name = format!("/{}", path.join("/"));
        for value in &values {
            let mut mutant = whole.clone();
            *at(&mut mutant, &path) = value.clone();
            mutants.push((format!("{name} = {value}"), mutant));
        }
        let mut extended = whole.clone();
        if let Value::Object(members) = at(&mut extended, &path) {
            members.insert("qqq".to_owned(), json!(1));
            mutants.push((format!("{name} + qqq"), extended));
        }
        if let Some((last, parent)) = path.split_last() {
            let mut shortened = whole.clone();
            match at(&mut shortened, parent) {
                Value::Object(members) => drop(members.remove(last)),
                Value::Array(items) => drop(items.remove(last.parse().expect("an index"))),
                _ => {}
            }
            mutants.push((format!("{name} - "), shortened));
        }
    }
    mutants
}

#[test]
fn one_changed_value_is_accepted_by_both_or_by_neither() {
    let validator = validator(Of::Policy);
    let (mut both, mut neither, mut reader_alone) = (0, 0, 0);
    let mut differ = Vec::new();
    for (name, mutant) in mutants() {
        match (reader_refuses(&mutant), validator.is_valid(&mutant)) {
            (None, true) => both += 1,
            (Some(_), false) => neither += 1,
            (None, false) => differ.push(format!("{name}: only the schema refuses it")),
            (Some(why), true) if BEYOND_A_SCHEMA.iter().any(|known| why.contains(known)) => reader_alone += 1,
            (Some(why), true) => differ.push(format!("{name}: only the reader refuses it: {why}")),
        }
    }
    assert!(
        differ.is_empty(),
        "{both} by both, {neither} by neither, {reader_alone} by the reader alone\n{}",
        differ.join("\n")
    );
    assert!(both > 100 && neither > 500, "{both} {neither} {reader_alone}");
}
