//! Whether one decision is tighter or looser than another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cases::Judged;
use crate::decision::{ApprovalRequirement, Constraints, Decision, Verdict};

/// How a decision changes from one policy to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The same for the caller, perhaps by other rules.
    Same,
    Tighter,
    Looser,
    /// Tighter in one respect and looser in another.
    Mixed,
}

impl Change {
    /// The word for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Tighter => "tighter",
            Self::Looser => "looser",
            Self::Mixed => "mixed",
        }
    }

    fn of(tighter: bool, looser: bool) -> Self {
        match (tighter, looser) {
            (false, false) => Self::Same,
            (true, false) => Self::Tighter,
            (false, true) => Self::Looser,
            (true, true) => Self::Mixed,
        }
    }

    fn and(self, other: Self) -> Self {
        let is = |change: Self, word: Self| change == word || change == Self::Mixed;
        Self::of(is(self, Self::Tighter) || is(other, Self::Tighter), is(self, Self::Looser) || is(other, Self::Looser))
    }
}

/// From `old` to `new`. A call that does not run is under no constraints, so there only the verdict counts.
pub fn compare(old: &Judged, new: &Judged) -> Change {
    match (old, new) {
        (Judged::Decided(old), Judged::Decided(new)) => compare_decisions(old, new),
        (Judged::Refused(_), Judged::Refused(_)) => Change::Same,
        (Judged::Refused(_), Judged::Decided(new)) => compare_verdicts(Verdict::Deny, new.verdict),
        (Judged::Decided(old), Judged::Refused(_)) => compare_verdicts(old.verdict, Verdict::Deny),
    }
}

/// By the verdict alone.
pub fn compare_verdicts(old: Verdict, new: Verdict) -> Change {
    Change::of(new > old, new < old)
}

/// From one decision of a call to another of the same call.
pub fn compare_decisions(old: &Decision, new: &Decision) -> Change {
    let verdicts = compare_verdicts(old.verdict, new.verdict);
    if old.verdict == Verdict::Deny || new.verdict == Verdict::Deny {
        return verdicts;
    }
    let approvals = match (&old.approval, &new.approval) {
        (Some(old), Some(new)) => compare_approvals(old, new),
        (None, _) | (_, None) => Change::Same,
    };
    verdicts.and(approvals).and(compare_constraints(&old.constraints, &new.constraints))
}

/// Where adding the old ones changes nothing, the new ones are at least as tight.
fn compare_constraints(old: &Constraints, new: &Constraints) -> Change {
    // Which rule a limit comes from is no difference to the caller.
    let bare = |constraints: &Constraints| Constraints { limited_by: BTreeMap::new(), ..constraints.clone() };
    let (old, new) = (bare(old), bare(new));
    let united = old.united(&new);
    Change::of(united != old, united != new)
}

/// Likewise.
fn compare_approvals(old: &ApprovalRequirement, new: &ApprovalRequirement) -> Change {
    let together = ApprovalRequirement::all_together([old, new].into_iter());
    Change::of(together != *old, together != *new)
}
