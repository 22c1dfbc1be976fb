//! Step 8: what happens on other replicas reaches whoever waits on this one. Hints make it quick; a look at the rows every
//! so often makes it sure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::ledger::Ledger;
use crate::store::{Hint, Store, StoreError};
use crate::waiters::Waiters;

/// How late somebody who waits hears of a decision whose hint was lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Approvals looked at in one statement.
const LOOK_AT_MAX: usize = 500;

#[cfg(test)]
mod tests;

/// Listens to other replicas.
#[derive(Clone)]
pub struct Replicas {
    pub store: Arc<dyn Store>,
    pub ledger: Ledger,
    pub waiters: Waiters,
}

impl Replicas {
    /// Runs until the service stops. Where the store is nobody else's, there is nothing to do.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let Some(mut heard) = self.store.hints().map(|hints| hints.heard.subscribe()) else {
            // A sender that is gone is an end as well.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            return;
        };
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = HashMap::new();
        loop {
            tokio::select! {
                hint = heard.recv() => match hint {
                    Ok(Hint::Said(text)) => self.ledger.hear(&text),
                    Ok(Hint::Missed) | Err(RecvError::Lagged(_)) => self.ledger.missed(),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => match self.look(&seen).await {
                    Ok(now) => seen = now,
                    Err(error) => tracing::warn!(%error, "what others decided could not be looked at; trying again"),
                },
                _ = stopping.changed() => return,
            }
        }
    }

    /// Wakes whoever waits for an approval that has another version than in the last look, or was in none.
    async fn look(&self, seen: &HashMap<String, u64>) -> Result<HashMap<String, u64>, StoreError> {
        let waited_for = self.waiters.ids();
        let mut now = HashMap::with_capacity(waited_for.len());
        for ids in waited_for.chunks(LOOK_AT_MAX) {
            for (id, version) in self.store.versions(ids).await? {
                if seen.get(&id) != Some(&version) {
                    self.waiters.wake(&id);
                }
                now.insert(id, version);
            }
        }
        Ok(now)
    }
}
