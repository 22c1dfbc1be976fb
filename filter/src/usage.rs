//! Step 7: leases that bound how many calls run at once, kept in data that all workers of one Envoy share.
//!
//! A lease ends when it is given back or when it expires, so that a crash of the VM frees its slots by itself. Every
//! change is one compare-and-set over the whole list of a key.

use holdpoint_core::decision::Constraints;

#[cfg(test)]
mod tests;

/// The host's shared data, as far as leases need it. The filter's one synchronous port.
pub trait SharedData {
    /// The value of `key` and its compare-and-set number; empty and 0 when the key is new. `None` when unreadable.
    fn load(&mut self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes if the number is still `cas`.
    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored;
}

/// What became of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Done,
    /// Somebody else wrote in between.
    Raced,
    Failed,
}

/// One slot of one rule, held by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    key: String,
    holder: u64,
}

/// What came of asking for leases.
#[derive(Debug, PartialEq, Eq)]
pub enum Leased {
    /// All that the constraints ask for; possibly none.
    All(Vec<Lease>),
    /// The rule whose slots are all taken.
    Full { rule_id: String },
}

/// How often a lost race is run again before the slot counts as taken.
const RACES_MAX: usize = 64;

/// The compare-and-set number of a key that is not there.
const NEW: u32 = 0;

/// A lease without a runtime limit is renewed while its call runs and expires this long after the last renewal.
pub const LEASE_MS: u64 = 60_000;

/// Creates the keys of these rules where they are missing. To be called while a configuration is taken in, on the main
/// thread first, as Envoy does: shared data writes a *new* key unconditionally, so that two workers that created it
/// at once could both think they had its only slot. [`take`] therefore never creates one.
pub fn prepare<'a>(shared: &mut dyn SharedData, rule_ids: impl Iterator<Item = &'a str>) {
    for rule_id in rule_ids {
        let key = key(rule_id);
        if let Some((_, NEW)) = shared.load(&key) {
            // A failure shows as a rule without free slots.
            let _ = shared.store(&key, &[], NEW);
        }
    }
}

/// Takes one slot under every concurrency limit, or none at all. `holder` is unique in this Envoy process.
///
/// `now_ms` is Unix time; the leases end at `now_ms + LEASE_MS` unless renewed. Shared data that cannot be read or
/// written counts as full.
pub fn take(shared: &mut dyn SharedData, constraints: &Constraints, holder: u64, now_ms: u64) -> Leased {
    let mut leases = Vec::new();
    for limit in &constraints.concurrency {
        let key = key(&limit.rule_id);
        let slots_max = usize::try_from(limit.jobs_max).unwrap_or(usize::MAX);
        let taken = change(shared, &key, now_ms, |slots| {
            if slots.len() < slots_max {
                slots.push(Slot { holder, expires_at_ms: now_ms.saturating_add(LEASE_MS) });
                true
            } else {
                false
            }
        });
        if taken {
            leases.push(Lease { key, holder });
        } else {
            give_back(shared, leases, now_ms);
            return Leased::Full { rule_id: limit.rule_id.clone() };
        }
    }
    Leased::All(leases)
}

/// Whether there is a lease under every concurrency limit.
pub fn covers(leases: &[Lease], constraints: &Constraints) -> bool {
    constraints.concurrency.iter().all(|limit| leases.iter().any(|lease| lease.key == key(&limit.rule_id)))
}

/// Ends leases. A failure leaves the slot to its expiry.
pub fn give_back(shared: &mut dyn SharedData, leases: Vec<Lease>, now_ms: u64) {
    for lease in leases {
        change(shared, &lease.key, now_ms, |slots| {
            slots.retain(|slot| slot.holder != lease.holder);
            true
        });
    }
}

/// Moves the expiry of leases to `now_ms + LEASE_MS`.
pub fn renew(shared: &mut dyn SharedData, leases: &[Lease], now_ms: u64) {
    for lease in leases {
        change(shared, &lease.key, now_ms, |slots| {
            slots.retain(|slot| slot.holder != lease.holder);
            slots.push(Slot { holder: lease.holder, expires_at_ms: now_ms.saturating_add(LEASE_MS) });
            true
        });
    }
}

fn key(rule_id: &str) -> String {
    format!("holdpoint/lease/{rule_id}")
}

struct Slot {
    holder: u64,
    expires_at_ms: u64,
}

/// One compare-and-set over the live slots of a key; answers whether `edit` agreed and the write went through.
fn change(shared: &mut dyn SharedData, key: &str, now_ms: u64, mut edit: impl FnMut(&mut Vec<Slot>) -> bool) -> bool {
    for _ in 0..RACES_MAX {
        let Some((bytes, cas)) = shared.load(key) else { return false };
        if cas == NEW {
            return false;
        }
        let mut slots = read(&bytes);
        slots.retain(|slot| slot.expires_at_ms > now_ms);
        if !edit(&mut slots) {
            return false;
        }
        match shared.store(key, &write(&slots), cas) {
            Stored::Done => return true,
            Stored::Raced => {}
            Stored::Failed => return false,
        }
    }
    false
}

fn read(bytes: &[u8]) -> Vec<Slot> {
    bytes
        .as_chunks::<16>()
        .0
        .iter()
        .filter_map(|chunk| {
            let (holder, expires_at_ms) = chunk.split_at_checked(8)?;
            Some(Slot {
                holder: u64::from_le_bytes(holder.try_into().ok()?),
                expires_at_ms: u64::from_le_bytes(expires_at_ms.try_into().ok()?),
            })
        })
        .collect()
}

fn write(slots: &[Slot]) -> Vec<u8> {
    slots.iter().flat_map(|slot| [slot.holder.to_le_bytes(), slot.expires_at_ms.to_le_bytes()]).flatten().collect()
}
