//! Step 7: how many calls in a time: sliding windows, kept as a few counters each; and how often the same call.
//!
//! A window never lets more than its number through in any stretch of its length: a counter leaves the sum only when
//! the last call that it can stand for has left. Windows live in a fixed number of shards, so that callers who make up
//! tool names can neither grow them without end nor push anybody else's window out: who has begun so many windows begins no
//! more, and a full shard admits nothing new.

use holdpoint_core::decision::RateLimit;
use holdpoint_core::digest::Digest;

use super::{SharedData, Taker, change, number};

/// Into how many counters a window is cut: it forgets up to that fraction of its length late.
const COUNTERS: u64 = 32;
const SHARDS: u8 = 64;
/// Live windows in one shard; each takes at most 440 bytes.
const ENTRIES_MAX: usize = 512;
/// And of those, as many as one principal may have begun: by himself he fills no shard.
const OWN_ENTRIES_MAX: usize = 64;

/// How long tries of the same call are remembered after the last one.
pub const RETRY_WINDOW_MS: u64 = 600_000;

const WINDOW_TAG: &str = "holdpoint/window/v1";
const ENTRY_ID_BYTES: usize = 16;

type EntryId = [u8; ENTRY_ID_BYTES];
/// The principal that began a window.
type Owner = [u8; 8];

/// One call that was counted in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    entry: EntryId,
    began_at_ms: u64,
}

impl Counted {
    pub(super) fn is_of(&self, entry: &EntryId) -> bool {
        self.entry == *entry
    }
}

/// One window: when it is forgotten, and calls by when their counter began.
struct Entry {
    id: EntryId,
    owner: Owner,
    expires_at_ms: u64,
    counters: Vec<(u64, u32)>,
}

pub(super) fn keys() -> impl Iterator<Item = String> {
    (0..SHARDS).flat_map(|shard| [key("window", shard), key("tries", shard)])
}

fn key(kind: &str, shard: u8) -> String {
    format!("holdpoint/{kind}/{shard}")
}

fn key_of(kind: &str, id: &EntryId) -> String {
    key(kind, id.first().map_or(0, |first| first % SHARDS))
}

/// Names the window that a call is counted in.
pub(super) fn entry_of(plugin: &str, limit: &RateLimit) -> EntryId {
    let RateLimit { rule_id, key, of, per_ms, calls_max: _, scope: _ } = limit;
    let text = format!("{plugin}\n{rule_id}\n{}\n{per_ms}\n{of}", key.as_str());
    id_of(&Digest::tagged(WINDOW_TAG, text.as_bytes()))
}

fn owner_of(who: Digest) -> Owner {
    who.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn id_of(digest: &Digest) -> EntryId {
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Counts one call; nothing when the window is full.
pub(super) fn count(shared: &mut dyn SharedData, taker: &Taker<'_>, limit: &RateLimit, now_ms: u64) -> Option<Counted> {
    let id = entry_of(taker.plugin, limit);
    let counter_ms = limit.per_ms.div_ceil(COUNTERS).max(1);
    let began_at_ms = now_ms - now_ms % counter_ms;
    // The last call that a counter can stand for came just before the next one began.
    let lives_ms = counter_ms.saturating_add(limit.per_ms);
    edit(shared, "window", &id, owner_of(taker.who.name()), now_ms, |entry| {
        entry.counters.retain(|(began_at_ms, _)| began_at_ms.saturating_add(lives_ms) > now_ms);
        let calls = entry.counters.iter().fold(0_u32, |sum, (_, calls)| sum.saturating_add(*calls));
        if calls >= limit.calls_max {
            return false;
        }
        match entry.counters.iter_mut().find(|(began, _)| *began == began_at_ms) {
            Some((_, calls)) => *calls = calls.saturating_add(1),
            None => entry.counters.push((began_at_ms, 1)),
        }
        entry.expires_at_ms = began_at_ms.saturating_add(lives_ms);
        true
    })?;
    Some(Counted { entry: id, began_at_ms })
}

/// Takes a call that did not run out of the count.
pub(super) fn take_back(shared: &mut dyn SharedData, counted: &Counted, now_ms: u64) {
    edit(shared, "window", &counted.entry, Owner::default(), now_ms, |entry| {
        if let Some((_, calls)) = entry.counters.iter_mut().find(|(began, _)| *began == counted.began_at_ms) {
            *calls = calls.saturating_sub(1);
        }
        true
    });
}

pub(super) fn try_once(shared: &mut dyn SharedData, who: Digest, call: Digest, retries_max: u32, now_ms: u64) -> bool {
    let tried = edit(shared, "tries", &id_of(&call), owner_of(who), now_ms, |entry| {
        let tries = entry.counters.first().map_or(0, |(_, tries)| *tries);
        if tries > retries_max {
            return false;
        }
        entry.counters = vec![(0, tries.saturating_add(1))];
        entry.expires_at_ms = now_ms.saturating_add(RETRY_WINDOW_MS);
        true
    });
    tried.is_some()
}

pub(super) fn untry(shared: &mut dyn SharedData, call: Digest, now_ms: u64) {
    edit(shared, "tries", &id_of(&call), Owner::default(), now_ms, |entry| {
        if let Some((_, tries)) = entry.counters.first_mut() {
            *tries = tries.saturating_sub(1);
        }
        true
    });
}

pub(super) fn forget(shared: &mut dyn SharedData, call: Digest, now_ms: u64) {
    edit(shared, "tries", &id_of(&call), Owner::default(), now_ms, |entry| {
        entry.expires_at_ms = 0;
        true
    });
}

/// Changes one entry of its shard, a new one of `owner` if it is not there; nothing is written unless `edit` agrees.
fn edit(
    shared: &mut dyn SharedData,
    kind: &str,
    id: &EntryId,
    owner: Owner,
    now_ms: u64,
    mut edit: impl FnMut(&mut Entry) -> bool,
) -> Option<()> {
    change(shared, &key_of(kind, id), |bytes| {
        let mut entries = read(bytes);
        entries.retain(|entry| entry.expires_at_ms > now_ms);
        let mut entry = match entries.iter().position(|entry| entry.id == *id) {
            Some(at) => entries.swap_remove(at),
            None => Entry { id: *id, owner, expires_at_ms: 0, counters: Vec::new() },
        };
        if !edit(&mut entry) {
            return None;
        }
        if entry.expires_at_ms > now_ms {
            let own = entries.iter().filter(|other| other.owner == entry.owner).count();
            if entries.len() >= ENTRIES_MAX || own >= OWN_ENTRIES_MAX {
                return None;
            }
            entries.push(entry);
        }
        Some((write(&entries), ()))
    })
}

fn read(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some(entry) = read_one(&mut bytes) {
        entries.push(entry);
    }
    entries
}

fn read_one(bytes: &mut &[u8]) -> Option<Entry> {
    let (id, rest) = bytes.split_first_chunk::<ENTRY_ID_BYTES>()?;
    let (owner, rest) = rest.split_first_chunk()?;
    let expires_at_ms = number(rest, 0)?;
    let (count, rest) = rest.get(8..)?.split_first()?;
    let (counters, rest) = rest.split_at_checked(usize::from(*count).checked_mul(12)?)?;
    *bytes = rest;
    let counters = counters.as_chunks::<12>().0.iter().filter_map(|chunk| {
        let calls = u32::from_le_bytes(*chunk.get(8..)?.first_chunk()?);
        Some((number(chunk, 0)?, calls))
    });
    Some(Entry { id: *id, owner: *owner, expires_at_ms, counters: counters.collect() })
}

fn write(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.extend_from_slice(&entry.id);
        out.extend_from_slice(&entry.owner);
        out.extend_from_slice(&entry.expires_at_ms.to_le_bytes());
        out.push(u8::try_from(entry.counters.len()).unwrap_or(u8::MAX));
        for (began_at_ms, calls) in entry.counters.iter().take(usize::from(u8::MAX)) {
            out.extend_from_slice(&began_at_ms.to_le_bytes());
            out.extend_from_slice(&calls.to_le_bytes());
        }
    }
    out
}
