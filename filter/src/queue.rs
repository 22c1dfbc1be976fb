//! Steps 8 and 9: whose turn it is to ask the service. What is answered at once is asked for by few calls at a time, the
//! others stand in line: ten thousand that all ask at once would each wait for longer than they wait for an answer, ask
//! again, and get none.

use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// How many calls of one worker ask at the same time.
pub const UNDER_WAY_MAX: usize = 64;

/// The line before one service, on one worker.
#[derive(Debug, Default)]
pub struct Queue {
    under_way: usize,
    /// Exchanges, in the order in which they came; and the place of each.
    waiting: BTreeMap<u64, u32>,
    places: BTreeMap<u32, u64>,
    next_place: u64,
    answered_at_ms: Option<u64>,
}

impl Queue {
    /// Takes a turn. Who was not called comes after those who wait.
    #[must_use]
    pub fn enter(&mut self, was_called: bool) -> bool {
        let is_free = self.under_way < UNDER_WAY_MAX && (was_called || self.waiting.is_empty());
        if is_free {
            self.under_way = self.under_way.saturating_add(1);
        }
        is_free
    }

    /// Gives a turn back that [`Queue::enter`] gave.
    pub fn leave(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Stands in line until it is called. Who does already keeps its place.
    pub fn join(&mut self, exchange: u32) {
        let place = self.next_place;
        if self.places.contains_key(&exchange) {
            return;
        }
        self.next_place = place.saturating_add(1);
        self.places.insert(exchange, place);
        self.waiting.insert(place, exchange);
    }

    /// Steps out of the line, wherever it stands.
    pub fn forget(&mut self, exchange: u32) {
        if let Some(place) = self.places.remove(&exchange) {
            self.waiting.remove(&place);
        }
    }

    /// The first in line, if there is a turn; it is to [`Queue::enter`], or the next one is called.
    pub fn call(&mut self) -> Option<u32> {
        if self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let (_, exchange) = self.waiting.pop_first()?;
        self.places.remove(&exchange);
        Some(exchange)
    }

    /// How many stand in line.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody stands in line.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes that the service has answered somebody.
    pub fn note_answer(&mut self, now_ms: u64) {
        self.answered_at_ms = Some(now_ms);
    }

    /// Whether nobody has heard from the service since then.
    pub fn is_silent_since(&self, since_ms: u64) -> bool {
        self.answered_at_ms.is_none_or(|at_ms| at_ms < since_ms)
    }

    /// How many ask now.
    pub fn under_way(&self) -> usize {
        self.under_way
    }
}
