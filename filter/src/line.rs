//! Step 12: one line of Envoy's log for the operator: JSON in plain ASCII, bounded, whatever a caller has sent.
//!
//! Names only. Arguments, tokens and header values never come here.

use std::fmt::Write;

#[cfg(test)]
mod tests;

/// Longest value, in characters; what is longer ends in `…`.
const VALUE_CHARS_MAX: usize = 200;

/// A line that still lacks how long the decision took, which only the host can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionLine {
    text: String,
    is_routine: bool,
}

impl DecisionLine {
    /// A line of event `decision`; absent fields are left out. A routine one is for those who want to see everything.
    pub fn new(is_routine: bool, fields: &[(&str, Option<&str>)]) -> Self {
        Self { text: open("decision", fields), is_routine }
    }

    /// How loud it is.
    pub fn level(&self) -> log::Level {
        if self.is_routine { log::Level::Debug } else { log::Level::Info }
    }

    /// The line. `took_us` is the time from the whole request to its decision, in microseconds.
    pub fn text(&self, took_us: u64) -> String {
        format!("{},\"decision_us\":{took_us}}}", self.text)
    }
}

/// A line of another event; absent fields are left out.
pub fn text(event: &str, fields: &[(&str, Option<&str>)]) -> String {
    open(event, fields) + "}"
}

fn open(event: &str, fields: &[(&str, Option<&str>)]) -> String {
    let mut line = String::from("{\"event\":");
    string(event, &mut line);
    for (name, value) in fields {
        if let Some(value) = value {
            line.push(',');
            string(name, &mut line);
            line.push(':');
            string(value, &mut line);
        }
    }
    line
}

/// A JSON string in which everything but printable ASCII is escaped: no control character, no invisible or reordering
/// one reaches a terminal.
fn string(text: &str, line: &mut String) {
    line.push('"');
    let mut characters = text.chars();
    for character in characters.by_ref().take(VALUE_CHARS_MAX) {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            ' '..='~' => line.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    if characters.next().is_some() {
        line.push_str("\\u2026");
    }
    line.push('"');
}
