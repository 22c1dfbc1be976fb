//! Tells each plugin's service what its candidate would have decided otherwise: all of it, again and again.

use std::rc::Rc;

use super::{CALLOUTS, Waiting, call_out, clock, in_force_of, with_desk, with_worker};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::{Callout, CalloutAnswer};

/// When the answer to a report counts as lost: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 10_000;
/// Between two reports. The first one comes at once.
const REPORT_EVERY_MS: u64 = 5_000;
/// How long after a failure it is sent again.
const PAUSE_MS: u64 = 1_000;

/// Sends the plugin's next report if there is one and its time has come. The effective context must be a root context.
pub(super) fn flush(plugin: &Rc<str>, now_ms: u64) {
    if let Some(Some(token)) = with_desk(plugin, |desk| desk.candidates_turn.take_lost(now_ms, ANSWER_MS_MAX)) {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
        answered(plugin, &CalloutAnswer { status: None, body: Vec::new() });
        return;
    }
    let report = with_desk(plugin, |desk| {
        let is_due = desk.candidates_turn.is_due(now_ms, false);
        is_due.then(|| {
            let report = desk.candidates.next_report(&desk.source)?;
            desk.candidates_turn.rest_until(now_ms.saturating_add(REPORT_EVERY_MS));
            Some(report)
        })?
    });
    let Some(Some(mut report)) = report else { return };
    report.gateway = with_worker(|worker| worker.gateway.clone()).unwrap_or_default();
    report.plugin = plugin.to_string();
    let sent = in_force_of(plugin).and_then(|config| call_out(&Callout::candidates(&config.approval, &report)));
    match sent {
        Some(token) => {
            CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Candidates(Rc::clone(plugin))));
            with_desk(plugin, |desk| desk.candidates_turn.sent(token, now_ms));
        }
        None => answered(plugin, &CalloutAnswer { status: None, body: Vec::new() }),
    }
}

/// The service answered the report in flight.
pub(super) fn answered(plugin: &Rc<str>, answer: &CalloutAnswer) {
    let rejection = answer.rejection();
    let said = match answer.status {
        Some(200..=204) => BatchAnswer::Acknowledged,
        Some(_) | None if rejection.is_some() => BatchAnswer::Rejected,
        Some(_) | None => BatchAnswer::TryAgain,
    };
    with_desk(plugin, |desk| {
        desk.candidates_turn.answered();
        if said == BatchAnswer::TryAgain {
            desk.candidates_turn.not_before(clock::now_ms().saturating_add(PAUSE_MS));
        }
        desk.candidates.report_answered(said);
    });
    if said == BatchAnswer::Rejected {
        let code = rejection.unwrap_or_default();
        log::error!("holdpoint: the service will not take what a candidate would have decided: {code}");
    }
}
