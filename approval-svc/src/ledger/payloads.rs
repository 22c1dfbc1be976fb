//! Step 12: what stands beside entries: taken in with them, shown with them, erased after its time or at somebody's word.

use std::time::Duration;

use holdpoint_core::audit::payload::{Lost, Part, Payload, PayloadDigest};
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::decision::AuditLevel;
use serde::Serialize;
use serde_json::Value;

use super::{Ledger, clip};
use crate::store::payload::{PayloadErasure, PayloadFilter};
use crate::store::{Change, CommitError, Store, StoreError, Write};

/// Entries beside which something is erased at once: all of them are named in one entry.
pub const ERASED_AT_ONCE_MAX: u32 = 1_000;

/// Who erases what has had its time.
const BY_TIME: &str = "the time to keep it is over";

/// How long what stands beside entries is kept, by how much it tells; `None` for as long as the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadsKeep {
    pub digest: Option<Duration>,
    pub redacted: Option<Duration>,
    pub full: Option<Duration>,
}

impl Default for PayloadsKeep {
    fn default() -> Self {
        let month = Some(Duration::from_secs(30 * 86_400));
        Self { digest: None, redacted: month, full: month }
    }
}

/// One entry, and what stands beside it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ShownEntry {
    pub seq: u64,
    pub entry: Value,
    /// What is kept beside it, as far as the reader may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Why there is no payload, or not the one that the entry speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// Puts what came with an entry beside it, if it is what the entry says; what is not, is not kept, and then the entry says
/// that. So whatever an entry says to stand beside it does.
pub(super) fn join(entry: &mut AuditEntry, payload: Option<Payload>, now_ms: u64) {
    let mut payload = payload.map(|payload| Payload { kept_since_ms: now_ms, ..payload });
    for part in Part::ALL {
        match &mut payload {
            Some(payload) if payload.misfit(part, entry.said_of(part)).is_some() => {
                payload.drop_text(part);
                entry.lose(part, Lost::Unfit);
            }
            Some(_) => {}
            None => entry.lose(part, Lost::Unfit),
        }
    }
    let names = |said: &PayloadDigest| said.digest.is_some() && said.level > AuditLevel::Metadata;
    let is_named = Part::ALL.into_iter().any(|part| entry.said_of(part).is_some_and(names));
    entry.payload = payload.filter(|_| is_named).map(Box::new);
}

/// The change that erases what stands beside these entries, and writes down who did it, and why.
pub fn erasing(mut seqs: Vec<u64>, by: &str, why: &str, now_ms: u64) -> Change {
    seqs.sort_unstable();
    seqs.dedup();
    let mut ranges: Vec<[u64; 2]> = Vec::new();
    for seq in &seqs {
        match ranges.last_mut() {
            Some([_, last]) if *last + 1 == *seq => *last = *seq,
            _ => ranges.push([*seq, *seq]),
        }
    }
    let mut entry = AuditEntry::new(EntryKind::PayloadsErased, now_ms);
    entry.by = Some(by.to_owned());
    entry.erased.clone_from(&ranges);
    let entries = if seqs.len() == 1 { "1 entry" } else { &format!("{} entries", seqs.len()) };
    entry.detail = Some(clip(&format!("what stood beside {entries}: {why}")));
    let erasure = PayloadErasure { seqs, ranges, by: by.to_owned(), at_ms: now_ms };
    Change { writes: vec![Write::ErasePayloads(Box::new(erasure))], entries: vec![entry] }
}

/// Entry `seq` with what stands beside it, held against it; `None` where there is no such entry.
pub async fn show(store: &dyn Store, seq: u64) -> Result<Option<ShownEntry>, StoreError> {
    let Some(row) = store.entries_beside(seq, 1).await?.into_iter().next().filter(|row| row.entry.seq == seq) else {
        return Ok(None);
    };
    let corrupt = |error: serde_json::Error| StoreError::Corrupt { what: "an audit entry", problem: error.to_string() };
    let value: Value = serde_json::from_str(&row.entry.body).map_err(corrupt)?;
    let entry: AuditEntry = serde_json::from_str(&row.entry.body).map_err(corrupt)?;
    let misfit =
        |payload: &Payload| Part::ALL.into_iter().find(|part| payload.misfit(*part, entry.said_of(*part)).is_some());
    let (payload, withheld) = match row.payload {
        Some(payload) => match misfit(&payload) {
            None => (Some(payload), None),
            Some(part) => {
                let part = part.as_str();
                (None, Some(format!("the {part} beside it are not those that it names: run `holdpoint audit verify`")))
            }
        },
        None if !entry.has_payload() => (None, None),
        None => match store.erasure(seq).await? {
            Some(erasure) => {
                let at = crate::text::time(erasure.at_ms);
                (None, Some(format!("erased {at} by {}", erasure.by)))
            }
            None => {
                (None, Some("it is gone, and nothing says that it was erased: run `holdpoint audit verify`".to_owned()))
            }
        },
    };
    Ok(Some(ShownEntry { seq, entry: value, payload, withheld }))
}

impl Ledger {
    /// Erases what has had its time; beside how many entries.
    pub async fn erase_old_payloads(&self, keep: &PayloadsKeep) -> Result<u64, CommitError> {
        let now_ms = self.store.now_ms().await?;
        let mut erased = 0;
        let classes =
            [(AuditLevel::Full, keep.full), (AuditLevel::Redacted, keep.redacted), (AuditLevel::Digest, keep.digest)];
        for (level, keep) in classes {
            let Some(keep) = keep else { continue };
            let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
            // Nothing is from before the epoch, and nothing is older than for ever.
            let Some(before_ms) = now_ms.checked_sub(keep_ms) else { continue };
            let filter = PayloadFilter::Older { level: level.as_str(), before_ms };
            let seqs = self.store.find_payloads(filter, ERASED_AT_ONCE_MAX).await?;
            if seqs.is_empty() {
                continue;
            }
            erased += u64::try_from(seqs.len()).unwrap_or(u64::MAX);
            let why = format!("level {}, {BY_TIME}", level.as_str());
            self.commit(erasing(seqs, "holdpoint", &why, now_ms)).await?;
        }
        Ok(erased)
    }
}
