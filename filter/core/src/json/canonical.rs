//! Step 5: the one spelling of a JSON value, so that equal calls have equal digests.
//!
//! Members sorted by the bytes of their decoded keys, strings decoded and then escaped no more than JSON demands, number
//! text verbatim (`1` and `1.0` differ), no white space.

use std::borrow::Cow;

use super::{Kind, Value};

/// Appends the canonical form of `value` to `out`. Recurses at most as deep as the document's limit let it be.
pub fn write(value: Value<'_>, out: &mut String) {
    match value.kind() {
        Kind::Null | Kind::Bool | Kind::Number => out.push_str(value.raw()),
        Kind::String => string(&value.as_str().unwrap_or_default(), out),
        Kind::Array => {
            out.push('[');
            for (index, element) in value.elements().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(element, out);
            }
            out.push(']');
        }
        Kind::Object => write_members(value, |_| true, out),
    }
}

/// Appends the canonical form of the object `value` with only those members whose decoded key `keep` accepts; the filter
/// is for this object alone, not for objects inside it. A value that is no object is written whole.
pub fn write_where(value: Value<'_>, keep: impl FnMut(&str) -> bool, out: &mut String) {
    if value.kind() == Kind::Object { write_members(value, keep, out) } else { write(value, out) }
}

/// Appends `text` as a canonical string literal: escaped are `"`, `\` and control characters, these in their two-letter
/// form where there is one and as `\u00xx` elsewhere.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // Every character that is escaped is one byte long, so both halves are whole.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\t') => out.push_str("\\t"),
            Some('\n') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\r') => out.push_str("\\r"),
            Some(control) => {
                let code = u32::from(control);
                out.push_str("\\u00");
                out.extend([code >> 4, code & 0x0f].map(|nibble| char::from_digit(nibble, 16).unwrap_or('0')));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn write_members(object: Value<'_>, mut keep: impl FnMut(&str) -> bool, out: &mut String) {
    let mut members: Vec<(Cow<'_, str>, Value<'_>)> = object.members().filter(|(key, _)| keep(key)).collect();
    members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(&key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// Builds a canonical object of parts that come from Rust and from documents, in whatever order they come to hand.
///
/// A key given twice keeps the later value: the caller names the keys, so this is the caller's own correction.
#[derive(Clone, Debug, Default)]
pub struct ObjectWriter {
    members: std::collections::BTreeMap<Cow<'static, str>, String>,
}

impl ObjectWriter {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to the string `text`.
    #[must_use]
    pub fn string(self, key: impl Into<Cow<'static, str>>, text: &str) -> Self {
        let mut literal = String::with_capacity(text.len().saturating_add(2));
        string(text, &mut literal);
        self.fragment(key, literal)
    }

    /// Sets `key` to the canonical form of `value`.
    #[must_use]
    pub fn value(self, key: impl Into<Cow<'static, str>>, value: Value<'_>) -> Self {
        let mut canonical = String::with_capacity(value.span().len());
        write(value, &mut canonical);
        self.fragment(key, canonical)
    }

    /// Sets `key` to the whole number `number`.
    #[must_use]
    pub fn number(self, key: impl Into<Cow<'static, str>>, number: u64) -> Self {
        self.fragment(key, number.to_string())
    }

    /// Sets `key` to `canonical`, which already is one canonical JSON value.
    #[must_use]
    pub fn fragment(mut self, key: impl Into<Cow<'static, str>>, canonical: String) -> Self {
        self.members.insert(key.into(), canonical);
        self
    }

    /// Appends the object to `out`.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (index, (key, canonical)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            string(key, out);
            out.push(':');
            out.push_str(canonical);
        }
        out.push('}');
    }

    /// The object as text.
    pub fn finish(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests;
