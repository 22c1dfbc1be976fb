//! Step 11: takes patterns and secrets out of text, and out of every string of a JSON document, in place.
//!
//! A string stays a string and nothing else changes, so that what was valid against a schema of types stays so.

use std::ops::Range;

use crate::decision::{OutputLimits, RedactionLevel};
use crate::edits::Edits;
use crate::json::{Kind, Value};
use crate::order;
use crate::secrets;

#[cfg(test)]
mod tests;

/// What stands where something was taken out.
pub const REDACTED: &str = "[redacted]";

const PATTERN_BYTES_MAX: usize = 128;
const STARS_MAX: usize = 3;
const FIXED_CHARS_MIN: usize = 2;
/// Longest run that one `*` takes in, in characters.
const STAR_CHARS_MAX: usize = 512;

/// A pattern over text: `*` stands for one or more characters of a word (no white space, no quotes), `#` for one digit,
/// everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    Digit,
    Star,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes, found {}", text.len()));
        }
        let parts: Vec<Part> = text
            .chars()
            .map(|character| match character {
                '*' => Part::Star,
                '#' => Part::Digit,
                other => Part::Char(other),
            })
            .collect();
        let stars = parts.iter().filter(|part| **part == Part::Star).count();
        if stars > STARS_MAX {
            return Err(format!("a pattern has at most {STARS_MAX} stars, found {stars}"));
        }
        if parts.len().saturating_sub(stars) < FIXED_CHARS_MIN {
            return Err(format!(
                "a pattern needs at least {FIXED_CHARS_MIN} characters beside its stars, or it would match every word"
            ));
        }
        Ok(Self { parts })
    }

    /// The end of a match that begins where `text` begins, as an offset into it.
    fn match_at_start(&self, text: &str) -> Option<usize> {
        match_parts(&self.parts, text)
    }

    /// Every match in `text`, from the left, none inside another.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut rest = text;
        let mut at = 0_usize;
        loop {
            // Most text has no match: skip to where one can begin.
            let skipped = match self.parts.first() {
                Some(Part::Char(first)) => rest.find(*first),
                Some(Part::Digit) => rest.find(|character: char| character.is_ascii_digit()),
                Some(Part::Star) => rest.find(is_word),
                None => None,
            };
            let Some(skipped) = skipped else { return found };
            let Some((_, candidate)) = rest.split_at_checked(skipped) else { return found };
            at = at.saturating_add(skipped);
            let step = match self.match_at_start(candidate).filter(|length| *length > 0) {
                Some(length) => {
                    found.push(at..at.saturating_add(length));
                    length
                }
                None => candidate.chars().next().map_or(1, char::len_utf8),
            };
            let Some((_, after)) = candidate.split_at_checked(step) else { return found };
            at = at.saturating_add(step);
            rest = after;
        }
    }
}

/// Recurses once per star, of which there are few.
fn match_parts(parts: &[Part], text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    for (index, part) in parts.iter().enumerate() {
        let here = chars.offset();
        match part {
            Part::Char(wanted) => (chars.next()?.1 == *wanted).then_some(())?,
            Part::Digit => chars.next()?.1.is_ascii_digit().then_some(())?,
            Part::Star => {
                let (_, rest) = text.split_at_checked(here)?;
                let tail = parts.get(index.saturating_add(1)..).unwrap_or_default();
                let mut last = None;
                let run = rest.char_indices().take(STAR_CHARS_MAX).take_while(|(_, character)| is_word(*character));
                for (offset, character) in run {
                    let end = offset.saturating_add(character.len_utf8());
                    if let Some(more) = rest.split_at_checked(end).and_then(|(_, after)| match_parts(tail, after)) {
                        last = Some(here.saturating_add(end).saturating_add(more));
                    }
                }
                return last;
            }
        }
    }
    Some(chars.offset())
}

fn is_word(character: char) -> bool {
    !character.is_whitespace() && !matches!(character, '"' | '\'' | '`')
}

/// What is taken out of the answers of one call.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    patterns: Vec<Pattern>,
    level: RedactionLevel,
}

impl Redaction {
    /// What these limits ask for. A pattern that cannot be read takes everything out: the grammar lets none through.
    pub fn new(limits: &OutputLimits) -> Self {
        let read: Result<Vec<Pattern>, String> = limits.redact.iter().map(|text| Pattern::parse(text)).collect();
        match read {
            Ok(patterns) => Self { patterns, level: limits.redaction_level },
            Err(_) => Self { patterns: Vec::new(), level: RedactionLevel::Full },
        }
    }

    /// Whether nothing is taken out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.level.is_none()
    }

    /// The text without what is to be taken out; nothing when it may stay as it is.
    pub fn text(&self, text: &str) -> Option<String> {
        let mut found: Vec<Range<usize>> = self.patterns.iter().flat_map(|pattern| pattern.find(text)).collect();
        if self.level == RedactionLevel::Secrets && secrets::find(text).is_some() {
            found.extend(secret_words(text));
        }
        if found.is_empty() {
            return None;
        }
        let found = order::sorted(found, |one, two| (one.start, one.end).cmp(&(two.start, two.end)));
        let mut out = String::with_capacity(text.len());
        let mut at = 0_usize;
        for range in found {
            if range.end <= at {
                continue;
            }
            // One that overlaps the last one only makes it longer.
            if range.start >= at {
                out.push_str(text.get(at..range.start).unwrap_or_default());
                out.push_str(REDACTED);
            }
            at = range.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Some(out)
    }

    /// Notes in `edits` every string inside `value` that must change.
    pub fn value(&self, value: Value<'_>, edits: &mut Edits) {
        self.walk(value, false, edits);
    }

    /// Recurses as deep as the reader let the document be. `is_payload`: inside what `full` blanks.
    fn walk(&self, value: Value<'_>, is_payload: bool, edits: &mut Edits) {
        match value.kind() {
            Kind::Null | Kind::Bool | Kind::Number => {}
            Kind::String => {
                let Some(text) = value.as_str() else { return };
                if is_payload && self.level == RedactionLevel::Full {
                    edits.replace_string(value.span(), REDACTED);
                } else if let Some(changed) = self.text(&text) {
                    edits.replace_string(value.span(), &changed);
                }
            }
            Kind::Array => value.elements().for_each(|element| self.walk(element, is_payload, edits)),
            Kind::Object => {
                for (key, member) in value.members() {
                    if self.level == RedactionLevel::Secrets && is_secret_pair(&key, member) {
                        edits.replace_string(member.span(), REDACTED);
                        continue;
                    }
                    self.walk(member, is_payload || PAYLOAD_MEMBERS.contains(&key.as_ref()), edits);
                }
            }
        }
    }
}

/// The words of `text` that are secrets by themselves; all of it when that is not what makes it one.
fn secret_words(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut left = String::new();
    let mut at = 0_usize;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        if secrets::find(bare).is_some() {
            found.push(at..at.saturating_add(bare.len()));
        } else {
            left.push_str(word);
        }
        at = at.saturating_add(word.len());
    }
    if secrets::find(&left).is_some() {
        found.clear();
        found.push(0..text.len());
    }
    found
}

/// Whether a name and its value together are a secret, such as a password.
fn is_secret_pair(name: &str, value: Value<'_>) -> bool {
    const NAME_BYTES_MAX: usize = 64;
    let text = value.as_str().filter(|_| name.len() <= NAME_BYTES_MAX);
    text.is_some_and(|text| secrets::find(&text).is_none() && secrets::find(&format!("{name}={text}")).is_some())
}

/// Members that hold what a server says, in contrast to what tells a client how to read it.
const PAYLOAD_MEMBERS: &[&str] = &["text", "data", "blob", "structuredContent", "message", "description"];
