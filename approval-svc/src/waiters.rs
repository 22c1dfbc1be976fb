//! Step 8: wakes whoever waits for an approval. A wake-up is only a hint: the row is read again after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// Who waits for which approval. One small entry per approval that is waited for, however many wait.
#[derive(Clone, Debug, Default)]
pub struct Waiters(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

impl Waiters {
    /// Starts to listen. Subscribe first and read the row afterwards: then no change can fall between.
    pub fn subscribe(&self, id: &str) -> Waiter {
        let mut wakers = self.wakers();
        let changed = match wakers.get(id) {
            Some(waker) => waker.subscribe(),
            None => wakers.entry(id.to_owned()).or_insert_with(|| watch::channel(()).0).subscribe(),
        };
        Waiter { waiters: self.clone(), id: id.to_owned(), changed }
    }

    /// Wakes everybody who waits for `id`.
    pub fn wake(&self, id: &str) {
        if let Some(waker) = self.wakers().get(id) {
            waker.send_replace(());
        }
    }

    /// Wakes everybody: what happened meanwhile is not known.
    pub fn wake_all(&self) {
        for waker in self.wakers().values() {
            waker.send_replace(());
        }
    }

    /// What is waited for.
    pub fn ids(&self) -> Vec<String> {
        self.wakers().keys().cloned().collect()
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        // Nothing can be half done under this lock, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. Dropping it cleans up.
#[derive(Debug)]
pub struct Waiter {
    waiters: Waiters,
    id: String,
    changed: watch::Receiver<()>,
}

impl Waiter {
    /// Returns after the next wake-up since [`Waiters::subscribe`], or since the last call.
    pub async fn woken(&mut self) {
        // The sender lives as long as a waiter does, so an error cannot be; if it were, reading the row is right.
        let _ = self.changed.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut wakers = self.waiters.wakers();
        // This waiter's own receiver is still alive here: one means nobody else.
        if wakers.get(&self.id).is_some_and(|waker| waker.receiver_count() <= 1) {
            wakers.remove(&self.id);
        }
    }
}
