//! Step 5: names the resource a tool call is about, from its arguments: `repo:{owner}/{repo}`.

use std::fmt;

use super::glob::Glob;
use crate::json::{Kind, Value};

/// A resource template as the catalogue writes it; compared by its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fixed(String),
    /// A member of the arguments.
    Argument(String),
}

/// A fact about a call that may be there, not be there, or be there in a form that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Absent,
    Unknown,
    Known(String),
    /// Whatever matches: never a fact of a call, only of a question about all calls of a tool.
    AnyOf(Glob),
}

/// An argument that would lead out of the resource the template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotSegment {
    pub argument: String,
}

impl fmt::Display for DotSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument `{}` is a dot segment; send the name it leads to", self.argument)
    }
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((fixed, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                return Err("`{` without `}`: arguments stand in braces, as in `repo:{owner}/{repo}`".to_owned());
            };
            if name.is_empty() || name.contains('{') {
                return Err("braces hold the name of an argument, as in `repo:{owner}/{repo}`".to_owned());
            }
            if fixed.contains('}') {
                return Err("`}` without `{`".to_owned());
            }
            if !fixed.is_empty() {
                parts.push(Part::Fixed(fixed.to_owned()));
            }
            parts.push(Part::Argument(name.to_owned()));
            rest = tail;
        }
        if rest.contains('}') {
            return Err("`}` without `{`".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Fixed(rest.to_owned()));
        }
        if parts.is_empty() {
            return Err("a resource template must not be empty".to_owned());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it can be filled to: arguments never bring in a `/`. Nothing when no pattern says that.
    pub fn as_glob(&self) -> Option<Glob> {
        let texts = self.parts.iter().map(|part| match part {
            Part::Fixed(text) if text.contains('*') => None,
            Part::Fixed(text) => Some(text.as_str()),
            Part::Argument(_) => Some("*"),
        });
        // Two arguments side by side would read as a pattern that crosses `/`, which is more than they can bring.
        let pattern: Option<String> = texts.collect();
        Glob::parse(&pattern?).ok()
    }

    /// The resource that `arguments` name. Absent when an argument is; unknown when one is no string or whole number,
    /// or only a near-name of it is there. Whatever is not unreserved in URIs is percent-encoded.
    pub fn fill(&self, arguments: Option<Value<'_>>) -> Result<Fact, DotSegment> {
        let mut filled = String::new();
        let mut absent = false;
        for part in &self.parts {
            let name = match part {
                Part::Fixed(text) => {
                    filled.push_str(text);
                    continue;
                }
                Part::Argument(name) => name,
            };
            let member = match arguments {
                Some(arguments) => super::member::find(arguments, name),
                None => super::member::Member::Absent,
            };
            let value = match member {
                super::member::Member::Found(value) => value,
                super::member::Member::Absent => {
                    absent = true;
                    continue;
                }
                super::member::Member::Ambiguous => return Ok(Fact::Unknown),
            };
            match value.kind() {
                Kind::String => {
                    let text = value.as_str().unwrap_or_default();
                    if matches!(text.as_ref(), "." | "..") {
                        return Err(DotSegment { argument: name.clone() });
                    }
                    percent_encode(&text, &mut filled);
                }
                // `1` has one spelling in every language; `1.0` and `1e0` do not.
                Kind::Number if value.raw().parse::<i64>().is_ok_and(|whole| whole.to_string() == value.raw()) => {
                    filled.push_str(value.raw());
                }
                Kind::Number | Kind::Null | Kind::Bool | Kind::Array | Kind::Object => return Ok(Fact::Unknown),
            }
        }
        Ok(if absent { Fact::Absent } else { Fact::Known(filled) })
    }
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&crate::digest::hex_encode(&[byte]).to_ascii_uppercase());
        }
    }
}
