//! The time that deadlines, leases and windows run on: it begins as Unix time and never goes back, whatever is done to the
//! wall clock. All workers of one Envoy have the same, by what the first of them left in shared data.

use std::cell::Cell;

use super::abi;

/// Where the difference between wall clock and steady clock stands, as it was when this Envoy began.
const SHARED_KEY: &str = "holdpoint/clock";

thread_local! {
    /// What is added to the steady clock, in microseconds; none before the first configuration, or without such a clock.
    static OFFSET_US: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Finds the offset that this Envoy began with, or leaves one. To be called while a configuration is taken in, on the main
/// thread first. Answers whether the host has a steady clock; without one, time follows the wall clock.
pub(super) fn begin() -> bool {
    let Some(steady_us) = abi::steady_us() else { return false };
    let Ok((bytes, cas)) = abi::shared_data(SHARED_KEY) else { return false };
    let kept = bytes.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let fresh = || i64::try_from(abi::wall_us()).unwrap_or(i64::MAX).saturating_sub_unsigned(steady_us);
    let offset_us = kept.unwrap_or_else(|| {
        let offset_us = fresh();
        // Should that fail, the others find nothing either and take the same wall clock.
        let _ = abi::set_shared_data(SHARED_KEY, &offset_us.to_le_bytes(), cas);
        offset_us
    });
    OFFSET_US.set(Some(offset_us));
    true
}

/// Now, in microseconds.
pub(super) fn now_us() -> u64 {
    let steady_us = OFFSET_US.get().and_then(|offset_us| Some(abi::steady_us()?.saturating_add_signed(offset_us)));
    steady_us.unwrap_or_else(abi::wall_us)
}

/// Now, in milliseconds.
pub(super) fn now_ms() -> u64 {
    now_us() / 1_000
}

/// How far the wall clock is ahead by now.
pub(super) fn wall_ahead_ms() -> i64 {
    let (wall_us, now_us) = (abi::wall_us(), now_us());
    i64::try_from(wall_us / 1_000).unwrap_or(i64::MAX).saturating_sub_unsigned(now_us / 1_000)
}
