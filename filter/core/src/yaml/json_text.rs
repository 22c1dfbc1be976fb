//! Reads JSON text into located nodes, by the strict JSON reader.

use super::{Kind, Limits, Node, Place};
use crate::json;

/// The node, when all of `text` is one JSON object or array; nothing otherwise.
pub(super) fn read(text: &str, limits: &Limits) -> Option<Node> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let limits = json::Limits {
        depth_max: u32::try_from(limits.depth_max).unwrap_or(u32::MAX),
        nodes_max: u32::try_from(limits.nodes_max).unwrap_or(u32::MAX),
        ..json::Limits::default()
    };
    let document = json::Document::read(text.as_bytes().to_vec(), &limits).ok()?;
    Some(node(document.root(), &mut Walk { text, offset: 0, at: Place::START }))
}

/// Follows the text from value to value, which come in the order of the text, so that all places cost one pass.
struct Walk<'t> {
    text: &'t str,
    offset: usize,
    at: Place,
}

impl Walk<'_> {
    fn place(&mut self, offset: usize) -> Place {
        for character in self.text.get(self.offset..offset).unwrap_or_default().chars() {
            if character == '\n' {
                self.at = Place { line: self.at.line.saturating_add(1), column: 1 };
            } else {
                self.at.column = self.at.column.saturating_add(1);
            }
        }
        self.offset = offset;
        self.at
    }
}

fn node(value: json::Value<'_>, walk: &mut Walk<'_>) -> Node {
    let at = walk.place(value.span().start);
    let kind = match value.kind() {
        json::Kind::Null => Kind::Null,
        json::Kind::Bool => Kind::Bool(value.as_bool() == Some(true)),
        json::Kind::Number if value.raw().contains(['.', 'e', 'E']) => Kind::Float(value.raw().to_owned()),
        json::Kind::Number => Kind::Int(value.raw().to_owned()),
        json::Kind::String => Kind::Str(value.as_str().unwrap_or_default().into_owned()),
        json::Kind::Array => Kind::Seq(value.elements().map(|element| node(element, walk)).collect()),
        json::Kind::Object => Kind::Map(
            value.members().with_key_values().map(|(key, member)| (node(key, walk), node(member, walk))).collect(),
        ),
    };
    Node { at, kind }
}
