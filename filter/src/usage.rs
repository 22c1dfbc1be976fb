//! Step 7: what bounds how many calls run: leases for how many at once, windows for how many in a time, attempts for how
//! often the same one. All of it in data that the workers of one Envoy share, so a limit holds per Envoy process.
//!
//! Everything expires by itself, so that a crash of the VM frees what it held. Every change is one compare-and-set over
//! the whole value of a key.

use holdpoint_core::decision::{ConcurrencyLimit, Constraints, RateLimit};
use holdpoint_core::digest::Digest;
use holdpoint_core::identity::Principal;

#[cfg(test)]
pub(crate) mod in_memory;
mod leases;
#[cfg(test)]
mod tests;
mod windows;

pub use leases::LEASE_MS;

/// How long a task has its slots whose server does not say how long it keeps it.
pub const TASK_MS: u64 = 3_600_000;
/// No task has its slots longer, whatever its server says.
pub const TASK_MS_MAX: u64 = 86_400_000;
pub use windows::RETRY_WINDOW_MS;

/// The host's shared data, as far as limits need it. The filter's one synchronous port.
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

/// One place under one limit, taken by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease(Taken);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    Slot(leases::Slot),
    Counted(windows::Counted),
}

/// What came of asking for leases.
#[derive(Debug, PartialEq, Eq)]
pub enum Leased {
    /// All that the constraints ask for; possibly none.
    All(Vec<Lease>),
    /// The rule that lets no more calls run now.
    Full { rule_id: String },
}

/// Who asks for places: rule ids are names within one plugin, and nobody may fill the windows by himself.
#[derive(Clone, Copy, Debug)]
pub struct Taker<'a> {
    pub plugin: &'a str,
    /// Its name is made where a limit counts by it.
    pub who: &'a Principal,
    /// Unique in this Envoy process.
    pub holder: u64,
}

/// How often a lost race is run again before the limit counts as reached.
const RACES_MAX: usize = 64;

/// The compare-and-set number of a key that is not there.
pub(crate) const NEW: u32 = 0;

/// Creates the keys that these rules will need where they are missing. To be called while a configuration is taken in,
/// on the main thread first, as Envoy does: shared data writes a *new* key unconditionally, so that two workers that
/// created it at once could both think they had its only slot. Nothing else ever creates one.
pub fn prepare<'a>(
    shared: &mut dyn SharedData,
    plugin: &str,
    concurrency_rules: impl Iterator<Item = &'a str>,
    counts_calls: bool,
) {
    for rule_id in concurrency_rules {
        create(shared, &leases::key(plugin, rule_id));
    }
    if counts_calls {
        windows::keys().for_each(|key| create(shared, &key));
    }
}

pub(crate) fn create(shared: &mut dyn SharedData, key: &str) {
    if let Some((_, NEW)) = shared.load(key) {
        // A failure shows as a rule under which nothing runs.
        let _ = shared.store(key, &[], NEW);
    }
}

/// Takes one place under every limit of this process, or none at all.
///
/// `now_ms` is Unix time; slots end at `now_ms + LEASE_MS` unless renewed. Shared data that cannot be read or written
/// counts as full.
pub fn take(shared: &mut dyn SharedData, taker: &Taker<'_>, constraints: &Constraints, now_ms: u64) -> Leased {
    let mut taken = Vec::new();
    for limit in slots(constraints) {
        match leases::take(shared, taker, limit, now_ms) {
            Some(slot) => taken.push(Lease(Taken::Slot(slot))),
            None => return full(shared, taken, &limit.rule_id, now_ms),
        }
    }
    for limit in counted(constraints) {
        match windows::count(shared, taker, limit, now_ms) {
            Some(counted) => taken.push(Lease(Taken::Counted(counted))),
            None => return full(shared, taken, &limit.rule_id, now_ms),
        }
    }
    Leased::All(taken)
}

/// Those that this process counts; the others are the service's.
fn slots(constraints: &Constraints) -> impl Iterator<Item = &ConcurrencyLimit> {
    constraints.concurrency.iter().filter(|limit| limit.scope.is_process())
}

fn counted(constraints: &Constraints) -> impl Iterator<Item = &RateLimit> {
    constraints.rates.iter().filter(|limit| limit.scope.is_process())
}

fn full(shared: &mut dyn SharedData, taken: Vec<Lease>, rule_id: &str, now_ms: u64) -> Leased {
    give_back(shared, taken, now_ms);
    Leased::Full { rule_id: rule_id.to_owned() }
}

/// Whether there is a place under every limit.
pub fn covers(plugin: &str, taken: &[Lease], constraints: &Constraints) -> bool {
    let has = |wanted: &dyn Fn(&Taken) -> bool| taken.iter().any(|Lease(one)| wanted(one));
    slots(constraints).all(|limit| {
        let key = leases::key(plugin, &limit.rule_id);
        has(&|one| matches!(one, Taken::Slot(slot) if slot.is_of(&key)))
    }) && counted(constraints).all(|limit| {
        let entry = windows::entry_of(plugin, limit);
        has(&|one| matches!(one, Taken::Counted(counted) if counted.is_of(&entry)))
    })
}

/// Makes the slots of a call that begins after a wait last from now on: they may have run out meanwhile, and be others' by now.
/// Says which rule lets no more calls run, if one does.
pub fn keep(
    shared: &mut dyn SharedData,
    plugin: &str,
    taken: &[Lease],
    constraints: &Constraints,
    now_ms: u64,
) -> Result<(), String> {
    for limit in slots(constraints) {
        let key = leases::key(plugin, &limit.rule_id);
        // A batch has one for each of its calls.
        let of_it = taken.iter().filter_map(|Lease(one)| match one {
            Taken::Slot(slot) if slot.is_of(&key) => Some(slot),
            Taken::Slot(_) | Taken::Counted(_) => None,
        });
        let (mut slots, mut kept) = (0_usize, 0_usize);
        for slot in of_it {
            slots = slots.saturating_add(1);
            kept = kept.saturating_add(usize::from(leases::keep(shared, slot, limit, now_ms)));
        }
        if slots == 0 || kept < slots {
            return Err(limit.rule_id.clone());
        }
    }
    Ok(())
}

/// Gives everything back: the call did not run. A failure leaves it to its expiry.
pub fn give_back(shared: &mut dyn SharedData, taken: Vec<Lease>, now_ms: u64) {
    for Lease(one) in taken {
        match one {
            Taken::Slot(slot) => leases::give_back(shared, &slot, now_ms),
            Taken::Counted(counted) => windows::take_back(shared, &counted, now_ms),
        }
    }
}

/// Frees the slots of a call that ran; that it ran stays counted.
pub fn end(shared: &mut dyn SharedData, taken: Vec<Lease>, now_ms: u64) {
    for Lease(one) in taken {
        match one {
            Taken::Slot(slot) => leases::give_back(shared, &slot, now_ms),
            Taken::Counted(_) => {}
        }
    }
}

/// Hands the slots of a call to the task that it began: they are free when that has ended ([`end_task`]), or after the time
/// that its server keeps it.
pub fn hand_to_task(shared: &mut dyn SharedData, taken: Vec<Lease>, task: u64, ttl_ms: Option<u64>, now_ms: u64) {
    let expires_at_ms = now_ms.saturating_add(ttl_ms.unwrap_or(TASK_MS).clamp(LEASE_MS, TASK_MS_MAX));
    for Lease(one) in taken {
        match one {
            Taken::Slot(slot) => leases::hand_over(shared, &slot, task, expires_at_ms, now_ms),
            Taken::Counted(_) => {}
        }
    }
}

/// Frees the slots of a task that has ended.
pub fn end_task<'a>(
    shared: &mut dyn SharedData,
    plugin: &str,
    concurrency_rules: impl Iterator<Item = &'a str>,
    task: u64,
    now_ms: u64,
) {
    for rule_id in concurrency_rules {
        leases::end(shared, &leases::key(plugin, rule_id), task, now_ms);
    }
}

/// Moves the expiry of slots to `now_ms + LEASE_MS`.
pub fn renew(shared: &mut dyn SharedData, taken: &[Lease], now_ms: u64) {
    for Lease(one) in taken {
        match one {
            Taken::Slot(slot) => leases::renew(shared, slot, now_ms),
            Taken::Counted(_) => {}
        }
    }
}

/// Whether any of these must be renewed while its call runs.
pub fn needs_renewal(taken: &[Lease]) -> bool {
    taken.iter().any(|Lease(one)| matches!(one, Taken::Slot(_)))
}

/// Counts one more try of the call with this digest by `who`; `false` when it has been tried `1 + retries_max` times within
/// [`RETRY_WINDOW_MS`] and none of them succeeded.
pub fn try_once(shared: &mut dyn SharedData, who: Digest, call: Digest, retries_max: u32, now_ms: u64) -> bool {
    windows::try_once(shared, who, call, retries_max, now_ms)
}

/// Takes a try out of the count, of a call that did not run after all.
pub fn untry(shared: &mut dyn SharedData, call: Digest, now_ms: u64) {
    windows::untry(shared, call, now_ms);
}

/// Forgets the tries of a call that succeeded.
pub fn succeeded(shared: &mut dyn SharedData, call: Digest, now_ms: u64) {
    windows::forget(shared, call, now_ms);
}

/// One compare-and-set over the value of a key, which must be there; answers what `edit` made of it, once it is written.
/// `None` when `edit` declined, or the write did not go through.
pub(crate) fn change<T>(
    shared: &mut dyn SharedData,
    key: &str,
    mut edit: impl FnMut(&[u8]) -> Option<(Vec<u8>, T)>,
) -> Option<T> {
    for _ in 0..RACES_MAX {
        let (bytes, cas) = shared.load(key)?;
        if cas == NEW {
            return None;
        }
        let (written, made) = edit(&bytes)?;
        match shared.store(key, &written, cas) {
            Stored::Done => return Some(made),
            Stored::Raced => {}
            Stored::Failed => return None,
        }
    }
    None
}

pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
