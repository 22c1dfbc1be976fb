//! Step 7: how many calls run at once under one rule: slots with an expiry.

use holdpoint_core::decision::ConcurrencyLimit;

use super::{SharedData, Taker, change, number};

/// A slot is renewed while its call runs and expires this long after the last renewal.
pub const LEASE_MS: u64 = 60_000;

/// One slot of one rule, held by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    key: String,
    holder: u64,
}

impl Slot {
    pub(super) fn is_of(&self, key: &str) -> bool {
        self.key == key
    }
}

pub(super) fn key(plugin: &str, rule_id: &str) -> String {
    format!("holdpoint/lease/{plugin}/{rule_id}")
}

pub(super) fn take(
    shared: &mut dyn SharedData,
    taker: &Taker<'_>,
    limit: &ConcurrencyLimit,
    now_ms: u64,
) -> Option<Slot> {
    let (key, holder) = (key(taker.plugin, &limit.rule_id), taker.holder);
    let slots_max = usize::try_from(limit.jobs_max).unwrap_or(usize::MAX);
    edit(shared, &key, now_ms, |slots| {
        let is_free = slots.len() < slots_max;
        if is_free {
            slots.push((holder, now_ms.saturating_add(LEASE_MS)));
        }
        is_free
    })?;
    Some(Slot { key, holder })
}

pub(super) fn give_back(shared: &mut dyn SharedData, slot: &Slot, now_ms: u64) {
    edit(shared, &slot.key, now_ms, |slots| {
        slots.retain(|(holder, _)| *holder != slot.holder);
        true
    });
}

/// Makes a slot last from now on, for a call that begins after a wait. One that had run out is taken again, unless others have
/// them all by now: then `false`.
pub(super) fn keep(shared: &mut dyn SharedData, slot: &Slot, limit: &ConcurrencyLimit, now_ms: u64) -> bool {
    let slots_max = usize::try_from(limit.jobs_max).unwrap_or(usize::MAX);
    let kept = edit(shared, &slot.key, now_ms, |slots| {
        let before = slots.len();
        slots.retain(|(holder, _)| *holder != slot.holder);
        let is_kept = slots.len() < before || slots.len() < slots_max;
        if is_kept {
            slots.push((slot.holder, now_ms.saturating_add(LEASE_MS)));
        }
        is_kept
    });
    kept.is_some()
}

pub(super) fn renew(shared: &mut dyn SharedData, slot: &Slot, now_ms: u64) {
    edit(shared, &slot.key, now_ms, |slots| {
        slots.retain(|(holder, _)| *holder != slot.holder);
        slots.push((slot.holder, now_ms.saturating_add(LEASE_MS)));
        true
    });
}

/// Hands a slot to another holder, who has it until `expires_at_ms` or until [`end`].
pub(super) fn hand_over(shared: &mut dyn SharedData, slot: &Slot, holder: u64, expires_at_ms: u64, now_ms: u64) {
    edit(shared, &slot.key, now_ms, |slots| {
        slots.retain(|(other, _)| *other != slot.holder);
        slots.push((holder, expires_at_ms));
        true
    });
}

/// Frees whatever the holder has under this key.
pub(super) fn end(shared: &mut dyn SharedData, key: &str, holder: u64, now_ms: u64) {
    edit(shared, key, now_ms, |slots| {
        let before = slots.len();
        slots.retain(|(other, _)| *other != holder);
        slots.len() < before
    });
}

/// Changes the live slots of a key, each its holder and when it expires; nothing is written unless `edit` agrees.
fn edit(
    shared: &mut dyn SharedData,
    key: &str,
    now_ms: u64,
    mut edit: impl FnMut(&mut Vec<(u64, u64)>) -> bool,
) -> Option<()> {
    change(shared, key, |bytes| {
        let mut slots: Vec<(u64, u64)> = bytes
            .as_chunks::<16>()
            .0
            .iter()
            .filter_map(|chunk| Some((number(chunk, 0)?, number(chunk, 8)?)))
            .filter(|(_, expires_at_ms)| *expires_at_ms > now_ms)
            .collect();
        let written = |slots: &[(u64, u64)]| {
            slots.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()]).flatten().collect()
        };
        edit(&mut slots).then(|| (written(&slots), ()))
    })
}
