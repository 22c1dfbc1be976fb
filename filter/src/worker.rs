//! What outlives one exchange on a worker: ids, room for holds, deadlines, the configurations in force.
//!
//! Serves steps 2, 8 and 11. One worker is one VM: it shares no memory with its siblings. Free of host calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;

use holdpoint_core::audit::payload::Salt;
use holdpoint_core::config::{FilterConfig, Limits};
use holdpoint_core::digest::{self, Digest};

use crate::definitions::Keys;
use crate::exchange::Callout;
use crate::identity::Known;
use crate::lists::Lists;

#[cfg(test)]
mod tests;

/// Random ids that nobody outside can guess, from one random seed per VM.
pub struct Ids {
    seed: [u8; 32],
    counter: u64,
    /// Random bytes that nobody has had yet, and how many of them: each digest is worth 32, and most asks are for less.
    pool: [u8; 32],
    left: usize,
}

impl Ids {
    /// `seed` comes from the host's random numbers.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0, pool: [0; 32], left: 0 }
    }

    /// A fresh 128-bit id in lower-case hex.
    pub fn next_id(&mut self) -> String {
        digest::hex_encode(&self.next_bytes::<16>())
    }

    /// A fresh 64-bit id in lower-case hex, as a trace names its spans.
    pub fn next_span_id(&mut self) -> String {
        digest::hex_encode(&self.next_bytes::<8>())
    }

    /// A fresh salt.
    pub fn next_salt(&mut self) -> Salt {
        Salt::new(self.next_bytes())
    }

    /// A fresh number. Each worker counts from a place of its own, so that two of them hardly ever meet: after `n` calls
    /// each, with a chance of about `n / 2^63`. It is no secret, and nobody but this Envoy reads it.
    pub fn next_number(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let [a, b, c, d, e, f, g, h, ..] = self.seed;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]).wrapping_add(self.counter)
    }

    /// A number from 0 to `most`, another one for each asker, so that not all of them do something at the same time. Anybody can
    /// guess it.
    pub fn spread(&mut self, most: u64) -> u64 {
        // Neighbours among the numbers come to lie far apart (Fibonacci hashing).
        let scattered = self.next_number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        scattered.checked_rem(most.saturating_add(1)).unwrap_or_default()
    }

    /// At most 32, which nobody else gets.
    fn next_bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 32, "a digest has no more") };
        if self.left < N {
            self.counter = self.counter.wrapping_add(1);
            let drawn = Digest::tagged_all("holdpoint/ids", &[&self.seed, &self.counter.to_le_bytes()]);
            (self.pool, self.left) = (*drawn.as_bytes(), self.pool.len());
        }
        let fresh = self.pool.get(..self.left).and_then(|unused| unused.last_chunk::<N>()).copied();
        self.left = self.left.saturating_sub(N);
        fresh.unwrap_or([0; N])
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

    /// How many have room.
    pub fn len(&self) -> u32 {
        self.holds
    }

    /// Whether nobody has.
    pub fn is_empty(&self) -> bool {
        self.holds == 0
    }

    /// Gives back what `enter` took.
    pub fn leave(&mut self, bytes: u64) {
        self.holds = self.holds.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }
}

/// Most messages to servers that wait for their time; about 500 bytes each.
pub const TOLD_LATER_MAX: usize = 10_000;

/// What one VM keeps beside its exchanges.
pub struct Worker {
    pub ids: Ids,
    pub room: HoldRoom,
    /// Whether anybody reads lines of level info: without, none is made.
    pub logs_info: bool,
    /// And at level debug.
    pub logs_debug: bool,
    /// The Envoy node, as the record and the service name this gateway.
    pub gateway: String,
    pub definition_keys: Keys,
    /// Who came lately.
    pub known: Known,
    /// What servers listed lately.
    pub lists: Lists,
    in_force: BTreeMap<String, Rc<FilterConfig>>,
    /// How far the wall clock is ahead of the clock that deadlines run on.
    wall_ahead_ms: i64,
    /// Plugins whose request bodies have been seen to arrive while their headers were held.
    bodies_arrive: BTreeSet<String>,
    deadlines: BinaryHeap<Reverse<(u64, u32)>>,
    /// What servers are told when its time has come, by that time and in the order in which it was asked for.
    told_later: BTreeMap<(u64, u64), Callout>,
    told_later_count: u64,
}

impl Worker {
    /// `seed` is random; `gateway` is Envoy's node id.
    pub fn new(seed: [u8; 32], gateway: String) -> Self {
        Self {
            ids: Ids::new(seed),
            room: HoldRoom::default(),
            logs_info: true,
            logs_debug: false,
            gateway,
            definition_keys: Keys::default(),
            known: Known::default(),
            lists: Lists::default(),
            in_force: BTreeMap::new(),
            wall_ahead_ms: 0,
            bodies_arrive: BTreeSet::new(),
            deadlines: BinaryHeap::new(),
            told_later: BTreeMap::new(),
            told_later_count: 0,
        }
    }

    /// Puts a configuration in force for the plugin of that name; calls already held are judged by it at release.
    pub fn put_in_force(&mut self, plugin: &str, config: Rc<FilterConfig>) {
        // Whether Envoy hands bodies over stands in the configuration that may just have been replaced.
        self.bodies_arrive.remove(plugin);
        self.lists.forget();
        self.in_force.insert(plugin.to_owned(), config);
    }

    /// Notes how far the wall clock is ahead of the clock that deadlines run on.
    pub fn set_wall_ahead_ms(&mut self, wall_ahead_ms: i64) {
        self.wall_ahead_ms = wall_ahead_ms;
    }

    /// What the wall clock shows at `now_ms` of the clock that deadlines run on: for what others wrote times into.
    pub fn wall_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.wall_ahead_ms)
    }

    /// The configuration in force for a plugin.
    pub fn in_force(&self, plugin: &str) -> Option<Rc<FilterConfig>> {
        self.in_force.get(plugin).cloned()
    }

    /// The configurations in force, by plugin.
    pub fn all_in_force(&self) -> impl Iterator<Item = (&str, &Rc<FilterConfig>)> {
        self.in_force.iter().map(|(plugin, config)| (plugin.as_str(), config))
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

    /// Asks to send this callout at `at_ms`. Gives it back when too many wait already: then it is sent at once.
    pub fn tell_at(&mut self, at_ms: u64, callout: Callout) -> Option<Callout> {
        if self.told_later.len() >= TOLD_LATER_MAX {
            return Some(callout);
        }
        self.told_later_count = self.told_later_count.wrapping_add(1);
        self.told_later.insert((at_ms, self.told_later_count), callout);
        None
    }

    /// Takes the next callout whose time has come.
    pub fn next_told(&mut self, now_ms: u64) -> Option<Callout> {
        let first = self.told_later.first_entry().filter(|first| first.key().0 <= now_ms)?;
        Some(first.remove())
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
