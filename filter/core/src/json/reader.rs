//! Step 3: the one pass over the text. Iterative: the depth of the text never becomes depth of the stack.

use std::borrow::Cow;

use super::error::{Found, ReadError};
use super::node::Node;
use super::value::Kind;
use super::{Limits, text};

/// Reads all of `text` as one value, into the flat list that [`super::Document`] describes.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Vec<Node>, ReadError> {
    let mut reader = Reader {
        text,
        at: 0,
        nodes: Vec::with_capacity(NODES_AT_FIRST.min(text.len())),
        open: Vec::new(),
        keys: Vec::new(),
        depth_max: limits.depth_max.min(Limits::DEPTH_CEILING),
        nodes_max: limits.nodes_max.min(Node::NODES_CEILING),
        number_chars_max: limits.number_chars_max,
    };
    reader.document()?;
    Ok(reader.nodes)
}

/// Enough for an ordinary call without growing.
const NODES_AT_FIRST: usize = 64;

/// Up to this many keys comparing each with each is cheaper than sorting; beyond it the cost must not grow by squares.
const KEYS_COMPARED_PAIRWISE_MAX: usize = 12;

/// A string of fewer bytes is looked at by words alone: nearly all are.
const SHORT_BYTES: usize = 64;
const BLOCK_BYTES: usize = 32;

/// What JavaScript makes the prototype of an object that is copied key by key.
const PROTOTYPE: &str = "__proto__";
const PROTOTYPE_LITERAL: &[u8] = b"\"__proto__\"";
/// Its longest spelling: nine escapes of six bytes, and the quotes.
const PROTOTYPE_ESCAPED_BYTES_MAX: usize = 56;
/// The one way to write a NUL.
const NUL_ESCAPE: &[u8] = b"\\u0000";

struct Reader<'t> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node>,
    /// The containers around the current place, outermost first.
    open: Vec<Open>,
    /// The keys of all open objects, each object's own at the end once its children are closed.
    keys: Vec<Node>,
    depth_max: u32,
    nodes_max: u32,
    number_chars_max: u32,
}

#[derive(Clone, Copy)]
struct Open {
    is_object: bool,
    node: usize,
    keys_start: usize,
}

// Whatever runs once for each value or more often is inlined by force: the module is compiled for size.
impl Reader<'_> {
    fn document(&mut self) -> Result<(), ReadError> {
        loop {
            if self.value()? && self.after_value()? {
                return Ok(());
            }
        }
    }

    /// Reads the value that is due. True when it is complete, false when it is a container whose first value is due.
    fn value(&mut self) -> Result<bool, ReadError> {
        self.skip_white_space();
        match self.peek() {
            Some(b'"') => {
                let node = self.string()?;
                self.push(node)?;
                Ok(true)
            }
            Some(b'{') => {
                self.open(Kind::Object)?;
                if self.peek() == Some(b'}') {
                    return self.close().map(|()| true);
                }
                self.key("a key or `}`")?;
                Ok(false)
            }
            Some(b'[') => {
                self.open(Kind::Array)?;
                if self.peek() == Some(b']') {
                    return self.close().map(|()| true);
                }
                Ok(false)
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| true),
            Some(b't') => self.word("true", Kind::Bool).map(|()| true),
            Some(b'f') => self.word("false", Kind::Bool).map(|()| true),
            Some(b'n') => self.word("null", Kind::Null).map(|()| true),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Closes every container that ends here. True at the end of the text, false when another value is due.
    fn after_value(&mut self) -> Result<bool, ReadError> {
        loop {
            self.skip_white_space();
            let Some(open) = self.open.last() else {
                return match self.peek() {
                    None => Ok(true),
                    Some(_) => Err(ReadError::TrailingBytes { at: self.at }),
                };
            };
            match (open.is_object, self.peek()) {
                (true, Some(b'}')) | (false, Some(b']')) => self.close()?,
                (true, Some(b',')) => {
                    self.step(1);
                    self.skip_white_space();
                    self.key("a key")?;
                    return Ok(false);
                }
                (false, Some(b',')) => {
                    self.step(1);
                    return Ok(false);
                }
                (true, _) => return Err(self.unexpected("`,` or `}`")),
                (false, _) => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    fn open(&mut self, kind: Kind) -> Result<(), ReadError> {
        if self.open.len() >= self.depth_max as usize {
            return Err(ReadError::TooDeep { at: self.at, depth_max: self.depth_max });
        }
        self.open.push(Open { is_object: kind == Kind::Object, node: self.nodes.len(), keys_start: self.keys.len() });
        self.push(Node::new(kind, offset(self.at), offset(self.at)))?;
        self.step(1);
        self.skip_white_space();
        Ok(())
    }

    fn close(&mut self) -> Result<(), ReadError> {
        self.step(1);
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        if open.is_object {
            refuse_duplicates(self.text, self.keys.get(open.keys_start..).unwrap_or_default())?;
            self.keys.truncate(open.keys_start);
        }
        let subtree = self.nodes.len().saturating_sub(open.node);
        if let Some(node) = self.nodes.get_mut(open.node) {
            node.close(offset(self.at), offset(subtree));
        }
        Ok(())
    }

    fn key(&mut self, expected: &'static str) -> Result<(), ReadError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(expected));
        }
        let node = self.string()?;
        self.refuse_special(node)?;
        self.push(node)?;
        self.keys.push(node);
        self.skip_white_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.step(1);
        Ok(())
    }

    /// Refuses a key that some readers do not take for the key it spells. A raw NUL is no JSON, so only escapes hide one.
    fn refuse_special(&self, key: Node) -> Result<(), ReadError> {
        let literal = literal(key, self.text);
        let special = if !key.is_escaped() {
            literal == PROTOTYPE_LITERAL
        } else if literal.len() <= PROTOTYPE_ESCAPED_BYTES_MAX || memchr::memmem::find(literal, NUL_ESCAPE).is_some() {
            let decoded = decoded(key, self.text);
            decoded == PROTOTYPE || decoded.contains('\0')
        } else {
            false
        };
        if special {
            let key_shown = text::excerpt(&decoded(key, self.text));
            return Err(ReadError::SpecialKey { at: key.start as usize, key: key_shown });
        }
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Node, ReadError> {
        let start = self.at;
        let mut escaped = false;
        self.step(1);
        loop {
            self.skip_plain();
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) => return Err(ReadError::ControlCharacter { at: self.at, byte }),
                None => return Err(self.unexpected("a closing `\"`")),
            }
        }
        self.step(1);
        let node = Node::new(Kind::String, offset(start), offset(self.at));
        Ok(if escaped { node.escaped() } else { node })
    }

    /// Moves to the next quote, backslash or control character.
    #[inline(always)]
    fn skip_plain(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let short = rest.get(..SHORT_BYTES).unwrap_or(rest);
        let plain = plain_bytes(short);
        self.step(plain);
        if plain == SHORT_BYTES {
            self.skip_long();
        }
    }

    /// The same where a text goes on for long: in blocks, for which a processor with vectors has one comparison.
    #[inline(never)]
    fn skip_long(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (blocks, _) = rest.as_chunks::<BLOCK_BYTES>();
        let ends = |block: &[u8; BLOCK_BYTES]| block.iter().fold(false, |ends, byte| ends | ends_plain(*byte));
        let blocks = blocks.iter().take_while(|block| !ends(block)).count();
        self.step(blocks.wrapping_mul(BLOCK_BYTES));
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.step(plain_bytes(rest));
    }

    fn escape(&mut self) -> Result<(), ReadError> {
        let at = self.at;
        match self.text.as_bytes().get(at.wrapping_add(1)) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step(2);
                return Ok(());
            }
            Some(b'u') => {}
            _ => return Err(ReadError::Escape { at }),
        }
        let unit = self.code_unit(at).ok_or(ReadError::Escape { at })?;
        self.step(6);
        if !(0xd800..0xe000).contains(&unit) {
            return Ok(());
        }
        let second = self.code_unit(self.at).and_then(|second| text::surrogate_pair(unit, second));
        second.ok_or(ReadError::LoneSurrogate { at })?;
        self.step(6);
        Ok(())
    }

    /// The code unit of the `\uXXXX` at `at`.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let escape = self.text.as_bytes().get(at..)?.first_chunk::<6>()?;
        let [b'\\', b'u', digits @ ..] = escape else {
            return None;
        };
        digits.iter().try_fold(0_u32, |unit, digit| Some((unit << 4) | char::from(*digit).to_digit(16)?))
    }

    fn number(&mut self) -> Result<(), ReadError> {
        let start = self.at;
        let number = |problem| ReadError::Number { at: start, problem };
        if self.peek() == Some(b'-') {
            self.step(1);
        }
        match (self.peek(), self.skip_digits()) {
            (_, 0) => return Err(number("a minus sign without digits")),
            (Some(b'0'), 2..) => {
                return Err(number("a number with a leading zero; write it without"));
            }
            _ => {}
        }
        if self.peek() == Some(b'.') {
            self.step(1);
            if self.skip_digits() == 0 {
                return Err(number("a decimal point without digits behind it"));
            }
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.step(1);
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.step(1);
            }
            if self.skip_digits() == 0 {
                return Err(number("an exponent without digits"));
            }
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        if written.len() > self.number_chars_max as usize {
            return Err(ReadError::NumberTooLong { at: start, number_chars_max: self.number_chars_max });
        }
        // Some parsers make infinity of such a number, some refuse it. Without an exponent it takes over 300 digits.
        if (has_exponent || written.len() > 300) && !written.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(ReadError::NumberTooLarge { at: start });
        }
        self.push(Node::new(Kind::Number, offset(start), offset(self.at)))
    }

    #[inline(always)]
    fn skip_digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.step(digits);
        digits
    }

    fn word(&mut self, word: &'static str, kind: Kind) -> Result<(), ReadError> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.unexpected("a value"));
        }
        let start = self.at;
        self.step(word.len());
        self.push(Node::new(kind, offset(start), offset(self.at)))
    }

    #[inline(always)]
    fn push(&mut self, node: Node) -> Result<(), ReadError> {
        if self.nodes.len() >= self.nodes_max as usize {
            return Err(ReadError::TooManyNodes { at: node.start as usize, nodes_max: self.nodes_max });
        }
        self.nodes.push(node);
        Ok(())
    }

    #[inline(always)]
    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.step(1);
        }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Never wraps: only bytes that were seen are stepped over.
    #[inline(always)]
    fn step(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
    }

    fn unexpected(&self, expected: &'static str) -> ReadError {
        ReadError::Unexpected { at: self.at, found: self.peek().map_or(Found::End, Found::Byte), expected }
    }
}

/// Offsets and counts fit: [`text::utf8`] refuses texts of more bytes than 32 bits count.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// How many bytes there are before the first quote, backslash or control character, looked at by eight.
#[inline(always)]
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut plain = 0_usize;
    for word in words {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return plain.wrapping_add((stops.trailing_zeros() / 8) as usize);
        }
        plain = plain.wrapping_add(8);
    }
    plain.wrapping_add(tail.iter().take_while(|byte| !ends_plain(**byte)).count())
}

/// Whether it is a quote, a backslash or a control character.
#[inline(always)]
fn ends_plain(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// A word whose lowest set bit marks the first quote, backslash or control character among eight bytes; 0 if none.
#[inline(always)]
fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    // A borrow can only mark a byte above one that is marked rightly, and only the lowest mark is used.
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let quotes = zeros(word ^ (ONES.wrapping_mul(b'"' as u64)));
    let backslashes = zeros(word ^ (ONES.wrapping_mul(b'\\' as u64)));
    let controls = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word;
    (quotes | backslashes | controls) & HIGHS
}

/// Refuses an object whose decoded keys are not all different. The sender chooses the keys, so beyond a handful they
/// are sorted: a hash map could be made to collide, and comparing all with all could be made to take minutes.
fn refuse_duplicates(text: &str, keys: &[Node]) -> Result<(), ReadError> {
    let repeated = if keys.iter().any(|key| key.is_escaped()) {
        let mut decoded: Vec<(Cow<'_, str>, u32)> = keys.iter().map(|key| (decoded(*key, text), key.start)).collect();
        decoded.sort_unstable();
        neighbours(&decoded, |a, b| a.0 == b.0).map(|key| key.1)
    } else if keys.len() <= KEYS_COMPARED_PAIRWISE_MAX {
        let is_repeated = |index, key: &Node| {
            let length = |key: &Node| key.end.wrapping_sub(key.start);
            let mut seen = keys.iter().take(index);
            seen.any(|seen| length(seen) == length(key) && literal(*seen, text) == literal(*key, text))
        };
        keys.iter().enumerate().find(|(index, key)| is_repeated(*index, key)).map(|(_, key)| key.start)
    } else {
        // The fingerprint only spares most comparisons of text; whoever makes them collide pays for sorting text.
        let mut sorted: Vec<(u64, &[u8], u32)> = keys
            .iter()
            .map(|key| (literal(*key, text), key.start))
            .map(|(literal, start)| (fingerprint(literal), literal, start))
            .collect();
        sorted.sort_unstable();
        neighbours(&sorted, |a, b| a.0 == b.0 && a.1 == b.1).map(|key| key.2)
    };
    let Some(start) = repeated else { return Ok(()) };
    let Some(key) = keys.iter().find(|key| key.start == start) else {
        return Ok(());
    };
    Err(ReadError::DuplicateKey { at: key.start as usize, key: text::excerpt(&decoded(*key, text)) })
}

/// The key with its quotes. Keys without escapes are equal exactly when their literals are.
#[inline(always)]
fn literal(key: Node, text: &str) -> &[u8] {
    text.as_bytes().get(key.start as usize..key.end as usize).unwrap_or_default()
}

/// A number by which equal texts are found quickly; it proves nothing, for others may have the same one.
#[inline(always)]
pub(crate) fn fingerprint(literal: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, tail) = literal.as_chunks::<8>();
    let sum = words.iter().fold(0, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    mix(sum, tail.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)))
}

fn decoded(key: Node, text: &str) -> Cow<'_, str> {
    let inner = text::unquoted(text.get(key.start as usize..key.end as usize).unwrap_or_default());
    if key.is_escaped() { Cow::Owned(text::decode(inner)) } else { Cow::Borrowed(inner) }
}

/// The second of the first two neighbours that are the same.
fn neighbours<T>(sorted: &[T], same: impl Fn(&T, &T) -> bool) -> Option<&T> {
    sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| same(a, b)).map(|(_, b)| b)
}
