//! Step 11: what is known of servers: how they introduce themselves, what they offer under which definition, who calls what,
//! and how that came to differ from what was known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::definition::{self, DefinitionKind};
use holdpoint_core::digest::Digest;
use holdpoint_core::identity::Principal;
use holdpoint_core::inventory::{
    CAPABILITIES_MAX, ENTRIES_MAX, ListedEntry, ListedPage, NAME_BYTES_MAX, Observation, ObservationBatch, Sighting,
    TEXT_BYTES_MAX,
};

use crate::ledger::Ledger;
use crate::store::inventory::{CallerName, DriftChange, DriftRow, InventoryWrite, ItemRow, PageRow, SeenItem};
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};

pub mod difference;
pub mod seen;
#[cfg(test)]
mod tests;
pub mod view;

/// Most observations in one batch.
const OBSERVATIONS_MAX: usize = 1_000;
const NAME_CHARS_MAX: usize = 1_000;
/// How often an observation is tried again when another one of its server came between.
const TRIES_MAX: u32 = 16;
/// Most changes of one list that get entries of their own; the rest shares one.
const ENTRIES_OF_LIST_MAX: usize = 100;
/// How often it is written down that something is still there.
const SEEN_EVERY_MS: u64 = 10 * 60 * 1_000;
/// By how much two workers of one gateway may tell in another order than they saw. Further back its clock was set.
const LATE_MS_MAX: u64 = 10_000;
/// A definition that goes back and forth, as of a server that tells callers different things, is recorded so often.
const FLAPPING_MS: u64 = 60 * 60 * 1_000;

/// Why observations were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    #[error("a batch holds 1 to {OBSERVATIONS_MAX} observations, this one {0}: split it")]
    Count(usize),
    #[error("`{field}` of observation {at} {problem}")]
    Field { at: usize, field: &'static str, problem: &'static str },
    #[error("other observations of this server kept coming in between: send again")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All that is known of servers.
#[derive(Clone)]
pub struct Inventory {
    store: Arc<dyn Store>,
    ledger: Ledger,
}

impl Inventory {
    pub fn new(store: Arc<dyn Store>, ledger: Ledger) -> Self {
        Self { store, ledger }
    }

    /// Takes in what a filter saw, one observation after the other. Again is harmless.
    pub async fn observe(&self, batch: ObservationBatch) -> Result<(), ObserveError> {
        check(&batch)?;
        for observation in &batch.observations {
            self.take_in(observation, &batch.source).await?;
        }
        Ok(())
    }

    async fn take_in(&self, observation: &Observation, source: &str) -> Result<(), ObserveError> {
        for _ in 0..TRIES_MAX {
            let server = self.store.inventory_server(&observation.server).await?;
            let revision = server.map_or(0, |row| row.revision);
            let at_ms = self.store.now_ms().await?;
            let seen = InventoryWrite::Server { server: observation.server.clone(), revision, at_ms };
            let mut change = Change { writes: vec![Write::Inventory(Box::new(seen))], entries: Vec::new() };
            match &observation.saw {
                Sighting::Introduced(introduction) => {
                    let (server, introduction) = (observation.server.clone(), introduction.clone());
                    let write = InventoryWrite::Introduction { server, introduction, at_ms };
                    change.writes.push(Write::Inventory(Box::new(write)));
                }
                Sighting::Listed(page) => self.take_in_page(observation, page, source, at_ms, &mut change).await?,
            }
            for entry in &mut change.entries {
                entry.source = Some(source.to_owned());
            }
            match self.ledger.commit(change).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict(Conflict::Counter)) => {}
                Err(CommitError::Conflict(conflict)) => return Err(StoreError::Database(conflict.to_string()).into()),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(ObserveError::Busy)
    }

    async fn take_in_page(
        &self,
        observation: &Observation,
        page: &ListedPage,
        source: &str,
        at_ms: u64,
        change: &mut Change,
    ) -> Result<(), ObserveError> {
        let server = &observation.server;
        let pages = self.store.inventory_pages(server, page.kind).await?;
        let gateway = gateway_of(source);
        // Only clocks of one gateway can be compared.
        let is_late = pages.iter().filter_map(|row| row.told.as_ref()).any(|(by, told_at_ms)| {
            by == gateway && *told_at_ms > observation.at_ms && told_at_ms - observation.at_ms <= LATE_MS_MAX
        });
        let caller = caller_digest(&observation.caller);
        // This caller has been shown this page once more since: what is not on that one is gone.
        let is_superseded = is_late && pages.iter().any(|row| row.caller == caller && Some(row.page) == page.page);
        let all = self.store.inventory_items(server).await?;
        let known: BTreeMap<&str, &ItemRow> =
            all.iter().filter(|item| item.kind == page.kind).map(|item| (item.name.as_str(), item)).collect();
        let is_first = known.is_empty();
        let mut drift = Vec::new();
        let mut push = |write: InventoryWrite| change.writes.push(Write::Inventory(Box::new(write)));
        for entry in &page.entries {
            let before = known.get(entry.name.as_str());
            if before.is_none() && is_superseded {
                continue;
            }
            let is_past =
                |before: &&&ItemRow| is_late && before.digest != entry.digest || is_superseded && before.is_removed;
            if let Some(before) = before.filter(is_past) {
                // Another worker has told already what the server says since: this is known to have been, and no more. Only
                // where that was taken for what had always been there, it was a change, and nobody could see it.
                let told = self.store.inventory_definitions(server, page.kind, &entry.name).await?;
                if before.digest != entry.digest
                    && before.changed_at_ms.is_none()
                    && told.iter().all(|row| row.digest == before.digest)
                {
                    drift.push(DriftRow {
                        kind: page.kind,
                        name: entry.name.clone(),
                        change: DriftChange::Changed,
                        before: Some(entry.digest),
                        after: Some(before.digest),
                        at_ms,
                    });
                }
                push(InventoryWrite::Item(Box::new(SeenItem {
                    server: server.clone(),
                    kind: page.kind,
                    name: entry.name.clone(),
                    digest: entry.digest,
                    text: text_of(page.kind, entry),
                    has_changed: false,
                    is_latest: false,
                    at_ms: before.last_seen_ms.saturating_sub(1),
                })));
                continue;
            }
            let has_changed = before.is_some_and(|before| before.digest != entry.digest);
            let is_flapping = match before {
                Some(before) if has_changed => {
                    let lately =
                        before.changed_at_ms.is_some_and(|changed| at_ms.saturating_sub(changed) < FLAPPING_MS);
                    let rows = self.store.inventory_definitions(server, page.kind, &entry.name).await?;
                    lately && rows.iter().any(|row| row.digest == entry.digest)
                }
                Some(_) | None => false,
            };
            let change = match before {
                None => Some(DriftChange::New),
                Some(_) if has_changed => Some(DriftChange::Changed),
                Some(before) if before.is_removed => Some(DriftChange::New),
                Some(_) => None,
            };
            if let Some(change) = change.filter(|_| !is_flapping) {
                drift.push(DriftRow {
                    kind: page.kind,
                    name: entry.name.clone(),
                    change,
                    before: before.map(|before| before.digest).filter(|_| has_changed),
                    after: Some(entry.digest),
                    at_ms,
                });
            }
            let is_stale = |before: &&ItemRow| at_ms.saturating_sub(before.last_seen_ms) >= SEEN_EVERY_MS;
            let is_same = before.is_some_and(|before| !has_changed && !before.is_removed && !is_stale(before));
            if is_same && entry.text.is_none() {
                continue;
            }
            push(InventoryWrite::Item(Box::new(SeenItem {
                server: server.clone(),
                kind: page.kind,
                name: entry.name.clone(),
                digest: entry.digest,
                text: text_of(page.kind, entry),
                has_changed: has_changed && !is_flapping,
                is_latest: true,
                at_ms,
            })));
        }
        if let Some(number) = page.page {
            let names = page.entries.iter().map(|entry| entry.name.clone()).collect();
            let told = Some((gateway.to_owned(), observation.at_ms));
            let now = PageRow { caller, page: number, names, told };
            let missing = if is_late { BTreeSet::new() } else { missing(&pages, &now, page.is_whole) };
            for name in missing {
                let Some(before) = known.get(name.as_str()).filter(|before| !before.is_removed) else { continue };
                drift.push(DriftRow {
                    kind: page.kind,
                    name: name.clone(),
                    change: DriftChange::Removed,
                    before: Some(before.digest),
                    after: None,
                    at_ms,
                });
                push(InventoryWrite::Removed { server: server.clone(), kind: page.kind, name, at_ms });
            }
            if !is_superseded {
                push(InventoryWrite::Page {
                    server: server.clone(),
                    kind: page.kind,
                    alone: page.is_whole && !is_late,
                    page: now,
                    at_ms,
                });
            }
        }
        // The first list of a server is no drift: there was nothing to differ from.
        if !is_first {
            for drift in drift.iter().cloned() {
                push(InventoryWrite::Drift { server: server.clone(), drift });
            }
        }
        change.entries = entries(server, page.kind, &drift, is_first, at_ms);
        Ok(())
    }
}

/// The gateway of a source, which is `gateway/boot id`: its workers share a clock.
fn gateway_of(source: &str) -> &str {
    source.rsplit_once('/').map_or(source, |(gateway, _)| gateway)
}

/// The text of an entry; one that is not the definition it is sent for would mislead whoever compares.
fn text_of(kind: DefinitionKind, entry: &ListedEntry) -> Option<String> {
    entry.text.clone().filter(|text| definition::digest(kind, text) == entry.digest)
}

/// What a caller was shown by this page or, if it is alone, by any page, and no list of anybody shows any more.
fn missing(pages: &[PageRow], now: &PageRow, is_alone: bool) -> BTreeSet<String> {
    let is_replaced = |row: &&PageRow| row.caller == now.caller && (is_alone || row.page == now.page);
    let shown: BTreeSet<&String> = pages.iter().filter(is_replaced).flat_map(|row| &row.names).collect();
    let others = pages.iter().filter(|row| !is_replaced(row));
    let still: BTreeSet<&String> = others.flat_map(|row| &row.names).chain(&now.names).collect();
    shown.difference(&still).map(|name| (*name).clone()).collect()
}

fn entries(server: &str, kind: DefinitionKind, drift: &[DriftRow], is_first: bool, at_ms: u64) -> Vec<AuditEntry> {
    let entry = |status: &str, detail: String| {
        let mut entry = AuditEntry::new(EntryKind::DefinitionChanged, at_ms);
        entry.server = Some(server.to_owned());
        entry.status = Some(status.to_owned());
        entry.detail = Some(detail);
        entry
    };
    if is_first {
        let told = format!("first list: {} of kind {}", drift.len(), kind.as_str());
        return if drift.is_empty() { Vec::new() } else { vec![entry("first_list", told)] };
    }
    let mut entries = Vec::new();
    for drift in drift.iter().take(ENTRIES_OF_LIST_MAX) {
        let was = drift.before.map(|before| format!(", was {before}")).unwrap_or_default();
        let mut entry = entry(drift.change.as_str(), format!("{}{was}", kind.as_str()));
        entry.target = Some(drift.name.clone());
        entry.definition = drift.after;
        entries.push(entry);
    }
    if drift.len() > ENTRIES_OF_LIST_MAX {
        let more = drift.len() - ENTRIES_OF_LIST_MAX;
        entries.push(entry("more", format!("{more} more changes of kind {} in the same list", kind.as_str())));
    }
    entries
}

/// Who calls, as the inventory names callers.
pub fn caller_name(principal: &Principal) -> CallerName {
    CallerName {
        issuer: principal.issuer.clone(),
        subject: principal.subject.clone(),
        agent: principal.agent_id.clone().unwrap_or_default(),
        tenant: principal.tenant.clone().unwrap_or_default(),
    }
}

fn caller_digest(principal: &Principal) -> Digest {
    let CallerName { issuer, subject, agent, tenant } = caller_name(principal);
    let named = serde_json::json!([issuer, subject, agent, tenant]).to_string();
    Digest::tagged("holdpoint/inventory-caller/v1", named.as_bytes())
}

fn check(batch: &ObservationBatch) -> Result<(), ObserveError> {
    if batch.observations.is_empty() || batch.observations.len() > OBSERVATIONS_MAX {
        return Err(ObserveError::Count(batch.observations.len()));
    }
    if batch.source.is_empty() || batch.source.chars().count() > 200 {
        return Err(ObserveError::Field { at: 0, field: "source", problem: "must have 1 to 200 characters" });
    }
    for (at, observation) in batch.observations.iter().enumerate() {
        let field = |field, problem| Err(ObserveError::Field { at, field, problem });
        let server = observation.server.chars().count();
        if server == 0 || server > NAME_CHARS_MAX {
            return field("server", "must have 1 to 1000 characters");
        }
        match &observation.saw {
            Sighting::Introduced(introduction) => {
                let words = [&introduction.name, &introduction.version].into_iter().chain(&introduction.capabilities);
                let mut words = words.map(|word| word.chars().count());
                let protocol = introduction.protocol.chars().count();
                if words.any(|chars| chars > NAME_CHARS_MAX)
                    || protocol > NAME_CHARS_MAX * CAPABILITIES_MAX
                    || introduction.capabilities.len() > CAPABILITIES_MAX
                {
                    return field("saw", "is too long an introduction");
                }
            }
            Sighting::Listed(page) => {
                let is_long = |entry: &ListedEntry| {
                    entry.name.len() > NAME_BYTES_MAX
                        || entry.text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX)
                };
                if page.entries.len() > ENTRIES_MAX || page.entries.iter().any(is_long) {
                    return field("saw", "is too long a list");
                }
            }
        }
    }
    Ok(())
}
