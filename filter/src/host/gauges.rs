//! Envoy metrics: defined with the first configuration, their ids remembered for this VM.

use std::cell::RefCell;
use std::collections::BTreeMap;

use holdpoint_core::digest::Digest;

use super::abi::{self, MetricKind};
use crate::metrics::{Metric, SnapshotSeries};

thread_local! {
    static SNAPSHOTS: RefCell<SnapshotSeries> = RefCell::new(SnapshotSeries::default());
    static IDS: RefCell<BTreeMap<Metric, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Defines every metric, so that what has never happened reads as zero and not as missing.
pub(super) fn define() {
    for metric in Metric::ALL {
        add(metric, 0);
    }
}

/// Adds to a metric. A metric that the host will not keep is not worth a refused call.
pub(super) fn add(metric: Metric, by: i64) {
    if id_of(metric).is_none_or(|id| abi::increment_metric(id, by).is_err()) {
        log::debug!("holdpoint: metric {} was not counted", metric.name());
    }
}

/// Says how much memory this VM has, unless another of this process has said more. All VMs share one gauge, and two that
/// speak at once may leave the smaller figure: until the larger one looks again.
pub(super) fn follow_memory() {
    let bytes = abi::memory_bytes();
    let Some(id) = id_of(Metric::VmMemory) else { return };
    if abi::metric(id).is_ok_and(|said| said >= bytes) {
        return;
    }
    if abi::set_metric(id, bytes).is_err() {
        log::debug!("holdpoint: metric {} was not set", Metric::VmMemory.name());
    }
}

/// Defines it with its first use.
fn id_of(metric: Metric) -> Option<u32> {
    let known = IDS.with_borrow(|ids| ids.get(&metric).copied());
    known.or_else(|| {
        let kind = if metric.is_gauge() { MetricKind::Gauge } else { MetricKind::Counter };
        let id = abi::define_metric(kind, metric.name()).ok()?;
        IDS.with_borrow_mut(|ids| ids.insert(metric, id));
        Some(id)
    })
}

/// Says which policy is in force.
pub(super) fn policy_in_force(plugin: &str, snapshot: &Digest) {
    let changes = SNAPSHOTS.with_borrow_mut(|series| series.put_in_force(plugin, snapshot));
    for (name, value) in changes {
        let set = abi::define_metric(MetricKind::Gauge, &name).and_then(|id| abi::set_metric(id, value));
        if set.is_err() {
            log::debug!("holdpoint: metric {name} was not set");
        }
    }
}
