//! Step 12: reads the whole log from the database into a `Verifier`, and looks at what only the database has.

use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::verify::{GivenCheckpoint, Verified, Verifier};

use crate::store::row::CheckpointRow;
use crate::store::{Store, StoreError};

/// Rows read at once.
const PAGE_MAX: u32 = 4_096;

/// Recomputes every leaf and the root, and holds them against the head, every checkpoint of the database, and those that
/// somebody `kept` elsewhere. `progress` hears how many of how many entries are done.
pub async fn verify(
    store: &dyn Store,
    keys: &[ServiceKey],
    kept: Vec<GivenCheckpoint>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, StoreError> {
    // In this order, so that what is signed or appended meanwhile comes after the head and is left for the next time.
    let own = checkpoints(store).await?.into_iter();
    let own = own.map(|row| GivenCheckpoint {
        name: format!("checkpoint {}", row.size),
        note: row.note,
        size: Some(row.size),
    });
    let head = store.head().await?;
    let size = head.frontier.size();
    let mut verifier = Verifier::new(keys, own.chain(kept));
    let mut next = 0;
    while next < size {
        let page = store.entries(next, PAGE_MAX).await?;
        let Some(last) = page.last().map(|row| row.seq) else { break };
        for row in page.into_iter().take_while(|row| row.seq < size) {
            verifier.entry(row.seq, &row.body, Some(row.leaf_hash));
        }
        next = last + 1;
        progress(next.min(size), size);
    }
    let surplus = store.entries(store.head().await?.frontier.size(), 1).await?;
    if let Some(row) = surplus.first() {
        verifier.find(format!("entry {} was slipped in behind the log's head", row.seq));
    }
    Ok(verifier.finish(Some((size, head.root))))
}

async fn checkpoints(store: &dyn Store) -> Result<Vec<CheckpointRow>, StoreError> {
    let mut all: Vec<CheckpointRow> = Vec::new();
    loop {
        let after = all.last().map_or(0, |checkpoint| checkpoint.size);
        let page = store.checkpoints(after, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
