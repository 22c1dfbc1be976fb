//! Step 11: looks through a JSON text of any length for what asks something of the client, without keeping it.
//!
//! An answer that is not read whole may pass only if it asks for nothing: no message in it has a `method`, no result has
//! `inputRequests`. This walks over the bytes as any reader must to find out which keys stand where; where it is in
//! doubt it says that there is one.

use super::INPUT_REQUESTS;

/// Longest key that is compared, as it stands in the text; the member that is looked for is shorter, even if every
/// letter of it is escaped.
const KEY_BYTES_MAX: usize = 96;

/// Room for the keys of most messages.
const KEY_BYTES_USUAL: usize = 16;

/// Where in the text the scanner is.
#[derive(Debug)]
pub struct Scanner {
    /// Containers around the present place; true for an object. The outermost ones only: deeper ones cannot matter.
    open: Vec<bool>,
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    /// A string here is a key.
    expects_key: bool,
    key: Vec<u8>,
    key_is_cut: bool,
    /// The member of the outermost message that the present place is in, when it is `result`.
    in_result: bool,
    found: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner for one message, or for all messages of a batch.
    pub fn new() -> Self {
        Self {
            open: Vec::with_capacity(MESSAGE_DEPTH_MAX),
            depth: 0,
            in_string: false,
            after_backslash: false,
            expects_key: false,
            key: Vec::with_capacity(KEY_BYTES_USUAL),
            key_is_cut: false,
            in_result: false,
            found: false,
        }
    }

    /// Takes the next piece; answers whether something asks, as far as can be seen by now.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        while let Some((byte, tail)) = rest.split_first() {
            self.step(*byte);
            rest = tail;
            if self.in_string && !self.after_backslash {
                // Values are most of the text: nothing in them counts before their end. Keys are short.
                let end = match self.expects_key {
                    true => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')),
                    false => memchr::memchr2(b'"', b'\\', rest),
                };
                let (plain, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
                self.keep(plain);
                rest = tail;
            }
        }
        self.found
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            if self.after_backslash {
                self.after_backslash = false;
                self.keep(&[byte]);
            } else if byte == b'"' {
                self.in_string = false;
                if self.expects_key {
                    self.end_of_key();
                }
            } else {
                self.after_backslash = byte == b'\\';
                self.keep(&[byte]);
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.key.clear();
                self.key_is_cut = false;
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.expects_key = byte == b'{';
                if self.open.len() < MESSAGE_DEPTH_MAX {
                    self.open.push(byte == b'{');
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                let kept = usize::try_from(self.depth).unwrap_or(usize::MAX);
                self.open.truncate(kept);
                self.expects_key = false;
            }
            b',' => self.expects_key = self.is_in_object(),
            b':' => self.expects_key = false,
            _ => {}
        }
    }

    /// Below the depth that matters it is never asked: keys there are nobody's business.
    fn is_in_object(&self) -> bool {
        usize::try_from(self.depth) == Ok(self.open.len()) && self.open.last() == Some(&true)
    }

    #[inline(never)]
    fn keep(&mut self, bytes: &[u8]) {
        if !self.expects_key {
            return;
        }
        let room = KEY_BYTES_MAX.saturating_sub(self.key.len());
        self.key_is_cut |= bytes.len() > room;
        self.key.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    #[inline(never)]
    fn end_of_key(&mut self) {
        self.expects_key = false;
        // A message is the outermost object, or an object in the outermost array.
        let message_depth = if self.open.first() == Some(&true) { 1 } else { 2 };
        if self.depth == message_depth {
            self.in_result = self.key_may_be("result");
            self.found |= self.key_may_be("method");
        } else if self.depth == message_depth.saturating_add(1) && self.in_result {
            self.found |= self.key_may_be(INPUT_REQUESTS);
        }
    }

    /// Whether some reader could take the key for `name`: without regard to case, and any key with escapes.
    #[inline(never)]
    fn key_may_be(&self, name: &str) -> bool {
        if self.key.contains(&b'\\') || self.key.iter().any(|byte| !byte.is_ascii()) {
            return true;
        }
        let seen = self.key.iter().copied().filter(|byte| byte.is_ascii_alphanumeric());
        !self.key_is_cut
            && seen.map(|byte| byte.to_ascii_lowercase()).eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
    }
}

/// A batch, its message, the result.
const MESSAGE_DEPTH_MAX: usize = 3;
