//! Step 12: the record as it is found again: entries by what they say, and all entries of one call.
//!
//! The index stands beside the log and is made after it, from it alone, by whoever gets to it first: nothing waits for it
//! when something is recorded, and nothing in it is evidence. Every entry that it finds is read again before it is shown.

use std::sync::Arc;
use std::time::Duration;

use holdpoint_core::audit::AuditEntry;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::store::row::{LogEntry, MarkQuery, MarkRow, Place};
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};
use crate::tokens::{Credential, Role};

pub mod call;
pub mod clue;
#[cfg(test)]
mod tests;

use clue::{Clue, Field, clues_of};

/// Entries taken into the index at once: small enough that what is to be decided meanwhile does not wait for long.
const TAKEN_MAX: u32 = 250;
/// How often the index looks for new entries.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often a search takes new entries in itself before it says that the newest are not searched.
const CATCH_UP_MAX: u32 = 4;
/// The name under which the index notes how far it has come.
const FOLLOWER: &str = "marks";
/// Longest value that is looked for, in characters.
pub const VALUE_CHARS_MAX: usize = 1_000;

/// The record, to be searched.
#[derive(Clone)]
pub struct Trail {
    store: Arc<dyn Store>,
}

/// What to look for: entries to which all of it applies.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    pub clues: Vec<Clue>,
    pub since_ms: Option<u64>,
    /// Only before then.
    pub until_ms: Option<u64>,
    pub before: Option<Place>,
    pub rows_max: u32,
}

/// One entry and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub seq: u64,
    pub entry: AuditEntry,
}

/// What was found, the latest first.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub entries: Vec<Numbered>,
    /// There may be more: go on before this place.
    pub next: Option<Place>,
    /// So many of the newest entries are not in the index yet.
    pub unsearched: u64,
}

impl Trail {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Takes the next entries into the index; how many are left.
    pub async fn catch_up(&self) -> Result<u64, StoreError> {
        let from = self.store.follower(FOLLOWER).await?;
        let begin = from.unwrap_or(0);
        let rows = self.store.entries(begin, TAKEN_MAX).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let to = last.seq.saturating_add(1);
        let marks = rows.iter().flat_map(marks_of).collect();
        let writes = vec![Write::Follow { name: FOLLOWER, from, to }, Write::AddMarks(marks)];
        match self.store.commit(Change { writes, entries: Vec::new() }).await {
            // Somebody else was there first.
            Ok(_) | Err(CommitError::Conflict(Conflict::Counter)) => {}
            Err(CommitError::Conflict(conflict)) => return Err(StoreError::Database(conflict.to_string())),
            Err(CommitError::Store(error)) => return Err(error),
        }
        Ok(self.store.head().await?.frontier.size().saturating_sub(to))
    }

    /// Keeps the index close behind the log until the service stops.
    pub async fn follow(self, mut stopping: watch::Receiver<bool>) {
        let mut tick = interval(FOLLOW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopping.changed() => return,
            }
            loop {
                match self.catch_up().await {
                    Ok(0) => break,
                    Ok(_) if *stopping.borrow() => return,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%error, "the record's index could not follow the record; trying again");
                        break;
                    }
                }
            }
        }
    }

    /// The entries to which all that is sought applies, as far as `reader` may see them.
    pub async fn search(&self, sought: Sought, reader: &Credential) -> Result<Found, StoreError> {
        let unsearched = self.come_near().await?;
        self.find(sought, &scope(reader)).await.map(|found| Found { unsearched, ..found })
    }

    /// Takes new entries in, though not for as long as there are any; how many are left.
    async fn come_near(&self) -> Result<u64, StoreError> {
        let mut left = u64::MAX;
        for _ in 0..CATCH_UP_MAX {
            left = self.catch_up().await?;
            if left == 0 {
                break;
            }
        }
        Ok(left)
    }

    async fn find(&self, sought: Sought, scope: &[Clue]) -> Result<Found, StoreError> {
        let mut clues = sought.clues;
        clues.extend_from_slice(scope);
        if clues.is_empty() {
            clues.push(Clue::any());
        }
        let query = MarkQuery {
            marks: clues.iter().map(Clue::mark).collect(),
            since_ms: sought.since_ms.unwrap_or(0),
            // Times are kept as signed numbers.
            until_ms: sought.until_ms.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs()),
            before: sought.before,
            rows_max: sought.rows_max,
        };
        let page = self.store.marked(query).await?;
        let mut entries = Vec::new();
        for row in page.entries {
            let found = numbered(&row)?;
            let says = clues_of(&found.entry);
            // A mark is the beginning of a digest: two things may share one.
            if clues.iter().all(|clue| says.contains(clue)) {
                entries.push(found);
            }
        }
        Ok(Found { entries, next: page.next, unsearched: 0 })
    }

    /// One entry, if `reader` may see it.
    pub async fn entry(&self, seq: u64, reader: &Credential) -> Result<Option<Numbered>, StoreError> {
        if i64::try_from(seq).is_err() {
            return Ok(None);
        }
        let row = self.store.entries(seq, 1).await?.into_iter().next().filter(|row| row.seq == seq);
        let Some(row) = row else { return Ok(None) };
        let found = numbered(&row)?;
        let says = clues_of(&found.entry);
        Ok(scope(reader).iter().all(|clue| says.contains(clue)).then_some(found))
    }
}

/// What every entry must say for `reader` to see it: whoever is bound to a tenant sees that tenant's, and whoever decides
/// about calls sees calls.
fn scope(reader: &Credential) -> Vec<Clue> {
    let tenant = reader.tenant.as_deref().map(|tenant| Clue::new(Field::Tenant, tenant));
    let calls = match reader.role {
        Role::Auditor | Role::Admin => None,
        Role::Approver | Role::BreakGlass | Role::Enforcer => Some(Clue::call()),
    };
    tenant.into_iter().chain(calls).collect()
}

/// The entry of a row.
pub fn numbered(row: &LogEntry) -> Result<Numbered, StoreError> {
    match serde_json::from_str(&row.body) {
        Ok(entry) => Ok(Numbered { seq: row.seq, entry }),
        Err(error) => Err(StoreError::Corrupt { what: "an audit entry", problem: error.to_string() }),
    }
}

/// An entry that cannot be read is found by nothing; `audit verify` says what is wrong with it.
fn marks_of(row: &LogEntry) -> Vec<MarkRow> {
    let Ok(Numbered { seq, entry }) = numbered(row) else { return Vec::new() };
    let at_ms = entry.at_ms;
    clues_of(&entry).iter().map(|clue| MarkRow { mark: clue.mark(), at_ms, seq }).collect()
}
