//! Step 3, for tests: the reader as one would write it at first, byte by byte and by recursion. What [`super::super::reader`]
//! makes of a text, this makes of it too: the same nodes, or the same refusal.

use std::collections::BTreeMap;

use super::super::error::{Found, ReadError};
use super::super::keys::fingerprint;
use super::super::node::Node;
use super::super::{Kind, Limits, text};

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Vec<Node>, ReadError> {
    let text = text::utf8(bytes.to_vec())?;
    let mut oracle = Oracle { text: &text, at: 0, nodes: Vec::new(), limits };
    oracle.value(0)?;
    match oracle.token() {
        None => Ok(oracle.nodes),
        Some(_) => Err(ReadError::TrailingBytes { at: oracle.at }),
    }
}

struct Oracle<'t> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node>,
    limits: &'t Limits,
}

impl Oracle<'_> {
    fn value(&mut self, depth: u32) -> Result<(), ReadError> {
        let token = self.token();
        let start = self.at;
        let kind = match token {
            Some(b'"') => {
                let string = self.string()?;
                return self.push(string);
            }
            Some(b'{') => return self.container(depth, Kind::Object),
            Some(b'[') => return self.container(depth, Kind::Array),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Kind::Number)?,
            _ => {
                let words = [("true", Kind::Bool), ("false", Kind::Bool), ("null", Kind::Null)];
                let found =
                    words.into_iter().find(|(word, _)| self.text.as_bytes()[start..].starts_with(word.as_bytes()));
                let (word, kind) = found.ok_or_else(|| self.unexpected("a value"))?;
                self.at += word.len();
                kind
            }
        };
        self.push(Node::new(kind, start as u32, self.at as u32))
    }

    fn container(&mut self, depth: u32, kind: Kind) -> Result<(), ReadError> {
        let depth_max = self.limits.depth_max.min(Limits::DEPTH_CEILING);
        if depth >= depth_max {
            return Err(ReadError::TooDeep { at: self.at, depth_max });
        }
        let is_object = kind == Kind::Object;
        let end = if is_object { b'}' } else { b']' };
        let index = self.nodes.len();
        self.push(Node::new(kind, self.at as u32, self.at as u32))?;
        self.at += 1;
        let mut keys = Vec::new();
        let mut expected = "a key or `}`";
        if self.token() != Some(end) {
            loop {
                if is_object {
                    keys.push(self.key(expected)?);
                    expected = "a key";
                }
                self.value(depth + 1)?;
                match self.token() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == end => break,
                    _ if is_object => return Err(self.unexpected("`,` or `}`")),
                    _ => return Err(self.unexpected("`,` or `]`")),
                }
            }
        }
        self.at += 1;
        self.refuse_duplicates(&keys)?;
        let subtree = (self.nodes.len() - index) as u32;
        self.nodes[index].close(kind, self.at as u32, subtree);
        Ok(())
    }

    fn key(&mut self, expected: &'static str) -> Result<Node, ReadError> {
        if self.token() != Some(b'"') {
            return Err(self.unexpected(expected));
        }
        let key = self.string()?;
        let decoded = self.decoded(key);
        if decoded == "__proto__" || decoded.contains('\0') {
            return Err(ReadError::SpecialKey { at: key.start as usize, key: text::excerpt(&decoded) });
        }
        self.push(key)?;
        if self.token() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok(key)
    }

    /// Which of several repeated keys is named depends on how they are looked for, and is part of the answer.
    fn refuse_duplicates(&self, keys: &[Node]) -> Result<(), ReadError> {
        let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for key in keys {
            seen.entry(self.decoded(*key)).or_default().push(key.start);
        }
        let repeated = seen.iter().filter_map(|(key, starts)| Some((key, *starts.get(1)?)));
        let named = if keys.iter().any(|key| key.is_escaped()) {
            repeated.min_by_key(|(key, _)| *key)
        } else if keys.len() <= 12 {
            repeated.min_by_key(|(_, start)| *start)
        } else {
            repeated.min_by_key(|(key, _)| fingerprint(format!("\"{key}\"").as_bytes()))
        };
        match named {
            None => Ok(()),
            Some((key, at)) => Err(ReadError::DuplicateKey { at: at as usize, key: text::excerpt(key) }),
        }
    }

    fn string(&mut self) -> Result<Node, ReadError> {
        let start = self.at;
        let mut is_escaped = false;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(byte @ ..0x20) => return Err(ReadError::ControlCharacter { at: self.at, byte }),
                Some(_) => self.at += 1,
                None => return Err(self.unexpected("a closing `\"`")),
            }
        }
        self.at += 1;
        let node = Node::new(Kind::String, start as u32, self.at as u32);
        Ok(if is_escaped { node.escaped() } else { node })
    }

    fn escape(&mut self) -> Result<(), ReadError> {
        let at = self.at;
        self.at += 1;
        let letter = self.peek().ok_or(ReadError::Escape { at })?;
        self.at += 1;
        match letter {
            b'u' => {}
            letter if br#""\/bfnrt"#.contains(&letter) => return Ok(()),
            _ => return Err(ReadError::Escape { at }),
        }
        let first = self.code_unit().ok_or(ReadError::Escape { at })?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok(());
        }
        let lone = ReadError::LoneSurrogate { at };
        if first >= 0xdc00 || self.peek() != Some(b'\\') || self.text.as_bytes().get(self.at + 1) != Some(&b'u') {
            return Err(lone);
        }
        self.at += 2;
        if self.code_unit().is_some_and(|second| (0xdc00..0xe000).contains(&second)) { Ok(()) } else { Err(lone) }
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    fn number(&mut self) -> Result<(), ReadError> {
        let at = self.at;
        let refused = |problem| Err(ReadError::Number { at, problem });
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.peek();
        match self.digits() {
            0 => return refused("a minus sign without digits"),
            2.. if first == Some(b'0') => return refused("a number with a leading zero; write it without"),
            _ => {}
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return refused("a decimal point without digits behind it");
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return refused("an exponent without digits");
            }
        }
        let written = self.text.get(at..self.at).unwrap();
        let number_chars_max = self.limits.number_chars_max;
        if written.len() > number_chars_max as usize {
            return Err(ReadError::NumberTooLong { at, number_chars_max });
        }
        if written.parse::<f64>().unwrap().is_finite() { Ok(()) } else { Err(ReadError::NumberTooLarge { at }) }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn push(&mut self, node: Node) -> Result<(), ReadError> {
        let nodes_max = self.limits.nodes_max.min(Node::NODES_CEILING);
        if self.nodes.len() >= nodes_max as usize {
            return Err(ReadError::TooManyNodes { at: node.start as usize, nodes_max });
        }
        self.nodes.push(node);
        Ok(())
    }

    fn decoded(&self, key: Node) -> String {
        text::decode(text::unquoted(self.text.get(key.start as usize..key.end as usize).unwrap()))
    }

    fn token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self, expected: &'static str) -> ReadError {
        ReadError::Unexpected { at: self.at, found: self.peek().map_or(Found::End, Found::Byte), expected }
    }
}
