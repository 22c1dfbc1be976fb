//! Step 8: what is known of the definition of a tool that somebody is asked to approve.

use holdpoint_core::approval::OpenApproval;
use holdpoint_core::definition::{DefinitionFact, DefinitionKind};
use holdpoint_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::difference::{self, DifferenceLine, Mark};
use crate::store::{Store, StoreError};

/// A change is shown to approvers for so long.
const RECENT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Changes of a server among which the one of a tool is looked for.
const DRIFT_ROWS_MAX: u32 = 1_000;

/// The definition of a called tool as approvers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DefinitionView {
    pub standing: DefinitionStanding,
    #[serde(flatten)]
    pub fact: DefinitionFact,
    /// The one that is pinned, or that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// When the inventory saw it change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at_ms: Option<u64>,
    /// What changed, line by line; empty where one of the two texts is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<DifferenceLine>,
}

impl DefinitionView {
    /// The lines that differ.
    pub fn changed_lines(&self) -> impl Iterator<Item = &DifferenceLine> {
        self.difference.iter().filter(|line| line.mark != Mark::Both)
    }

    /// Whether it should be looked at before anything is approved.
    pub fn is_warning(&self) -> bool {
        matches!(self.standing, DefinitionStanding::Changed | DefinitionStanding::Unseen)
    }
}

/// How it stands to what is pinned or was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionStanding {
    /// The pinned one.
    AsPinned,
    /// Another one than the pinned one, or changed lately.
    Changed,
    /// Pinned, and no list with it was seen.
    Unseen,
    /// Not pinned, and not changed lately.
    Unpinned,
}

impl DefinitionStanding {
    /// What it means, in a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AsPinned => "The tool is defined as the policy pins it.",
            Self::Changed => "The definition of this tool has changed.",
            Self::Unseen => "The gateway has not seen how the server defines this tool.",
            Self::Unpinned => "The definition of this tool is not pinned.",
        }
    }
}

/// What approvers are shown of the definition; nothing where nobody knows any.
pub async fn of(
    store: &dyn Store,
    asked: &OpenApproval,
    opened_at_ms: u64,
) -> Result<Option<DefinitionView>, StoreError> {
    let (Some(fact), Some(name)) = (asked.definition.clone(), asked.target.as_deref()) else { return Ok(None) };
    let rows = store.inventory_definitions(&asked.server, DefinitionKind::Tool, name).await?;
    let drift = store.inventory_drift(&asked.server, DRIFT_ROWS_MAX).await?;
    let last = drift.iter().find(|one| {
        one.kind == DefinitionKind::Tool && one.name == name && one.after == fact.seen && one.before.is_some()
    });
    let is_recent = last.is_some_and(|last| opened_at_ms.saturating_sub(last.at_ms) < RECENT_MS);
    let standing = match (fact.is_changed(), fact.is_unseen(), fact.pinned.is_empty()) {
        (true, _, _) => DefinitionStanding::Changed,
        (false, true, _) => DefinitionStanding::Unseen,
        (false, false, false) => DefinitionStanding::AsPinned,
        (false, false, true) if is_recent => DefinitionStanding::Changed,
        (false, false, true) => DefinitionStanding::Unpinned,
    };
    let text = |digest: Digest| rows.iter().find(|row| row.digest == digest).and_then(|row| row.text.as_deref());
    let mut before = None;
    let mut lines = Vec::new();
    if standing == DefinitionStanding::Changed {
        let pinned = fact.pinned.iter().copied().find(|digest| text(*digest).is_some());
        before = pinned.or(fact.pinned.first().copied()).or(last.and_then(|last| last.before));
        let texts = before.and_then(text).zip(fact.seen.and_then(text));
        lines = texts.map(|(before, after)| difference::lines(before, after)).unwrap_or_default();
    }
    let changed_at_ms = last.filter(|_| standing == DefinitionStanding::Changed).map(|last| last.at_ms);
    Ok(Some(DefinitionView { standing, fact, before, changed_at_ms, difference: lines }))
}
