//! The entries of each plugin, on their way to its service in batches.

use std::rc::Rc;

use super::{deliver_detached, gauges, has_settled_enough, in_force_of, with_desk};
use crate::audit_buffer::BatchAnswer;
use crate::desk::Desk;
use crate::exchange::{Callout, HostEvent};
use crate::metrics::Metric;

/// How long entries gather before they are sent, and how long after a failure the batch is sent again.
pub(super) const PAUSE_MS: u64 = 250;

/// The plugin's next batch, if there is one and its time has come.
pub(super) fn next(plugin: &Rc<str>, now_ms: u64) -> Option<Callout> {
    let config = in_force_of(plugin)?;
    let lost = with_desk(plugin, |desk| desk.audit.take_payloads_lost()).unwrap_or_default();
    if lost > 0 {
        gauges::add(Metric::PayloadsLost, i64::try_from(lost).unwrap_or(i64::MAX));
    }
    let batch = with_desk(plugin, |desk| {
        // Who waits for an entry does not wait for more entries to gather.
        let is_due = desk.record_turn.is_due(now_ms, desk.is_record_awaited());
        is_due.then(|| {
            desk.record_turn.rest_until(now_ms.saturating_add(PAUSE_MS));
            desk.audit.flush_refusals(now_ms);
            desk.audit.next_batch()
        })?
    });
    Some(Callout::record(&config.approval, batch??))
}

/// Takes over what the service said of the batch in flight; `code` is why it was rejected.
pub(super) fn settle(plugin: &Rc<str>, said: BatchAnswer, code: &str) {
    let settled = with_desk(plugin, |desk| {
        if said == BatchAnswer::Acknowledged {
            // What has gathered meanwhile goes at once.
            desk.record_turn.rest_until(0);
        }
        desk.audit.batch_answered(said)
    });
    let Some(Some(settled)) = settled else { return };
    if said == BatchAnswer::Rejected {
        let lost = settled.counters.end.saturating_sub(settled.counters.start);
        gauges::add(Metric::AuditLost, i64::try_from(lost).unwrap_or(i64::MAX));
        log::error!("holdpoint: the service will not take {lost} audit entries: {code}");
    }
    with_desk(plugin, |desk| desk.settle_recorded(&settled.counters, settled.is_durable));
    tell_settled(plugin);
}

/// Lets those who wait for their entries hear what became of them, as many as one callback may.
pub(super) fn tell_settled(plugin: &Rc<str>) {
    while !has_settled_enough() {
        let Some(Some((context_id, counters, is_durable))) = with_desk(plugin, Desk::next_recorded) else { return };
        deliver_detached(context_id, HostEvent::Recorded { counters, is_durable });
    }
}
