//! Step 8: how what people are shown is written, on a terminal and on a page. Text of a caller is an attacker's text: nothing in it can hide or move anything.

use jiff::Timestamp;

#[cfg(test)]
mod tests;

/// A stretch of text as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Plain(String),
    /// One character that would be obeyed, show as nothing or change the reading order: written out as `\u{…}`.
    Hidden(String),
}

/// A text in pieces, none of which can hide or move anything.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for character in text.chars() {
        if is_hidden(character) {
            pieces.push(Piece::Hidden(character.escape_unicode().to_string()));
        } else if let Some(Piece::Plain(plain)) = pieces.last_mut() {
            plain.push(character);
        } else {
            pieces.push(Piece::Plain(character.into()));
        }
    }
    pieces
}

/// The same as one text.
pub fn visible(text: &str) -> String {
    let texts = pieces(text).into_iter().map(|piece| match piece {
        Piece::Plain(text) | Piece::Hidden(text) => text,
    });
    texts.collect()
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
        // Every blank but the plain one: they look alike and are not.
        || (character.is_whitespace() && character != ' ')
}

/// A part of JSON text that is laid out over several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonPart<'a> {
    /// Brackets, commas, line breaks, numbers and words, ready to be shown.
    Layout(String),
    /// The name of a member as written, in its quotes. Its hidden characters are still hidden.
    Name(&'a str),
    /// A string as written, in its quotes. Its hidden characters are still hidden.
    Text(&'a str),
}

/// Lays JSON text out. Works on the text: numbers stay as written, where a parser would round them.
pub fn laid_out(json: &str) -> Vec<JsonPart<'_>> {
    let mut parts = Vec::new();
    let mut shown = String::new();
    let mut depth = 0;
    let mut rest = json;
    while let Some(character) = rest.chars().next() {
        let (token, after) = rest.split_at(if character == '"' { string_bytes(rest) } else { character.len_utf8() });
        rest = after;
        let next = rest.trim_start().chars().next();
        match character {
            '"' => {
                parts.push(JsonPart::Layout(std::mem::take(&mut shown)));
                parts.push(if next == Some(':') { JsonPart::Name(token) } else { JsonPart::Text(token) });
            }
            '{' | '[' => {
                shown.push(character);
                if matches!(next, Some('}' | ']')) {
                    continue;
                }
                depth += 1;
                new_line(&mut shown, depth);
            }
            '}' | ']' => {
                if !shown.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    new_line(&mut shown, depth);
                }
                shown.push(character);
            }
            ',' => {
                shown.push(',');
                new_line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            ' ' | '\n' | '\r' | '\t' => {}
            _ => shown.push_str(&visible(token)),
        }
    }
    parts.push(JsonPart::Layout(shown));
    parts.retain(|part| !matches!(part, JsonPart::Layout(shown) if shown.is_empty()));
    parts
}

/// The length of the string that `json` begins with, its quotes included.
fn string_bytes(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = !escaped && byte == b'\\',
        }
    }
    json.len()
}

/// JSON text over several lines, with its hidden characters shown.
pub fn indented(json: &str) -> String {
    let parts = laid_out(json).into_iter().map(|part| match part {
        JsonPart::Layout(shown) => shown,
        JsonPart::Name(text) | JsonPart::Text(text) => visible(text),
    });
    parts.collect()
}

fn new_line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.extend(std::iter::repeat_n("  ", depth));
}

/// A point in time, in UTC.
pub fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
    at.map_or_else(|| format!("{at_ms} ms"), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The same as programs read it.
pub fn rfc3339(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
    at.unwrap_or_default().to_string()
}

/// The innermost cause: "connection refused" rather than that a request was not sent.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A span, as a person would say it.
pub fn span(ms: u64) -> String {
    match ms / 1_000 {
        0 => format!("{ms} ms"),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..259_200 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
