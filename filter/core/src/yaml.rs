//! Reads YAML and JSON text into located nodes: the one reader of policy files and plugin configurations (step 6's input).
//!
//! Whatever two YAML readers could understand differently is refused: duplicate keys at any level, keys that are not
//! strings, merge keys, tags beyond the core schema, a second document. Plain scalars follow the core schema of YAML
//! 1.2 (`no` is a string, `012` is twelve); numbers keep their text.

mod json_text;
mod load;
mod problems;
mod reader;
mod scalar;
mod suggest;

#[cfg(test)]
mod tests;

use std::fmt;

pub use problems::{Problem, Problems};
pub use reader::{Cursor, Fields};

/// Where something stands in a text. Both count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One value and where it starts. An alias stands where it is written; what is inside it, where the anchor wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub at: Place,
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool(bool),
    /// The text as written: `12`, `0x1f`, `-3`.
    Int(String),
    /// The text as written: `0.5`, `1e3`, `.inf`.
    Float(String),
    Str(String),
    Seq(Vec<Node>),
    /// In the order of the text; keys are distinct [`Kind::Str`].
    Map(Vec<(Node, Node)>),
}

impl Kind {
    /// What to call it in a message to people.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Str(_) => "a string",
            Self::Seq(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The value under `key` when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Seq(_) => None,
        }
    }

    /// The text when this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Seq(_) | Kind::Map(_) => None,
        }
    }
}

/// How much text one document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub text_bytes_max: usize,
    /// Lists and mappings inside one another.
    pub depth_max: usize,
    /// Values and keys after every alias has been written out.
    pub nodes_max: usize,
}

impl Default for Limits {
    /// Room for a policy of 10,000 rules.
    fn default() -> Self {
        Self { text_bytes_max: 8_388_608, depth_max: 64, nodes_max: 1_000_000 }
    }
}

/// Something wrong with the text itself, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub at: Place,
    pub message: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// Reads `text` as one YAML document or one JSON value; empty text is [`Kind::Null`].
///
/// The error lists everything found wrong, in the order of the text; a syntax error ends the list.
pub fn read(text: &str, limits: &Limits) -> Result<Node, Vec<Located>> {
    if text.len() > limits.text_bytes_max {
        let message = format!("the text has {} bytes, at most {} are read", text.len(), limits.text_bytes_max);
        return Err(vec![Located { at: Place::START, message }]);
    }
    // JSON is not quite a part of YAML: surrogate pairs in escapes, tabs between tokens and keys of more than a
    // thousand characters are JSON alone. What the JSON reader refuses, the YAML reader refuses with a place.
    match json_text::read(text, limits) {
        Some(node) => Ok(node),
        None => load::read(text, limits),
    }
}

/// The node as plain JSON, for tools that hand it on; places are lost. Infinities and NaN become their text.
pub fn to_json(node: &Node) -> serde_json::Value {
    use serde_json::Value;
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Int(text) => scalar::int_to_json(text),
        Kind::Float(text) => text
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map_or_else(|| Value::String(text.clone()), Value::Number),
        Kind::Str(text) => Value::String(text.clone()),
        Kind::Seq(items) => Value::Array(items.iter().map(to_json).collect()),
        Kind::Map(entries) => Value::Object(
            entries.iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), to_json(value)))).collect(),
        ),
    }
}
