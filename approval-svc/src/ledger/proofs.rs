//! Step 12: proofs from the hashes that the database keeps: the leaves, and the root of every full subtree of 256, 65,536, …

use std::ops::Range;

use holdpoint_core::audit::merkle::{Frontier, LEVEL_MAX, TILE_HEIGHT, TILE_WIDTH};
use holdpoint_core::audit::proof::{consistency_ranges, inclusion_ranges};
use holdpoint_core::audit::receipt::Receipt;
use holdpoint_core::digest::Digest;

use super::Ledger;
use crate::store::{CommitError, Store, StoreError};

impl Ledger {
    /// Entry `seq` with the proof that a signed checkpoint holds it; `None` where there is no such entry.
    pub async fn receipt(&self, seq: u64) -> Result<Option<Receipt>, CommitError> {
        let Some(checkpoint) = self.checkpoint().await? else { return Ok(None) };
        let Some(ranges) = inclusion_ranges(seq, checkpoint.size) else { return Ok(None) };
        let rows = self.store.entries(seq, 1).await?;
        let Some(row) = rows.into_iter().next().filter(|row| row.seq == seq) else { return Ok(None) };
        let proof = roots(&*self.store, ranges).await?;
        Ok(Some(Receipt { body: row.body, index: seq, proof, checkpoint: checkpoint.note }))
    }

    /// The proof that the log of `old` entries is the beginning of the one of `new` entries; `None` where it cannot be.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Option<Vec<Digest>>, StoreError> {
        if new > self.store.head().await?.frontier.size() {
            return Ok(None);
        }
        match consistency_ranges(old, new) {
            Some(ranges) => roots(&*self.store, ranges).await.map(Some),
            None => Ok(None),
        }
    }
}

async fn roots(store: &dyn Store, ranges: Vec<Range<u64>>) -> Result<Vec<Digest>, StoreError> {
    let mut roots = Vec::with_capacity(ranges.len());
    for range in ranges {
        roots.push(root(store, range).await?);
    }
    Ok(roots)
}

/// Root of the subtree over `range`, whose start is aligned to its size: reads less than one tile of each level.
async fn root(store: &dyn Store, range: Range<u64>) -> Result<Digest, StoreError> {
    let mut frontier = Frontier::default();
    let mut at = range.start;
    while at < range.end {
        let level = (0..=LEVEL_MAX)
            .rev()
            .find(|level| {
                let width = 1_u64 << (level * TILE_HEIGHT);
                at.is_multiple_of(width) && width <= range.end - at
            })
            .unwrap_or(0);
        let height = level * TILE_HEIGHT;
        let index = at >> height;
        // Up to where a coarser level may take over.
        let count = (TILE_WIDTH - index % TILE_WIDTH).min((range.end - at) >> height);
        let hashes = store.hashes(level, index, u32::try_from(count).unwrap_or(u32::MAX)).await?;
        if u64::try_from(hashes.len()) != Ok(count) {
            let problem = format!("hashes of level {level} are missing from {index} on: run `holdpoint audit verify`");
            return Err(StoreError::Corrupt { what: "a log", problem });
        }
        for hash in hashes {
            frontier.append_subtree(height, hash);
            at += 1 << height;
        }
    }
    Ok(frontier.root())
}
