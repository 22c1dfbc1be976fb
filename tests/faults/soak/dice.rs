//! Choices that are the same again for the same seed. How they fall into time is the machine's affair.

use std::time::Duration;

/// SplitMix64: small, and good enough to choose by.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Others for one task among many.
    pub(super) fn fork(&self, number: u64) -> Self {
        let mut forked = Self(self.0 ^ number.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95));
        forked.next();
        forked
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to and without `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Between two numbers of milliseconds.
    pub(super) fn between_ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most.saturating_sub(least)))
    }

    /// One of several, as often as the number beside it says.
    pub(super) fn choose<T: Copy>(&mut self, weighted: &[(u64, T)]) -> T {
        let mut at = self.below(weighted.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in weighted {
            match at.checked_sub(*weight) {
                Some(less) => at = less,
                None => return *one,
            }
        }
        panic!("there is nothing to choose from")
    }
}
