//! The reference of the policy language, `envoy/POLICY.md`: its tables are the schema's, and its examples are documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use clap::CommandFactory;
use holdpoint_core::cases;
use holdpoint_core::config::FilterConfig;
use holdpoint_core::policy;
use holdpoint_core::yaml;

use super::super::*;

/// Every table of the page: its name there, where its fields stand in the schema, and the table that has them already,
/// where only what is different is shown.
const TABLES: [(&str, &str, Option<&str>); 16] = [
    ("document", "filter", None),
    ("approval-service", "filter/properties/approval", None),
    ("identity", "filter/properties/identity", None),
    ("limits", "filter/properties/limits", None),
    ("record", "filter/properties/audit", None),
    ("policy", "policy", None),
    ("server", "server", None),
    ("tool", "tool", None),
    ("entry", "entry", Some("tool")),
    ("rule", "rule", None),
    ("match", "match", None),
    ("test", "predicate", None),
    ("approval", "approval", None),
    ("approvers", "approvers", None),
    ("constraints", "constraints", None),
    ("bound", "bound", Some("predicate")),
];
const END: &str = "<!-- end of fields -->\n";

/// The tables made from the schema, and which of its fields they show.
struct Tables {
    definitions: Value,
    shown: BTreeSet<String>,
}

impl Tables {
    fn new() -> Self {
        let mut whole = schema(Of::Filter).expect("the schema");
        Self { definitions: whole["definitions"].take(), shown: BTreeSet::new() }
    }

    fn at(&self, pointer: &str) -> Value {
        self.definitions.pointer(&format!("/{pointer}")).cloned().unwrap_or_else(|| panic!("{pointer}"))
    }

    /// The table of that name; nothing where all of it stands in another one.
    fn table(&mut self, name: &str) -> String {
        let (_, pointer, base) = TABLES.iter().find(|table| table.0 == name).unwrap_or_else(|| panic!("table {name}"));
        let base = base.map_or(Value::Null, |base| self.at(base));
        let mut rows = String::new();
        self.rows(pointer, "", &base, &mut rows);
        match rows.as_str() {
            "" => String::new(),
            _ => format!(
                "<a id=\"fields-{name}\"></a>\n\n| Field | What | Shape | If left out |\n|---|---|---|---|\n{rows}\n"
            ),
        }
    }

    fn rows(&mut self, pointer: &str, before: &str, base: &Value, rows: &mut String) {
        let of = self.at(pointer);
        let required: Vec<&str> = of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Sorted here: whether a JSON object keeps its order depends on who else is built with it.
        let fields: BTreeMap<&String, &Value> = of["properties"].as_object().expect("properties").iter().collect();
        for (name, field) in fields {
            let path = format!("{pointer}/properties/{name}");
            self.shown.insert(path.clone());
            if base["properties"][name] != *field {
                let what = field["description"].as_str().unwrap_or_else(|| panic!("{path} has no description"));
                let left_out = match (&field["default"], required.contains(&name.as_str())) {
                    (Value::Null, true) => "refused".to_owned(),
                    (Value::Null, false) => "–".to_owned(),
                    (Value::String(word), _) => format!("`{word}`"),
                    (Value::Number(number), _) => grouped(number.as_u64().expect("a whole number")),
                    (value, _) => format!("`{value}`"),
                };
                let shape = self.shape(field, name, &path);
                writeln!(rows, "| `{before}{name}` | {what} | {shape} | {left_out} |").expect("a text");
            }
            for inside in self.mappings_in(field, &path) {
                self.rows(&inside, &format!("{before}{name}."), &base["properties"][name], rows);
            }
        }
    }

    /// The mappings of their own fields that `field` is made of, if no other table has them.
    fn mappings_in(&self, field: &Value, path: &str) -> Vec<String> {
        if TABLES.iter().any(|(_, pointer, _)| *pointer == path) {
            return Vec::new();
        }
        let inside = ["", "/items", "/oneOf/1"].map(|step| format!("{path}{step}"));
        let has_fields = |pointer: &String| {
            let step = pointer.strip_prefix(path).unwrap_or_default();
            field.pointer(&format!("{step}/properties")).is_some()
        };
        inside.into_iter().filter(has_fields).collect()
    }

    fn shape(&self, field: &Value, name: &str, path: &str) -> String {
        if let Some(of) = field["$ref"].as_str() {
            let of = of.trim_start_matches("#/definitions/");
            if let Some((table, ..)) = TABLES.iter().find(|(_, pointer, _)| *pointer == of) {
                return link(table);
            }
            return self.shape(&self.at(of), name, of);
        }
        if let Some((table, ..)) = TABLES.iter().find(|(_, pointer, _)| *pointer == path)
            && field["type"] == "object"
        {
            return link(table);
        }
        if let Some(all) = field["allOf"].as_array() {
            return self.shape(&all[0], name, path);
        }
        if let Some(words) = field["enum"].as_array() {
            let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_str().expect("a word"))).collect();
            return words.join(", ");
        }
        let any = field["anyOf"].as_array().or_else(|| field["oneOf"].as_array());
        if let Some(any) = any.filter(|_| field["type"].is_null()) {
            return self.any(any, name, path);
        }
        match (field["type"].as_str(), field["type"].is_array()) {
            (_, true) => "text, number, `true`, `false` or `null`".to_owned(),
            (Some("string"), _) => text_shape(field),
            (Some("integer"), _) => number_shape(field, name),
            (Some("number"), _) => "number".to_owned(),
            (Some("boolean"), _) => "`true` or `false`".to_owned(),
            (Some("array"), _) => {
                let most = field["maxItems"].as_u64().map(|most| format!(", at most {}", grouped(most)));
                let of = match field["items"]["properties"].is_object() {
                    true => "mappings".to_owned(),
                    false => match self.shape(&field["items"], name, path).as_str() {
                        "text" => "texts".to_owned(),
                        "[mapping](#fields-rule)" => "[mappings](#fields-rule)".to_owned(),
                        other => other.to_owned(),
                    },
                };
                format!("list of {of}{}", most.unwrap_or_default())
            }
            (Some("object"), _) => match field["additionalProperties"].is_object() {
                true => {
                    let most = field["maxProperties"].as_u64().map(|most| format!(", at most {}", grouped(most)));
                    let of = self.shape(&field["additionalProperties"], name, path);
                    format!("mapping to {of}{}", most.unwrap_or_default())
                }
                false => "mapping".to_owned(),
            },
            other => panic!("{path}: {other:?}"),
        }
    }

    /// One of several shapes; mostly one value, or a list of such values.
    fn any(&self, any: &[Value], name: &str, path: &str) -> String {
        let shapes: Vec<String> = any
            .iter()
            .map(|one| match (one["type"] == "array", one["minItems"].is_u64()) {
                (true, true) => match one["maxItems"].as_u64() {
                    Some(most) => format!("a list of at most {most}"),
                    None => "a list".to_owned(),
                },
                (true, false) => "a list, or `[]`".to_owned(),
                (false, _) => self.shape(one, name, path),
            })
            .collect();
        shapes.join(", or ")
    }
}

fn link(table: &str) -> String {
    // All that is said of an entry stands in the table of tools.
    let table = if table == "entry" { "tool" } else { table };
    format!("[mapping](#fields-{table})")
}

fn text_shape(field: &Value) -> String {
    match (field["pattern"].as_str(), field["maxLength"].as_u64()) {
        (Some(pattern), _) => {
            let kind = pattern.trim_start_matches('^').split(':').next().unwrap_or_default();
            format!("`{kind}:` and 64 hex digits")
        }
        (None, Some(most)) => format!("text, at most {} bytes", grouped(most)),
        (None, None) => "text".to_owned(),
    }
}

fn number_shape(field: &Value, name: &str) -> String {
    let unit = match name {
        _ if name.contains("_ms") => " ms",
        _ if name.contains("bytes") => " bytes",
        _ => "",
    };
    let bound = |end: &str| field[end].as_u64().map(grouped).unwrap_or_else(|| panic!("{name} has no {end}"));
    format!("{} to {}{unit}", bound("minimum"), bound("maximum"))
}

/// `86,400,000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn page() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/POLICY.md");
    let text = std::fs::read_to_string(&path).expect("the reference of the policy language");
    (path, text)
}

/// The page with every table as the schema has it.
fn with_tables(page: &str, tables: &mut Tables) -> String {
    let mut made = String::new();
    let mut rest = page;
    while let Some((prose, after)) = rest.split_once("<!-- fields of ") {
        let (name, after) = after.split_once(" -->\n").expect("the end of a mark");
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("{name}: no end of its fields"));
        write!(made, "{prose}<!-- fields of {name} -->\n{}{END}", tables.table(name)).expect("a text");
        rest = after;
    }
    made + rest
}

/// Where every field of the schema stands.
fn fields_in(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, inside) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                if path.rsplit('/').nth(1) == Some("properties") {
                    found.insert(path.clone());
                }
                fields_in(inside, &path, found);
            }
        }
        Value::Array(items) => {
            for (at, inside) in items.iter().enumerate() {
                fields_in(inside, &format!("{path}/{at}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn tables_of_the_reference_are_the_schemas() {
    let (path, kept) = page();
    let mut tables = Tables::new();
    let made = with_tables(&kept, &mut tables);
    if std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &made).expect("the reference");
        return;
    }
    assert!(
        kept == made,
        "envoy/POLICY.md is out of date: run these tests with UPDATE_SNAPSHOTS=1 and read what changed"
    );
    // What has another table's fields all alike has none of its own.
    tables.table("entry");
    let mut all = BTreeSet::new();
    fields_in(&tables.definitions, "", &mut all);
    let missing: Vec<&String> = all.difference(&tables.shown).collect();
    assert!(all.len() > 150 && missing.is_empty(), "fields in no table of envoy/POLICY.md: {missing:?}");
}

#[test]
fn help_of_the_policy_commands_names_the_reference() {
    let mut cli = crate::cli::Cli::command();
    let policy = cli.find_subcommand_mut("policy").expect("the commands of policies");
    assert!(policy.render_help().to_string().contains("envoy/POLICY.md"));
}

/// The blocks of YAML, each with the line it begins at.
fn examples(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in page.lines().enumerate() {
        match (&mut open, line) {
            (None, "```yaml") => open = Some((at + 1, String::new())),
            (Some(_), "```") => found.extend(open.take()),
            (Some((_, text)), line) => text.push_str(&format!("{line}\n")),
            (None, _) => {}
        }
    }
    found
}

/// A part of a document made whole, and what it is a part of: rules, a piece of a policy, or sections of the filter's
/// document.
fn whole(part: Value) -> (Of, Value) {
    const SMALLEST: &str = "{version: \"2026-01-27\", rules: []}";
    let mut part = match part {
        Value::Array(rules) => json!({"rules": rules}),
        other => other,
    };
    let json_of = |text: &str| yaml::to_json(&yaml::read(text, &yaml::Limits::default()).expect("a text"));
    let is_policy = ["version", "servers", "rules", "default_decision"].iter().any(|name| part.get(name).is_some());
    let (of, around) = match is_policy {
        true => (Of::Policy, SMALLEST.to_owned()),
        false => {
            let key = "7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";
            let text = format!(
                "{{approval: {{cluster: holdpoint, service_key: \"ed25519:{key}\"}}, \
                 identity: {{sources: [{{jwt: {{metadata_key: jwt}}}}]}}, policy: {SMALLEST}}}"
            );
            (Of::Filter, text)
        }
    };
    for (name, value) in json_of(&around).as_object().expect("a mapping") {
        if part.get(name).is_none() {
            part[name] = value.clone();
        }
    }
    (of, part)
}

#[test]
fn every_example_of_the_reference_is_read_and_decides_as_it_says() {
    let mut policy_before = None;
    let (mut read, mut judged) = (0, 0);
    for (line, text) in examples(&page().1) {
        let at = format!("envoy/POLICY.md:{line}");
        let part = yaml::read(&text, &yaml::Limits::default()).unwrap_or_else(|error| panic!("{at}: {error:?}"));
        let part = yaml::to_json(&part);
        if part.get("cases").is_some() {
            let file = cases::read_cases(&text).unwrap_or_else(|error| panic!("{at}: {error}"));
            let snapshot = policy_before.as_ref().expect("a policy before its cases");
            for case in &file.cases {
                let differences = case.expected.differences(&case.call.judge(snapshot));
                assert!(differences.is_empty(), "{at}: {}: {differences:#?}", case.name);
                judged += 1;
            }
            continue;
        }
        let (of, document) = whole(part);
        let validator = jsonschema::draft7::new(&schema(of).expect("the schema")).expect("a schema");
        let wrong: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{at}: {wrong:?}");
        match of {
            Of::Policy => {
                let document = policy::read_file(&document.to_string()).unwrap_or_else(|error| panic!("{at}: {error}"));
                policy_before = Some(policy::compile(&document).unwrap_or_else(|error| panic!("{at}: {error}")));
            }
            Of::Filter => {
                FilterConfig::read(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{at}: {error}"));
            }
        }
        read += 1;
    }
    assert!(read >= 10 && judged >= 10, "{read} documents, {judged} cases");
}
