//! Sends what was seen of servers to the service in batches, one at a time.

use std::cell::Cell;

use super::{CALLOUTS, Waiting, call_out, clock, gauges, with_worker};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::{Callout, CalloutAnswer};
use crate::metrics::Metric;

thread_local! {
    static NEXT_TRY_AT_MS: Cell<u64> = const { Cell::new(0) };
    /// Token and time of the batch that waits for its answer.
    static IN_FLIGHT: Cell<Option<(u32, u64)>> = const { Cell::new(None) };
}

/// When the answer to a batch counts as lost: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 10_000;
/// How long after a failure the batch is sent again.
const PAUSE_MS: u64 = 1_000;

/// Sends the next batch if there is one and its time has come. The effective context must be a root context.
pub(super) fn flush(now_ms: u64) {
    if NEXT_TRY_AT_MS.get() > now_ms {
        return;
    }
    if IN_FLIGHT.get().is_some_and(|(_, sent_at_ms)| now_ms.saturating_sub(sent_at_ms) > ANSWER_MS_MAX)
        && let Some((token, _)) = IN_FLIGHT.take()
    {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        answered(&CalloutAnswer { status: None, body: Vec::new() });
        return;
    }
    let lost = with_worker(|worker| worker.inventory.take_lost()).unwrap_or_default();
    if lost > 0 {
        gauges::add(Metric::InventoryLost, i64::try_from(lost).unwrap_or(i64::MAX));
    }
    let batch = with_worker(|worker| {
        let settings = worker.newest().map(|config| config.approval.clone())?;
        let batch = worker.inventory.next_batch(&worker.source)?;
        Some(Callout::observe(&settings, batch))
    });
    let Some(Some(callout)) = batch else { return };
    match call_out(&callout) {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Inventory));
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
    with_worker(|worker| worker.inventory.batch_answered(said));
    match said {
        BatchAnswer::Acknowledged => {}
        BatchAnswer::TryAgain => {
            NEXT_TRY_AT_MS.set(clock::now_ms().saturating_add(PAUSE_MS));
            log::warn!("holdpoint: what was seen of servers waits for the service (status {:?})", answer.status);
        }
        BatchAnswer::Rejected => {
            log::error!(
                "holdpoint: the service will not take what was seen of servers: {}",
                rejection.unwrap_or_default()
            );
        }
    }
}
