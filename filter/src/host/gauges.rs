//! Envoy metrics: defined when first used, their ids remembered for this VM.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::abi::{self, MetricKind};
use crate::metrics::Metric;

thread_local! {
    static IDS: RefCell<BTreeMap<Metric, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Adds to a metric. A metric that the host will not keep is not worth a refused call.
pub(super) fn add(metric: Metric, by: i64) {
    let known = IDS.with_borrow(|ids| ids.get(&metric).copied());
    let id = known.or_else(|| {
        let kind = if metric.is_gauge() { MetricKind::Gauge } else { MetricKind::Counter };
        let id = abi::define_metric(kind, metric.name()).ok()?;
        IDS.with_borrow_mut(|ids| ids.insert(metric, id));
        Some(id)
    });
    if id.is_none_or(|id| abi::increment_metric(id, by).is_err()) {
        log::debug!("holdpoint: metric {} was not counted", metric.name());
    }
}
