//! Writes nodes as YAML that every reader takes alike: anything that two of them could read differently is quoted.

use std::fmt::Write as _;

use holdpoint_core::yaml::{Kind, Node};

/// Characters of one line up to which a mapping or a list is written on it.
const LINE_CHARS_MAX: usize = 100;

/// The node as the text of one document, with a line end.
pub fn yaml(node: &Node) -> String {
    let mut out = String::new();
    block(node, 0, &mut out);
    out
}

/// A mapping's or a list's lines at `indent`; a scalar's text.
fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(out, "{:indent$}{}:", "", scalar(key));
                below(value, indent, out);
            }
        }
        Kind::Seq(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                match (&item.kind, flow(item)) {
                    (_, Some(line)) if fits(&line, indent) => {
                        let _ = writeln!(out, " {line}");
                    }
                    (Kind::Map(_), _) => {
                        let mut inner = String::new();
                        block(item, indent + 2, &mut inner);
                        let _ = write!(out, " {}", inner.trim_start());
                    }
                    (Kind::Seq(_), _) => {
                        out.push('\n');
                        block(item, indent + 2, out);
                    }
                    _ => below(item, indent, out),
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{:indent$}{}", "", flow(node).unwrap_or_else(|| scalar(node)));
        }
    }
}

/// What stands behind a key or a dash.
fn below(value: &Node, indent: usize, out: &mut String) {
    if let Some((mark, lines)) = literal(value) {
        let _ = writeln!(out, " {mark}");
        for line in lines {
            if line.is_empty() {
                out.push('\n');
            } else {
                let _ = writeln!(out, "{:width$}{line}", "", width = indent + 2);
            }
        }
        return;
    }
    match flow(value) {
        Some(line) if fits(&line, indent) || !is_collection(value) => {
            let _ = writeln!(out, " {line}");
        }
        _ => {
            out.push('\n');
            // A list may stand at the column of its key.
            let deeper = if matches!(value.kind, Kind::Seq(_)) { indent } else { indent + 2 };
            block(value, deeper, out);
        }
    }
}

fn fits(line: &str, indent: usize) -> bool {
    line.chars().count() + indent <= LINE_CHARS_MAX
}

fn is_collection(node: &Node) -> bool {
    match &node.kind {
        Kind::Map(_) | Kind::Seq(_) => true,
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => false,
    }
}

/// On one line; `None` where a text of several lines is inside, which reads better as a block.
fn flow(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Map(entries) => {
            let parts: Option<Vec<String>> =
                entries.iter().map(|(key, value)| Some(format!("{}: {}", scalar(key), flow(value)?))).collect();
            Some(format!("{{{}}}", parts?.join(", ")))
        }
        Kind::Seq(items) => {
            let parts: Option<Vec<String>> = items.iter().map(flow).collect();
            Some(format!("[{}]", parts?.join(", ")))
        }
        Kind::Str(_) if literal(node).is_some() => None,
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => Some(scalar(node)),
    }
}

/// The mark and the lines of a text that can be a literal block: it is kept byte for byte.
fn literal(node: &Node) -> Option<(&'static str, std::str::Lines<'_>)> {
    let Kind::Str(text) = &node.kind else { return None };
    let plain = |character: char| character == '\n' || is_printable(character);
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let is_block = text.contains('\n') && text.chars().all(plain) && !text.starts_with('\n');
    // Otherwise the indentation of the block could not be told from that of its first line.
    if !is_block || first.starts_with([' ', '\t']) || text.ends_with("\n\n") {
        return None;
    }
    // A last line of blanks alone would be taken for the end of the block.
    if text.lines().any(|line| !line.is_empty() && line.trim().is_empty()) {
        return None;
    }
    Some((if text.ends_with('\n') { "|" } else { "|-" }, text.lines()))
}

fn is_printable(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

fn scalar(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(text) | Kind::Float(text) => text.clone(),
        Kind::Str(text) if is_plain(text) => text.clone(),
        Kind::Str(text) => quoted(text),
        // Keys are scalars; these two are written by `flow`.
        Kind::Seq(_) | Kind::Map(_) => String::new(),
    }
}

/// Whether YAML 1.1 and 1.2 both read it as this very string.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"];
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|character| character.is_ascii_alphanumeric() || "_./-".contains(character))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other if is_printable(other) => out.push(other),
            other => {
                let _ = write!(out, "\\U{:08x}", u32::from(other));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use holdpoint_core::yaml;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::policy::render::tree::{list, map, text, whole};

    fn read(written: &str) -> serde_json::Value {
        yaml::to_json(
            &yaml::read(written, &yaml::Limits::default()).unwrap_or_else(|error| panic!("{error:?}\n{written}")),
        )
    }

    #[test]
    fn base_configuration_is_written_as_it_was_read() {
        for base in [include_str!("../../../../../envoy/envoy.yaml"), include_str!("../../../../../envoy/mtls.yaml")] {
            let node = yaml::read(base, &yaml::Limits::default()).expect("the base");
            assert_eq!(read(&yaml(&node)), yaml::to_json(&node));
        }
    }

    #[test]
    fn words_that_a_reader_could_take_for_something_else_are_quoted() {
        for word in ["no", "ON", "012", "1e3", "55s", "~", "", " a", "a: b", "#a", "0x1f", "2026-01-27", "*a", "a\tb"] {
            assert!(yaml(&map([("k", text(word))])).contains('"'), "{word}");
        }
        assert_eq!(yaml(&map([("k", text("envoy.filters.http.rbac"))])), "k: envoy.filters.http.rbac\n");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_byte_for_byte(word in "(?s).{0,24}", lines in proptest::collection::vec("[ a:#\t-]{0,6}", 0..5), number: u32) {
            let block = lines.join("\n");
            let node = map([
                ("a", text(&word)),
                ("b", list([text(&block), map([("c", text(block.clone() + "\n")), ("d", whole(number.into()))]), list([text(word.clone())])])),
            ]);
            prop_assert_eq!(read(&yaml(&node)), yaml::to_json(&node));
        }
    }
}
