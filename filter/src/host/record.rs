//! Sends the audit buffer to the service in batches, one at a time.

use std::cell::Cell;

use super::{CALLOUTS, Waiting, call_out, clock, deliver_detached, gauges, with_worker};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::{Callout, CalloutAnswer, HostEvent};
use crate::metrics::Metric;

thread_local! {
    /// After a failure nobody's hurry brings the next try forward.
    static NOT_BEFORE_MS: Cell<u64> = const { Cell::new(0) };
    static NEXT_TRY_AT_MS: Cell<u64> = const { Cell::new(0) };
    /// Token and time of the batch that waits for its answer.
    static IN_FLIGHT: Cell<Option<(u32, u64)>> = const { Cell::new(None) };
}

/// When the answer to a batch counts as lost: well after its callout has timed out.
const ANSWER_MS_MAX: u64 = 10_000;

/// How long entries gather before they are sent, and how long after a failure the batch is sent again.
const PAUSE_MS: u64 = 250;

/// Sends the next batch if there is one and its time has come. The effective context must be a root context.
pub(super) fn flush(now_ms: u64) {
    // Who waits for an entry does not wait for more entries to gather.
    let is_awaited = with_worker(|worker| worker.is_record_awaited()) == Some(true);
    let next_try_at_ms = if is_awaited { NOT_BEFORE_MS.get() } else { NEXT_TRY_AT_MS.get() };
    if next_try_at_ms > now_ms {
        return;
    }
    // The answer to a batch is lost with the root context that sent it, when a configuration is replaced.
    if IN_FLIGHT.get().is_some_and(|(_, sent_at_ms)| now_ms.saturating_sub(sent_at_ms) > ANSWER_MS_MAX)
        && let Some((token, _)) = IN_FLIGHT.take()
    {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        answered(&CalloutAnswer { status: None, body: Vec::new() });
    }
    NEXT_TRY_AT_MS.set(now_ms.saturating_add(PAUSE_MS));
    let batch = with_worker(|worker| {
        worker.audit.flush_refusals(now_ms);
        let settings = worker.newest().map(|config| config.approval.clone())?;
        let batch = worker.audit.next_batch()?;
        Some(Callout::record(&settings, batch))
    });
    let Some(Some(callout)) = batch else { return };
    match call_out(&callout) {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::AuditBatch));
            IN_FLIGHT.set(Some((token, now_ms)));
        }
        None => answered(&CalloutAnswer { status: None, body: Vec::new() }),
    }
}

/// The service answered the batch in flight.
pub(super) fn answered(answer: &CalloutAnswer) {
    IN_FLIGHT.set(None);
    let rejection = answer.rejection();
    let said = match answer.status {
        Some(200..=204) => BatchAnswer::Acknowledged,
        Some(_) | None if rejection.is_some() => BatchAnswer::Rejected,
        Some(_) | None => BatchAnswer::TryAgain,
    };
    let settled = with_worker(|worker| worker.audit.batch_answered(said)).flatten();
    match said {
        BatchAnswer::Acknowledged => NEXT_TRY_AT_MS.set(clock::now_ms()),
        BatchAnswer::TryAgain => {
            NOT_BEFORE_MS.set(clock::now_ms().saturating_add(PAUSE_MS));
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
    for context_id in with_worker(|worker| worker.take_recorded(&settled.counters)).unwrap_or_default() {
        let (counters, is_durable) = (settled.counters.clone(), settled.is_durable);
        deliver_detached(context_id, HostEvent::Recorded { counters, is_durable });
    }
}
