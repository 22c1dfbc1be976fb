//! Step 3: keys that not all readers understand alike: those that stand twice in one object, `__proto__`, a NUL.

use std::borrow::Cow;

use super::error::ReadError;
use super::node::Node;
use super::text;

/// Up to this many keys comparing each with each is cheaper than sorting; beyond it the cost must not grow by squares.
const KEYS_COMPARED_PAIRWISE_MAX: usize = 12;

/// What JavaScript makes the prototype of an object that is copied key by key.
const PROTOTYPE: &str = "__proto__";
const PROTOTYPE_LITERAL: &str = "\"__proto__\"";
/// Its longest spelling: nine escapes of six bytes, and the quotes.
const PROTOTYPE_ESCAPED_BYTES_MAX: usize = 56;
/// The one way to write a NUL.
const NUL_ESCAPE: &[u8] = b"\\u0000";

/// One mark of 64 for each key of an object so far, and all of them once two keys had the same one. It can only tell
/// that no key stands twice; an object of which it does not is looked at again when it ends.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks(u64);

impl Marks {
    const ALL: u64 = u64::MAX;

    #[inline(always)]
    pub(super) fn add(&mut self, key: Node, text: &str) {
        let mark = mark(key, text);
        self.0 = if self.0 & mark == 0 { self.0 | mark } else { Self::ALL };
    }

    #[inline(always)]
    pub(super) fn may_repeat(self) -> bool {
        self.0 == Self::ALL
    }
}

/// The same for equal keys; a key with an escape may equal any other. Keys of one object seldom agree in both their
/// first letter and their length, and letters are few: a step of four per byte keeps the sums apart.
#[inline(always)]
fn mark(key: Node, text: &str) -> u64 {
    let first = text.as_bytes().get((key.start as usize).wrapping_add(1)).copied().unwrap_or_default();
    let bytes = key.end.wrapping_sub(key.start);
    if key.is_escaped() { Marks::ALL } else { 1_u64.wrapping_shl(bytes.wrapping_mul(4).wrapping_add(u32::from(first))) }
}

/// Refuses a key that some readers do not take for the key it spells. A raw NUL is no JSON, so only escapes hide one.
#[inline(always)]
pub(super) fn refuse_special(key: Node, text: &str) -> Result<(), ReadError> {
    let may_be = key.is_escaped() || key.end.wrapping_sub(key.start) as usize == PROTOTYPE_LITERAL.len();
    match may_be && is_special(literal(key, text), key.is_escaped()) {
        true => Err(special(key.start, literal(key, text))),
        false => Ok(()),
    }
}

#[inline(never)]
fn is_special(literal: &str, is_escaped: bool) -> bool {
    if !is_escaped {
        return literal == PROTOTYPE_LITERAL;
    }
    let hides_nul = || memchr::memmem::find(literal.as_bytes(), NUL_ESCAPE).is_some();
    if literal.len() > PROTOTYPE_ESCAPED_BYTES_MAX && !hides_nul() {
        return false;
    }
    let decoded = text::decode(text::unquoted(literal));
    decoded == PROTOTYPE || decoded.contains('\0')
}

#[cold]
#[inline(never)]
fn special(at: u32, literal: &str) -> ReadError {
    let key = text::excerpt(&text::decode(text::unquoted(literal)));
    ReadError::SpecialKey { at: at as usize, key }
}

/// Refuses an object whose decoded keys are not all different; `inside` are the nodes inside it. The sender chooses the
/// keys, so beyond a handful they are sorted: a hash map could be made to collide, and comparing all with all could be
/// made to take minutes.
#[inline(never)]
pub(super) fn refuse_duplicates(inside: &[Node], text: &str) -> Result<(), ReadError> {
    let keys = &of_object(inside)[..];
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
            .map(|key| (literal(*key, text).as_bytes(), key.start))
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

/// The keys of one object, out of the nodes inside it.
fn of_object(mut inside: &[Node]) -> Vec<Node> {
    let mut keys = Vec::new();
    while let [key, value, ..] = inside {
        keys.push(*key);
        inside = inside.get((value.subtree() as usize).saturating_add(1)..).unwrap_or_default();
    }
    keys
}

/// The key with its quotes. Keys without escapes are equal exactly when their literals are.
#[inline(always)]
fn literal(key: Node, text: &str) -> &str {
    text.get(key.start as usize..key.end as usize).unwrap_or_default()
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
    let inner = text::unquoted(literal(key, text));
    if key.is_escaped() { Cow::Owned(text::decode(inner)) } else { Cow::Borrowed(inner) }
}

/// The second of the first two neighbours that are the same.
fn neighbours<T>(sorted: &[T], same: impl Fn(&T, &T) -> bool) -> Option<&T> {
    sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| same(a, b)).map(|(_, b)| b)
}
