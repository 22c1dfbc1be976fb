//! Step 3: a place in the text, from which the reader moves forward token by token.

use super::error::{Found, ReadError};
use super::{number, plain, text};

/// Stands for the end of the text where bytes are expected of which none is a NUL.
pub(super) const END: u8 = 0;

/// Where the reader is. A copy is handed to whatever is not inlined, so that the reader's own stays in registers.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

// Whatever runs once for each value or more often is inlined by force: the module is compiled for size.
impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    #[inline(always)]
    pub(super) fn at(self) -> usize {
        self.at
    }

    #[inline(always)]
    pub(super) fn text(self) -> &'t str {
        self.text
    }

    #[inline(always)]
    pub(super) fn peek(self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Never wraps: only bytes that were seen are stepped over.
    #[inline(always)]
    pub(super) fn step(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
    }

    /// The byte here, or [`END`].
    #[inline(always)]
    fn byte(self) -> u8 {
        self.peek().unwrap_or(END)
    }

    /// Steps over white space; the byte behind it, or [`END`].
    #[inline(always)]
    pub(super) fn next_token(&mut self) -> u8 {
        let token = self.byte();
        if token > b' ' {
            return token;
        }
        self.at = white_space_end(self.text.as_bytes(), self.at);
        self.byte()
    }

    /// Steps over the string whose opening quote is here. True if it holds an escape.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<bool, ReadError> {
        self.at = plain::end(self.text.as_bytes(), self.at.wrapping_add(1));
        let is_escaped = self.peek() != Some(b'"');
        if is_escaped {
            self.at = escaped_end(self.text, self.at)?;
        }
        self.step(1);
        Ok(is_escaped)
    }

    /// Steps over the number whose first character is here.
    #[inline(always)]
    pub(super) fn number(&mut self, chars_max: u32) -> Result<(), ReadError> {
        self.at = match number::short_integer_end(self.text.as_bytes(), self.at, chars_max) {
            Some(end) => end,
            None => number::end(self.text, self.at, chars_max)?,
        };
        Ok(())
    }

    /// Steps over `word`, if it is here.
    #[inline(always)]
    pub(super) fn word<const BYTES: usize>(&mut self, word: &[u8; BYTES]) -> Result<(), ReadError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.first_chunk() != Some(word) {
            return Err(self.unexpected("a value"));
        }
        self.step(BYTES);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn unexpected(self, expected: &'static str) -> ReadError {
        unexpected(self.text, self.at, expected)
    }
}

#[cold]
#[inline(never)]
fn unexpected(text: &str, at: usize, expected: &'static str) -> ReadError {
    let found = text.as_bytes().get(at).copied().map_or(Found::End, Found::Byte);
    ReadError::Unexpected { at, found, expected }
}

/// What indents a text.
const EIGHT_SPACES: u64 = 0x2020_2020_2020_2020;

#[inline(never)]
fn white_space_end(text: &[u8], mut at: usize) -> usize {
    loop {
        if let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
            let spaces = (u64::from_le_bytes(*word) ^ EIGHT_SPACES).trailing_zeros() as usize / 8;
            at = at.wrapping_add(spaces);
        }
        match text.get(at) {
            Some(b' ' | b'\n' | b'\r' | b'\t') => at = at.wrapping_add(1),
            _ => return at,
        }
    }
}

/// The place of the closing quote, seen from the first byte of a string that is not plain.
#[inline(never)]
fn escaped_end(text: &str, at: usize) -> Result<usize, ReadError> {
    let bytes = text.as_bytes();
    let mut at = at;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => at = plain::end(bytes, escape_end(bytes, at)?),
            Some(byte) => return Err(ReadError::ControlCharacter { at, byte: *byte }),
            None => return Err(unexpected(text, at, "a closing `\"`")),
        }
    }
}

#[inline(always)]
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, ReadError> {
    match bytes.get(at.wrapping_add(1)) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(at.wrapping_add(2)),
        Some(b'u') => {}
        _ => return Err(ReadError::Escape { at }),
    }
    let unit = code_unit(bytes, at).ok_or(ReadError::Escape { at })?;
    let end = at.wrapping_add(6);
    if !(0xd800..0xe000).contains(&unit) {
        return Ok(end);
    }
    let second = code_unit(bytes, end).and_then(|second| text::surrogate_pair(unit, second));
    second.ok_or(ReadError::LoneSurrogate { at })?;
    Ok(end.wrapping_add(6))
}

/// The code unit of the `\uXXXX` at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..)?.first_chunk::<6>()?;
    let [b'\\', b'u', digits @ ..] = escape else {
        return None;
    };
    digits.iter().try_fold(0_u32, |unit, digit| Some((unit << 4) | char::from(*digit).to_digit(16)?))
}
