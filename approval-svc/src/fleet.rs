//! Step 7: places under limits that hold for all gateways, by the database's clock. Whoever cannot be asked lets nothing run.

use holdpoint_core::fleet::{
    CALLS_MAX, EndLeases, HOLDER_CHARS_MAX, LEASE_MS_MAX, LEASE_MS_MIN, LEASES_SCHEMA, LIMITS_MAX, LeasesTaken,
    RenewLeases, SignedLeases, TakeLeases,
};

use crate::keys::{ServiceSigner, Signatures};
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};

#[cfg(test)]
mod tests;

/// Longest rule id, in characters.
const RULE_CHARS_MAX: usize = 1_000;

/// Why nothing was taken, renewed or ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("`holder` must have 1 to {HOLDER_CHARS_MAX} letters, digits and hyphens")]
    Holder,
    #[error("`{0}` must be from {LEASE_MS_MIN} to {LEASE_MS_MAX} ms")]
    Time(&'static str),
    #[error("`limits` must name 1 to {LIMITS_MAX} limits, each with a rule and 1 to {CALLS_MAX} places")]
    Limits,
    #[error("`{0}` has no places: they have expired, or were given back")]
    NotFound(String),
    #[error("the answer could not be written: {0}")]
    Text(serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Takes a place under each limit, or says which rule has none left; signed, for a gateway believes nobody else.
pub async fn take(store: &dyn Store, signer: &ServiceSigner, asked: TakeLeases) -> Result<SignedLeases, LeaseError> {
    let full = take_all(store, &asked).await?;
    let taken = LeasesTaken { schema: LEASES_SCHEMA.to_owned(), asked, full };
    let leases = serde_json::to_string(&taken).map_err(LeaseError::Text)?;
    let Signatures { signature, also } = signer.sign_leases(&leases);
    Ok(SignedLeases { leases, signature, also })
}

/// The rule that has no place left, if one has none: then nothing is taken.
async fn take_all(store: &dyn Store, take: &TakeLeases) -> Result<Option<String>, LeaseError> {
    check_holder(&take.holder)?;
    check_ms("ttl_ms", take.ttl_ms)?;
    let is_named = |rule_id: &str| (1..=RULE_CHARS_MAX).contains(&rule_id.chars().count());
    let is_whole =
        take.limits.iter().all(|limit| (1..=CALLS_MAX).contains(&u64::from(limit.most)) && is_named(&limit.rule_id));
    if !(1..=LIMITS_MAX).contains(&take.limits.len()) || !is_whole {
        return Err(LeaseError::Limits);
    }
    if take.limits.iter().filter_map(|limit| limit.per_ms).any(|per_ms| !(1..=LEASE_MS_MAX).contains(&per_ms)) {
        return Err(LeaseError::Time("per_ms"));
    }
    let at_ms = store.now_ms().await?;
    match commit(store, Write::TakeFleetLeases { take: Box::new(take.clone()), at_ms }).await {
        Ok(()) => Ok(None),
        Err(CommitError::Conflict(Conflict::Full(limit))) => {
            Ok(Some(take.limits.get(limit).map(|limit| limit.rule_id.clone()).unwrap_or_default()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps the places of a running call; what has expired is not given back to it.
pub async fn renew(store: &dyn Store, holder: String, renew: RenewLeases) -> Result<(), LeaseError> {
    check_holder(&holder)?;
    check_ms("ttl_ms", renew.ttl_ms)?;
    if let Some(to) = &renew.to {
        check_holder(to)?;
    }
    let at_ms = store.now_ms().await?;
    let write = Write::RenewFleetLeases { holder: holder.clone(), renew, at_ms };
    match commit(store, write).await {
        Err(CommitError::Conflict(Conflict::Missing)) => Err(LeaseError::NotFound(holder)),
        done => Ok(done?),
    }
}

/// Frees the places of a call that has ended. Again is harmless.
pub async fn end(store: &dyn Store, holder: String, end: EndLeases) -> Result<(), LeaseError> {
    check_holder(&holder)?;
    Ok(commit(store, Write::EndFleetLeases { holder, ran: end.ran }).await?)
}

async fn commit(store: &dyn Store, write: Write) -> Result<(), CommitError> {
    store.commit(Change { writes: vec![write], entries: Vec::new() }).await.map(|_| ())
}

fn check_holder(holder: &str) -> Result<(), LeaseError> {
    let is_plain = holder.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
    if !is_plain || !(1..=HOLDER_CHARS_MAX).contains(&holder.len()) {
        return Err(LeaseError::Holder);
    }
    Ok(())
}

fn check_ms(field: &'static str, ms: u64) -> Result<(), LeaseError> {
    if (LEASE_MS_MIN..=LEASE_MS_MAX).contains(&ms) { Ok(()) } else { Err(LeaseError::Time(field)) }
}
