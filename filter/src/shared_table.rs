//! Steps 4 and 11: small facts that all workers of one Envoy share, in tables that are bounded and forget what nobody uses.

use holdpoint_core::digest::Digest;

use crate::usage::{SharedData, Stored};

/// One table. Its parts are keys of the shared data; a fact is in the part that its key says.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub parts: u16,
    /// Most facts of one part, 48 bytes each.
    pub part_facts_max: usize,
    /// How long a fact that is not used is remembered.
    pub idle_ms_max: u64,
}

/// What is known under a key: whose it is, and two numbers beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    pub owner: [u8; 15],
    pub tag: u8,
    pub at_ms: u64,
}

/// How often a lost race is run again.
const RACES_MAX: usize = 64;

/// The compare-and-set number of a key that is not there.
const NEW: u32 = 0;

impl Fact {
    /// A fact of the owner whom `owner` names.
    pub fn of(owner: Digest, tag: u8) -> Self {
        Self { owner: start(owner), tag, at_ms: 0 }
    }

    /// Whether it is a fact of the same owner.
    pub fn is_owned_by(&self, owner: Digest) -> bool {
        self.owner == start(owner)
    }
}

impl Table {
    /// Creates the parts that are missing. To be called while a configuration is taken in, as
    /// [`crate::usage::prepare`] is and for the same reason.
    pub fn prepare(&self, shared: &mut dyn SharedData) {
        for part in 0..self.parts {
            let name = self.part_name(part);
            if let Some((_, NEW)) = shared.load(&name) {
                // A failure shows as facts that are not remembered.
                let _ = shared.store(&name, &[], NEW);
            }
        }
    }

    /// Remembers a fact. The first one under a key keeps it.
    pub fn put(&self, shared: &mut dyn SharedData, key: Digest, fact: Fact, now_ms: u64) {
        self.unite(shared, key, fact, |first, _| first, now_ms);
    }

    /// Remembers a fact; where there is one under its key already, what `both` makes of the two.
    pub fn unite(
        &self,
        shared: &mut dyn SharedData,
        key: Digest,
        fact: Fact,
        both: impl Fn(Fact, Fact) -> Fact,
        now_ms: u64,
    ) {
        let (part, key) = self.place(key);
        self.change(shared, part, |rows| {
            rows.retain(|row| self.is_live(row, now_ms));
            if let Some(row) = rows.iter_mut().find(|row| row.key == key) {
                let united = both(row.fact, fact);
                let is_new = united != row.fact;
                row.fact = united;
                return is_new;
            }
            if rows.len() >= self.part_facts_max {
                make_room(rows);
            }
            rows.push(Row { key, fact, used_at_ms: now_ms });
            true
        });
    }

    /// The fact under a key. To ask is to use it.
    pub fn get(&self, shared: &mut dyn SharedData, key: Digest, now_ms: u64) -> Option<Fact> {
        let (part, key) = self.place(key);
        let (bytes, _) = shared.load(&self.part_name(part))?;
        let found = read(&bytes).into_iter().find(|row| row.key == key && self.is_live(row, now_ms))?;
        // Not every use is worth a write.
        if found.used_at_ms.saturating_add(self.idle_ms_max / 16) <= now_ms {
            self.change(shared, part, |rows| {
                rows.iter_mut().filter(|row| row.key == key).for_each(|row| row.used_at_ms = now_ms);
                true
            });
        }
        Some(found.fact)
    }

    /// Takes the fact under a key away; of several who ask at once, one gets it.
    pub fn take(&self, shared: &mut dyn SharedData, key: Digest, now_ms: u64) -> Option<Fact> {
        let (part, key) = self.place(key);
        let mut taken = None;
        let done = self.change(shared, part, |rows| {
            taken = rows.iter().find(|row| row.key == key && self.is_live(row, now_ms)).map(|row| row.fact);
            rows.retain(|row| row.key != key);
            taken.is_some()
        });
        taken.filter(|_| done)
    }

    fn is_live(&self, row: &Row, now_ms: u64) -> bool {
        row.used_at_ms.saturating_add(self.idle_ms_max) > now_ms
    }

    fn place(&self, key: Digest) -> (u16, [u8; 16]) {
        let [a, b, ..] = key.as_bytes();
        (u16::from_le_bytes([*a, *b]).checked_rem(self.parts).unwrap_or_default(), start(key))
    }

    fn part_name(&self, part: u16) -> String {
        format!("holdpoint/{}/{part}", self.name)
    }

    /// One compare-and-set over the rows of a part; answers whether `edit` agreed and the write went through.
    fn change(&self, shared: &mut dyn SharedData, part: u16, mut edit: impl FnMut(&mut Vec<Row>) -> bool) -> bool {
        let name = self.part_name(part);
        for _ in 0..RACES_MAX {
            let Some((bytes, cas)) = shared.load(&name) else { return false };
            let mut rows = read(&bytes);
            if cas == NEW || !edit(&mut rows) {
                return false;
            }
            match shared.store(&name, &write(&rows), cas) {
                Stored::Done => return true,
                Stored::Raced => {}
                Stored::Failed => return false,
            }
        }
        false
    }
}

struct Row {
    key: [u8; 16],
    fact: Fact,
    used_at_ms: u64,
}

/// Forgets the oldest fact of whoever has the most here, so that nobody pushes others out by having many.
fn make_room(rows: &mut Vec<Row>) {
    let count = |row: &Row| rows.iter().filter(|other| other.fact.owner == row.fact.owner).count();
    let busiest = rows.iter().max_by_key(|row| count(row)).map(|row| row.fact.owner);
    let of_busiest = rows.iter().enumerate().filter(|(_, row)| Some(row.fact.owner) == busiest);
    if let Some((oldest, _)) = of_busiest.min_by_key(|(_, row)| row.used_at_ms) {
        rows.swap_remove(oldest);
    }
}

fn start<const N: usize>(digest: Digest) -> [u8; N] {
    let mut first = [0; N];
    for (to, from) in first.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    first
}

fn read(bytes: &[u8]) -> Vec<Row> {
    let rows = bytes.as_chunks::<48>().0.iter();
    rows.filter_map(|row| {
        let (key, rest) = row.split_at_checked(16)?;
        let (owner, rest) = rest.split_at_checked(15)?;
        let (tag, rest) = rest.split_first()?;
        let (at_ms, used_at_ms) = rest.split_at_checked(8)?;
        Some(Row {
            key: key.try_into().ok()?,
            fact: Fact { owner: owner.try_into().ok()?, tag: *tag, at_ms: u64::from_le_bytes(at_ms.try_into().ok()?) },
            used_at_ms: u64::from_le_bytes(used_at_ms.try_into().ok()?),
        })
    })
    .collect()
}

fn write(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len().saturating_mul(48));
    for row in rows {
        bytes.extend_from_slice(&row.key);
        bytes.extend_from_slice(&row.fact.owner);
        bytes.push(row.fact.tag);
        bytes.extend_from_slice(&row.fact.at_ms.to_le_bytes());
        bytes.extend_from_slice(&row.used_at_ms.to_le_bytes());
    }
    bytes
}
