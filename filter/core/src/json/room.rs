//! Step 3: a list that the reader fills, whose room is made in advance and in few steps.
//!
//! A `Vec` lives in memory as soon as something may have to make it longer, and then every push reads and writes its
//! length there. This one changes owners to grow, so that between two growths its parts stay in registers.

/// Items that were pushed, and behind them room for more.
pub(super) struct Room<T> {
    slots: Box<[T]>,
    used: usize,
    used_max: usize,
}

impl<T: Copy + Default> Room<T> {
    /// Room for `at_first` items, and never for more than `used_max`.
    pub(super) fn new(at_first: usize, used_max: usize) -> Self {
        Self { slots: grown(Box::default(), at_first.min(used_max)), used: 0, used_max }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Adds an item. False if there is no room for it.
    #[inline(always)]
    pub(super) fn push(&mut self, item: T) -> bool {
        let Some(slot) = self.slots.get_mut(self.used) else {
            return false;
        };
        *slot = item;
        self.used = self.used.wrapping_add(1);
        true
    }

    /// Makes room for `wanted` items in all, or for as many as there may ever be.
    #[inline(always)]
    pub(super) fn grow(&mut self, wanted: usize) {
        self.slots = grown(std::mem::take(&mut self.slots), wanted.min(self.used_max));
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        self.used = self.used.checked_sub(1)?;
        self.slots.get(self.used).copied()
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)
    }

    #[inline(always)]
    pub(super) fn as_slice(&self) -> &[T] {
        self.slots.get(..self.used).unwrap_or_default()
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        let mut items = self.slots.into_vec();
        items.truncate(self.used);
        items
    }
}

#[cold]
#[inline(never)]
fn grown<T: Copy + Default>(slots: Box<[T]>, wanted: usize) -> Box<[T]> {
    let mut slots = slots.into_vec();
    let wanted = wanted.max(slots.len());
    slots.reserve_exact(wanted.saturating_sub(slots.len()));
    // All zeros, and with a function instead of a value the compiler sees it.
    slots.resize_with(wanted, T::default);
    slots.into_boxed_slice()
}
