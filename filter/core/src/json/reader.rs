//! Step 3: the one pass over the text. Iterative: the depth of the text never becomes depth of the stack.

use super::Limits;
use super::cursor::{Cursor, END};
use super::error::ReadError;
use super::keys::{self, Marks};
use super::node::Node;
use super::room::Room;
use super::value::Kind;

/// Reads all of `text` as one value, into the flat list that [`super::Document`] describes.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Vec<Node>, ReadError> {
    let nodes_at_first = (text.len() / BYTES_A_NODE_AT_LEAST).clamp(NODES_AT_FIRST_MIN, NODES_AT_FIRST_MAX);
    let mut reader = Reader {
        cursor: Cursor::new(text),
        nodes: Room::new(nodes_at_first, limits.nodes_max.min(Node::NODES_CEILING) as usize),
        here: Container::default(),
        around: Room::new(DEPTH_AT_FIRST, limits.depth_max.min(Limits::DEPTH_CEILING) as usize),
        number_chars_max: limits.number_chars_max,
    };
    reader.document()?;
    Ok(reader.nodes.into_vec())
}

/// Enough for an ordinary call without growing.
const NODES_AT_FIRST_MAX: usize = 64;
const NODES_AT_FIRST_MIN: usize = 8;
const BYTES_A_NODE_AT_LEAST: usize = 4;
const DEPTH_AT_FIRST: usize = 8;

/// Every part of it is a plain value or grows by changing hands, so that all of it stays in registers.
struct Reader<'t> {
    cursor: Cursor<'t>,
    nodes: Room<Node>,
    /// The innermost container that is still open.
    here: Container,
    /// What is around it, outermost first; as many as there are open containers.
    around: Room<Container>,
    number_chars_max: u32,
}

const OBJECT_END: u32 = b'}' as u32;
const ARRAY_END: u32 = b']' as u32;

#[derive(Clone, Copy, Default)]
struct Container {
    node: u32,
    /// The byte that it ends with: a bracket, or [`END`] where it is the text itself. As wide as its place would be anyway.
    end: u32,
    /// Those of the keys, in an object.
    marks: Marks,
}

// Whatever runs once for each value or more often is inlined by force: the module is compiled for size.
impl Reader<'_> {
    #[inline(always)]
    fn document(&mut self) -> Result<(), ReadError> {
        // What stands where a key is due, in words for people.
        let mut key_due = None;
        loop {
            if let Some(expected) = key_due {
                self.key(expected)?;
            }
            let token = self.cursor.next_token();
            if matches!(token, b'{' | b'[') {
                let end = self.open(token)?;
                if u32::from(self.cursor.next_token()) != end {
                    key_due = (end == OBJECT_END).then_some("a key or `}`");
                    continue;
                }
            } else {
                self.scalar(token)?;
            }
            // The value is complete, and with it every container that ends here.
            let mut token = self.cursor.next_token();
            while token != b',' {
                if u32::from(token) != self.here.end || token == END {
                    return self.end();
                }
                self.close()?;
                token = self.cursor.next_token();
            }
            key_due = match self.here.end {
                OBJECT_END => Some("a key"),
                ARRAY_END => None,
                _ => return self.end(),
            };
            self.cursor.step(1);
        }
    }

    /// Reads the value that `token` begins and that holds no others.
    #[inline(always)]
    fn scalar(&mut self, token: u8) -> Result<(), ReadError> {
        if token == b'"' {
            let string = self.string()?;
            return self.push(string);
        }
        let start = self.cursor.at();
        let kind = match token {
            b'-' | b'0'..=b'9' => {
                self.cursor.number(self.number_chars_max)?;
                Kind::Number
            }
            b't' => {
                self.cursor.word(b"true")?;
                Kind::Bool
            }
            b'f' => {
                self.cursor.word(b"false")?;
                Kind::Bool
            }
            b'n' => {
                self.cursor.word(b"null")?;
                Kind::Null
            }
            _ => return Err(self.cursor.unexpected("a value")),
        };
        self.push(Node::new(kind, offset(start), offset(self.cursor.at())))
    }

    #[inline(always)]
    fn key(&mut self, expected: &'static str) -> Result<(), ReadError> {
        if self.cursor.next_token() != b'"' {
            return Err(self.cursor.unexpected(expected));
        }
        let key = self.string()?;
        keys::refuse_special(key, self.cursor.text())?;
        self.push(key)?;
        self.here.marks.add(key, self.cursor.text());
        if self.cursor.next_token() != b':' {
            return Err(self.cursor.unexpected("`:`"));
        }
        self.cursor.step(1);
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Node, ReadError> {
        let start = self.cursor.at();
        let is_escaped = self.cursor.string()?;
        let node = Node::new(Kind::String, offset(start), offset(self.cursor.at()));
        Ok(if is_escaped { node.escaped() } else { node })
    }

    /// Begins a container; gives the bracket that it ends with.
    #[inline(always)]
    fn open(&mut self, bracket: u8) -> Result<u32, ReadError> {
        let (kind, end) = if bracket == b'{' { (Kind::Object, OBJECT_END) } else { (Kind::Array, ARRAY_END) };
        let at = self.cursor.at();
        if !self.around.push(self.here) {
            self.around.grow(Limits::DEPTH_CEILING as usize);
            if !self.around.push(self.here) {
                return Err(ReadError::TooDeep { at, depth_max: offset(self.around.len()) });
            }
        }
        self.here = Container { node: offset(self.nodes.len()), end, marks: Marks::default() };
        self.push(Node::new(kind, offset(at), offset(at)))?;
        self.cursor.step(1);
        Ok(end)
    }

    #[inline(always)]
    fn close(&mut self) -> Result<(), ReadError> {
        self.cursor.step(1);
        let closed = self.here;
        let first = closed.node as usize;
        self.here = self.around.pop().unwrap_or_default();
        if closed.marks.may_repeat() {
            let inside = self.nodes.as_slice().get(first.wrapping_add(1)..).unwrap_or_default();
            keys::refuse_duplicates(inside, self.cursor.text())?;
        }
        let subtree = self.nodes.len().wrapping_sub(first);
        if let Some(node) = self.nodes.get_mut(first) {
            let kind = if closed.end == OBJECT_END { Kind::Object } else { Kind::Array };
            node.close(kind, offset(self.cursor.at()), offset(subtree));
        }
        Ok(())
    }

    #[inline(always)]
    fn push(&mut self, node: Node) -> Result<(), ReadError> {
        if self.nodes.push(node) {
            return Ok(());
        }
        let nodes = self.nodes.len();
        self.nodes.grow(nodes_expected(nodes, self.cursor.at(), self.cursor.text().len()));
        if self.nodes.push(node) {
            return Ok(());
        }
        Err(ReadError::TooManyNodes { at: node.start as usize, nodes_max: offset(nodes) })
    }

    /// What it means that neither a comma nor the end of what is around it follows a value.
    #[cold]
    #[inline(always)]
    fn end(&self) -> Result<(), ReadError> {
        match (self.here.end, self.cursor.peek()) {
            (OBJECT_END, _) => Err(self.cursor.unexpected("`,` or `}`")),
            (ARRAY_END, _) => Err(self.cursor.unexpected("`,` or `]`")),
            (_, None) => Ok(()),
            (_, Some(_)) => Err(ReadError::TrailingBytes { at: self.cursor.at() }),
        }
    }
}

/// How many nodes there will be if the text goes on as it began. Guessed high by an eighth, and never by much more than
/// was seen: what a VM once has of memory it keeps.
#[cold]
#[inline(never)]
fn nodes_expected(nodes: usize, at: usize, text_bytes: usize) -> usize {
    let of_all = nodes.saturating_mul(text_bytes / 8) / (at / 8).max(1);
    let doubled = nodes.saturating_mul(2).max(NODES_AT_FIRST_MIN);
    of_all.saturating_add(of_all / 8).clamp(doubled, doubled.saturating_mul(4))
}

/// Offsets and counts fit: [`super::text::utf8`] refuses texts of more bytes than 32 bits count.
#[inline(always)]
fn offset(at: usize) -> u32 {
    at as u32
}
