//! Step 12: all that the record says of one call, from its request to its outcome, and what it does not say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use serde::Serialize;

use super::clue::{Clue, Field, clues_of};
use super::{Numbered, Sought, Trail, scope};
use crate::store::StoreError;
use crate::tokens::Credential;

/// Most entries that are shown of one call.
const ENTRIES_MAX: usize = 500;
/// Most names under which entries of it are looked for: an approval may have had many holds.
const NAMES_MAX: usize = 64;
/// Entries that one name finds.
const ROWS_MAX: u32 = 200;
/// Gaps this long before and after it may have swallowed something of it.
const AROUND_MS: u64 = 60_000;
const GAPS_MAX: u32 = 50;

/// One call.
#[derive(Clone, Debug, Default)]
pub struct CallTrail {
    /// In the order of what happened.
    pub entries: Vec<Numbered>,
    /// There are more than are shown.
    pub is_cut: bool,
    /// Entries of the same gateways are missing from about that time.
    pub gaps: Vec<Numbered>,
    /// Whether it is over, and how it stands.
    pub standing: Standing,
}

/// What the record says of how a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing has ended it yet.
    #[default]
    Open,
    /// It did not run.
    NotRun,
    /// It ran, and what became of it is known.
    Ran,
    /// It was let go, and nobody has said what became of it.
    Unknown,
}

impl Trail {
    /// All of the call that `first` is about; of an entry about no call, only itself.
    pub async fn call(&self, first: Numbered, reader: &Credential) -> Result<CallTrail, StoreError> {
        let names = clues_of(&first.entry).into_iter().filter(Clue::names_call).collect();
        self.gather(BTreeMap::from([(first.seq, first)]), names, reader).await
    }

    /// All of the calls of an approval; `None` where no entry is about it.
    pub async fn approval(&self, id: &str, reader: &Credential) -> Result<Option<CallTrail>, StoreError> {
        let names = VecDeque::from([Clue::new(Field::Approval, id)]);
        let trail = self.gather(BTreeMap::new(), names, reader).await?;
        Ok((!trail.entries.is_empty()).then_some(trail))
    }

    async fn gather(
        &self,
        mut found: BTreeMap<u64, Numbered>,
        mut names: VecDeque<Clue>,
        reader: &Credential,
    ) -> Result<CallTrail, StoreError> {
        let scope = scope(reader);
        // What is not in the index yet may be of this call.
        let mut is_cut = self.come_near().await? > 0;
        let mut known: BTreeSet<Clue> = names.iter().cloned().collect();
        while let Some(name) = names.pop_front() {
            let sought = Sought { clues: vec![name], rows_max: ROWS_MAX, ..Sought::default() };
            let page = self.find(sought, &scope).await?;
            is_cut |= page.next.is_some() && page.entries.len() >= ROWS_MAX as usize;
            for one in page.entries {
                for name in clues_of(&one.entry).into_iter().filter(Clue::names_call) {
                    if known.len() >= NAMES_MAX {
                        is_cut |= !known.contains(&name);
                    } else if known.insert(name.clone()) {
                        names.push_back(name);
                    }
                }
                found.insert(one.seq, one);
            }
        }
        let mut entries: Vec<Numbered> = found.into_values().collect();
        is_cut |= entries.len() > ENTRIES_MAX;
        entries.truncate(ENTRIES_MAX);
        entries.sort_by_key(|one| (happened_ms(&one.entry), one.seq));
        let gaps = self.gaps(&entries).await?;
        Ok(CallTrail { standing: standing(&entries), entries, is_cut, gaps })
    }

    /// Gaps of the gateways that reported these entries, from the same time. They say how much is missing, and of whom
    /// nothing.
    async fn gaps(&self, entries: &[Numbered]) -> Result<Vec<Numbered>, StoreError> {
        let sources: BTreeSet<&str> = entries.iter().filter_map(|one| one.entry.source.as_deref()).collect();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let sought = Sought {
            clues: vec![Clue::new(Field::Kind, EntryKind::Gap.as_str())],
            since_ms: Some(first.entry.at_ms.saturating_sub(AROUND_MS)),
            until_ms: Some(happened_ms(&last.entry).saturating_add(AROUND_MS)),
            rows_max: GAPS_MAX,
            ..Sought::default()
        };
        let mut gaps = self.find(sought, &[]).await?.entries;
        gaps.retain(|gap| gap.entry.source.as_deref().is_some_and(|source| sources.contains(source)));
        gaps.sort_by_key(|gap| gap.seq);
        Ok(gaps)
    }
}

/// When what an entry reports was over: an outcome is written down under the time at which the call was forwarded.
pub fn happened_ms(entry: &AuditEntry) -> u64 {
    match entry.kind {
        EntryKind::Outcome => entry.at_ms.saturating_add(entry.latency_ms.unwrap_or(0)),
        _ => entry.at_ms,
    }
}

/// How the calls of these entries stand; of several, as the one that is least known.
fn standing(entries: &[Numbered]) -> Standing {
    let mut claimed: BTreeSet<&str> = BTreeSet::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut standings = Vec::new();
    // A client that was told to come back may still do so while the approval is open.
    let is_over = |entry: &AuditEntry| {
        entry.kind == EntryKind::ApprovalClosed && entry.status.as_deref() != Some(ApprovalStatus::Approved.as_str())
    };
    let is_over = entries.iter().any(|one| is_over(&one.entry));
    for Numbered { entry, .. } in entries {
        match (entry.kind, entry.outcome) {
            (EntryKind::Claim, _) => claimed.extend(entry.hold_id.as_deref()),
            (EntryKind::Outcome | EntryKind::Decision, Some(outcome)) => {
                ended.extend(entry.hold_id.as_deref());
                ended.extend(entry.span_id.as_deref());
                standings.push(match outcome {
                    Outcome::Committed | Outcome::Failed => Standing::Ran,
                    Outcome::Refused => Standing::NotRun,
                    Outcome::Unknown => Standing::Unknown,
                });
            }
            (EntryKind::HoldEnded, _) if entry.approval_id.is_none() => standings.push(Standing::NotRun),
            (EntryKind::HoldEnded | EntryKind::ApprovalClosed, _) if is_over => standings.push(Standing::NotRun),
            _ => {}
        }
    }
    for Numbered { entry, .. } in entries {
        let is_ended = || {
            let names = [entry.span_id.as_deref(), entry.hold_id.as_deref()];
            names.into_iter().flatten().any(|name| ended.contains(name))
        };
        match (entry.kind, entry.verdict, entry.outcome) {
            (EntryKind::Refusal, _, _) | (EntryKind::Decision, Some(Verdict::Deny), _) => {
                standings.push(Standing::NotRun);
            }
            // With `audit.required`, and for a call that a limit kept out, whose detail says so.
            (EntryKind::Decision, Some(Verdict::Allow), None) if entry.detail.is_some() => {
                standings.push(Standing::NotRun);
            }
            (EntryKind::Decision, Some(Verdict::Allow), None) if !is_ended() => standings.push(Standing::Unknown),
            _ => {}
        }
    }
    if claimed.iter().any(|hold| !ended.contains(hold)) || standings.contains(&Standing::Unknown) {
        return Standing::Unknown;
    }
    match (standings.contains(&Standing::Ran), standings.is_empty()) {
        (true, _) => Standing::Ran,
        (false, false) => Standing::NotRun,
        (false, true) => Standing::Open,
    }
}
