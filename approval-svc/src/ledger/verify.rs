//! Step 12: reads the whole log from the database into a `Verifier`, and looks at what only the database has.

use std::num::NonZero;

use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::verify::{Beside, GivenCheckpoint, Looked, Verified, Verifier};

use crate::store::payload::EntryBeside;
use crate::store::row::{CheckpointRow, LogEntry};
use crate::store::{Store, StoreError};

/// Rows read at once.
const PAGE_MAX: u32 = 4_096;
/// Most threads that hash.
const WORKERS_MAX: usize = 8;

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
    // While one page is hashed and read, the next one is fetched.
    let mut page = store.entries_beside(next, PAGE_MAX).await?;
    while next < size {
        let Some(last) = page.last().map(|row| row.entry.seq) else { break };
        next = last + 1;
        let looking = tokio::task::spawn_blocking(move || look_at(&page));
        let fetched = store.entries_beside(next, PAGE_MAX).await;
        let looked =
            looking.await.map_err(|error| StoreError::Corrupt { what: "a page", problem: error.to_string() })?;
        for one in looked.into_iter().take_while(|one| one.seq() < size) {
            verifier.take(one);
        }
        page = fetched?;
        progress(next.min(size), size);
    }
    let surplus = store.entries(store.head().await?.frontier.size(), 1).await?;
    if let Some(row) = surplus.first() {
        verifier.find(format!("entry {} was slipped in behind the log's head", row.seq));
    }
    Ok(verifier.finish(Some((size, head.root))))
}

/// Looks at the entries of a page, on all processors.
fn look_at(page: &[EntryBeside]) -> Vec<Looked> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
    let look = |rows: &[EntryBeside]| -> Vec<Looked> {
        let one = |row: &EntryBeside| {
            let LogEntry { seq, body, leaf_hash } = &row.entry;
            Looked::at(*seq, body, Some(*leaf_hash), row.payload.as_ref().map_or(Beside::Nothing, Beside::Payload))
        };
        rows.iter().map(one).collect()
    };
    std::thread::scope(|scope| {
        let parts = page.chunks(page.len().div_ceil(workers).max(1));
        let running: Vec<_> = parts.map(|part| (part, scope.spawn(move || look(part)))).collect();
        // A thread that could not go on says nothing of its entries: they are looked at here.
        running.into_iter().flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| look(part))).collect()
    })
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
