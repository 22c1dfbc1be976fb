//! Step 6: policies registered by their snapshot id. What required an approval can be read as long as the record lasts.

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::digest::Digest;

use crate::ledger::Ledger;
use crate::store::row::PolicyRow;
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
