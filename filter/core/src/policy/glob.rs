//! Step 6: patterns over names and URIs. `*` stands for any characters but `/`, `**` for any at all.
//!
//! Case matters, and nothing else is special. Matching costs at most pattern length × text length.

use std::fmt;

const PATTERN_BYTES_MAX: usize = 512;

/// One pattern; ordered and compared by its text.
#[derive(Clone)]
pub struct Glob {
    text: String,
    /// What stands before the first star.
    prefix: String,
    /// From the first star on; empty for a literal pattern.
    rest: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Star,
    DoubleStar,
}

impl Glob {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern must not be empty".to_owned());
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes, found {}", text.len()));
        }
        let prefix = text.split('*').next().unwrap_or_default().to_owned();
        let mut rest: Vec<Token> = Vec::new();
        for byte in text.bytes().skip(prefix.len()) {
            match (byte, rest.last_mut()) {
                (b'*', Some(last @ Token::Star)) => *last = Token::DoubleStar,
                (b'*', Some(Token::DoubleStar)) => {}
                (b'*', _) => rest.push(Token::Star),
                (byte, _) => rest.push(Token::Byte(byte)),
            }
        }
        Ok(Self { text: text.to_owned(), prefix, rest })
    }

    /// The pattern that every text matches.
    pub(crate) fn anything() -> Self {
        Self { text: "**".to_owned(), prefix: String::new(), rest: vec![Token::DoubleStar] }
    }

    /// Whether it speaks before `other` where both match: a name before a pattern, the more fixed before the less.
    pub fn is_before(&self, other: &Self) -> bool {
        match (self.is_literal(), other.is_literal()) {
            (true, false) => true,
            (false, true) | (true, true) => false,
            (false, false) => self.literal_bytes() > other.literal_bytes(),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches only itself.
    pub fn is_literal(&self) -> bool {
        self.rest.is_empty()
    }

    /// What stands before the first star.
    pub(crate) fn fixed_beginning(&self) -> &str {
        &self.prefix
    }

    /// How much of it is fixed, to find the most specific of several: bytes that are no star.
    pub fn literal_bytes(&self) -> usize {
        let fixed = self.rest.iter().filter(|token| matches!(token, Token::Byte(_))).count();
        self.prefix.len().saturating_add(fixed)
    }

    /// Whether some text matches both.
    pub fn overlaps(&self, other: &Self) -> bool {
        meet(&self.tokens(), &other.tokens())
    }

    /// Whether every text that matches `other` matches this too, as far as that shows: `false` may be wrong.
    pub fn covers(&self, other: &Self) -> bool {
        absorbs(&self.tokens(), &other.tokens())
    }

    fn tokens(&self) -> Vec<Token> {
        self.prefix.bytes().map(Token::Byte).chain(self.rest.iter().copied()).collect()
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let Some(tail) = text.as_bytes().strip_prefix(self.prefix.as_bytes()) else {
            return false;
        };
        match self.rest.as_slice() {
            [] => tail.is_empty(),
            [Token::DoubleStar] => true,
            [Token::Star] => !tail.contains(&b'/'),
            tokens => simulate(tokens, tail),
        }
    }
}

/// Whether some text matches both, position by position: a star may take what the other side has next.
fn meet(one: &[Token], two: &[Token]) -> bool {
    // `row` holds, for the tokens of `two` from each position on, whether they meet the tokens of `one` from here on.
    let stars_only = |tokens: &[Token]| tokens.iter().all(|token| !matches!(token, Token::Byte(_)));
    let mut row: Vec<bool> = (0..=two.len()).map(|from| stars_only(two.get(from..).unwrap_or_default())).collect();
    for from in (0..one.len()).rev() {
        let (token, rest) = (one.get(from), one.get(from..).unwrap_or_default());
        let mut above = row.last().copied().unwrap_or(false);
        let mut right = stars_only(rest);
        let mut next = vec![right];
        for (other, below) in two.iter().rev().zip(row.iter().rev().skip(1)) {
            let both = match (token, other) {
                (Some(Token::Byte(byte)), Token::Byte(other)) => byte == other && above,
                (Some(Token::Byte(b'/')), Token::Star) => right,
                (Some(Token::Star), Token::Byte(b'/')) => *below,
                (Some(Token::Byte(_)), Token::Star | Token::DoubleStar) => *below || right,
                (Some(Token::Star | Token::DoubleStar), Token::Byte(_)) => *below || right,
                (Some(Token::Star | Token::DoubleStar), Token::Star | Token::DoubleStar) => *below || right,
                (None, _) => false,
            };
            above = *below;
            right = both;
            next.push(both);
        }
        next.reverse();
        row = next;
    }
    row.first().copied().unwrap_or(false)
}

/// Carries the positions in `tokens` that every text reaches which `texts` read so far can stand for. Whatever a star of
/// `texts` may hold, only a star that may hold as much takes it.
fn absorbs(tokens: &[Token], texts: &[Token]) -> bool {
    let mut reached = beginning(tokens);
    for text in texts {
        let mut before = reached.first().copied().unwrap_or(false);
        let mut left = false;
        if let Some(start) = reached.first_mut() {
            *start = false;
        }
        for (cell, token) in reached.iter_mut().skip(1).zip(tokens) {
            let here = *cell;
            *cell = match (token, text) {
                (Token::Byte(_), _) => before && token == text,
                (Token::Star, Token::Byte(b'/') | Token::DoubleStar) => left,
                (Token::Star, Token::Byte(_) | Token::Star) | (Token::DoubleStar, _) => left || here,
            };
            before = here;
            left = *cell;
        }
    }
    reached.last().copied().unwrap_or(false)
}

/// The positions that no text at all reaches: leading stars may take nothing.
fn beginning(tokens: &[Token]) -> Vec<bool> {
    let is_star = |token: &Token| matches!(token, Token::Star | Token::DoubleStar);
    let mut reached: Vec<bool> = Vec::with_capacity(tokens.len().saturating_add(1));
    reached.push(true);
    for token in tokens {
        let so_far = reached.last().copied().unwrap_or(false);
        reached.push(so_far && is_star(token));
    }
    reached
}

/// Carries the set of pattern positions that the text read so far can have reached. Bytes suffice: a star that splits
/// a character could only do so against a pattern that is not UTF-8.
fn simulate(tokens: &[Token], text: &[u8]) -> bool {
    let mut reached = beginning(tokens);
    for byte in text {
        let mut before = reached.first().copied().unwrap_or(false);
        let mut left = false;
        if let Some(start) = reached.first_mut() {
            *start = false;
        }
        for (cell, token) in reached.iter_mut().skip(1).zip(tokens) {
            let here = *cell;
            // A star reached by the text so far may go on, or have taken nothing at all.
            *cell = match token {
                Token::Byte(expected) => before && expected == byte,
                Token::Star => left || (here && *byte != b'/'),
                Token::DoubleStar => left || here,
            };
            before = here;
            left = *cell;
        }
    }
    reached.last().copied().unwrap_or(false)
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl PartialOrd for Glob {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Glob {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

#[cfg(test)]
mod tests;
