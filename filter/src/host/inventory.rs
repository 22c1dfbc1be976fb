//! What was seen of servers, on its way to each plugin's service in batches.

use std::rc::Rc;

use super::{gauges, in_force_of, with_desk};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::Callout;
use crate::metrics::Metric;

/// The plugin's next batch, if there is one and its time has come.
pub(super) fn next(plugin: &Rc<str>, now_ms: u64) -> Option<Callout> {
    let config = in_force_of(plugin)?;
    let lost = with_desk(plugin, |desk| desk.inventory.take_lost()).unwrap_or_default();
    if lost > 0 {
        gauges::add(Metric::InventoryLost, i64::try_from(lost).unwrap_or(i64::MAX));
    }
    let batch = with_desk(plugin, |desk| {
        let is_due = desk.inventory_turn.is_due(now_ms, false);
        is_due.then(|| desk.inventory.next_batch(&desk.source))?
    });
    Some(Callout::observe(&config.approval, batch??))
}

/// Takes over what the service said of the batch in flight; `code` is why it was rejected.
pub(super) fn settle(plugin: &Rc<str>, said: BatchAnswer, code: &str) {
    with_desk(plugin, |desk| desk.inventory.batch_answered(said));
    if said == BatchAnswer::Rejected {
        log::error!("holdpoint: the service will not take what was seen of servers: {code}");
    }
}
