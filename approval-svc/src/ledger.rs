//! Step 12: the way into the store for everything that happens: commits, wakes, tells, counts; and signs the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use holdpoint_core::audit::{AuditEntry, CountedPayload, DETAIL_CHARS_MAX, EntryBatch, EntryKind};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::inventory::caller_name;
use crate::keys::ServiceSigner;
use crate::metrics::{Counted, Metrics};
use crate::store::inventory::{CallerName, InventoryWrite};
use crate::store::row::CheckpointRow;
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};
use crate::waiters::Waiters;

pub mod payloads;
pub mod proofs;
pub mod verify;

#[cfg(test)]
mod tests;

/// Most entries in one batch of a filter.
pub const BATCH_ENTRIES_MAX: usize = 1_000;
/// Most bytes of one entry's text; the tiles of a transparency log could not hold a longer one.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Live events kept for listeners that are slow to read.
const EVENTS_KEPT_MAX: usize = 1_024;
/// How often a batch is tried again when another one of its source came between.
const BATCH_TRIES_MAX: u32 = 8;

/// What listeners are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Event(Event),
    /// Things may have happened on another replica of which nothing was heard.
    Missed,
}

/// What one replica tells the others, which know it only as a hint.
#[derive(Serialize, Deserialize)]
struct Told {
    replica: String,
    seq: u64,
    kind: EntryKind,
    approval_id: String,
    status: Option<String>,
    tenant: Option<String>,
}

/// Something happened to an approval. Carries no arguments: whoever may know more asks for the approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Sequence number of the audit entry that reports it.
    pub seq: u64,
    pub kind: EntryKind,
    pub approval_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Whose it is: decides who hears of it.
    #[serde(skip)]
    pub tenant: Option<String>,
}

impl Event {
    /// The event that this entry reports, if it is about an approval and the service's own.
    pub fn of(seq: u64, entry: &AuditEntry) -> Option<Self> {
        // Who was told of an approval changes nothing about it.
        let is_ours = entry.source.is_none() && entry.kind != EntryKind::NoticeChanged;
        let approval_id = entry.approval_id.clone().filter(|_| is_ours)?;
        let tenant = entry.principal.as_ref().and_then(|principal| principal.tenant.clone());
        Some(Self { seq, kind: entry.kind, approval_id, status: entry.status.clone(), tenant })
    }

    /// Whether the approval has a new version. Who else waits does not concern those who wait: a thousand identical
    /// calls would wake each other a million times.
    fn moves(&self) -> bool {
        match self.kind {
            EntryKind::Review | EntryKind::ApprovalClosed | EntryKind::Claim | EntryKind::ApprovalEscalated => true,
            EntryKind::Decision
            | EntryKind::Refusal
            | EntryKind::ApprovalOpened
            | EntryKind::ApprovalJoined
            | EntryKind::HoldEnded
            | EntryKind::Outcome
            | EntryKind::PolicyRegistered
            | EntryKind::PolicyInForce
            | EntryKind::TokenChanged
            | EntryKind::DelegationChanged
            | EntryKind::GrantChanged
            | EntryKind::ArgumentsErased
            | EntryKind::PayloadsErased
            | EntryKind::FreezeChanged
            | EntryKind::KeyChanged
            | EntryKind::SourceBegan
            | EntryKind::DefinitionChanged
            | EntryKind::NoticeChanged
            | EntryKind::Gap => false,
        }
    }
}

/// Commits changes and tells those who wait.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    signer: Arc<ServiceSigner>,
    waiters: Waiters,
    events: broadcast::Sender<News>,
    /// What this replica of the service calls itself: another name each time it starts.
    replica: Arc<str>,
    metrics: Arc<Metrics>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BatchReceipt {
    /// The counter expected next of this source.
    pub next_counter: u64,
    pub entries_added: u64,
    /// Entries that were here already.
    pub entries_known: u64,
    /// Entries that never came, as far as the counters tell; written down as a gap.
    pub entries_missing: u64,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("a batch holds 1 to {BATCH_ENTRIES_MAX} entries, this one {0}: split it")]
    Count(usize),
    #[error("`source` is 1 to 200 characters")]
    Source,
    #[error("`first_counter` is too large")]
    Counter,
    #[error("entry {at}: `{kind}` entries are the service's own")]
    Kind { at: usize, kind: &'static str },
    #[error("entry {at} is {bytes} bytes long, at most {ENTRY_BYTES_MAX} are kept: send digests, not contents")]
    Long { at: usize, bytes: usize },
    #[error("`payloads` belong to entries of this batch, by rising counter: {0} does not")]
    Payload(u64),
    #[error("other batches of this source kept coming in between: send one at a time")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ledger {
    pub fn new(store: Arc<dyn Store>, signer: Arc<ServiceSigner>, waiters: Waiters, metrics: Arc<Metrics>) -> Self {
        let replica = uuid::Uuid::now_v7().simple().to_string().into();
        Self { store, signer, waiters, events: broadcast::channel(EVENTS_KEPT_MAX).0, replica, metrics }
    }

    /// Commits one change; once it is durable, wakes whoever waits for the approvals it is about. Goes on to its end
    /// even if the caller, whose client may have left, does not wait for it.
    pub async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let ledger = self.clone();
        let committing = tokio::spawn(async move { ledger.commit_and_tell(change).await });
        committing.await.unwrap_or(Err(CommitError::Store(StoreError::Stopped)))
    }

    async fn commit_and_tell(&self, change: Change) -> Result<(), CommitError> {
        let mut told: Vec<Option<Event>> = change.entries.iter().map(|entry| Event::of(0, entry)).collect();
        let kinds: Vec<Counted> = change.entries.iter().map(Counted::of).collect();
        let started = Instant::now();
        let seqs = self.store.commit(change).await?;
        self.metrics.committed(started.elapsed(), &kinds);
        for (event, seq) in told.iter_mut().zip(seqs) {
            if let Some(event) = event {
                event.seq = seq;
            }
        }
        let events: Vec<Event> = told.into_iter().flatten().collect();
        for id in events.iter().filter(|event| event.moves()).map(|event| &event.approval_id).collect::<BTreeSet<_>>() {
            self.waiters.wake(id);
        }
        for event in events {
            self.tell_replicas(&event);
            // Nobody listening is no error.
            let _ = self.events.send(News::Event(event));
        }
        Ok(())
    }

    /// What this replica of the service calls itself.
    pub fn replica(&self) -> Arc<str> {
        Arc::clone(&self.replica)
    }

    fn tell_replicas(&self, event: &Event) {
        let Some(hints) = self.store.hints() else { return };
        let told = Told {
            replica: self.replica.to_string(),
            seq: event.seq,
            kind: event.kind,
            approval_id: event.approval_id.clone(),
            status: event.status.clone(),
            tenant: event.tenant.clone(),
        };
        // Whoever is not told looks by itself a little later.
        if let Ok(text) = serde_json::to_string(&told) {
            let _ = hints.tell.try_send(text);
        }
    }

    /// Passes on what another replica told.
    pub fn hear(&self, text: &str) {
        let Ok(told) = serde_json::from_str::<Told>(text) else {
            // Another version may tell more, or otherwise.
            return self.missed();
        };
        let Told { replica, seq, kind, approval_id, status, tenant } = told;
        if *replica == *self.replica {
            return;
        }
        let event = Event { seq, kind, approval_id, status, tenant };
        if event.moves() {
            self.waiters.wake(&event.approval_id);
        }
        let _ = self.events.send(News::Event(event));
    }

    /// Lets everybody look again: another replica may have told what was not heard.
    pub fn missed(&self) {
        self.waiters.wake_all();
        let _ = self.events.send(News::Missed);
    }

    /// What happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.events.subscribe()
    }

    /// Appends what a filter reports, each entry once however often it is sent.
    pub async fn append(&self, batch: EntryBatch) -> Result<BatchReceipt, AppendError> {
        let end = check(&batch)?;
        for _ in 0..BATCH_TRIES_MAX {
            let known = self.store.source_counter(&batch.source).await?;
            let from = known.unwrap_or(0);
            let now_ms = self.store.now_ms().await?;
            let receipt = BatchReceipt {
                next_counter: end.max(from),
                entries_added: end.saturating_sub(batch.first_counter.max(from)),
                entries_known: from.clamp(batch.first_counter, end) - batch.first_counter,
                entries_missing: batch.first_counter.saturating_sub(from),
            };
            if receipt.entries_added == 0 {
                return Ok(receipt);
            }
            match self.commit(batch_change(&batch, from, &receipt, now_ms)).await {
                Ok(()) => return Ok(receipt),
                Err(CommitError::Conflict(Conflict::Counter)) => {}
                Err(CommitError::Conflict(conflict)) => return Err(StoreError::Database(conflict.to_string()).into()),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(AppendError::Busy)
    }

    /// Takes up keys that `holdpoint keys` has changed.
    pub fn refresh_keys(&self) {
        let before = self.signer.trouble();
        match self.signer.refresh() {
            Ok(false) if before.is_some() => tracing::info!("the keys can be read again"),
            Ok(false) => {}
            Ok(true) => tracing::info!(key = self.signer.public(), "the service signs with other keys from now on"),
            // Said once: `/readyz` says it for as long as it lasts.
            Err(error) if before.as_ref() == Some(&error.to_string()) => {}
            Err(error) => tracing::error!(%error, "the keys could not be read again: those from before go on to sign"),
        }
    }

    /// Signs the log's head and keeps the note, if the log grew since the last time.
    pub async fn sign_checkpoint(&self) -> Result<(), CommitError> {
        let head = self.store.head().await?;
        let size = head.frontier.size();
        if size == 0 || self.store.checkpoint().await?.is_some_and(|last| last.size >= size) {
            return Ok(());
        }
        let checkpoint = CheckpointRow {
            size,
            note: self.signer.sign_checkpoint(size, head.root),
            signed_at_ms: self.store.now_ms().await?,
        };
        self.store.commit(Change { writes: vec![Write::AddCheckpoint(checkpoint)], entries: Vec::new() }).await?;
        Ok(())
    }

    /// The newest signed checkpoint, covering at least what was durable when this was called.
    pub async fn checkpoint(&self) -> Result<Option<CheckpointRow>, CommitError> {
        self.sign_checkpoint().await?;
        Ok(self.store.checkpoint().await?)
    }
}

/// Checks the shape of a batch; the counter after its last entry.
fn check(batch: &EntryBatch) -> Result<u64, AppendError> {
    if batch.entries.is_empty() || batch.entries.len() > BATCH_ENTRIES_MAX {
        return Err(AppendError::Count(batch.entries.len()));
    }
    if batch.source.is_empty() || batch.source.chars().count() > 200 {
        return Err(AppendError::Source);
    }
    for (at, entry) in batch.entries.iter().enumerate() {
        match entry.kind {
            EntryKind::Decision
            | EntryKind::Refusal
            | EntryKind::HoldEnded
            | EntryKind::Outcome
            | EntryKind::SourceBegan
            | EntryKind::Gap => {}
            EntryKind::ApprovalOpened
            | EntryKind::ApprovalJoined
            | EntryKind::Review
            | EntryKind::ApprovalClosed
            | EntryKind::Claim
            | EntryKind::PolicyRegistered
            | EntryKind::PolicyInForce
            | EntryKind::TokenChanged
            | EntryKind::ApprovalEscalated
            | EntryKind::DelegationChanged
            | EntryKind::GrantChanged
            | EntryKind::ArgumentsErased
            | EntryKind::PayloadsErased
            | EntryKind::KeyChanged
            | EntryKind::FreezeChanged
            | EntryKind::NoticeChanged
            | EntryKind::DefinitionChanged => return Err(AppendError::Kind { at, kind: entry.kind.as_str() }),
        }
        let bytes = serde_json::to_string(entry).map_or(usize::MAX, |text| text.len());
        if bytes > ENTRY_BYTES_MAX - batch.source.len() * 6 - 32 {
            return Err(AppendError::Long { at, bytes });
        }
    }
    let count = u64::try_from(batch.entries.len()).unwrap_or(u64::MAX);
    let mut next = batch.first_counter;
    for CountedPayload { counter, .. } in &batch.payloads {
        if *counter < next || *counter - batch.first_counter >= count {
            return Err(AppendError::Payload(*counter));
        }
        next = counter.saturating_add(1);
    }
    let end = batch.first_counter.checked_add(count).ok_or(AppendError::Counter)?;
    if i64::try_from(end).is_err() { Err(AppendError::Counter) } else { Ok(end) }
}

fn batch_change(batch: &EntryBatch, from: u64, receipt: &BatchReceipt, now_ms: u64) -> Change {
    let advance = Write::AdvanceSource { source: batch.source.clone(), from, to: receipt.next_counter };
    let mut change = Change { writes: vec![advance], entries: Vec::new() };
    if receipt.entries_missing > 0 {
        let mut gap = AuditEntry::new(EntryKind::Gap, now_ms);
        gap.source = Some(batch.source.clone());
        gap.detail = Some(format!(
            "{} entries are missing: counters {from} to {}",
            receipt.entries_missing,
            batch.first_counter - 1
        ));
        change.entries.push(gap);
    }
    let known = usize::try_from(receipt.entries_known).unwrap_or(usize::MAX);
    let mut payloads = batch.payloads.iter().peekable();
    for (counter, entry) in (batch.first_counter..).zip(&batch.entries).skip(known) {
        let mut entry = entry.clone();
        while payloads.next_if(|one| one.counter < counter).is_some() {}
        let payload = payloads.next_if(|one| one.counter == counter).map(|one| one.payload.clone());
        payloads::join(&mut entry, payload, now_ms);
        // Whoever sends the batch says who reports, entry by entry.
        entry.source = Some(batch.source.clone());
        entry.detail = entry.detail.as_deref().map(clip);
        if let (EntryKind::Outcome, Some(outcome), Some(hold_id)) = (entry.kind, entry.outcome, &entry.hold_id) {
            change.writes.push(Write::SetOutcome { hold_id: hold_id.clone(), outcome });
        }
        change.entries.push(entry);
    }
    change.writes.extend(calls(&change.entries, now_ms));
    change
}

/// Who called what, as the inventory counts it: one write for each server in a batch, however many calls there are.
fn calls(entries: &[AuditEntry], at_ms: u64) -> Vec<Write> {
    let mut by_server: BTreeMap<&str, BTreeMap<(String, CallerName), u64>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Decision) {
        let (Some(server), Some(principal), Some(target)) = (&entry.server, &entry.principal, &entry.target) else {
            continue;
        };
        let calls = by_server.entry(server).or_default();
        *calls.entry((target.clone(), caller_name(principal))).or_default() += 1;
    }
    let write = |(server, calls): (&str, BTreeMap<(String, CallerName), u64>)| {
        Write::Inventory(Box::new(InventoryWrite::Calls { server: server.to_owned(), calls, at_ms }))
    };
    by_server.into_iter().map(write).collect()
}

/// The words of a person, no longer than an entry may carry.
pub fn clip(detail: &str) -> String {
    detail.chars().take(DETAIL_CHARS_MAX).collect()
}
