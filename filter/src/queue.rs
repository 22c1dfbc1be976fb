//! Steps 8 and 9: whose turn it is to ask the service. What is answered at once is asked for by few calls at a time, the
//! others stand in line: ten thousand that all ask at once would each wait for longer than they wait for an answer, ask
//! again, and get none.

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// How many calls of one worker ask at the same time.
pub const UNDER_WAY_MAX: usize = 64;

/// The line before one service, on one worker.
#[derive(Debug, Default)]
pub struct Queue {
    under_way: usize,
    /// Exchanges, in the order in which they came. Some may be gone by the time they are called.
    waiting: VecDeque<u32>,
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

    /// Stands in line until it is called.
    pub fn join(&mut self, exchange: u32) {
        self.waiting.push_back(exchange);
    }

    /// As many as there are turns for now, first come first; each that still waits is to [`Queue::enter`]. One that is gone
    /// takes none, and at the next call others are called in its place.
    pub fn call(&mut self) -> Vec<u32> {
        let free = UNDER_WAY_MAX.saturating_sub(self.under_way).min(self.waiting.len());
        self.waiting.drain(..free).collect()
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
