//! Step 8: whoever waits in the name of a credential stops waiting when it is taken back, by whichever process.
//!
//! One cheap question every half second serves everybody who waits, however many they are: only when a further token was
//! revoked does each look at its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{Store, StoreError};
use crate::tokens::Proof;

/// How soon a revocation is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How soon the end of a browser's session, or of a token's own time, is.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A token is looked at again after this long even if nothing was noticed. Longer than one leg of a gateway's poll, which
/// begins with a look: ten thousand of them wait at once.
const LOOK_AGAIN_TOKEN: Duration = Duration::from_secs(60);

/// How many tokens were revoked, as of now.
#[derive(Clone, Debug)]
pub struct Revocations(Arc<watch::Sender<u64>>);

impl Default for Revocations {
    fn default() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

impl Revocations {
    /// Looks for further ones until the end of the service.
    pub async fn keep_looking(self, store: Arc<dyn Store>) {
        loop {
            match store.tokens_revoked().await {
                Ok(count) => {
                    self.0.send_if_modified(|known| std::mem::replace(known, count) != count);
                }
                // Whoever waits looks again by itself.
                Err(error) => tracing::warn!(%error, "revoked tokens could not be looked for; trying again"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// How many are known of.
    #[cfg(test)]
    pub fn known(&self) -> u64 {
        *self.0.borrow()
    }

    /// Begins to listen. Listen first and look at the credential afterwards: then no revocation falls between.
    pub fn listen(&self) -> Listening {
        Listening(self.0.subscribe())
    }

    /// Returns when `proof` does not hold any more; an error when that cannot be said.
    pub async fn ended(&self, store: &dyn Store, proof: &Proof) -> Result<(), StoreError> {
        let listening = self.listen();
        if !proof.holds(store).await? {
            return Ok(());
        }
        listening.ended(store, proof).await
    }
}

/// Hears of every revocation since it began to.
#[derive(Debug)]
pub struct Listening(watch::Receiver<u64>);

impl Listening {
    /// Returns when `proof`, which held when this began, does not hold any more; an error when that cannot be said.
    pub async fn ended(mut self, store: &dyn Store, proof: &Proof) -> Result<(), StoreError> {
        let look_again = match proof {
            Proof::Token(_) => LOOK_AGAIN_TOKEN,
            Proof::Nothing | Proof::Jwt { .. } | Proof::Session(_) => LOOK_AGAIN,
        };
        loop {
            tokio::select! {
                // An error means that nobody looks any more; the other branch still does.
                Ok(()) = self.0.changed() => {}
                () = sleep(look_again) => {}
            }
            if !proof.holds(store).await? {
                return Ok(());
            }
        }
    }
}
