//! Step 6 with a past from a file: the calls that ran before the one that is judged.

use std::collections::BTreeMap;

use super::Earlier;
use crate::decision::Verdict;
use crate::digest::Digest;
use crate::identity::Principal;
use crate::policy::{Past, PolicySnapshot, UsageView};

/// The time of the call that is judged, in milliseconds; what ran before stands before it.
const NOW_MS: u64 = 1 << 52;

/// When each principal last ran a call of each kind.
#[derive(Clone, Debug, Default)]
pub struct PastCalls {
    seen: BTreeMap<(Digest, Digest), u64>,
}

impl PastCalls {
    /// The error says which call cannot have run: one that `snapshot` denies, or that no rule would ever see.
    pub(super) fn of(before: &[Earlier], snapshot: &PolicySnapshot) -> Result<Self, String> {
        let mut past = Self::default();
        for Earlier { at, call, ago_ms } in before {
            let not = |why: &str| format!("`before` at {at}: this call cannot have run: {why}");
            let envelope = call.seal(snapshot).map_err(|why| not(&why))?;
            let decision = snapshot.evaluate(&envelope, &past).decision;
            if decision.verdict == Verdict::Deny {
                return Err(not(decision.reason()));
            }
            for mark in snapshot.marks_of(&envelope) {
                let at_ms = past.seen.entry((mark, envelope.principal().name())).or_default();
                *at_ms = NOW_MS.saturating_sub(*ago_ms).max(*at_ms);
            }
        }
        Ok(past)
    }
}

impl UsageView for PastCalls {
    fn past(&self, mark: Digest, principal: &Principal) -> Past {
        let last_at_ms = self.seen.get(&(mark, principal.name())).copied();
        Past { now_ms: NOW_MS, last_at_ms, ..Past::NOTHING }
    }
}
