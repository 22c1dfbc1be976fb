//! Steps 6 and 10: what principals did, for rules that look back, in data that the workers of one Envoy share.
//!
//! A call's marks are written before it is forwarded and again before each part of its answer is handed over, so that the
//! time that a rule looks back runs from when the caller last got something. One row for each principal and mark. Where
//! rows had to be forgotten, the time up to which they may have stood is kept: what lies in it is not known any more.

use std::cell::RefCell;

use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::identity::Principal;
use holdpoint_core::policy::{AFTER_MS_MAX, Past, PolicySnapshot, UsageView};

use crate::usage::{self, SharedData};

#[cfg(test)]
mod tests;

const SHARDS: u8 = 64;
/// Rows of one shard, 24 bytes each: about 32,000 in less than 1 MiB.
const ROWS_MAX: usize = 512;
const ROW_TAG: &str = "holdpoint/past-row/v1";

/// A row is written so far ahead, that not every part of an answer is worth a write.
const AHEAD_MS: u64 = 1_000;
/// How long after a policy was first taken in its siblings are sure to have it too, and write what it looks back for.
const SETTLE_MS: u64 = 5_000;

type Id = [u8; 16];

/// Creates what the marks of a policy need. To be called while a configuration is taken in, as [`usage::prepare`] is and for
/// the same reason. Marks of the same plugin that the policy has no more are forgotten: nothing is written of them now.
pub fn prepare(shared: &mut dyn SharedData, plugin: &str, policy: &PolicySnapshot, now_ms: u64) {
    let marks: Vec<Id> = policy.marks().map(id_of).collect();
    if !marks.is_empty() {
        (0..SHARDS).for_each(|shard| usage::create(shared, &shard_key(shard)));
    }
    let key = since_key(plugin);
    usage::create(shared, &key);
    // A failure shows as a past that is not known.
    let _ = usage::change(shared, &key, |bytes| {
        let known = rows(bytes);
        let since = |mark: &Id| {
            let found = known.iter().find(|row| row.id == *mark).map(|row| row.at_ms);
            Row { id: *mark, at_ms: found.unwrap_or(now_ms.saturating_add(SETTLE_MS)) }
        };
        let next: Vec<Row> = marks.iter().map(since).collect();
        (next != known).then(|| (text(&next), ()))
    });
}

/// The marks that one exchange leaves behind.
#[derive(Debug)]
pub struct Trail {
    rows: Vec<Id>,
    written_at_ms: Option<u64>,
}

impl Trail {
    /// Of a call that is about to run, under the policy that let it.
    pub fn of(policy: &PolicySnapshot, envelope: &CallEnvelope) -> Self {
        let marks = policy.marks_of(envelope);
        let rows = match marks.is_empty() {
            true => Vec::new(),
            false => marks.into_iter().map(|mark| row_id(mark, envelope.principal())).collect(),
        };
        Self { rows, written_at_ms: None }
    }

    /// Of several calls that run together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self
    }

    /// Writes the marks as of now; `false` when they cannot be written, and then nothing may go on.
    #[must_use]
    pub fn write(&mut self, shared: &mut dyn SharedData, now_ms: u64) -> bool {
        let is_fresh =
            |written_at_ms: u64| (written_at_ms..written_at_ms.saturating_add(AHEAD_MS / 2)).contains(&now_ms);
        if self.rows.is_empty() || self.written_at_ms.is_some_and(is_fresh) {
            return true;
        }
        let done = self.rows.iter().all(|id| put(shared, *id, now_ms));
        self.written_at_ms = done.then_some(now_ms);
        done
    }
}

fn put(shared: &mut dyn SharedData, id: Id, now_ms: u64) -> bool {
    let at_ms = now_ms.saturating_add(AHEAD_MS);
    let done = usage::change(shared, &shard_of(&id), |bytes| {
        let (mut lost_at_ms, mut rows) = shard(bytes);
        rows.retain(|row| row.at_ms.saturating_add(AFTER_MS_MAX) > now_ms);
        match rows.iter_mut().find(|row| row.id == id) {
            Some(row) => row.at_ms = row.at_ms.max(at_ms),
            None => {
                if rows.len() >= ROWS_MAX
                    && let Some((oldest, row)) = rows.iter().enumerate().min_by_key(|(_, row)| row.at_ms)
                {
                    lost_at_ms = lost_at_ms.max(row.at_ms);
                    rows.swap_remove(oldest);
                }
                rows.push(Row { id, at_ms });
            }
        }
        Some(([lost_at_ms.to_le_bytes().to_vec(), text(&rows)].concat(), ()))
    });
    done.is_some()
}

/// What one plugin's rules are told of the past.
pub struct PastView<'a> {
    shared: RefCell<&'a mut dyn SharedData>,
    plugin: &'a str,
    now_ms: u64,
}

impl<'a> PastView<'a> {
    /// As of `now_ms`.
    pub fn new(shared: &'a mut dyn SharedData, plugin: &'a str, now_ms: u64) -> Self {
        Self { shared: RefCell::new(shared), plugin, now_ms }
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        // A key that is not there was never prepared: then nothing is known, and not that nothing was.
        let (bytes, cas) = self.shared.try_borrow_mut().ok()?.load(key)?;
        (cas != usage::NEW).then_some(bytes)
    }
}

impl UsageView for PastView<'_> {
    fn past(&self, mark: Digest, principal: &Principal) -> Past {
        let (row, id) = (row_id(mark, principal), id_of(mark));
        let since = self.load(&since_key(self.plugin));
        let (Some(since), Some(bytes)) = (since, self.load(&shard_of(&row))) else {
            return Past { now_ms: self.now_ms, ..Past::UNKNOWN };
        };
        let began_at_ms = rows(&since).iter().find(|row| row.id == id).map_or(u64::MAX, |row| row.at_ms);
        let (lost_at_ms, rows) = shard(&bytes);
        Past {
            now_ms: self.now_ms,
            last_at_ms: rows.iter().find(|found| found.id == row).map(|found| found.at_ms),
            began_at_ms,
            lost_at_ms: (lost_at_ms > 0).then_some(lost_at_ms),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: Id,
    at_ms: u64,
}

fn since_key(plugin: &str) -> String {
    format!("holdpoint/past-since/{plugin}")
}

fn shard_key(shard: u8) -> String {
    format!("holdpoint/past/{shard}")
}

fn shard_of(id: &Id) -> String {
    shard_key(id.first().map_or(0, |first| first % SHARDS))
}

fn row_id(mark: Digest, principal: &Principal) -> Id {
    let input = [principal.name().as_bytes().as_slice(), mark.as_bytes().as_slice()].concat();
    id_of(Digest::tagged(ROW_TAG, &input))
}

fn id_of(digest: Digest) -> Id {
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// When something was last forgotten (0: never), and the rows.
fn shard(bytes: &[u8]) -> (u64, Vec<Row>) {
    match bytes.split_first_chunk() {
        Some((lost_at_ms, rest)) => (u64::from_le_bytes(*lost_at_ms), rows(rest)),
        None => (0, Vec::new()),
    }
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let read = |row: &[u8; 24]| {
        let (id, at_ms) = row.split_first_chunk()?;
        Some(Row { id: *id, at_ms: usage::number(at_ms, 0)? })
    };
    bytes.as_chunks::<24>().0.iter().filter_map(read).collect()
}

fn text(rows: &[Row]) -> Vec<u8> {
    rows.iter().flat_map(|row| row.id.into_iter().chain(row.at_ms.to_le_bytes())).collect()
}
