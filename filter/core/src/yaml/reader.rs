//! Typed reading of nodes: every accessor says what it expected, where, and goes on, so that all problems show at once.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::suggest::nearest;
use super::{Kind, Node, Place, Problem, Problems};

const EXCERPT_CHARS_MAX: usize = 60;

/// A node together with the path that leads to it. An accessor that answers `None` has reported why.
#[derive(Clone, Debug)]
pub struct Cursor<'n> {
    node: &'n Node,
    path: String,
    /// Whom the message is about, such as ``rule `prod-writes` ``.
    subject: Option<Rc<str>>,
}

impl<'n> Cursor<'n> {
    /// The document itself.
    pub fn root(node: &'n Node) -> Self {
        Self { node, path: String::new(), subject: None }
    }

    pub fn node(&self) -> &'n Node {
        self.node
    }

    pub fn place(&self) -> Place {
        self.node.at
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// From here on every message starts with `subject`.
    #[must_use]
    pub fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The value under a key of this mapping. Names that are not plain words are shown in brackets.
    pub fn field(&self, name: &str, node: &'n Node) -> Self {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let path = match (self.path.is_empty(), plain) {
            (true, true) => name.to_owned(),
            (false, true) => format!("{}.{name}", self.path),
            (_, false) => format!("{}[{name:?}]", self.path),
        };
        Self { node, path, subject: self.subject.clone() }
    }

    /// Reports that something is wrong here.
    pub fn problem(&self, message: impl Into<String>, problems: &mut Problems) {
        self.problem_at(self.node.at, message, problems);
    }

    /// Reports that something is wrong at another place of this value, such as a key.
    pub fn problem_at(&self, at: Place, message: impl Into<String>, problems: &mut Problems) {
        let message = match &self.subject {
            Some(subject) => format!("{subject}: {}", message.into()),
            None => message.into(),
        };
        problems.push(Problem { at, path: self.path.clone(), message });
    }

    /// Reports that `expected` should stand here.
    pub fn expected(&self, expected: &str, problems: &mut Problems) {
        self.problem(format!("expected {expected}, found {}", found(self.node)), problems);
    }

    /// Reports that `found` is not one of `known`.
    pub fn unknown(&self, what: &str, found: &str, known: &[&str], problems: &mut Problems) {
        self.problem(unknown(what, found, known), problems);
    }

    /// A mapping with no fields but `known`; unknown ones are reported and passed over.
    pub fn fields(&self, known: &[&str], problems: &mut Problems) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &self.node.kind else {
            self.expected("a mapping", problems);
            return None;
        };
        for (key, _) in entries {
            let name = key.as_str().unwrap_or_default();
            if !known.contains(&name) {
                self.problem_at(key.at, unknown("field", name, known), problems);
            }
        }
        Some(Fields { of: self.clone() })
    }

    /// A mapping with names of the author's choice.
    pub fn entries(&self, problems: &mut Problems) -> Option<Vec<(&'n str, Cursor<'n>)>> {
        let Kind::Map(entries) = &self.node.kind else {
            self.expected("a mapping", problems);
            return None;
        };
        let named = entries.iter().filter_map(|(key, value)| key.as_str().map(|name| (name, self.field(name, value))));
        Some(named.collect())
    }

    /// A list.
    pub fn list(&self, problems: &mut Problems) -> Option<Vec<Cursor<'n>>> {
        let Kind::Seq(items) = &self.node.kind else {
            self.expected("a list", problems);
            return None;
        };
        Some(items.iter().enumerate().map(|(index, item)| self.element(index, item)).collect())
    }

    /// A list, or one value alone that stands for a list of one. An empty list is reported: it could never match.
    pub fn one_or_more(&self, problems: &mut Problems) -> Option<Vec<Cursor<'n>>> {
        match &self.node.kind {
            Kind::Seq(items) if items.is_empty() => {
                self.problem("an empty list never matches; leave the field out or fill it", problems);
                None
            }
            Kind::Seq(_) => self.list(problems),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Map(_) => {
                Some(vec![self.clone()])
            }
        }
    }

    /// A string that is not empty.
    pub fn string(&self, problems: &mut Problems) -> Option<&'n str> {
        match self.node.as_str() {
            Some("") => {
                self.problem("expected a string that is not empty", problems);
                None
            }
            Some(text) => Some(text),
            None => {
                let hint = matches!(self.node.kind, Kind::Bool(_) | Kind::Int(_) | Kind::Float(_));
                self.expected(if hint { "a string (in quotes)" } else { "a string" }, problems);
                None
            }
        }
    }

    /// One or more strings, each not empty.
    pub fn strings(&self, problems: &mut Problems) -> Vec<&'n str> {
        let items = self.one_or_more(problems).unwrap_or_default();
        items.iter().filter_map(|item| item.string(problems)).collect()
    }

    /// `true` or `false`.
    pub fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match self.node.kind {
            Kind::Bool(value) => Some(value),
            Kind::Null | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Seq(_) | Kind::Map(_) => {
                self.expected("`true` or `false`", problems);
                None
            }
        }
    }

    /// A whole number in plain decimal digits, within `bounds`.
    pub fn whole_number(&self, bounds: RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let expected = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let Kind::Int(text) = &self.node.kind else {
            self.expected(&expected(), problems);
            return None;
        };
        // `012` is ten to one reader and twelve to another; `0x1f` and `+1` are numbers only to some.
        let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = if plain { text.parse::<u64>().ok() } else { None };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            self.problem(format!("expected {}, found `{text}`", expected()), problems);
        }
        number
    }

    /// One of the words of `choices`, which stand beside what they mean. Aliases may follow the proper words.
    pub fn one_of<T: Copy>(&self, what: &str, choices: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.string(problems)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.unknown(what, text, &words, problems);
        }
        chosen
    }

    fn element(&self, index: usize, node: &'n Node) -> Self {
        Self { node, path: format!("{}[{index}]", self.path), subject: self.subject.clone() }
    }
}

/// The fields of one mapping.
#[derive(Clone, Debug)]
pub struct Fields<'n> {
    of: Cursor<'n>,
}

impl<'n> Fields<'n> {
    /// The field, when it is there.
    pub fn get(&self, name: &str) -> Option<Cursor<'n>> {
        self.of.node.get(name).map(|node| self.of.field(name, node))
    }

    /// The field; its absence is reported.
    pub fn require(&self, name: &str, problems: &mut Problems) -> Option<Cursor<'n>> {
        let field = self.get(name);
        if field.is_none() {
            self.of.problem(format!("field `{name}` is missing"), problems);
        }
        field
    }

    /// From here on every message about these fields starts with `subject`.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        Self { of: self.of.about(subject) }
    }

    /// The mapping itself.
    pub fn cursor(&self) -> &Cursor<'n> {
        &self.of
    }
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let found_short = excerpt(found);
    match nearest(found, known.iter().copied()) {
        Some(name) => format!("unknown {what} `{found_short}` (did you mean `{name}`?)"),
        None => format!("unknown {what} `{found_short}` (known: {})", known.join(", ")),
    }
}

fn found(node: &Node) -> String {
    match &node.kind {
        Kind::Bool(value) => format!("`{value}`"),
        Kind::Int(text) | Kind::Float(text) => format!("the number `{}`", excerpt(text)),
        Kind::Str(text) => format!("the string `{}`", excerpt(text)),
        Kind::Null | Kind::Seq(_) | Kind::Map(_) => node.kind.noun().to_owned(),
    }
}

fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(EXCERPT_CHARS_MAX).flat_map(char::escape_default).collect();
    if text.chars().count() > EXCERPT_CHARS_MAX {
        short.push('…');
    }
    short
}
