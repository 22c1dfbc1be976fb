//! Shared data of one Envoy in the memory of a test.

use std::collections::BTreeMap;

use super::{SharedData, Stored};

/// What the workers of one Envoy share.
#[derive(Default)]
pub(crate) struct Shared(pub(crate) BTreeMap<String, (Vec<u8>, u32)>);

impl SharedData for Shared {
    fn load(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        Some(self.0.get(key).cloned().unwrap_or_default())
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        let entry = self.0.entry(key.to_owned()).or_default();
        if cas != 0 && entry.1 != cas {
            return Stored::Raced;
        }
        *entry = (value.to_vec(), entry.1 + 1);
        Stored::Done
    }
}
