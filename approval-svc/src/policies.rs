//! Step 6: policies registered by their snapshot id, and which gateway has which in force. What required an approval can
//! be read as long as the record lasts.

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::{GONE_AFTER_MS, PolicyReport};

use crate::ledger::Ledger;
use crate::store::row::{InForceRow, PolicyRow};
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};

#[cfg(test)]
mod tests;

/// Tag of the digest that names a policy, as `PolicySnapshot::id` has it.
const SNAPSHOT_TAG: &str = "holdpoint/policy/v1";

/// The snapshot id of a policy's canonical text.
pub fn id_of(canonical: &str) -> Digest {
    Digest::tagged(SNAPSHOT_TAG, canonical.as_bytes())
}

/// What registering did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    New,
    Known,
}

/// Why a policy was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the body is the policy `{found}`, not `{asked}`: send the canonical text that the id was taken from")]
    Id { asked: Digest, found: Digest },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Keeps the canonical text of a policy under its id; again is harmless.
pub async fn register(
    store: &dyn Store,
    ledger: &Ledger,
    snapshot_id: Digest,
    canonical: String,
) -> Result<Registered, RegisterError> {
    let found = id_of(&canonical);
    if found != snapshot_id {
        return Err(RegisterError::Id { asked: snapshot_id, found });
    }
    // The id is a digest of the text, so what is there already is the same.
    if store.policy(snapshot_id).await?.is_some() {
        return Ok(Registered::Known);
    }
    let now_ms = store.now_ms().await?;
    let mut entry = AuditEntry::new(EntryKind::PolicyRegistered, now_ms);
    entry.snapshot_id = Some(snapshot_id);
    let row = PolicyRow { snapshot_id, canonical, registered_at_ms: now_ms };
    match ledger.commit(Change { writes: vec![Write::AddPolicy(row)], entries: vec![entry] }).await {
        Ok(()) => Ok(Registered::New),
        Err(CommitError::Conflict(Conflict::Exists)) => Ok(Registered::Known),
        Err(error) => Err(error.into()),
    }
}

/// How long a process that reports no more is remembered: claims of before it went may still be on their way.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1_000;
/// Longest names in a report, and most gateways that are looked at.
const NAME_CHARS_MAX: usize = 1_000;
const ROWS_MAX: u32 = 1_000;

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("`{0}` must have 1 to 1000 characters")]
    Name(&'static str),
    #[error("no policy `{0}` is registered: register it with PUT /v1/policies/{0}, then report again")]
    PolicyUnknown(Digest),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Takes what a gateway has in force. Only a change leaves an entry in the record.
pub async fn report(store: &dyn Store, ledger: &Ledger, report: PolicyReport) -> Result<(), ReportError> {
    let standing = &report.standing;
    let names = [("gateway", &report.gateway), ("instance", &standing.instance), ("plugin", &standing.plugin)];
    for (name, text) in names {
        if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
            return Err(ReportError::Name(name));
        }
    }
    if store.policy(report.snapshot_id).await?.is_none() {
        return Err(ReportError::PolicyUnknown(report.snapshot_id));
    }
    let now_ms = store.now_ms().await?;
    let before = store.in_force(&standing.instance, &standing.plugin).await?;
    if before.as_ref().is_some_and(|before| before.report.standing.sequence > standing.sequence) {
        return Ok(());
    }
    let mut entries = Vec::new();
    if before.is_none_or(|before| before.report.snapshot_id != report.snapshot_id) {
        let mut entry = AuditEntry::new(EntryKind::PolicyInForce, now_ms);
        entry.source = Some(format!("{}/{}", report.gateway, standing.instance));
        entry.snapshot_id = Some(report.snapshot_id);
        entries.push(entry);
    }
    let row = Box::new(InForceRow { report, seen_at_ms: now_ms });
    let write = Write::PutInForce { row, forget_before_ms: now_ms.saturating_sub(REMEMBERED_MS) };
    ledger.commit(Change { writes: vec![write], entries }).await?;
    Ok(())
}

/// What every gateway that was seen in the last minutes has in force.
pub async fn in_force(store: &dyn Store, now_ms: u64) -> Result<Vec<InForceRow>, StoreError> {
    store.all_in_force(now_ms.saturating_sub(GONE_AFTER_MS), ROWS_MAX).await
}

/// The policies registered last, behind one of them, with the gateways that have each in force and were seen in the last
/// minutes.
pub async fn list(
    store: &dyn Store,
    behind: Option<(u64, Digest)>,
    rows_max: u32,
) -> Result<Vec<(Digest, u64, Vec<InForceRow>)>, StoreError> {
    let in_force = in_force(store, store.now_ms().await?).await?;
    let policies = store.policies(behind, rows_max).await?;
    let with_gateways = policies.into_iter().map(|(id, registered_at_ms)| {
        let gateways = in_force.iter().filter(|row| row.report.snapshot_id == id).cloned().collect();
        (id, registered_at_ms, gateways)
    });
    Ok(with_gateways.collect())
}
