//! Step 12: the RFC 6962 Merkle tree over the log's leaves, by its frontier: append in logarithmic space, root at any size.
//!
//! Leaves and nodes are hashed under different first bytes, so that no node can ever be passed off as a leaf.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

#[cfg(test)]
mod tests;

const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;
const HASH_BYTES: usize = 32;

/// A tile of the log (C2SP `tlog-tiles`) is 2^8 hashes wide, and a level is 2^8 times coarser than the one below it.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes of a full tile.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// The coarsest level that is kept: one hash for 2^48 entries.
pub const LEVEL_MAX: u32 = 6;

/// Hash of one leaf: sha256(0x00 ‖ `body`).
pub fn leaf_hash(body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update([LEAF_PREFIX]);
    hash.update(body);
    Digest::from_bytes(hash.finalize().into())
}

/// Hash of an inner node: sha256(0x01 ‖ `left` ‖ `right`).
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut hash = Sha256::new();
    hash.update([NODE_PREFIX]);
    hash.update(left.as_bytes());
    hash.update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// Root of the tree over `leaves`, which are leaf hashes in log order.
pub fn root_of(leaves: impl IntoIterator<Item = Digest>) -> Digest {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(leaf);
    }
    frontier.root()
}

/// All that is needed of a log to append to it: the roots of its perfect subtrees, the largest (and oldest) first.
///
/// There is one per bit that is set in the size, so never more than 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Digest>,
}

impl Frontier {
    /// How many leaves were appended.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends one leaf by its hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut node = leaf;
        // Every set low bit of the size is a perfect subtree as large as the one just completed: they pair up.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(left, node);
            }
        }
        self.subtrees.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// Appends a perfect subtree of 2^`height` leaves by its root. False, and nothing happens, where the size is not a
    /// multiple of that.
    pub fn append_subtree(&mut self, height: u32, root: Digest) -> bool {
        let Some(leaves) = 1_u64.checked_shl(height).filter(|leaves| self.size.is_multiple_of(*leaves)) else {
            return false;
        };
        let mut node = root;
        for _ in 0..(self.size >> height).trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(left, node);
            }
        }
        self.subtrees.push(node);
        self.size = self.size.saturating_add(leaves);
        true
    }

    /// Root of the whole tree; of the empty one, the SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        let mut subtrees = self.subtrees.iter().rev();
        let Some(&smallest) = subtrees.next() else {
            return Digest::of(b"");
        };
        subtrees.fold(smallest, |right, &left| node_hash(left, right))
    }

    /// The subtree roots one after the other, 32 bytes each; with the size, all of the frontier.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.subtrees.iter().flat_map(|subtree| *subtree.as_bytes()).collect()
    }

    /// Reads what [`Frontier::to_bytes`] wrote at `size`.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, FrontierError> {
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        let subtrees = size.count_ones();
        if !rest.is_empty() || u32::try_from(hashes.len()) != Ok(subtrees) {
            return Err(FrontierError { size, subtrees, bytes_found: bytes.len() });
        }
        Ok(Self { size, subtrees: hashes.iter().copied().map(Digest::from_bytes).collect() })
    }
}

/// The stored frontier cannot belong to a log of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontierError {
    pub size: u64,
    /// How many subtree roots a log of `size` leaves has.
    pub subtrees: u32,
    pub bytes_found: usize,
}

impl fmt::Display for FrontierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the frontier of a log of {} entries is {} hashes of {HASH_BYTES} bytes, found {} bytes: restore the \
             database from a copy that `holdpoint audit verify` accepts",
            self.size, self.subtrees, self.bytes_found
        )
    }
}

impl std::error::Error for FrontierError {}
