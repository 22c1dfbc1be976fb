//! What each plugin's candidate would have decided otherwise, on its way to the service: all of it, again and again.

use std::rc::Rc;

use super::{in_force_of, with_desk, with_worker};
use crate::audit_buffer::BatchAnswer;
use crate::exchange::Callout;

/// Between two reports. The first one comes at once.
const REPORT_EVERY_MS: u64 = 5_000;

/// The plugin's next report, if there is one and its time has come.
pub(super) fn next(plugin: &Rc<str>, now_ms: u64) -> Option<Callout> {
    let config = in_force_of(plugin)?;
    let report = with_desk(plugin, |desk| {
        let is_due = desk.candidates_turn.is_due(now_ms, false);
        is_due.then(|| {
            let report = desk.candidates.next_report(&desk.source)?;
            desk.candidates_turn.rest_until(now_ms.saturating_add(REPORT_EVERY_MS));
            Some(report)
        })?
    });
    let mut report = report??;
    report.gateway = with_worker(|worker| worker.gateway.clone()).unwrap_or_default();
    report.plugin = plugin.to_string();
    Some(Callout::candidates(&config.approval, &report))
}

/// Takes over what the service said of the report in flight; `code` is why it was rejected.
pub(super) fn settle(plugin: &Rc<str>, said: BatchAnswer, code: &str) {
    with_desk(plugin, |desk| desk.candidates.report_answered(said));
    if said == BatchAnswer::Rejected {
        log::error!("holdpoint: the service will not take what a candidate would have decided: {code}");
    }
}
