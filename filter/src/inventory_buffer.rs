//! Step 11: what was seen of servers, on its way to the service: bounded, and nothing twice.
//!
//! Most lists are the same as the last time; only those that are not are read entry by entry and sent. What is lost is
//! forgotten here too, so the next list brings it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdpoint_core::digest::Digest;
use holdpoint_core::inventory::{Observation, Sighting};

use crate::audit_buffer::BatchAnswer;

#[cfg(test)]
mod tests;

/// Most observations that wait.
pub const OBSERVATIONS_MAX: usize = 256;
/// Most bytes of all that wait.
pub const WAITING_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Most bytes of one batch, unless one observation alone is longer; the service takes 2 MiB.
pub const BATCH_BYTES_MAX: usize = 1_024 * 1_024;
/// Most bytes of one observation.
pub const OBSERVATION_BYTES_MAX: usize = 1_536 * 1_024;
/// Most pages whose last content is remembered, and most definitions of which it is known that they were sent.
const PAGES_MAX: usize = 1_024;
const SENT_MAX: usize = 8_192;

/// The buffer of one worker.
#[derive(Debug, Default)]
pub struct InventoryBuffer {
    /// JSON texts.
    waiting: VecDeque<String>,
    waiting_bytes: usize,
    /// How many of the front are in a batch that has not been answered.
    in_flight: usize,
    /// By page: digest of its last content, and the version of what was learned with it.
    pages: BTreeMap<Digest, (Digest, u64)>,
    sent: BTreeSet<Digest>,
    lost: u64,
}

impl InventoryBuffer {
    /// Whether the page had this content the last time, and nothing else was learned of its server since.
    pub fn is_known(&self, page: &Digest, content: Digest, version: u64) -> bool {
        self.pages.get(page) == Some(&(content, version))
    }

    /// Remembers the content of a page.
    pub fn remember(&mut self, page: Digest, content: Digest, version: u64) {
        if self.pages.len() >= PAGES_MAX && !self.pages.contains_key(&page) {
            self.pages.clear();
        }
        self.pages.insert(page, (content, version));
    }

    /// Whether the text of this definition was sent by this worker.
    pub fn was_sent(&self, definition: &Digest) -> bool {
        self.sent.contains(definition)
    }

    /// Adds an observation; `false` when it was lost.
    pub fn push(&mut self, observation: &Observation) -> bool {
        let text = serde_json::to_string(observation).unwrap_or_default();
        let fits = self.waiting.len() < OBSERVATIONS_MAX
            && self.waiting_bytes.saturating_add(text.len()) <= WAITING_BYTES_MAX
            && (1..=OBSERVATION_BYTES_MAX).contains(&text.len());
        if !fits {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(text.len());
        self.waiting.push_back(text);
        if let Sighting::Listed(page) = &observation.saw {
            if self.sent.len().saturating_add(page.entries.len()) > SENT_MAX {
                self.sent.clear();
            }
            self.sent.extend(page.entries.iter().filter(|entry| entry.text.is_some()).map(|entry| entry.digest));
        }
        true
    }

    /// The next batch as JSON, if none is in flight and anything waits.
    pub fn next_batch(&mut self, source: &str) -> Option<Vec<u8>> {
        if self.in_flight > 0 || self.waiting.is_empty() {
            return None;
        }
        let mut bytes = 0_usize;
        let fitting = self.waiting.iter().take_while(|text| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(text.len());
            is_first || bytes <= BATCH_BYTES_MAX
        });
        let observations: Vec<&str> = fitting.map(String::as_str).collect();
        let source = serde_json::to_string(source).unwrap_or_default();
        let batch = format!(r#"{{"source":{source},"observations":[{}]}}"#, observations.join(","));
        self.in_flight = observations.len();
        Some(batch.into_bytes())
    }

    /// The service answered the batch in flight.
    pub fn batch_answered(&mut self, answer: BatchAnswer) {
        let in_flight = std::mem::take(&mut self.in_flight).min(self.waiting.len());
        if answer == BatchAnswer::TryAgain {
            return;
        }
        let gone = self.waiting.drain(..in_flight).map(|text| text.len()).sum();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(gone);
        if answer == BatchAnswer::Rejected {
            self.lost = self.lost.saturating_add(u64::try_from(in_flight).unwrap_or(u64::MAX));
            self.pages.clear();
            self.sent.clear();
        }
    }

    /// How many observations were lost since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
