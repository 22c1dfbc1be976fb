//! Everything found wrong in one document, told at once.

use std::fmt;

use super::{Located, Place};
use crate::order;

/// One thing that is wrong: where in the text, where in the document, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: Place,
    /// Such as `rules[2].match.mcp`; empty when the text itself is wrong.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "{}: {}", self.at, self.message)
        } else {
            write!(f, "{}: {}: {}", self.at, self.path, self.message)
        }
    }
}

/// What is wrong with a document; as text one problem per line, in the order of the places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// In the order of the places.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        order::sorted(self.found.iter().collect(), |one: &&Problem, two| one.at.cmp(&two.at)).into_iter()
    }

    /// `value` when nothing is wrong.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            Some(_) | None => Err(self),
        }
    }
}

impl From<Vec<Located>> for Problems {
    fn from(located: Vec<Located>) -> Self {
        let found = located.into_iter().map(|Located { at, message }| Problem { at, path: String::new(), message });
        Self { found: found.collect() }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
