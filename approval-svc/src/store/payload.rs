//! Step 12: what stands beside the log's entries, as the rest of the service sees it, whatever database keeps it.

use holdpoint_core::audit::payload::Payload;

use super::row::LogEntry;

/// One leaf with what stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBeside {
    pub entry: LogEntry,
    pub payload: Option<Payload>,
}

/// That something was erased, from the first to the last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub at_ms: u64,
    pub by: String,
}

/// Which of it to erase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadFilter {
    /// Of this level, taken in before then.
    Older { level: &'static str, before_ms: u64 },
    /// Of calls for this subject, taken in before then.
    Of { subject: String, before_ms: u64 },
}

/// Takes away what stands beside entries. Those beside which nothing stands stay as they are.
#[derive(Clone, Debug)]
pub struct PayloadErasure {
    /// Rising.
    pub seqs: Vec<u64>,
    /// The same as pairs of the first and the last.
    pub ranges: Vec<[u64; 2]>,
    pub by: String,
    pub at_ms: u64,
}
