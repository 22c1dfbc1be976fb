//! What outlives one exchange on a worker: ids, room for holds, deadlines, the configuration in force, the record.
//!
//! Serves steps 2, 8 and 12. One worker is one VM: it shares no memory with its siblings. Free of host calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::rc::Rc;

use holdpoint_core::approval::ServiceKeys;
use holdpoint_core::digest::{self, Digest};
use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::freeze::{Freeze, FreezeError, FreezeList, SignedFreezes};

use crate::audit_buffer::AuditBuffer;
use crate::inventory_buffer::InventoryBuffer;
use holdpoint_core::config::{FilterConfig, Limits};

#[cfg(test)]
mod tests;

/// Random ids that nobody outside can guess, from one random seed per VM.
pub struct Ids {
    seed: [u8; 32],
    counter: u64,
}

impl Ids {
    /// `seed` comes from the host's random numbers.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// A fresh 128-bit id in lower-case hex.
    pub fn next_id(&mut self) -> String {
        digest::hex_encode(self.next_bytes().split_at(16).0)
    }

    /// A fresh 64-bit id in lower-case hex, as a trace names its spans.
    pub fn next_span_id(&mut self) -> String {
        digest::hex_encode(self.next_bytes().split_at(8).0)
    }

    /// A fresh number. Each worker counts from a place of its own, so that two of them hardly ever meet: after `n` calls
    /// each, with a chance of about `n / 2^63`. It is no secret, and nobody but this Envoy reads it.
    pub fn next_number(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let [a, b, c, d, e, f, g, h, ..] = self.seed;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]).wrapping_add(self.counter)
    }

    fn next_bytes(&mut self) -> [u8; 32] {
        self.counter = self.counter.wrapping_add(1);
        let input = [self.seed.as_slice(), &self.counter.to_le_bytes()].concat();
        *Digest::tagged("holdpoint/ids/v1", &input).as_bytes()
    }
}

/// How much is held now, on this worker.
#[derive(Debug, Default)]
pub struct HoldRoom {
    holds: u32,
    held_bytes: u64,
}

impl HoldRoom {
    /// Takes room for one call with a body of `bytes`; `false` when a limit is reached.
    pub fn enter(&mut self, bytes: u64, limits: &Limits) -> bool {
        let holds = self.holds.saturating_add(1);
        let held_bytes = self.held_bytes.saturating_add(bytes);
        let fits = holds <= limits.holds_max && held_bytes <= limits.held_bytes_max;
        if fits {
            (self.holds, self.held_bytes) = (holds, held_bytes);
        }
        fits
    }

    /// Gives back what `enter` took.
    pub fn leave(&mut self, bytes: u64) {
        self.holds = self.holds.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }
}

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

/// What one VM keeps beside its exchanges.
pub struct Worker {
    pub ids: Ids,
    pub room: HoldRoom,
    /// Entries on their way to the service.
    pub audit: AuditBuffer,
    /// What was seen of servers, on its way too.
    pub inventory: InventoryBuffer,
    /// `gateway/boot id`: one life of this VM.
    pub source: String,
    pub freezes: Freezes,
    /// Whether anybody reads lines of level info: without, none is made.
    pub logs_info: bool,
    /// And at level debug.
    pub logs_debug: bool,
    /// The Envoy node, as the record and the service name this gateway.
    pub gateway: String,
    in_force: BTreeMap<String, Rc<FilterConfig>>,
    newest: Option<Rc<FilterConfig>>,
    /// Plugins whose request bodies have been seen to arrive while their headers were held.
    bodies_arrive: BTreeSet<String>,
    deadlines: BinaryHeap<Reverse<(u64, u32)>>,
    /// Exchanges that wait for an entry, by its counter.
    awaiting_record: BTreeMap<u64, u32>,
}

impl Worker {
    /// `seed` is random; `gateway` is Envoy's node id.
    pub fn new(seed: [u8; 32], gateway: String) -> Self {
        let mut ids = Ids::new(seed);
        let source = format!("{gateway}/{}", ids.next_id());
        Self {
            ids,
            room: HoldRoom::default(),
            audit: AuditBuffer::new(&source),
            inventory: InventoryBuffer::default(),
            source,
            freezes: Freezes::default(),
            logs_info: true,
            logs_debug: false,
            gateway,
            in_force: BTreeMap::new(),
            newest: None,
            bodies_arrive: BTreeSet::new(),
            deadlines: BinaryHeap::new(),
            awaiting_record: BTreeMap::new(),
        }
    }

    /// Puts a configuration in force for the plugin of that name; calls already held are judged by it at release.
    pub fn put_in_force(&mut self, plugin: &str, config: Rc<FilterConfig>) {
        // Whether Envoy hands bodies over stands in the configuration that may just have been replaced.
        self.bodies_arrive.remove(plugin);
        self.newest = Some(Rc::clone(&config));
        self.in_force.insert(plugin.to_owned(), config);
    }

    /// Notes how far the wall clock is ahead of the clock that deadlines run on.
    pub fn set_wall_ahead_ms(&mut self, wall_ahead_ms: i64) {
        self.audit.wall_ahead_ms = wall_ahead_ms;
    }

    /// What the wall clock shows at `now_ms` of the clock that deadlines run on: for what others wrote times into.
    pub fn wall_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.audit.wall_ahead_ms)
    }

    /// The configuration in force for a plugin.
    pub fn in_force(&self, plugin: &str) -> Option<Rc<FilterConfig>> {
        self.in_force.get(plugin).cloned()
    }

    /// The configurations in force, by plugin.
    pub fn all_in_force(&self) -> impl Iterator<Item = (&str, &Rc<FilterConfig>)> {
        self.in_force.iter().map(|(plugin, config)| (plugin.as_str(), config))
    }

    /// The configuration that was put in force last: where the record goes. An older one may name a service that is
    /// no longer there.
    pub fn newest(&self) -> Option<&Rc<FilterConfig>> {
        self.newest.as_ref()
    }

    /// Notes that Envoy hands this plugin bodies while it holds the headers: the setting that makes it do so is there.
    pub fn note_body(&mut self, plugin: &str) {
        if !self.bodies_arrive.contains(plugin) {
            self.bodies_arrive.insert(plugin.to_owned());
        }
    }

    /// Whether [`Worker::note_body`] was called for the plugin.
    pub fn bodies_arrive(&self, plugin: &str) -> bool {
        self.bodies_arrive.contains(plugin)
    }

    /// Asks for a wake-up of `exchange` at `at_ms`. Wake-ups cannot be taken back: an exchange ignores one it no
    /// longer needs.
    pub fn wake_at(&mut self, at_ms: u64, exchange: u32) {
        self.deadlines.push(Reverse((at_ms, exchange)));
    }

    /// Asks to tell `exchange` what becomes of the entry with this counter.
    pub fn await_record(&mut self, counter: u64, exchange: u32) {
        self.awaiting_record.insert(counter, exchange);
    }

    /// Whether anybody waits for the record.
    pub fn is_record_awaited(&self) -> bool {
        !self.awaiting_record.is_empty()
    }

    /// Takes the exchanges that wait for entries with these counters.
    pub fn take_recorded(&mut self, counters: &Range<u64>) -> Vec<u32> {
        let mut recorded = self.awaiting_record.split_off(&counters.start);
        let mut later = recorded.split_off(&counters.end);
        self.awaiting_record.append(&mut later);
        recorded.into_values().collect()
    }

    /// Takes the next exchange whose time has come.
    pub fn next_due(&mut self, now_ms: u64) -> Option<u32> {
        let Reverse((at_ms, exchange)) = *self.deadlines.peek()?;
        if at_ms > now_ms {
            return None;
        }
        self.deadlines.pop();
        Some(exchange)
    }
}
