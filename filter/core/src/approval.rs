//! Steps 8 and 9: the records both sides of a hold share, and the check that turns an approval into a permit.
//!
//! The filter opens an approval, polls it, claims it and verifies the claim; the service keeps it and signs. They
//! meet only over HTTP, with the types of this file as JSON bodies. Approvals are refused here, never granted: only
//! a claim that the service's key signed for *this* hold becomes a [`Permit`], and only if the policy in force agrees.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::audit::Outcome;
use crate::decision::{ApprovalRequirement, Constraints, Decision, Permit, Reason, Verdict};
use crate::definition::DefinitionFact;
use crate::digest::{self, Digest};
use crate::envelope::{CallEnvelope, EnvelopeRecord};
use crate::identity::Principal;
use crate::in_force::PolicyStanding;
use crate::policy::{PolicySnapshot, UsageView};

#[cfg(test)]
mod tests;

/// Tag of the digest over [`OpenApproval::call_text`].
pub const CALL_DIGEST_TAG: &str = "holdpoint/call/v1";

/// What a claim's signature covers starts with this line, so that it can never pass for another signed document.
const CLAIM_DOMAIN: &str = "holdpoint/claim/v1\n";

/// `schema` of every [`ApprovalState`]: the positive marker that tells the service's answer from Envoy's own.
pub const APPROVAL_SCHEMA: &str = "holdpoint/approval/v1";

/// Problem `code` of `POST /v1/approvals` when the cited snapshot has not been registered yet.
pub const PROBLEM_POLICY_UNKNOWN: &str = "policy-unknown";

/// Where an approval stands.
///
/// `pending → approved | denied | expired | withdrawn | superseded`; `approved → consumed | lapsed | revoked | superseded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Waits for people.
    Pending,
    /// Enough people approved: a grant that nobody has used yet.
    Approved,
    /// Somebody denied.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The requester left or took it back.
    Withdrawn,
    /// The policy changed: it has to be asked anew.
    Superseded,
    /// Used by one live call.
    Consumed,
    /// Approved, and not used in time.
    Lapsed,
    /// Approved, then taken back.
    Revoked,
}

impl ApprovalStatus {
    /// The word used in the API, the database and the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
            Self::Consumed => "consumed",
            Self::Lapsed => "lapsed",
            Self::Revoked => "revoked",
        }
    }

    /// Whether an identical call may still join it.
    pub fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Approved => true,
            Self::Denied
            | Self::Expired
            | Self::Withdrawn
            | Self::Superseded
            | Self::Consumed
            | Self::Lapsed
            | Self::Revoked => false,
        }
    }

    /// Whether the state machine has the edge from `self` to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => {
                matches!(next, Self::Approved | Self::Denied | Self::Expired | Self::Withdrawn | Self::Superseded)
            }
            Self::Approved => matches!(next, Self::Consumed | Self::Lapsed | Self::Revoked | Self::Superseded),
            Self::Denied
            | Self::Expired
            | Self::Withdrawn
            | Self::Superseded
            | Self::Consumed
            | Self::Lapsed
            | Self::Revoked => false,
        }
    }
}

impl fmt::Display for ApprovalStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Body of `POST /v1/approvals`: one held call asks to be decided, or joins the open request for the same call.
///
/// Joining is by (`call_digest`, `basis`): an identical call under the same rules finds its pending request or its
/// grant. The same `hold_id` sent again is the same hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpenApproval {
    /// Names one live call: a random 128-bit number in lower-case hex.
    pub hold_id: String,
    /// The Envoy node the call waits in.
    pub gateway: String,
    /// Canonical JSON of what was judged; what the approver is shown is read from it.
    pub call_text: String,
    /// `sha256(CALL_DIGEST_TAG ‖ "\n" ‖ call_text)`; the service computes it again and refuses a difference.
    pub call_digest: Digest,
    pub principal: Principal,
    pub server: String,
    pub method: String,
    /// Tool name, resource URI or prompt name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub envelope: EnvelopeRecord,
    /// The deciding rule first.
    pub reasons: Vec<Reason>,
    pub requirement: ApprovalRequirement,
    /// What the call will run under; shown to the approver and signed into the claim.
    pub constraints: Constraints,
    pub snapshot_id: Digest,
    pub basis: Digest,
    /// What was known of the called tool's definition; part of the basis as far as it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<DefinitionFact>,
    /// W3C trace id, when the request carried one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The filter's span of the call in that trace: the parent of what the service does for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// What an earlier round of the same call was given as [`ComeBack::token`], as its client brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
    /// Names the live call to whoever may cancel it (`CallEnvelope::cancel_key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_key: Option<Digest>,
    /// After so many milliseconds the call waits no more, whatever happens: it may have lost its gateway, or the word
    /// that it ended. Absent from gateways that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_within_ms: Option<u64>,
}

/// With what a client that cannot wait longer is sent away, to come back with the same call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ComeBack {
    /// Made and checked by the service: for this call and principal, for a time, for a bounded number of rounds.
    pub token: String,
    /// A page that shows the requester where the approval stands; nobody can decide there. Another one each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
}

/// Problem `code` of a [`OpenApproval::round`] that was not given for this call, or is too old.
pub const PROBLEM_ROUND: &str = "round";

/// What the service answers to open and to polls, as far as the filter reads it. The service's own view carries more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApprovalState {
    /// Always [`APPROVAL_SCHEMA`].
    pub schema: String,
    /// Names the approval; safe in a URL path.
    pub id: String,
    pub status: ApprovalStatus,
    /// Grows with every change; the ETag.
    pub version: u64,
    pub call_digest: Digest,
    /// Why it was denied, revoked or withdrawn, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who decided, for the agent's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Unix time in milliseconds when a pending request expires, or a grant lapses.
    pub expires_at_ms: u64,
    /// The last identical call that ran, as far as was known when this one was asked for: its answer may never have
    /// reached its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_before: Option<RanBefore>,
    /// In the answer to open only; absent when the client has come back often enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub come_back: Option<ComeBack>,
}

/// An identical call that used a grant of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RanBefore {
    pub approval_id: String,
    /// Unix time in milliseconds of its claim.
    pub at_ms: u64,
    /// `unknown` also while nobody has said what became of it.
    pub outcome: Outcome,
}

/// Body of `POST /v1/approvals/{id}/claim`: one live call asks to use the grant. Idempotent per `hold_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClaimRequest {
    pub hold_id: String,
    /// Fresh random 128-bit number in lower-case hex; signed back, so that an old answer cannot be replayed.
    pub nonce: String,
    pub call_digest: Digest,
    /// The basis under the policy in force where the call waits, now.
    pub basis: Digest,
    pub snapshot_id: Digest,
    /// Where that policy stands in its gateway: the service refuses one that the gateway has replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<PolicyStanding>,
}

/// Answer to a claim: the exact text of a [`Claim`] and the service's Ed25519 signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedClaim {
    /// JSON text of a [`Claim`]; the signature covers these bytes.
    pub claim: String,
    /// 64 bytes in lower-case hex, over [`signed_bytes`].
    pub signature: String,
    /// The same by further keys, while one key takes the place of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// The single use of a grant by one live call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub approval_id: String,
    pub hold_id: String,
    pub nonce: String,
    pub call_digest: Digest,
    /// What the approvers were shown.
    pub basis: Digest,
    pub snapshot_id: Digest,
    pub constraints: Constraints,
    /// `issuer subject` of everyone who approved.
    pub approved_by: Vec<String>,
    /// Unix time in milliseconds after which the claim is void.
    pub expires_at_ms: u64,
}

/// Body of `POST /v1/holds/{hold_id}/withdraw`: the client of this hold is gone, or the hold ended without a use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WithdrawHold {
    pub cause: WithdrawCause,
    /// With a value, the request itself is withdrawn when no identical call has come back after that many
    /// milliseconds. Without, it stays open for its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin_ms: Option<u64>,
}

/// Body of `POST /v1/cancellations`: a client cancelled a call of its own, which may be held by any worker of any gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CancelHolds {
    /// As the held call gave it when it opened its request.
    pub cancel_key: Digest,
}

/// Why a hold ended without its call running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WithdrawCause {
    /// Envoy saw the client leave.
    ClientGone,
    /// The client was told to come back later.
    AnsweredPending,
    /// The filter refused the call after all (policy changed, claim not acceptable).
    Refused,
    /// The client cancelled it.
    Cancelled,
    /// Its time is over and nobody has ended it: its gateway is gone, or the word of its end was lost.
    Unheard,
}

/// The service's public key as configured: `ed25519:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKey(VerifyingKey);

/// The keys that are trusted to sign for one service: one, or several while one takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKeys(Vec<ServiceKey>);

impl ServiceKeys {
    /// Most keys at once, and most signatures that are looked at.
    pub const MAX: usize = 4;

    /// `None` for no key, or too many.
    pub fn new(keys: Vec<ServiceKey>) -> Option<Self> {
        (1..=Self::MAX).contains(&keys.len()).then_some(Self(keys))
    }

    /// Every key, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceKey> {
        self.0.iter()
    }

    /// Whether any of the signatures is one of these keys' over `bytes`.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &str, also: &[String]) -> bool {
        let signatures = || std::iter::once(signature).chain(also.iter().map(String::as_str)).take(Self::MAX);
        self.0.iter().any(|key| signatures().any(|signature| key.signed(bytes, signature)))
    }
}

impl From<ServiceKey> for ServiceKeys {
    fn from(key: ServiceKey) -> Self {
        Self(vec![key])
    }
}

impl fmt::Display for ServiceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&keys.join(", "))
    }
}

/// Why a text is not a [`ServiceKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKeyError {
    Prefix,
    Hex,
    Point,
}

impl fmt::Display for ServiceKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "must start with `ed25519:` (print it with `holdpoint keys show`)",
            Self::Hex => "needs 64 hex digits after `ed25519:` (print it with `holdpoint keys show`)",
            Self::Point => "is not an Ed25519 public key (print it with `holdpoint keys show`)",
        })
    }
}

impl std::error::Error for ServiceKeyError {}

impl ServiceKey {
    /// A key that is known to be one, such as the public half of a secret key.
    pub fn of(key: VerifyingKey) -> Self {
        Self(key)
    }

    /// The public key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature`, 64 bytes in hex, is this key's over `bytes`.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &str) -> bool {
        let signature = digest::hex_decode(signature).ok().and_then(|signature| Signature::from_slice(&signature).ok());
        signature.is_some_and(|signature| self.0.verify_strict(bytes, &signature).is_ok())
    }
}

impl FromStr for ServiceKey {
    type Err = ServiceKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("ed25519:").ok_or(ServiceKeyError::Prefix)?;
        let bytes = digest::hex_decode(hex).map_err(|_| ServiceKeyError::Hex)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| ServiceKeyError::Hex)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| ServiceKeyError::Point)?;
        // A low-order key would accept signatures that nobody made.
        if key.is_weak() {
            return Err(ServiceKeyError::Point);
        }
        Ok(Self(key))
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", digest::hex_encode(self.0.as_bytes()))
    }
}

/// What a claim's signature covers.
pub fn signed_bytes(claim: &str) -> Vec<u8> {
    [CLAIM_DOMAIN.as_bytes(), claim.as_bytes()].concat()
}

/// Why a claim answer lets nothing run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// Not signed by the configured service key.
    Signature,
    /// Signed, but not a claim this version reads.
    Shape,
    /// Signed for another hold, nonce or call.
    Mismatch(&'static str),
    Expired,
    /// The policy in force now denies the call.
    PolicyDenies(Box<Decision>),
    /// The policy in force now asks something else than what was approved.
    PolicyChanged(Box<Decision>),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => f.write_str(
                "the answer is not signed by the configured service key: check `approval.service_key` against \
                 `holdpoint keys show`",
            ),
            Self::Shape => {
                f.write_str("the signed answer is not a claim of this version: upgrade filter and service together")
            }
            Self::Mismatch(what) => write!(f, "the signed claim is for another {what}"),
            Self::Expired => f.write_str("the claim has expired: check the clocks of gateway and service"),
            Self::PolicyDenies(decision) => {
                write!(f, "the policy in force now denies the call (rule `{}`)", decision.rule_id())
            }
            Self::PolicyChanged(_) => f.write_str("the policy that asked for the approval has changed"),
        }
    }
}

impl std::error::Error for ClaimError {}

/// The live hold a claim must have been signed for.
#[derive(Clone, Copy, Debug)]
pub struct LiveHold<'a> {
    pub approval_id: &'a str,
    pub hold_id: &'a str,
    pub nonce: &'a str,
}

/// What the policy in force says of a call that people approved under `basis`.
///
/// `Ok` carries the decision now: allowed anyway, or still asking exactly what was approved.
pub fn rejudge(
    basis: Digest,
    envelope: &CallEnvelope,
    snapshot: &PolicySnapshot,
    usage: &dyn UsageView,
) -> Result<Decision, ClaimError> {
    let decision = Arc::unwrap_or_clone(snapshot.evaluate(envelope, usage).decision);
    match decision.verdict {
        Verdict::Deny => Err(ClaimError::PolicyDenies(Box::new(decision))),
        Verdict::Allow => Ok(decision),
        Verdict::RequireApproval if decision.basis == basis => Ok(decision),
        Verdict::RequireApproval => Err(ClaimError::PolicyChanged(Box::new(decision))),
    }
}

/// Turns a signed claim into the permit to forward, or says why nothing may run.
///
/// `envelope` is sealed under `snapshot`, the policy in force now; `now_ms` is Unix time. The permit carries the
/// constraints the approvers were shown united with those that hold now.
pub fn verify(
    signed: &SignedClaim,
    keys: &ServiceKeys,
    hold: LiveHold<'_>,
    envelope: &CallEnvelope,
    snapshot: &PolicySnapshot,
    usage: &dyn UsageView,
    now_ms: u64,
) -> Result<Permit, ClaimError> {
    if !keys.signed(&signed_bytes(&signed.claim), &signed.signature, &signed.also) {
        return Err(ClaimError::Signature);
    }
    // Of bytes, as every answer is read: reading texts would bring a second reader for each type into the module.
    let claim: Claim = serde_json::from_slice(signed.claim.as_bytes()).map_err(|_| ClaimError::Shape)?;
    let bound: [(&str, &str, &'static str); 3] = [
        (&claim.approval_id, hold.approval_id, "approval"),
        (&claim.hold_id, hold.hold_id, "hold"),
        (&claim.nonce, hold.nonce, "nonce"),
    ];
    for (signed, live, what) in bound {
        if signed != live {
            return Err(ClaimError::Mismatch(what));
        }
    }
    if claim.call_digest != envelope.call_digest() {
        return Err(ClaimError::Mismatch("call"));
    }
    if now_ms >= claim.expires_at_ms {
        return Err(ClaimError::Expired);
    }
    let decision = rejudge(claim.basis, envelope, snapshot, usage)?;
    let constraints = claim.constraints.united(&decision.constraints);
    Ok(Permit::new(Some(claim.call_digest), decision.snapshot_id, constraints.into()))
}
