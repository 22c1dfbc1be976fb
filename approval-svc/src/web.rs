//! Step 8: the pages on which people decide, as HTML. Text of callers arrives here and leaves with nothing hidden.
//!
//! Templates escape every value; the only types that pass unescaped are the [`Shown`] and [`CallText`] templates.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::inventory::difference::{DifferenceLine, Mark};
use crate::text::{JsonPart, Piece, laid_out, pieces, span, time};
use crate::tokens::{Credential, Role};

pub mod approval;
pub mod batch;
pub mod confirm;
pub mod delegations;
pub mod freezes;
pub mod grants;
pub mod history;
pub mod inbox;
pub mod inventory;
pub mod policies;
pub mod reach;
pub mod record;
pub mod requester;
pub mod sign_in;
pub mod timeline;

#[cfg(test)]
mod tests;

/// The one style sheet.
pub const CSS: &str = include_str!("web/page.css");
/// The one script. Every page works without it.
pub const JS: &str = include_str!("web/page.js");
/// The mark in tabs.
pub const MARK: &str = include_str!("web/mark.svg");

/// Strings of more characters are folded away behind a line that says how long they are.
const FOLD_CHARS_MIN: usize = 400;
/// How much of a folded string its line shows.
const FOLD_PREVIEW_CHARS: usize = 100;

/// One of the things that a list of choices offers.
#[derive(Debug)]
pub struct Choice {
    pub word: &'static str,
    pub name: &'static str,
    pub chosen: bool,
}

/// A text of somebody else, with its hidden characters written out and marked.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = "{% for piece in pieces %}{% match piece %}{% when Piece::Plain with (text) %}{{ text }}\
              {% when Piece::Hidden with (text) %}<mark title=\"a hidden character\">{{ text }}</mark>\
              {% endmatch %}{% endfor %}"
)]
pub struct Shown {
    pieces: Vec<Piece>,
}

impl HtmlSafe for Shown {}

/// A digest as pages show it: `sha256:` and the first digits.
fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// Makes a text fit for a page.
pub fn shown(text: &str) -> Shown {
    Shown { pieces: pieces(text) }
}

/// The call as judged, whole.
#[derive(Debug, Template)]
#[template(path = "call_text.html")]
pub struct CallText {
    parts: Vec<CallPart>,
    /// Strings that are folded away: whoever approves has to open them first.
    folds: usize,
}

impl HtmlSafe for CallText {}

#[derive(Debug)]
enum CallPart {
    Layout(String),
    Name(Shown),
    Text(Shown),
    /// A long string: how it begins, how long it is, and all of it.
    Folded {
        preview: Shown,
        chars: usize,
        text: Shown,
    },
}

impl CallText {
    fn new(json: &str) -> Self {
        let parts = laid_out(json).into_iter().map(|part| match part {
            JsonPart::Layout(text) => CallPart::Layout(text),
            JsonPart::Name(text) => CallPart::Name(shown(text)),
            JsonPart::Text(text) => match text.chars().count() {
                chars if chars > FOLD_CHARS_MIN => {
                    let preview: String = text.chars().take(FOLD_PREVIEW_CHARS).collect();
                    CallPart::Folded { preview: shown(&preview), chars, text: shown(text) }
                }
                _ => CallPart::Text(shown(text)),
            },
        });
        let parts: Vec<CallPart> = parts.collect();
        let folds = parts.iter().filter(|part| matches!(part, CallPart::Folded { .. })).count();
        Self { parts, folds }
    }
}

/// Two definitions, line by line; nothing where there are none to compare.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = "{% if lines.len() > 0 %}<pre class=\"call lines\" role=\"region\" tabindex=\"0\" aria-label=\"What changed\">\
              {% for line in lines %}{% match line.mark %}{% when Mark::Both %}<span>  {{ line.text }}</span>\n\
              {% when Mark::Before %}<del>- {{ line.text }}</del>\n{% when Mark::After %}<ins>+ {{ line.text }}</ins>\n\
              {% endmatch %}{% endfor %}</pre>{% endif %}"
)]
pub struct Difference {
    lines: Vec<ShownLine>,
}

impl HtmlSafe for Difference {}

#[derive(Debug)]
struct ShownLine {
    mark: Mark,
    text: Shown,
}

impl Difference {
    pub fn new(lines: &[DifferenceLine]) -> Self {
        Self { lines: lines.iter().map(|line| ShownLine { mark: line.mark, text: shown(&line.text) }).collect() }
    }
}

/// How many strings of a call are folded away on its page.
pub fn folds(call_text: &str) -> usize {
    CallText::new(call_text).folds
}

/// What stands around every page of somebody who is signed in.
#[derive(Debug)]
pub struct Frame {
    pub subject: Shown,
    /// The groups in words.
    pub groups: Shown,
    /// What the reader is, where that is no approver.
    pub role: Option<&'static str>,
    pub form_token: String,
    pub now_ms: u64,
    /// The page that is open, for the links at the top.
    pub here: &'static str,
}

impl Frame {
    pub fn new(person: &Credential, form_token: String, now_ms: u64, here: &'static str) -> Self {
        let groups: Vec<&str> = person.groups.iter().map(String::as_str).collect();
        let role = match person.role {
            Role::Approver | Role::Enforcer => None,
            Role::BreakGlass => Some("breaks glass"),
            Role::Auditor => Some("auditor"),
            Role::Admin => Some("administrator"),
        };
        Self { subject: shown(&person.subject), groups: shown(&groups.join(", ")), role, form_token, now_ms, here }
    }
}

/// A point in time, as seen from now.
#[derive(Debug)]
pub struct When {
    pub at_ms: u64,
    /// In UTC.
    pub at: String,
    /// `3 min`: how far from now, on either side.
    pub away: String,
}

impl When {
    fn new(at_ms: u64, now_ms: u64) -> Self {
        let away = match at_ms.abs_diff(now_ms) {
            0..1_000 => "moments".to_owned(),
            ms => span(ms),
        };
        Self { at_ms, at: time(at_ms), away }
    }
}
