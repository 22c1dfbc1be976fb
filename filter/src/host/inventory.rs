//! Sends what was seen of servers to each plugin's service in batches, one at a time.

use std::rc::Rc;

use super::{CALLOUTS, Waiting, call_out, clock, gauges, in_force_of, with_desk};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::{Callout, CalloutAnswer};
use crate::metrics::Metric;

/// When the answer to a batch counts as lost: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 10_000;
/// How long after a failure the batch is sent again.
const PAUSE_MS: u64 = 1_000;

/// Sends the plugin's next batch if there is one and its time has come. The effective context must be a root context.
pub(super) fn flush(plugin: &Rc<str>, now_ms: u64) {
    if let Some(Some(token)) = with_desk(plugin, |desk| desk.inventory_turn.take_lost(now_ms, ANSWER_MS_MAX)) {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        answered(plugin, &CalloutAnswer { status: None, body: Vec::new() });
        return;
    }
    let lost = with_desk(plugin, |desk| desk.inventory.take_lost()).unwrap_or_default();
    if lost > 0 {
        gauges::add(Metric::InventoryLost, i64::try_from(lost).unwrap_or(i64::MAX));
    }
    let batch = with_desk(plugin, |desk| {
        let is_due = desk.inventory_turn.is_due(now_ms, false);
        is_due.then(|| desk.inventory.next_batch(&desk.source))?
    });
    let Some(Some(batch)) = batch else { return };
    let sent = in_force_of(plugin).and_then(|config| call_out(&Callout::observe(&config.approval, batch)));
    match sent {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Inventory(Rc::clone(plugin))));
            with_desk(plugin, |desk| desk.inventory_turn.sent(token, now_ms));
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
    with_desk(plugin, |desk| {
        desk.inventory_turn.answered();
        if said == BatchAnswer::TryAgain {
            desk.inventory_turn.not_before(clock::now_ms().saturating_add(PAUSE_MS));
        }
        desk.inventory.batch_answered(said);
    });
    match said {
        BatchAnswer::Acknowledged => {}
        BatchAnswer::TryAgain => {
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
