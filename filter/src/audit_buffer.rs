//! Step 12: audit entries on their way to the service: bounded, in order, and honest about what was lost.
//!
//! Every entry takes the next counter, also one that finds the buffer full: the service sees the counter jump and
//! writes the gap down. A batch stays here until the service has acknowledged it.

use std::collections::VecDeque;
use std::ops::Range;

use holdpoint_core::audit::payload::{Lost, Part};
use holdpoint_core::audit::{AuditEntry, DETAIL_CHARS_MAX};

#[cfg(test)]
mod tests;

/// Whether there is a record. Always, but in a module that was built to measure what it costs: that one says so in its log,
/// runs no call where `audit.required` is set, and is not packaged.
pub const IS_KEPT: bool = !cfg!(feature = "unrecorded");

/// What such a module says when it starts. Packages are searched for it.
pub const NOT_KEPT: &str =
    "this module keeps no record: it was built with the feature `unrecorded`, for measuring alone";

/// Most entries that wait; about 1 KiB each.
pub const ENTRIES_MAX: usize = 10_000;

/// Most entries of one batch.
pub const BATCH_ENTRIES_MAX: usize = 500;

/// Most bytes of the entries of one batch and of what is to stand beside them, half of what the service takes: names that callers choose may be long, and a
/// batch that is too large would take the entries of others with it.
pub const BATCH_BYTES_MAX: usize = 1_024 * 1_024;

/// Most entries of refusals and anonymous calls written down per minute; the rest is one entry with a count, so
/// that a flood of rubbish cannot push out the record of judged calls.
pub const REFUSALS_PER_MINUTE_MAX: u32 = 60;

/// Most bytes of arguments and results that wait with their entries. What finds no room is not sent, and its entry says
/// so: texts that callers choose must not cost the record an entry.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1_024 * 1_024;

const MINUTE_MS: u64 = 60_000;

/// What the service said to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchAnswer {
    /// Durable.
    Acknowledged,
    /// Not now: the same batch is sent again.
    TryAgain,
    /// Never: what the service cannot take must not hold up what comes after it. The counters show the gap.
    Rejected,
}

/// Entries that the service has answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub counters: Range<u64>,
    /// Otherwise they are lost.
    pub is_durable: bool,
}

/// The buffer of one worker.
pub struct AuditBuffer {
    /// `gateway/boot id`, as a JSON string.
    source: String,
    /// Counters rise.
    waiting: VecDeque<Waiting>,
    /// Of all that waits beside entries.
    payload_bytes: usize,
    payloads_lost: u64,
    next_counter: u64,
    /// How many entries of the front are in a batch that has not been answered.
    in_flight: usize,
    refusals: RefusalMinute,
    /// How far the wall clock is ahead of the clock whose times entries come with; they leave with the wall clock's.
    pub wall_ahead_ms: i64,
}

/// One entry, as JSON. Written once, when it comes: as text it takes the least room, and batches are put together by
/// copying.
struct Waiting {
    counter: u64,
    entry: String,
    /// What is to stand beside it.
    payload: Option<String>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.entry.len().saturating_add(self.payload_bytes())
    }

    fn payload_bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, String::len)
    }
}

#[derive(Default)]
struct RefusalMinute {
    began_at_ms: u64,
    written: u32,
    folded: u32,
    last_folded: Option<Box<AuditEntry>>,
}

impl AuditBuffer {
    /// An empty buffer that reports as `source`.
    pub fn new(source: &str) -> Self {
        let source = serde_json::Value::from(source).to_string();
        Self {
            source,
            waiting: VecDeque::new(),
            payload_bytes: 0,
            payloads_lost: 0,
            next_counter: 0,
            in_flight: 0,
            refusals: RefusalMinute::default(),
            wall_ahead_ms: 0,
        }
    }

    /// Adds an entry; answers `false` when it was lost because the buffer is full. Calls of nobody in particular go
    /// under the quota of refusals: anybody can send as many as they like.
    pub fn push(&mut self, entry: impl Into<Box<AuditEntry>>) -> bool {
        if !IS_KEPT {
            return true;
        }
        let entry = entry.into();
        match &entry.principal {
            Some(principal) if principal.is_anonymous() => self.push_refusal(entry),
            Some(_) | None => self.keep(entry).is_some(),
        }
    }

    /// Adds an entry that somebody waits for, whoever it is about; its counter, or `None` when the buffer is full.
    pub fn push_awaited(&mut self, entry: AuditEntry) -> Option<u64> {
        self.keep(Box::new(entry))
    }

    fn keep(&mut self, mut entry: Box<AuditEntry>) -> Option<u64> {
        if !IS_KEPT {
            return None;
        }
        // Words of a server may be in it.
        if let Some((end, _)) = entry.detail.as_ref().and_then(|detail| detail.char_indices().nth(DETAIL_CHARS_MAX)) {
            entry.detail = entry.detail.take().and_then(|detail| detail.get(..end).map(str::to_owned));
        }
        entry.at_ms = entry.at_ms.saturating_add_signed(self.wall_ahead_ms);
        let counter = self.next_counter;
        self.next_counter = counter.saturating_add(1);
        if self.waiting.len() >= ENTRIES_MAX {
            return None;
        }
        let payload = self.payload_of(&mut entry);
        let waiting = Waiting { counter, entry: entry.text().ok()?, payload };
        self.payload_bytes = self.payload_bytes.saturating_add(waiting.payload_bytes());
        self.waiting.push_back(waiting);
        Some(counter)
    }

    /// What is to stand beside an entry, as JSON; without its texts where there is no room for them, and then the entry
    /// says so. The salt always goes along: with it the digest in the entry still names the text.
    fn payload_of(&mut self, entry: &mut AuditEntry) -> Option<String> {
        let mut payload = *entry.payload.take()?;
        let text = payload.to_text();
        if payload.text_bytes() == 0 || self.payload_bytes.saturating_add(text.len()) <= PAYLOAD_BYTES_MAX {
            return Some(text);
        }
        for part in Part::ALL.into_iter().filter(|part| payload.text(*part).is_some()).collect::<Vec<_>>() {
            payload.drop_text(part);
            entry.lose(part, Lost::NoRoom);
            self.payloads_lost = self.payloads_lost.saturating_add(1);
        }
        Some(payload.to_text())
    }

    /// How many texts were not kept for want of room since this was last asked.
    pub fn take_payloads_lost(&mut self) -> u64 {
        std::mem::take(&mut self.payloads_lost)
    }

    /// Adds a refusal under the quota of its minute; answers `false` when it was lost.
    pub fn push_refusal(&mut self, entry: impl Into<Box<AuditEntry>>) -> bool {
        if !IS_KEPT {
            return true;
        }
        let entry = entry.into();
        let flushed = self.flush_refusals(entry.at_ms);
        if self.refusals.written < REFUSALS_PER_MINUTE_MAX {
            self.refusals.written = self.refusals.written.saturating_add(1);
            return self.keep(entry).is_some() && flushed;
        }
        self.refusals.folded = self.refusals.folded.saturating_add(1);
        self.refusals.last_folded = Some(entry);
        flushed
    }

    /// Ends the minute of refusals if it is over: what exceeded the quota becomes one entry, a sample with a count.
    pub fn flush_refusals(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.refusals.began_at_ms) < MINUTE_MS {
            return true;
        }
        let ended = std::mem::replace(&mut self.refusals, RefusalMinute { began_at_ms: now_ms, ..Default::default() });
        match ended.last_folded {
            None => true,
            Some(mut sample) => {
                let detail = sample.detail.take().unwrap_or_default();
                sample.detail =
                    Some(format!("{} more of this kind in this minute, the last one: {detail}", ended.folded));
                self.keep(sample).is_some()
            }
        }
    }

    /// The next batch as the JSON text of an `EntryBatch`, if none is in flight and anything waits. A batch ends where
    /// counters jump.
    pub fn next_batch(&mut self) -> Option<String> {
        if self.in_flight > 0 {
            return None;
        }
        let first_counter = self.waiting.front()?.counter;
        let mut batch = format!("{{\"source\":{},\"first_counter\":{first_counter},\"entries\":[", self.source);
        let mut payloads = String::new();
        let mut bytes = 0_usize;
        for (expected, waiting) in (first_counter..).zip(self.waiting.iter().take(BATCH_ENTRIES_MAX)) {
            bytes = bytes.saturating_add(waiting.bytes());
            let is_first = self.in_flight == 0;
            if expected != waiting.counter || (!is_first && bytes > BATCH_BYTES_MAX) {
                break;
            }
            if !is_first {
                batch.push(',');
            }
            batch.push_str(&waiting.entry);
            if let Some(payload) = &waiting.payload {
                if !payloads.is_empty() {
                    payloads.push(',');
                }
                payloads.push_str("{\"counter\":");
                payloads.push_str(&expected.to_string());
                payloads.push_str(",\"payload\":");
                payloads.push_str(payload);
                payloads.push('}');
            }
            self.in_flight = self.in_flight.saturating_add(1);
        }
        batch.push(']');
        if !payloads.is_empty() {
            batch.push_str(",\"payloads\":[");
            batch.push_str(&payloads);
            batch.push(']');
        }
        batch.push('}');
        Some(batch)
    }

    /// The service answered the batch in flight; what is settled by that.
    pub fn batch_answered(&mut self, answer: BatchAnswer) -> Option<Settled> {
        let in_flight = std::mem::take(&mut self.in_flight).min(self.waiting.len());
        let is_durable = match answer {
            BatchAnswer::TryAgain => return None,
            BatchAnswer::Acknowledged => true,
            BatchAnswer::Rejected => false,
        };
        let first = self.waiting.front()?.counter;
        let mut end = first;
        for settled in self.waiting.drain(..in_flight) {
            end = settled.counter.saturating_add(1);
            self.payload_bytes = self.payload_bytes.saturating_sub(settled.payload_bytes());
        }
        Some(Settled { counters: first..end, is_durable })
    }

    /// Entries that wait or are in flight.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
