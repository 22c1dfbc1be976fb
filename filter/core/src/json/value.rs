//! Step 3: a cursor into a document. Copying it is free; strings without escapes are borrowed from the text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::node::{Node, NodeId};
use super::{Document, text};

/// The six kinds of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Null = 0,
    Bool = 1,
    Number = 2,
    String = 3,
    Array = 4,
    Object = 5,
}

impl Kind {
    /// The word used in messages to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// One value of a [`Document`]. Every accessor answers `None` when the value is of another kind.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document,
    id: NodeId,
    node: Node,
}

impl<'d> Value<'d> {
    pub(super) fn new(document: &'d Document, id: NodeId, node: Node) -> Self {
        Self { document, id, node }
    }

    /// The place to remember; `document.value(id)` leads back here.
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub fn kind(&self) -> Kind {
        self.node.kind()
    }

    /// The value verbatim as it stands in the text: strings with quotes and escapes, containers with their white space.
    pub fn raw(&self) -> &'d str {
        self.document.text.get(self.span()).unwrap_or_default()
    }

    /// Byte offsets of [`Value::raw`] in the document's bytes.
    pub fn span(&self) -> Range<usize> {
        self.node.start as usize..self.node.end as usize
    }

    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    pub fn as_bool(&self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == "true")
    }

    /// The decoded string; borrowed unless it holds escapes.
    pub fn as_str(&self) -> Option<Cow<'d, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let inner = text::unquoted(self.raw());
        Some(if self.node.is_escaped() { Cow::Owned(text::decode(inner)) } else { Cow::Borrowed(inner) })
    }

    /// Whether this is the string `expected`, without decoding unless it must.
    pub fn is_str(&self, expected: &str) -> bool {
        if self.node.is_escaped() {
            return self.as_str().is_some_and(|found| found == expected);
        }
        // Lengths first: most look-ups end here, and a look-up is done for every protocol key of every message.
        let inner = (self.node.start as usize).saturating_add(1)..(self.node.end as usize).saturating_sub(1);
        inner.len() == expected.len()
            && self.kind() == Kind::String
            && self.document.bytes().get(inner) == Some(expected.as_bytes())
    }

    /// The number verbatim: `1`, `1.0` and `1e0` are three texts.
    pub fn number_text(&self) -> Option<&'d str> {
        (self.kind() == Kind::Number).then(|| self.raw())
    }

    /// The number of members or elements; 0 for other kinds. Walks the children.
    pub fn len(&self) -> usize {
        match self.kind() {
            Kind::Object => self.members().count(),
            Kind::Array => self.elements().count(),
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => 0,
        }
    }

    /// Whether there is no member and no element.
    pub fn is_empty(&self) -> bool {
        self.node.subtree() <= 1
    }

    /// The members of an object in the order of the text; nothing for other kinds.
    pub fn members(&self) -> Members<'d> {
        Members { children: self.children(Kind::Object) }
    }

    /// The elements of an array; nothing for other kinds.
    pub fn elements(&self) -> Elements<'d> {
        Elements { children: self.children(Kind::Array) }
    }

    /// The member whose decoded key is `key`. Walks the members: fine for a few look-ups in objects of protocol size.
    pub fn get(&self, key: &str) -> Option<Value<'d>> {
        if self.kind() != Kind::Object {
            return None;
        }
        let text = self.document.bytes();
        let end = self.id.after(self.node.subtree());
        let mut at = self.id.after(1);
        // Most look-ups end with the length of a key, and one is done for every protocol key of every message.
        let literal_bytes = key.len().saturating_add(2);
        while at < end {
            let (found, value) = (self.document.node(at)?, self.document.node(at.after(1))?);
            let is_meant = match found.is_escaped() {
                true => Self::new(self.document, at, found).is_str(key),
                false => {
                    let literal = found.start as usize..found.end as usize;
                    literal.len() == literal_bytes
                        && text.get(literal).and_then(|literal| literal.get(1..literal_bytes.saturating_sub(1)))
                            == Some(key.as_bytes())
                }
            };
            at = at.after(1);
            if is_meant {
                return Some(Self::new(self.document, at, value));
            }
            at = at.after(value.subtree());
        }
        None
    }

    /// The element at `index` of an array.
    pub fn at(&self, index: usize) -> Option<Value<'d>> {
        self.elements().nth(index)
    }

    /// The value that an RFC 6901 JSON pointer names, from here: empty is this value, `/a/0/b~1c` goes down.
    pub fn pointer(&self, pointer: &str) -> Option<Value<'d>> {
        if pointer.is_empty() {
            return Some(*self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(*self, |value, segment| match value.kind() {
            Kind::Object if segment.contains('~') => value.get(&segment.replace("~1", "/").replace("~0", "~")),
            Kind::Object => value.get(segment),
            Kind::Array => value.at(array_index(segment)?),
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => None,
        })
    }

    fn children(&self, kind: Kind) -> Children<'d> {
        let nodes = if self.kind() == kind { self.node.subtree() } else { 1 };
        Children { document: self.document, next: self.id.after(1), end: self.id.after(nodes) }
    }
}

impl fmt::Debug for Value<'_> {
    /// Arguments may hold secrets, so only the kind and the place are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} at bytes {:?})", self.kind().as_str(), self.span())
    }
}

/// Array indexes have one spelling: no sign, no leading zero.
fn array_index(segment: &str) -> Option<usize> {
    let plain = segment.bytes().all(|byte| byte.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    if plain { segment.parse().ok() } else { None }
}

/// Steps from child to child of one container; keys and values of an object alternate.
#[derive(Clone)]
struct Children<'d> {
    document: &'d Document,
    next: NodeId,
    end: NodeId,
}

impl<'d> Iterator for Children<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        if self.next >= self.end {
            return None;
        }
        let value = self.document.value(self.next)?;
        self.next = self.next.after(value.node.subtree());
        Some(value)
    }
}

/// The members of an object: decoded key and value.
#[derive(Clone)]
pub struct Members<'d> {
    children: Children<'d>,
}

impl<'d> Members<'d> {
    /// The members with the key as a value of its own, for those who need the key's span.
    pub fn with_key_values(mut self) -> impl Iterator<Item = (Value<'d>, Value<'d>)> {
        std::iter::from_fn(move || Some((self.children.next()?, self.children.next()?)))
    }
}

impl<'d> Iterator for Members<'d> {
    type Item = (Cow<'d, str>, Value<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.children.next()?.as_str()?;
        Some((key, self.children.next()?))
    }
}

/// The elements of an array.
#[derive(Clone)]
pub struct Elements<'d> {
    children: Children<'d>,
}

impl<'d> Iterator for Elements<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        self.children.next()
    }
}
