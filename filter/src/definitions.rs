//! Steps 5 and 11: what servers last said of their tools, in data that all workers of one Envoy share: digest of the
//! definition, and the hints that go with it. Bounded; what is forgotten is unseen.
//!
//! The latest word counts, whoever it was said to: a server that changes a tool changes it for calls that are under way.

use std::collections::BTreeMap;

use holdpoint_core::definition::Definition;
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::Annotations;
use holdpoint_core::json::canonical::ObjectWriter;
use holdpoint_core::mcp::McpMessage;

use crate::usage::{SharedData, Stored};

#[cfg(test)]
mod tests;

/// Parts of the table, each a key of the shared data. About 8,000 tools in 520 KiB.
const PARTS: u16 = 128;
const PART_ROWS_MAX: usize = 64;
/// Counters of changes; servers that share one learn again without need.
const VERSIONS: u16 = 64;
/// How often a lost race is run again.
const RACES_MAX: usize = 64;
/// The compare-and-set number of a key that is not there.
const NEW: u32 = 0;
const ROW_BYTES: usize = 65;
/// Keys that a worker remembers, all of them forgotten at once; and the longest name of a tool among them.
const KEYS_MAX: usize = 2_048;
const KEPT_NAME_BYTES_MAX: usize = 256;

type Key = [u8; 16];

/// What is known of one tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    pub definition: Digest,
    pub annotations: Annotations,
}

/// Creates the keys that are missing. To be called while a configuration is taken in, as [`crate::usage::prepare`] is and
/// for the same reason.
pub fn prepare(shared: &mut dyn SharedData) {
    for key in (0..PARTS).map(part_key).chain((0..VERSIONS).map(version_slot)) {
        if let Some((_, NEW)) = shared.load(&key) {
            // A failure shows as definitions that are never seen.
            let _ = shared.store(&key, &[], NEW);
        }
    }
}

/// What `server` last said of `tool`.
pub fn of(shared: &mut dyn SharedData, server: &str, tool: &str) -> Option<Learned> {
    under(shared, &key_of(server, tool))
}

fn under(shared: &mut dyn SharedData, key: &Key) -> Option<Learned> {
    let (bytes, _) = shared.load(&part_key(part_of(key)))?;
    let rows = bytes.as_chunks::<ROW_BYTES>().0.iter();
    rows.filter(|row| row.starts_with(key)).find_map(Row::read).map(|row| row.learned)
}

/// Keys of tools that were called lately: to make one costs more than all the rest of asking.
#[derive(Default)]
pub struct Keys {
    by_server: BTreeMap<String, BTreeMap<String, Key>>,
    count: usize,
}

impl Keys {
    /// What `server` last said of the tool that `message` calls; nothing for any other message.
    pub fn learned(&mut self, shared: &mut dyn SharedData, server: &str, message: &McpMessage) -> Option<Learned> {
        message.target().tool().and_then(|name| under(shared, &self.of(server, name)))
    }

    fn of(&mut self, server: &str, tool: &str) -> Key {
        if let Some(known) = self.by_server.get(server).and_then(|tools| tools.get(tool)) {
            return *known;
        }
        let key = key_of(server, tool);
        // Callers choose the names: neither many nor long ones may fill the worker.
        if tool.len() <= KEPT_NAME_BYTES_MAX {
            if self.count >= KEYS_MAX {
                *self = Self::default();
            }
            self.by_server.entry(server.to_owned()).or_default().insert(tool.to_owned(), key);
            self.count = self.count.saturating_add(1);
        }
        key
    }
}

/// How often anything of `server` has changed here; moves on with every change.
pub fn version(shared: &mut dyn SharedData, server: &str) -> u64 {
    shared.load(&version_key(server)).map_or(0, |(bytes, _)| number(&bytes))
}

/// Keeps what a server has just said of its tools; answers the version afterwards, if all of it was kept.
pub fn learn(shared: &mut dyn SharedData, server: &str, tools: &[Definition], now_ms: u64) -> Option<u64> {
    let mut by_part: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
    let mark = server_mark(server);
    for tool in tools {
        let key = key_of(server, &tool.name);
        let learned = Learned { definition: tool.digest, annotations: tool.annotations };
        let row = Row { key, server: mark, learned, said_at_ms: now_ms };
        by_part.entry(part_of(&key)).or_default().push(row);
    }
    let mut is_whole = true;
    let mut has_changed = false;
    for (part, said) in by_part {
        match keep(shared, part, &said) {
            Some(changed) => has_changed |= changed,
            None => is_whole = false,
        }
    }
    let version = if has_changed { bump(shared, server) } else { Some(version(shared, server)) };
    version.filter(|_| is_whole)
}

/// Whether any row of the part had to change; `None` when it could not be written.
fn keep(shared: &mut dyn SharedData, part: u16, said: &[Row]) -> Option<bool> {
    let key = part_key(part);
    for _ in 0..RACES_MAX {
        let (bytes, cas) = shared.load(&key)?;
        if cas == NEW {
            return None;
        }
        let mut rows: Vec<Row> = bytes.as_chunks::<ROW_BYTES>().0.iter().filter_map(Row::read).collect();
        let mut has_changed = false;
        for row in said {
            match rows.iter_mut().find(|known| known.key == row.key) {
                Some(known) if known.learned == row.learned => {}
                Some(known) => {
                    *known = row.clone();
                    has_changed = true;
                }
                None => {
                    if rows.len() >= PART_ROWS_MAX {
                        make_room(&mut rows);
                    }
                    rows.push(row.clone());
                    has_changed = true;
                }
            }
        }
        if !has_changed {
            return Some(false);
        }
        let written: Vec<u8> = rows.iter().flat_map(Row::write).collect();
        match shared.store(&key, &written, cas) {
            Stored::Done => return Some(true),
            Stored::Raced => {}
            Stored::Failed => return None,
        }
    }
    None
}

/// Moves the version of `server` on by one; `None` when somebody else moved it meanwhile, and may have said otherwise.
fn bump(shared: &mut dyn SharedData, server: &str) -> Option<u64> {
    let key = version_key(server);
    for attempt in 0..RACES_MAX {
        let (bytes, cas) = shared.load(&key)?;
        let next = number(&bytes).saturating_add(1);
        match shared.store(&key, &next.to_le_bytes(), cas) {
            Stored::Done => return (attempt == 0).then_some(next),
            Stored::Raced => {}
            Stored::Failed => return None,
        }
    }
    None
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: Key,
    server: [u8; 8],
    learned: Learned,
    said_at_ms: u64,
}

impl Row {
    fn read(bytes: &[u8; ROW_BYTES]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<16>()?;
        let (server, rest) = rest.split_first_chunk::<8>()?;
        let (definition, rest) = rest.split_first_chunk::<32>()?;
        let (said_at_ms, rest) = rest.split_first_chunk::<8>()?;
        let annotations = annotations(*rest.first()?);
        Some(Self {
            key: *key,
            server: *server,
            learned: Learned { definition: Digest::from_bytes(*definition), annotations },
            said_at_ms: u64::from_le_bytes(*said_at_ms),
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ROW_BYTES);
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.server);
        bytes.extend_from_slice(self.learned.definition.as_bytes());
        bytes.extend_from_slice(&self.said_at_ms.to_le_bytes());
        bytes.push(flags(&self.learned.annotations));
        bytes
    }
}

/// Two bits for each hint: not said, false, true.
fn flags(annotations: &Annotations) -> u8 {
    let bits = |hint: Option<bool>| match hint {
        None => 0_u8,
        Some(false) => 1,
        Some(true) => 2,
    };
    bits(annotations.read_only) | bits(annotations.destructive) << 2 | bits(annotations.open_world) << 4
}

fn annotations(flags: u8) -> Annotations {
    let hint = |shift: u8| match (flags >> shift) & 3 {
        1 => Some(false),
        2 => Some(true),
        _ => None,
    };
    Annotations { read_only: hint(0), destructive: hint(2), open_world: hint(4) }
}

/// Forgets the oldest word of the server that has the most here, so that none pushes others out by listing many.
fn make_room(rows: &mut Vec<Row>) {
    let count = |row: &Row| rows.iter().filter(|other| other.server == row.server).count();
    let busiest = rows.iter().max_by_key(|row| count(row)).map(|row| row.server);
    let of_busiest = rows.iter().enumerate().filter(|(_, row)| Some(row.server) == busiest);
    if let Some((oldest, _)) = of_busiest.min_by_key(|(_, row)| row.said_at_ms) {
        rows.swap_remove(oldest);
    }
}

fn key_of(server: &str, tool: &str) -> Key {
    let named = ObjectWriter::new().string("server", server).string("tool", tool).finish();
    start(Digest::tagged("holdpoint/learned/v1", named.as_bytes()))
}

fn server_mark(server: &str) -> [u8; 8] {
    start(Digest::tagged("holdpoint/learned-server/v1", server.as_bytes()))
}

fn start<const N: usize>(digest: Digest) -> [u8; N] {
    let mut first = [0; N];
    for (to, from) in first.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    first
}

fn part_of(key: &Key) -> u16 {
    let [first, second, ..] = *key;
    u16::from_le_bytes([first, second]) % PARTS
}

fn part_key(part: u16) -> String {
    format!("holdpoint/definitions/{part}")
}

fn version_key(server: &str) -> String {
    let [first, second, ..] = server_mark(server);
    version_slot(u16::from_le_bytes([first, second]) % VERSIONS)
}

fn version_slot(slot: u16) -> String {
    format!("holdpoint/definitions-version/{slot}")
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
