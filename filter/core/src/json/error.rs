//! Step 3: why a text is not JSON that everyone reads alike. Every variant knows the byte where it went wrong.

use std::fmt;

/// What stood where something else was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The text ended.
    End,
    /// This byte.
    Byte(u8),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the end of the text"),
            Self::Byte(byte @ 0x21..=0x7e) => write!(f, "`{}`", char::from(*byte)),
            Self::Byte(b' ') => f.write_str("a space"),
            Self::Byte(byte) => write!(f, "byte 0x{byte:02x}"),
        }
    }
}

/// Why [`super::Document::read`] refused a text. `at` is a byte offset from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The text starts with U+FEFF.
    ByteOrderMark,
    /// Offsets would not fit in 32 bits.
    TooLarge { bytes_found: usize },
    /// Not UTF-8 from here on.
    NotUtf8 { at: usize },
    /// The grammar wants something else here.
    Unexpected { at: usize, found: Found, expected: &'static str },
    /// A raw control character inside a string.
    ControlCharacter { at: usize, byte: u8 },
    /// A backslash with nothing known behind it.
    Escape { at: usize },
    /// Half of a surrogate pair: it names no character, and parsers disagree what to make of it.
    LoneSurrogate { at: usize },
    /// A number that starts here is not written as JSON writes numbers.
    Number { at: usize, problem: &'static str },
    /// The number that starts here is longer than the limit.
    NumberTooLong { at: usize, number_chars_max: u32 },
    /// The number that starts here is infinite in double precision.
    NumberTooLarge { at: usize },
    /// The key that starts here stands in the same object already. `key` is shortened for display.
    DuplicateKey { at: usize, key: String },
    /// The key that starts here is no ordinary key to some readers: to JavaScript `__proto__` is the object's prototype,
    /// and where strings end at a NUL a key ends there. `key` is shortened for display.
    SpecialKey { at: usize, key: String },
    /// One more container than allowed starts here.
    TooDeep { at: usize, depth_max: u32 },
    /// One more value or key than allowed starts here.
    TooManyNodes { at: usize, nodes_max: u32 },
    /// Something follows the value.
    TrailingBytes { at: usize },
}

impl ReadError {
    /// The byte offset where the text went wrong.
    pub fn at(&self) -> usize {
        match self {
            Self::ByteOrderMark | Self::TooLarge { .. } => 0,
            Self::NotUtf8 { at }
            | Self::Unexpected { at, .. }
            | Self::ControlCharacter { at, .. }
            | Self::Escape { at }
            | Self::LoneSurrogate { at }
            | Self::Number { at, .. }
            | Self::NumberTooLong { at, .. }
            | Self::NumberTooLarge { at }
            | Self::DuplicateKey { at, .. }
            | Self::SpecialKey { at, .. }
            | Self::TooDeep { at, .. }
            | Self::TooManyNodes { at, .. }
            | Self::TrailingBytes { at } => *at,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: ", self.at())?;
        match self {
            Self::ByteOrderMark => f.write_str("the text starts with a byte order mark; send UTF-8 without one"),
            Self::TooLarge { bytes_found } => write!(f, "{bytes_found} bytes are more than one text may have"),
            Self::NotUtf8 { .. } => f.write_str("not UTF-8; send JSON in UTF-8"),
            Self::Unexpected { found, expected, .. } => write!(f, "expected {expected}, found {found}"),
            Self::ControlCharacter { byte, .. } => {
                write!(f, "control character 0x{byte:02x} inside a string; write it as `\\u{byte:04x}`")
            }
            Self::Escape { .. } => {
                f.write_str("unknown escape; after a backslash comes one of `\"\\/bfnrt` or `u` and four hex digits")
            }
            Self::LoneSurrogate { .. } => f.write_str("half of a surrogate pair; write both halves or the character"),
            Self::Number { problem, .. } => f.write_str(problem),
            Self::NumberTooLong { number_chars_max, .. } => {
                write!(f, "a number of more than {number_chars_max} characters; send it as a string")
            }
            Self::NumberTooLarge { .. } => f.write_str("a number too large for a double; send it as a string"),
            Self::DuplicateKey { key, .. } => write!(f, "key `{key}` stands twice in one object; send it once"),
            Self::SpecialKey { key, .. } => {
                write!(
                    f,
                    "key `{key}` is `__proto__` or holds a NUL, which some readers take for another key; leave it out"
                )
            }
            Self::TooDeep { depth_max, .. } => write!(f, "more than {depth_max} objects and arrays inside one another"),
            Self::TooManyNodes { nodes_max, .. } => write!(f, "more than {nodes_max} values and keys in one text"),
            Self::TrailingBytes { .. } => {
                f.write_str("something follows the value; send one value and nothing after it")
            }
        }
    }
}

impl std::error::Error for ReadError {}
