//! Steps 8 and 12: what only one of several replicas should do at a time, and who does it now.

use std::sync::Arc;

use crate::store::{Change, CommitError, Store, StoreError, Write};

/// How long whoever does it may be silent before another one does: a replica that was killed is replaced after it.
const LEASE_MS: u64 = 15_000;
/// Renewed when less than this is left.
const RENEW_MS: u64 = 10_000;

#[cfg(test)]
mod tests;

/// One task, as one replica sees it. A store that no other service has open needs none: then it is always held.
#[derive(Clone)]
pub struct Lease {
    store: Arc<dyn Store>,
    name: String,
    /// Who holds it, if this replica does.
    replica: Arc<str>,
}

impl Lease {
    pub fn new(store: Arc<dyn Store>, name: impl Into<String>, replica: Arc<str>) -> Self {
        Self { store, name: name.into(), replica }
    }

    /// Whether this replica is the one, for [`RENEW_MS`] at least if it is; takes what nobody holds.
    pub async fn held(&self) -> Result<bool, StoreError> {
        if self.store.hints().is_none() {
            return Ok(true);
        }
        let at_ms = self.store.now_ms().await?;
        if let Some((holder, until_ms)) = self.store.lease(&self.name).await? {
            let is_mine = *holder == *self.replica;
            if !is_mine && until_ms > at_ms {
                return Ok(false);
            }
            if is_mine && until_ms > at_ms + RENEW_MS {
                return Ok(true);
            }
        }
        self.take(at_ms, at_ms + LEASE_MS).await
    }

    /// Lets another replica do it from now on.
    pub async fn end(&self) {
        if self.store.hints().is_none() {
            return;
        }
        let ended = async {
            let at_ms = self.store.now_ms().await?;
            match self.store.lease(&self.name).await? {
                Some((holder, _)) if *holder == *self.replica => self.take(at_ms, at_ms).await,
                _ => Ok(false),
            }
        };
        // It ends by itself a little later.
        if let Err(error) = ended.await {
            tracing::debug!(%error, lease = self.name, "a lease was not given back");
        }
    }

    async fn take(&self, at_ms: u64, until_ms: u64) -> Result<bool, StoreError> {
        let take = Write::TakeLease { name: self.name.clone(), holder: self.replica.to_string(), at_ms, until_ms };
        match self.store.commit(Change { writes: vec![take], entries: Vec::new() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(_)) => Ok(false),
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}
