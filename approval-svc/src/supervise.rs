//! Watches the tasks that nobody waits for: one that ends by itself is begun again, and until it runs steadily the
//! service is not ready. Steps 8 and 12.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::sleep;

#[cfg(test)]
mod tests;

/// How tasks are begun again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before a task that ended is begun again: one that ends at once must not keep the machine busy.
    pub pause: Duration,
    /// How long a task that was begun again must run before the service calls itself ready.
    pub steady: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: Duration::from_secs(1), steady: Duration::from_secs(5) }
    }
}

/// How the tasks stand, by name.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Mutex<BTreeMap<&'static str, Standing>>>);

#[derive(Clone, Debug, Default)]
struct Standing {
    /// Why it ended, until it has run steadily again.
    ended: Option<String>,
    restarts: u64,
}

impl Tasks {
    /// What does not run as it should, in words; empty when everything does.
    pub fn troubles(&self) -> Vec<String> {
        let standings = self.standings();
        let ended = standings.iter().filter_map(|(name, standing)| Some((name, standing.ended.as_ref()?)));
        ended.map(|(name, why)| format!("the task `{name}` {why}; it is begun again")).collect()
    }

    /// How often each task had to be begun again.
    pub fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.standings().iter().map(|(name, standing)| (*name, standing.restarts)).collect()
    }

    /// Runs what `begin` makes until the service stops; whenever it ends before, once more.
    pub async fn keep<F: Future<Output = ()> + Send + 'static>(
        self,
        name: &'static str,
        pace: Pace,
        mut stopping: watch::Receiver<bool>,
        begin: impl Fn() -> F,
    ) {
        self.standings().entry(name).or_default();
        loop {
            let mut running = tokio::spawn(begin());
            let ended = tokio::select! {
                ended = &mut running => ended,
                () = sleep(pace.steady) => {
                    self.set(name, None);
                    running.await
                }
            };
            if *stopping.borrow() {
                return;
            }
            let why = cause(ended);
            tracing::error!(task = name, "a task {why}; it is begun again");
            self.set(name, Some(why));
            tokio::select! {
                () = sleep(pace.pause) => {}
                _ = stopping.changed() => return,
            }
        }
    }

    fn set(&self, name: &'static str, ended: Option<String>) {
        let mut standings = self.standings();
        let standing = standings.entry(name).or_default();
        standing.restarts += u64::from(ended.is_some());
        standing.ended = ended;
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<&'static str, Standing>> {
        // Nothing can be half done under this lock, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a task is over, as the rest of a sentence.
pub fn cause(ended: Result<(), JoinError>) -> String {
    let error = match ended {
        Ok(()) => return "ended by itself".to_owned(),
        Err(error) => error,
    };
    let Ok(panic) = error.try_into_panic() else { return "was cancelled".to_owned() };
    let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("panicked: {said}")
}
