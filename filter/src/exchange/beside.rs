//! Step 12: what of the arguments and the result of a call is to stand beside its entry, as its rules let it.

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::payload::{Lost, Part, Payload, PayloadDigest, Salt};
use holdpoint_core::decision::AuditLevel;
use holdpoint_core::mcp::McpMessage;

use crate::audit_buffer::IS_KEPT;

/// Longest text that is digested where no rule says `audit: digest`, in bytes: on larger ones a digest costs more than
/// judging does.
pub(super) const UNASKED_BYTES_MAX: usize = 16 * 1024;

/// Longest result of which anything is kept, in bytes: until it ends, a worker remembers it.
pub(super) const RESULT_BYTES_MAX: usize = 256 * 1024;

/// The text of a message that says what it asks for.
pub(super) fn arguments(message: &McpMessage) -> Option<&str> {
    // In a further round what the client was asked for stands beside the arguments.
    let whole = message.params().filter(|_| message.input_responses().is_some());
    let asked = whole.or_else(|| message.arguments()).or_else(|| message.params())?;
    Some(asked.raw())
}

/// Longest result that is remembered, in bytes; 0 where nothing of it may be kept.
pub(super) fn result_bytes_max(audit: Option<AuditLevel>) -> usize {
    match audit {
        _ if !IS_KEPT => 0,
        Some(AuditLevel::Metadata) => 0,
        None => UNASKED_BYTES_MAX,
        Some(AuditLevel::Digest | AuditLevel::Redacted | AuditLevel::Full) => RESULT_BYTES_MAX,
    }
}

/// Keeps a text beside its entry. `salt` is used for this entry alone.
pub(super) fn keep(entry: &mut AuditEntry, audit: Option<AuditLevel>, part: Part, text: &str, salt: Salt) {
    let said = match audit {
        Some(AuditLevel::Metadata) => None,
        None if text.len() > UNASKED_BYTES_MAX => return lose(entry, audit, part, text.len(), Lost::TooLong),
        None | Some(AuditLevel::Digest | AuditLevel::Redacted | AuditLevel::Full) => {
            let payload = entry.payload.get_or_insert_with(|| Box::new(Payload::new(salt)));
            payload.keep(part, audit.unwrap_or(AuditLevel::Digest), text)
        }
    };
    say(entry, part, said);
}

/// Says that nothing of a text of `bytes` is kept.
pub(super) fn lose(entry: &mut AuditEntry, audit: Option<AuditLevel>, part: Part, bytes: usize, lost: Lost) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let level = audit.unwrap_or(AuditLevel::Digest);
    say(entry, part, (level > AuditLevel::Metadata).then(|| PayloadDigest::lost(level, bytes, lost)));
}

fn say(entry: &mut AuditEntry, part: Part, said: Option<PayloadDigest>) {
    match part {
        Part::Arguments => entry.arguments = said,
        Part::Result => entry.result = said,
    }
}
