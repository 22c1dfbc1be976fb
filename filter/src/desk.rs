//! Steps 8 and 12: what one plugin has with its approval service on this worker: entries and sightings on their way there,
//! who waits for an entry, and what was heard to be frozen. Two plugins of one Envoy may have two services.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use holdpoint_core::approval::ServiceKeys;
use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::freeze::{Freeze, FreezeError, FreezeList, SignedFreezes};

use crate::audit_buffer::AuditBuffer;
use crate::candidate_table::CandidateTable;
use crate::inventory_buffer::InventoryBuffer;
use crate::queue::Queue;

#[cfg(test)]
mod tests;

/// What an administrator has stopped, as far as this worker has heard.
#[derive(Debug, Default)]
pub struct Freezes {
    list: Option<FreezeList>,
}

impl Freezes {
    /// Takes a list that the service's key signed; `false` when it is not newer than the one that is known, such as one
    /// that somebody replays to lift a freeze.
    pub fn take(&mut self, signed: &SignedFreezes, keys: &ServiceKeys) -> Result<bool, FreezeError> {
        let list = signed.verify(keys)?;
        if self.list.as_ref().is_some_and(|known| known.version >= list.version) {
            return Ok(false);
        }
        self.list = Some(list);
        Ok(true)
    }

    /// The version that is known; 0 when none is.
    pub fn version(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.version)
    }

    /// What stops this call, if anything does.
    pub fn stops(&self, envelope: &CallEnvelope) -> Option<&Freeze> {
        self.list.as_ref()?.stops(envelope)
    }
}

/// When a kind of callout may leave next, and the one that is under way: there is one of a kind at a time.
#[derive(Debug, Default)]
pub struct Turn {
    /// After a failure nobody's hurry brings the next one forward.
    not_before_ms: u64,
    rests_until_ms: u64,
    /// Its token, and when it was sent.
    in_flight: Option<(u32, u64)>,
}

impl Turn {
    /// Whether the next one may leave; who is in a `hurry` does not wait for the end of a rest.
    pub fn is_due(&self, now_ms: u64, hurry: bool) -> bool {
        let rests = !hurry && now_ms < self.rests_until_ms;
        self.in_flight.is_none() && !rests && now_ms >= self.not_before_ms
    }

    /// Until then only hurry brings the next one forward.
    pub fn rest_until(&mut self, at_ms: u64) {
        self.rests_until_ms = at_ms;
    }

    /// Nothing leaves before that.
    pub fn not_before(&mut self, at_ms: u64) {
        self.not_before_ms = at_ms;
    }

    pub fn sent(&mut self, token: u32, now_ms: u64) {
        self.in_flight = Some((token, now_ms));
    }

    pub fn answered(&mut self) {
        self.in_flight = None;
    }

    /// The one under way, when it was sent more than `answer_ms_max` ago: its answer went with the root context that sent
    /// it, as one does that is replaced.
    pub fn take_lost(&mut self, now_ms: u64, answer_ms_max: u64) -> Option<u32> {
        let is_lost = |(_, sent_at_ms): &mut (u32, u64)| now_ms.saturating_sub(*sent_at_ms) > answer_ms_max;
        self.in_flight.take_if(is_lost).map(|(token, _)| token)
    }
}

/// What one plugin has with its service.
pub struct Desk {
    /// Entries on their way to the service.
    pub audit: AuditBuffer,
    /// What was seen of servers, on its way too.
    pub inventory: InventoryBuffer,
    /// What a candidate would have decided otherwise.
    pub candidates: CandidateTable,
    /// `gateway/boot id`: one life of this plugin in this VM.
    pub source: String,
    pub freezes: Freezes,
    /// Holds that ask the service, and those that stand in line for it.
    pub queue: Queue,
    pub record_turn: Turn,
    pub inventory_turn: Turn,
    pub candidates_turn: Turn,
    pub freezes_turn: Turn,
    /// Exchanges that wait for an entry, by its counter.
    awaiting_record: BTreeMap<u64, u32>,
    /// Exchanges whose entry was settled and who have not heard of it: the counters it was among, and whether they are durable.
    recorded: VecDeque<(u32, Range<u64>, bool)>,
}

impl Desk {
    /// One that reports as `source`.
    pub fn new(source: String) -> Self {
        Self {
            audit: AuditBuffer::new(&source),
            inventory: InventoryBuffer::default(),
            candidates: CandidateTable::default(),
            source,
            freezes: Freezes::default(),
            queue: Queue::default(),
            record_turn: Turn::default(),
            inventory_turn: Turn::default(),
            candidates_turn: Turn::default(),
            freezes_turn: Turn::default(),
            awaiting_record: BTreeMap::new(),
            recorded: VecDeque::new(),
        }
    }

    /// Asks to tell `exchange` what becomes of the entry with this counter.
    pub fn await_record(&mut self, counter: u64, exchange: u32) {
        self.awaiting_record.insert(counter, exchange);
    }

    /// Whether anybody waits for the record.
    pub fn is_record_awaited(&self) -> bool {
        !self.awaiting_record.is_empty()
    }

    /// Whoever waits for an entry with one of these counters is to hear what became of it.
    pub fn settle_recorded(&mut self, counters: &Range<u64>, is_durable: bool) {
        let mut settled = self.awaiting_record.split_off(&counters.start);
        let mut later = settled.split_off(&counters.end);
        self.awaiting_record.append(&mut later);
        self.recorded.extend(settled.into_values().map(|exchange| (exchange, counters.clone(), is_durable)));
    }

    /// The next one who is to hear it.
    pub fn next_recorded(&mut self) -> Option<(u32, Range<u64>, bool)> {
        self.recorded.pop_front()
    }
}
