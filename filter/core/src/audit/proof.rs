//! Step 12: proofs over the log's tree (RFC 6962, section 2.1): that an entry is in it, and that an older tree is its beginning.
//!
//! A proof is a few roots of subtrees. Which ones is told as ranges of entries, so that whoever keeps the log can take
//! them from wherever it has them; checking a proof needs nothing but the proof.

use std::fmt;
use std::ops::Range;

use super::merkle::node_hash;
use crate::digest::Digest;

#[cfg(test)]
mod tests;

/// No proof over a log whose size fits in 64 bits is longer.
pub const HASHES_MAX: usize = 64;

/// The entries whose subtree roots prove that entry `index` is in the log of `size` entries, in the order of the proof:
/// from the leaf upwards. `None` when there is no such entry.
pub fn inclusion_ranges(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let mut ranges = Vec::new();
    let mut within = 0..size;
    while let Some(middle) = middle(&within) {
        // Where the entry is not is what has to be told.
        if index < middle {
            ranges.push(middle..within.end);
            within.end = middle;
        } else {
            ranges.push(within.start..middle);
            within.start = middle;
        }
    }
    ranges.reverse();
    Some(ranges)
}

/// The entries whose subtree roots prove that the log of `old` entries is the beginning of the log of `new` ones, in the
/// order of the proof. `None` when it cannot be: `old` is 0 or greater than `new`.
pub fn consistency_ranges(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old == 0 || old > new {
        return None;
    }
    let mut ranges = Vec::new();
    let mut within = 0..new;
    let mut is_left_edge = true;
    while within.end != old {
        let middle = middle(&within)?;
        if old <= middle {
            ranges.push(middle..within.end);
            within.end = middle;
        } else {
            ranges.push(within.start..middle);
            within.start = middle;
            is_left_edge = false;
        }
    }
    // The old tree's own root is known to whoever asks.
    if !is_left_edge {
        ranges.push(within);
    }
    ranges.reverse();
    Some(ranges)
}

/// Where RFC 6962 splits a tree: after the largest power of two that is smaller than it. `None` for a leaf.
fn middle(within: &Range<u64>) -> Option<u64> {
    let size = within.end.checked_sub(within.start)?;
    let last = size.checked_sub(1).filter(|last| *last > 0)?;
    within.start.checked_add(1 << last.ilog2())
}

/// Checks that the entry with the leaf hash `leaf` is number `index` of the log with `root` and `size`.
pub fn verify_inclusion(leaf: Digest, index: u64, size: u64, root: Digest, proof: &[Digest]) -> Result<(), ProofError> {
    let ranges = inclusion_ranges(index, size).ok_or(ProofError::Index { index, size })?;
    if ranges.len() != proof.len() {
        return Err(ProofError::Length { expected: ranges.len(), found: proof.len() });
    }
    let computed = ranges.iter().zip(proof).fold(leaf, |node, (range, sibling)| {
        if range.start > index { node_hash(node, *sibling) } else { node_hash(*sibling, node) }
    });
    if computed == root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the log with `old_root` and `old` entries is the beginning of the one with `new_root` and `new` entries.
pub fn verify_consistency(
    old: u64,
    old_root: Digest,
    new: u64,
    new_root: Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    let ranges = consistency_ranges(old, new).ok_or(ProofError::Index { index: old, size: new })?;
    if ranges.len() != proof.len() {
        return Err(ProofError::Length { expected: ranges.len(), found: proof.len() });
    }
    let mut steps = ranges.iter().zip(proof);
    // Where the old tree is a subtree of the new one, its root is not part of the proof.
    let first = if old.is_power_of_two() { None } else { steps.next() };
    let (mut old_node, mut new_node) = match first {
        Some((_, hash)) => (*hash, *hash),
        None => (old_root, old_root),
    };
    for (range, hash) in steps {
        if range.start >= old {
            new_node = node_hash(new_node, *hash);
        } else {
            old_node = node_hash(*hash, old_node);
            new_node = node_hash(*hash, new_node);
        }
    }
    if old_node == old_root && new_node == new_root { Ok(()) } else { Err(ProofError::Root) }
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// There is no such entry, or no such older log.
    Index { index: u64, size: u64 },
    /// A proof for this place has another number of hashes.
    Length { expected: usize, found: usize },
    /// The hashes lead to another root.
    Root,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { index, size } => write!(f, "{index} is outside of a log of {size} entries"),
            Self::Length { expected, found } => {
                write!(f, "a proof for this place has {expected} hashes, this one has {found}")
            }
            Self::Root => f.write_str("the hashes lead to another root than the one that was signed"),
        }
    }
}

impl std::error::Error for ProofError {}
