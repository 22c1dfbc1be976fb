//! Step 12: who was notified when is evidence: an entry of the record for each delivery, and for each notice that was given up,
//! tried again by somebody, or tested.

use holdpoint_core::audit::{AuditEntry, EntryKind};

use super::notice::Notice;
use crate::approvals::entry_of;
use crate::ledger::clip;
use crate::store::row::Approval;

/// What the record says of a notice, and of the approval that it is about. `by` is who did it, where somebody did.
pub fn entry(notice: &Notice, approval: Option<&Approval>, status: &str, by: Option<&str>, at_ms: u64) -> AuditEntry {
    let mut entry = match approval {
        Some(approval) => entry_of(EntryKind::NoticeChanged, approval, at_ms),
        None => AuditEntry::new(EntryKind::NoticeChanged, at_ms),
    };
    entry.status = Some(status.to_owned());
    entry.by = by.map(str::to_owned);
    let what = format!("channel {}: {} ({})", notice.channel, notice.event.as_str(), notice.id);
    entry.detail = Some(clip(&match &notice.trouble {
        Some(trouble) => format!("{what}: {trouble}"),
        None => what,
    }));
    entry
}
