//! Leases in Envoy's shared data.

use super::abi::{self, STATUS_CAS_MISMATCH};
use crate::usage::{SharedData, Stored};

/// Data that all workers of this Envoy share, per `vm_id`.
pub(super) struct EnvoySharedData;

impl SharedData for EnvoySharedData {
    fn load(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        abi::shared_data(key).ok()
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        match abi::set_shared_data(key, value, cas) {
            Ok(()) => Stored::Done,
            Err(error) if error.0 == STATUS_CAS_MISMATCH => Stored::Raced,
            Err(_) => Stored::Failed,
        }
    }
}
