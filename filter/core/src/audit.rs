//! Step 12: what the record says of one step of one call, and the Merkle log that makes a change visible.

use serde::{Deserialize, Serialize};

use crate::candidate::OtherDecision;
use crate::decision::{AuditLevel, Observed, Verdict};
use crate::digest::Digest;
use crate::identity::Principal;
use payload::{Lost, Payload, PayloadDigest};

#[cfg(feature = "log")]
pub mod merkle;
#[cfg(feature = "log")]
pub mod note;
pub mod payload;
#[cfg(feature = "log")]
pub mod proof;
#[cfg(feature = "log")]
pub mod receipt;
mod text;
#[cfg(feature = "log")]
pub mod verify;

/// `schema` of every [`AuditEntry`].
pub const AUDIT_SCHEMA: &str = "holdpoint/audit/v1";

/// What an entry reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The filter decided a message.
    Decision,
    /// The filter refused a message before any rule: malformed, or without a principal.
    Refusal,
    /// A held call opened an approval.
    ApprovalOpened,
    /// A further identical call joined it.
    ApprovalJoined,
    /// One person approved or denied.
    Review,
    /// An approval changed its status other than by claim; `status` says to what.
    ApprovalClosed,
    /// One live call used a grant: the intent entry, durable before the call runs.
    Claim,
    /// A hold ended without its call running.
    HoldEnded,
    /// What became of a call that was forwarded.
    Outcome,
    /// A policy was registered by its snapshot id.
    PolicyRegistered,
    /// A gateway put a policy in force; `source` is the gateway's process.
    PolicyInForce,
    /// A token was created or revoked.
    TokenChanged,
    /// Nobody has decided in time: further people may; `detail` says who.
    ApprovalEscalated,
    /// Somebody may decide in somebody else's place, or no longer; `status` says which.
    DelegationChanged,
    /// An approval came to reach further calls, or no longer does; `status` says which.
    GrantChanged,
    /// Arguments of approvals that ended long ago were erased; `detail` says how many.
    ArgumentsErased,
    /// What stands beside entries was erased: `erased` says of which, `by` at whose word, and `detail` how many. The entries
    /// stay, and so do proofs.
    PayloadsErased,
    /// A server, tool or principal was stopped, or may go on; `status` says which.
    FreezeChanged,
    /// The service came to sign with another key, or an old one is trusted no longer; `status` says which, `keys` whose.
    KeyChanged,
    /// A filter VM began to report: whatever an earlier one of the same worker had not handed over is lost.
    SourceBegan,
    /// A server came to offer something else than it did; `status` says how: `new`, `changed`, `removed`, or of many at
    /// once `first_list` and `more`. `definition` is the one of now.
    DefinitionChanged,
    /// Somebody was told something, or could not be; `status` says which: `delivered`, `given_up`, `retried` or `tested`.
    NoticeChanged,
    /// Entries of a source are missing; `detail` says how many.
    Gap,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Decision,
        Self::Refusal,
        Self::ApprovalOpened,
        Self::ApprovalJoined,
        Self::Review,
        Self::ApprovalClosed,
        Self::Claim,
        Self::HoldEnded,
        Self::Outcome,
        Self::PolicyRegistered,
        Self::PolicyInForce,
        Self::TokenChanged,
        Self::ApprovalEscalated,
        Self::DelegationChanged,
        Self::GrantChanged,
        Self::ArgumentsErased,
        Self::PayloadsErased,
        Self::FreezeChanged,
        Self::KeyChanged,
        Self::SourceBegan,
        Self::DefinitionChanged,
        Self::NoticeChanged,
        Self::Gap,
    ];

    /// The word used in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Refusal => "refusal",
            Self::ApprovalOpened => "approval_opened",
            Self::ApprovalJoined => "approval_joined",
            Self::Review => "review",
            Self::ApprovalClosed => "approval_closed",
            Self::Claim => "claim",
            Self::HoldEnded => "hold_ended",
            Self::Outcome => "outcome",
            Self::PolicyRegistered => "policy_registered",
            Self::PolicyInForce => "policy_in_force",
            Self::TokenChanged => "token_changed",
            Self::ApprovalEscalated => "approval_escalated",
            Self::DelegationChanged => "delegation_changed",
            Self::GrantChanged => "grant_changed",
            Self::ArgumentsErased => "arguments_erased",
            Self::PayloadsErased => "payloads_erased",
            Self::FreezeChanged => "freeze_changed",
            Self::KeyChanged => "key_changed",
            Self::SourceBegan => "source_began",
            Self::DefinitionChanged => "definition_changed",
            Self::NoticeChanged => "notice_changed",
            Self::Gap => "gap",
        }
    }
}

/// What became of a forwarded call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server answered with a result.
    Committed,
    /// The server answered with an error.
    Failed,
    /// The call never reached the server.
    Refused,
    /// Nobody can tell: no answer, or not a whole one.
    Unknown,
}

impl Outcome {
    /// The word used in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// One leaf of the log, without arguments or results: small, and safe to keep for years.
///
/// Only `schema`, `kind` and `at_ms` are always there; an absent fact is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Always [`AUDIT_SCHEMA`].
    pub schema: String,
    pub kind: EntryKind,
    /// Unix time in milliseconds, by the clock of whoever wrote the entry.
    pub at_ms: u64,
    /// `gateway/boot id` of the filter that reported it; absent when the service itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The revision of MCP that the message was read by, such as `2025-11-25`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    /// SHA-256 of the session id that the message came with: who knows the id finds its calls, and nobody learns it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_session: Option<Digest>,
    /// Tool name, resource URI or prompt name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_digest: Option<Digest>,
    /// Of the called tool, as its server last listed it; where it is pinned or people are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The deciding rule first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rule_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Digest>,
    /// What rules in `mode: observe` would have done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// What the candidate would have decided, where that is not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<OtherDecision>,
    /// The most that the policy lets the record keep of arguments and result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditLevel>,
    /// The limits in force and the rules they came from, in words. Bounded by [`DETAIL_CHARS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<String>,
    /// New status of an approval, or `approve` / `deny` of a review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `issuer subject` of whoever acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Public keys of the service: of a rotation the new one first, then the one that it follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Words of a person, or of the refusal. Bounded by [`DETAIL_CHARS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// HTTP status of the server's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Length of the server's answer, in bytes, before anything was taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_bytes: Option<u64>,
    /// The arguments of the call: what is kept of them beside this entry, and its salted digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<PayloadDigest>,
    /// The same of its result, as the client was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<PayloadDigest>,
    /// Beside which entries something was erased: pairs of the first and the last sequence number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<[u64; 2]>,
    /// From the forward to the end of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// W3C trace of the call, from `params._meta.traceparent` or the header `traceparent`: 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The filter's span of this call in that trace: 16 hex digits, the same in every entry of the call. The server is told
    /// one below it, see [`crate::trace_parent::span_below`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// The client's span: the parent of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// What is to stand beside the entry. On its way with it, and never part of it.
    #[serde(skip)]
    pub payload: Option<Box<Payload>>,
}

/// `status` of the entry that says that the service signs with another key.
pub const KEY_ROTATED: &str = "rotated";
/// `status` of the entry that says that a key signs no longer.
pub const KEY_RETIRED: &str = "retired";

/// Longest `detail`, in characters.
pub const DETAIL_CHARS_MAX: usize = 1_000;

impl AuditEntry {
    /// An entry with only what every entry has.
    pub fn new(kind: EntryKind, at_ms: u64) -> Self {
        Self {
            schema: AUDIT_SCHEMA.to_owned(),
            kind,
            at_ms,
            source: None,
            principal: None,
            server: None,
            method: None,
            protocol_version: None,
            mcp_session: None,
            target: None,
            call_digest: None,
            definition: None,
            verdict: None,
            rule_ids: Vec::new(),
            snapshot_id: None,
            basis: None,
            observed: None,
            candidate: None,
            audit: None,
            constraints: None,
            approval_id: None,
            hold_id: None,
            status: None,
            by: None,
            keys: Vec::new(),
            detail: None,
            outcome: None,
            http_status: None,
            answer_bytes: None,
            arguments: None,
            result: None,
            erased: Vec::new(),
            latency_ms: None,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            payload: None,
        }
    }

    /// What the entry says of a part of its payload.
    pub fn said_of(&self, part: payload::Part) -> Option<&PayloadDigest> {
        match part {
            payload::Part::Arguments => self.arguments.as_ref(),
            payload::Part::Result => self.result.as_ref(),
        }
    }

    /// Notes that nothing is kept of a part after all.
    pub fn lose(&mut self, part: payload::Part, lost: Lost) {
        let said = match part {
            payload::Part::Arguments => &mut self.arguments,
            payload::Part::Result => &mut self.result,
        };
        if let Some(said) = said.as_mut().filter(|said| said.is_kept()) {
            said.lost = Some(lost);
        }
    }

    /// Whether anything stands beside it unless it was erased.
    pub fn has_payload(&self) -> bool {
        payload::Part::ALL.into_iter().any(|part| self.said_of(part).is_some_and(PayloadDigest::is_kept))
    }
}

/// Body of `POST /v1/audit/entries`: entries of one filter VM, in order.
///
/// Sending a batch again is harmless: the service keeps the next counter of each source and skips what it has.
/// A counter that jumps is written down as a [`EntryKind::Gap`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EntryBatch {
    /// `gateway/boot id`: one life of one filter VM.
    pub source: String,
    /// Counter of the first entry; the others follow without gaps.
    pub first_counter: u64,
    pub entries: Vec<AuditEntry>,
    /// What is to stand beside some of them, by rising counter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payloads: Vec<CountedPayload>,
}

/// What is to stand beside the entry with that counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CountedPayload {
    pub counter: u64,
    pub payload: Payload,
}
