//! Sends the entries of each plugin to its service in batches, one at a time.

use std::rc::Rc;

use super::{CALLOUTS, Waiting, call_out, clock, deliver_detached, gauges, in_force_of, with_desk};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::{Callout, CalloutAnswer, HostEvent};
use crate::metrics::Metric;

/// When the answer to a batch counts as lost: well after its callout has timed out.
const ANSWER_MS_MAX: u64 = 10_000;

/// How long entries gather before they are sent, and how long after a failure the batch is sent again.
const PAUSE_MS: u64 = 250;

/// Sends the plugin's next batch if there is one and its time has come. The effective context must be a root context.
pub(super) fn flush(plugin: &Rc<str>, now_ms: u64) {
    if let Some(Some(token)) = with_desk(plugin, |desk| desk.record_turn.take_lost(now_ms, ANSWER_MS_MAX)) {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        answered(plugin, &CalloutAnswer { status: None, body: Vec::new() });
    }
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
    let Some(Some(batch)) = batch else { return };
    let sent = in_force_of(plugin).and_then(|config| call_out(&Callout::record(&config.approval, batch)));
    match sent {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::AuditBatch(Rc::clone(plugin))));
            with_desk(plugin, |desk| desk.record_turn.sent(token, now_ms));
        }
        None => answered(plugin, &CalloutAnswer { status: None, body: Vec::new() }),
    }
}

/// The service answered the batch in flight.
pub(super) fn answered(plugin: &Rc<str>, answer: &CalloutAnswer) {
    let rejection = answer.rejection();
    let said = match answer.status {
        Some(200..=204) => BatchAnswer::Acknowledged,
        Some(_) | None if rejection.is_some() => BatchAnswer::Rejected,
        Some(_) | None => BatchAnswer::TryAgain,
    };
    let settled = with_desk(plugin, |desk| {
        desk.record_turn.answered();
        match said {
            BatchAnswer::Acknowledged => desk.record_turn.rest_until(0),
            BatchAnswer::TryAgain => desk.record_turn.not_before(clock::now_ms().saturating_add(PAUSE_MS)),
            BatchAnswer::Rejected => {}
        }
        desk.audit.batch_answered(said)
    })
    .flatten();
    match said {
        BatchAnswer::Acknowledged => {}
        BatchAnswer::TryAgain => {
            log::warn!("holdpoint: audit entries wait for the service (status {:?})", answer.status);
        }
        BatchAnswer::Rejected => {
            let lost =
                settled.as_ref().map_or(0, |settled| settled.counters.end.saturating_sub(settled.counters.start));
            gauges::add(Metric::AuditLost, i64::try_from(lost).unwrap_or(i64::MAX));
            let code = rejection.unwrap_or_default();
            log::error!("holdpoint: the service will not take {lost} audit entries: {code}");
        }
    }
    let Some(settled) = settled else { return };
    for context_id in with_desk(plugin, |desk| desk.take_recorded(&settled.counters)).unwrap_or_default() {
        let (counters, is_durable) = (settled.counters.clone(), settled.is_durable);
        deliver_detached(context_id, HostEvent::Recorded { counters, is_durable });
    }
}
