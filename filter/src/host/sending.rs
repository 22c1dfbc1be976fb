//! Sends what gathers at each plugin's desk to its service: entries, what was seen of servers, what a candidate would have
//! decided. One callout of a kind at a time.

use std::rc::Rc;

use super::{CALLOUTS, Waiting, call_out, candidates, clock, inventory, record, with_desk};
use crate::audit_buffer::BatchAnswer;
use crate::desk::{Desk, Turn};
use crate::exchange::CalloutAnswer;

/// When an answer counts as lost, well after its callout has timed out: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 10_000;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    Inventory,
    Candidates,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Record, Self::Inventory, Self::Candidates];

    fn turn(self, desk: &mut Desk) -> &mut Turn {
        match self {
            Self::Record => &mut desk.record_turn,
            Self::Inventory => &mut desk.inventory_turn,
            Self::Candidates => &mut desk.candidates_turn,
        }
    }

    /// How long after a failure the same is sent again.
    fn pause_ms(self) -> u64 {
        match self {
            Self::Record => record::PAUSE_MS,
            Self::Inventory | Self::Candidates => 1_000,
        }
    }
}

/// Sends the plugin's next callout of this kind if there is one and its time has come. The effective context must be a root
/// context.
pub(super) fn flush(kind: Kind, plugin: &Rc<str>, now_ms: u64) {
    let none = CalloutAnswer { status: None, body: Vec::new() };
    if let Some(Some(token)) = with_desk(plugin, |desk| kind.turn(desk).take_lost(now_ms, ANSWER_MS_MAX)) {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        return answered(kind, plugin, &none);
    }
    let next = match kind {
        Kind::Record => record::next(plugin, now_ms),
        Kind::Inventory => inventory::next(plugin, now_ms),
        Kind::Candidates => candidates::next(plugin, now_ms),
    };
    let Some(callout) = next else { return };
    match call_out(&callout) {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Sent(kind, Rc::clone(plugin))));
            with_desk(plugin, |desk| kind.turn(desk).sent(token, now_ms));
        }
        None => answered(kind, plugin, &none),
    }
}

/// The service answered the callout in flight, or nobody did.
pub(super) fn answered(kind: Kind, plugin: &Rc<str>, answer: &CalloutAnswer) {
    let rejection = answer.rejection();
    let said = match answer.status {
        Some(200..=204) => BatchAnswer::Acknowledged,
        Some(_) | None if rejection.is_some() => BatchAnswer::Rejected,
        Some(_) | None => BatchAnswer::TryAgain,
    };
    with_desk(plugin, |desk| {
        let turn = kind.turn(desk);
        turn.answered();
        if said == BatchAnswer::TryAgain {
            turn.not_before(clock::now_ms().saturating_add(kind.pause_ms()));
        }
    });
    if said == BatchAnswer::TryAgain && kind != Kind::Candidates {
        let what = if kind == Kind::Record { "audit entries wait" } else { "what was seen of servers waits" };
        let code = answer.refusal().map(|code| format!(", {code}")).unwrap_or_default();
        log::warn!("holdpoint: {what} for the service (status {:?}{code})", answer.status);
    }
    let code = rejection.unwrap_or_default();
    match kind {
        Kind::Record => record::settle(plugin, said, &code),
        Kind::Inventory => inventory::settle(plugin, said, &code),
        Kind::Candidates => candidates::settle(plugin, said, &code),
    }
}
