//! Sends the audit buffer to the service in batches, one at a time.

use std::cell::Cell;

use super::{CALLOUTS, Waiting, abi, call_out, with_worker};
use crate::exchange::{Callout, CalloutAnswer};

thread_local! {
    static NEXT_TRY_AT_MS: Cell<u64> = const { Cell::new(0) };
}

/// How long entries gather before they are sent, and how long after a failure the batch is sent again.
const PAUSE_MS: u64 = 250;

/// Sends the next batch if there is one and its time has come. The effective context must be a root context.
pub(super) fn flush(now_ms: u64) {
    if NEXT_TRY_AT_MS.get() > now_ms {
        return;
    }
    NEXT_TRY_AT_MS.set(now_ms.saturating_add(PAUSE_MS));
    let batch = with_worker(|worker| {
        worker.audit.flush_refusals(now_ms);
        let settings = worker.all_in_force().next().map(|config| config.approval.clone())?;
        let batch = worker.audit.next_batch()?;
        Some(Callout::record(&settings, &batch))
    });
    let Some(Some(callout)) = batch else { return };
    match call_out(&callout) {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::AuditBatch));
        }
        None => answered(&CalloutAnswer { status: None, body: Vec::new() }),
    }
}

/// The service answered the batch in flight.
pub(super) fn answered(answer: &CalloutAnswer) {
    let acknowledged = matches!(answer.status, Some(200..=204));
    if !acknowledged {
        log::warn!("holdpoint: audit entries wait for the service (status {:?})", answer.status);
    }
    if acknowledged {
        NEXT_TRY_AT_MS.set(abi::now_ms());
    }
    with_worker(|worker| worker.audit.batch_answered(acknowledged));
}
