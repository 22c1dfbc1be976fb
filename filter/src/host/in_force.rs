//! Tells the service which policy this gateway has in force: after a change at once, then again and again.

use std::cell::{Cell, RefCell};

use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::PolicyStanding;

use super::{CALLOUTS, Waiting, call_out, clock, shared, with_worker};
use crate::exchange::{Callout, CalloutAnswer};
use crate::standing;

thread_local! {
    static NEXT_LOOK_AT_MS: Cell<u64> = const { Cell::new(0) };
    /// The report that is under way.
    static IN_FLIGHT: RefCell<Option<InFlight>> = const { RefCell::new(None) };
}

struct InFlight {
    token: u32,
    plugin: String,
    sequence: u64,
    sent_at_ms: u64,
    /// The policy itself is on its way, because the service did not know it.
    registers: bool,
}

/// How often a worker looks whether a report is due.
const LOOK_EVERY_MS: u64 = 250;
/// When an answer counts as lost: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 8_000;

/// A policy was taken in; answers where it stands.
pub(super) fn enter(plugin: &str, snapshot_id: Digest) -> Option<PolicyStanding> {
    let fresh = with_worker(|worker| worker.ids.next_id())?;
    standing::enter(&mut shared::EnvoySharedData, plugin, snapshot_id, &fresh, clock::now_ms())
}

/// Sends what is due. The effective context must be a root context.
pub(super) fn report(now_ms: u64) {
    if NEXT_LOOK_AT_MS.get() > now_ms {
        return;
    }
    NEXT_LOOK_AT_MS.set(now_ms.saturating_add(LOOK_EVERY_MS));
    let lost = IN_FLIGHT.with_borrow_mut(|flight| {
        flight.take_if(|flight| now_ms.saturating_sub(flight.sent_at_ms) > ANSWER_MS_MAX).map(|flight| flight.token)
    });
    if let Some(token) = lost {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
    }
    if IN_FLIGHT.with_borrow(Option::is_some) {
        return;
    }
    let due = with_worker(|worker| {
        let gateway = worker.gateway.clone();
        worker.all_in_force().find_map(|(plugin, config)| {
            let shared = &mut shared::EnvoySharedData;
            let report = standing::take_report(shared, plugin, config.policy.id(), &gateway, now_ms)?;
            Some((plugin.to_owned(), report.standing.sequence, Callout::report(&config.approval, &report)))
        })
    });
    if let Some(Some((plugin, sequence, callout))) = due {
        send(&callout, plugin, sequence, false);
    }
}

fn send(callout: &Callout, plugin: String, sequence: u64, registers: bool) {
    if let Some(token) = call_out(callout) {
        CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::InForce));
        let flight = InFlight { token, plugin, sequence, sent_at_ms: clock::now_ms(), registers };
        IN_FLIGHT.with_borrow_mut(|slot| *slot = Some(flight));
    }
}

/// The service answered. Without a good answer the report falls due again by itself.
pub(super) fn answered(answer: &CalloutAnswer) {
    let Some(InFlight { plugin, sequence, registers, .. }) = IN_FLIGHT.with_borrow_mut(Option::take) else { return };
    match answer.status {
        Some(200..=204) => {
            let shared = &mut shared::EnvoySharedData;
            standing::reported(shared, &plugin, sequence, registers, clock::now_ms());
        }
        Some(_) if !registers && answer.is_policy_unknown() => {
            let register = with_worker(|worker| worker.in_force(&plugin).map(|config| Callout::register(&config, 0)));
            if let Some(Some(callout)) = register {
                send(&callout, plugin, sequence, true);
            }
        }
        Some(_) | None => {
            log::warn!("holdpoint: the service was not told which policy is in force (status {:?})", answer.status);
        }
    }
}
