//! Step 8: what need not be read for every call: policies that were registered, which stay, and the list of freezes, whose
//! version says whether it is still the one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdpoint_core::approval::OpenApproval;
use holdpoint_core::digest::Digest;
use holdpoint_core::freeze::{Freeze, FreezeList};

use crate::freezes;
use crate::store::{Store, StoreError};

/// Policies that are remembered; beyond, they are looked up again.
const POLICIES_MAX: usize = 1_024;

/// Common to everybody who asks.
#[derive(Clone, Debug, Default)]
pub struct Remembered(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    policies: BTreeSet<Digest>,
    freezes: Option<Arc<FreezeList>>,
}

impl Remembered {
    /// Whether a policy was registered by this id.
    pub(super) async fn is_registered(&self, store: &dyn Store, snapshot_id: Digest) -> Result<bool, StoreError> {
        if self.facts().policies.contains(&snapshot_id) {
            return Ok(true);
        }
        if store.policy(snapshot_id).await?.is_none() {
            return Ok(false);
        }
        let policies = &mut self.facts().policies;
        if policies.len() >= POLICIES_MAX {
            policies.clear();
        }
        policies.insert(snapshot_id);
        Ok(true)
    }

    /// The freeze that stops what is asked, in the list as it stands at `version` or later.
    pub(super) async fn stops(
        &self,
        store: &dyn Store,
        version: u64,
        asked: &OpenApproval,
    ) -> Result<Option<Freeze>, StoreError> {
        let known = self.facts().freezes.clone().filter(|known| known.version == version);
        let list = match known {
            Some(list) => list,
            None => {
                let list = Arc::new(store.freezes().await?);
                self.facts().freezes = Some(Arc::clone(&list));
                list
            }
        };
        Ok(freezes::stopping(&list, asked).cloned())
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Nothing can be half done under this lock, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
