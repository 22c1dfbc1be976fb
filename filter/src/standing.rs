//! Steps 6 and 8: which policy this Envoy process has in force, in data that all its workers share.
//!
//! The first worker that takes a policy in gives it the next number; the others find it there. One worker at a time tells
//! the service, again and again, so that a gateway that is gone is noticed.

use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::{PolicyReport, PolicyStanding, REPORT_EVERY_MS};
use serde::{Deserialize, Serialize};

use crate::usage::{SharedData, Stored};

#[cfg(test)]
mod tests;

/// How often a lost race is run again.
const RACES_MAX: usize = 64;

/// How long after a report that got no answer the next worker tries.
const REPORT_AGAIN_MS: u64 = 5_000;

/// What the workers share of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    standing: PolicyStanding,
    snapshot_id: Digest,
    since_ms: u64,
    /// When the service is to be told next.
    report_at_ms: u64,
}

/// A worker has put a policy in force; answers where it stands, or `None` when shared data cannot be used.
///
/// `fresh` is a random number for a process that has none yet. A worker that lags behind its siblings gives an older
/// policy a later number until it has caught up: claims of that moment are refused and judged again.
pub fn enter(
    shared: &mut dyn SharedData,
    plugin: &str,
    snapshot_id: Digest,
    fresh: &str,
    now_ms: u64,
) -> Option<PolicyStanding> {
    let standing = |instance: &str, sequence| PolicyStanding {
        instance: instance.to_owned(),
        plugin: plugin.to_owned(),
        sequence,
    };
    change(shared, plugin, |mark| match mark {
        Some(mark) if mark.snapshot_id == snapshot_id => None,
        Some(mark) => {
            let next = standing(&mark.standing.instance, mark.standing.sequence.saturating_add(1));
            Some(Mark { standing: next, snapshot_id, since_ms: now_ms, report_at_ms: 0 })
        }
        None => Some(Mark { standing: standing(fresh, 1), snapshot_id, since_ms: now_ms, report_at_ms: 0 }),
    })
    .map(|mark| mark.standing)
}

/// The report that is due, if it is this worker's to send: it is given to one of them, and only to one that has that
/// policy itself and can therefore register it.
pub fn take_report(
    shared: &mut dyn SharedData,
    plugin: &str,
    snapshot_id: Digest,
    gateway: &str,
    now_ms: u64,
) -> Option<PolicyReport> {
    let mut is_taken = false;
    let mark = change(shared, plugin, |mark| {
        let due = mark.filter(|mark| mark.snapshot_id == snapshot_id && mark.report_at_ms <= now_ms);
        is_taken = due.is_some();
        due.map(|mark| Mark { report_at_ms: now_ms.saturating_add(REPORT_AGAIN_MS), ..mark.clone() })
    })?;
    is_taken.then(|| PolicyReport {
        gateway: gateway.to_owned(),
        standing: mark.standing,
        snapshot_id,
        since_ms: mark.since_ms,
    })
}

/// The service has taken the report with that number, or (`again`) is to be told once more at once.
pub fn reported(shared: &mut dyn SharedData, plugin: &str, sequence: u64, again: bool, now_ms: u64) {
    let report_at_ms = if again { 0 } else { now_ms.saturating_add(REPORT_EVERY_MS) };
    change(shared, plugin, |mark| {
        let same = mark.filter(|mark| mark.standing.sequence == sequence);
        same.map(|mark| Mark { report_at_ms, ..mark.clone() })
    });
}

/// One compare-and-set; `edit` answers `None` to leave things as they are. Answers the mark that stands afterwards.
fn change(
    shared: &mut dyn SharedData,
    plugin: &str,
    mut edit: impl FnMut(Option<&Mark>) -> Option<Mark>,
) -> Option<Mark> {
    let key = format!("holdpoint/in-force/{plugin}");
    for _ in 0..RACES_MAX {
        let (bytes, cas) = shared.load(&key)?;
        let mark: Option<Mark> = serde_json::from_slice(&bytes).ok();
        let Some(next) = edit(mark.as_ref()) else { return mark };
        let bytes = serde_json::to_vec(&next).ok()?;
        match shared.store(&key, &bytes, cas) {
            Stored::Done => return Some(next),
            Stored::Raced => {}
            Stored::Failed => return None,
        }
    }
    None
}
