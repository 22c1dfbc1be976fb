//! Fetches what an administrator has stopped, every few seconds on each worker, and keeps it for VMs that come later.

use std::cell::Cell;

use holdpoint_core::freeze::SignedFreezes;

use super::{CALLOUTS, Waiting, abi, call_out, with_worker};
use crate::exchange::{Callout, CalloutAnswer};

thread_local! {
    static NEXT_POLL_AT_MS: Cell<u64> = const { Cell::new(0) };
    /// Token and time of the question that waits for its answer.
    static IN_FLIGHT: Cell<Option<(u32, u64)>> = const { Cell::new(None) };
}

/// A freeze must hold everywhere within five seconds, a lost answer and a slow one included.
const POLL_EVERY_MS: u64 = 1_500;
/// When an answer counts as lost: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 6_000;
/// The list in Envoy's shared data: a VM that is loaded while the service is away begins with it.
const SHARED_KEY: &str = "holdpoint/freezes";

/// Asks when it is time. The effective context must be a root context.
pub(super) fn poll(now_ms: u64) {
    if NEXT_POLL_AT_MS.get() > now_ms {
        return;
    }
    if let Some((token, asked_at_ms)) = IN_FLIGHT.get() {
        if now_ms.saturating_sub(asked_at_ms) < ANSWER_MS_MAX {
            return;
        }
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        IN_FLIGHT.set(None);
    }
    NEXT_POLL_AT_MS.set(now_ms.saturating_add(POLL_EVERY_MS));
    let callout = with_worker(|worker| {
        let settings = worker.newest().map(|config| config.approval.clone())?;
        Some(Callout::freezes(&settings, worker.freezes.version()))
    });
    let Some(Some(callout)) = callout else { return };
    if let Some(token) = call_out(&callout) {
        CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Freezes));
        IN_FLIGHT.set(Some((token, now_ms)));
    }
}

/// The service answered. Whatever is not a newer list that its key signed changes nothing.
pub(super) fn answered(answer: &CalloutAnswer) {
    IN_FLIGHT.set(None);
    if answer.status == Some(200) && take(&answer.body) {
        let (_, cas) = abi::shared_data(SHARED_KEY).unwrap_or_default();
        // Lost races do not matter: every worker fetches for itself, and the next change is written again.
        let _ = abi::set_shared_data(SHARED_KEY, &answer.body, cas);
    }
}

/// Takes what an earlier VM of this Envoy has left.
pub(super) fn remember() {
    if let Ok((bytes, _)) = abi::shared_data(SHARED_KEY)
        && !bytes.is_empty()
    {
        take(&bytes);
    }
}

fn take(bytes: &[u8]) -> bool {
    let Ok(signed) = serde_json::from_slice::<SignedFreezes>(bytes) else {
        log::warn!("holdpoint: the list of freezes cannot be read");
        return false;
    };
    let taken = with_worker(|worker| {
        let keys = worker.newest().map(|config| config.approval.service_keys.clone())?;
        Some(worker.freezes.take(&signed, &keys))
    });
    match taken {
        Some(Some(Ok(is_news))) => is_news,
        Some(Some(Err(error))) => {
            log::error!("holdpoint: {error}");
            false
        }
        Some(None) | None => false,
    }
}
