//! Step 7, beside the policy: limits that hold for all gateways of one service. What a filter asks for before a call runs,
//! and what the service says, signed.

use serde::{Deserialize, Serialize};

use crate::approval::ServiceKeys;
use crate::decision::{ConcurrencyLimit, Constraints, LimitScope, RateLimit};
use crate::digest::Digest;

#[cfg(test)]
mod tests;

/// `schema` of every [`LeasesTaken`].
pub const LEASES_SCHEMA: &str = "holdpoint/leases/v1";

/// Most limits that one call may be under.
pub const LIMITS_MAX: usize = 64;
/// Most calls that one limit may count for all gateways: the service keeps one row for each.
pub const CALLS_MAX: u64 = 10_000;
/// Longest name of a holder, in characters.
pub const HOLDER_CHARS_MAX: usize = 64;
/// Shortest and longest time of a place.
pub const LEASE_MS_MIN: u64 = 1_000;
pub const LEASE_MS_MAX: u64 = 86_400_000;

/// What the signature covers starts with this line, so that it can never pass for another signed document.
const LEASES_DOMAIN: &str = "holdpoint/leases/v1\n";

const NAME_TAG: &str = "holdpoint/fleet-limit/v1";

/// One limit, and a place under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FleetLimit {
    /// What is counted: the same for all gateways, as long as the rule keeps its id.
    pub name: Digest,
    /// The rule that sets it.
    pub rule_id: String,
    /// Most places at once.
    pub most: u32,
    /// The place counts for so long, whatever becomes of its call; without, for as long as its call runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ms: Option<u64>,
}

/// Body of `POST /v1/leases`: a place under each limit, or none at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TakeLeases {
    /// Names this asking: a fresh random number, so that no other answer fits.
    pub holder: String,
    /// The call that is to run.
    pub call_digest: Digest,
    /// Places of a running call are free after so long, unless they are renewed.
    pub ttl_ms: u64,
    pub limits: Vec<FleetLimit>,
}

/// The answer: the exact text of a [`LeasesTaken`] and the service's Ed25519 signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedLeases {
    /// JSON text of a [`LeasesTaken`].
    pub leases: String,
    /// 64 bytes in lower-case hex, over [`signed_bytes`].
    pub signature: String,
    /// The same by further keys, while one key takes the place of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// What the service says to one asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasesTaken {
    /// Always [`LEASES_SCHEMA`].
    pub schema: String,
    /// What was asked for, as the service read it. The places are the holder's for `ttl_ms` from when it asked.
    pub asked: TakeLeases,
    /// The rule that lets no more calls run now; nothing was taken then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
}

/// Body of `POST /v1/leases/{holder}/renew`: the call still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RenewLeases {
    pub ttl_ms: u64,
    /// Who has its places from now on, as a task has those of the call that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Body of `POST /v1/leases/{holder}/end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EndLeases {
    /// Otherwise the call is not counted at all.
    pub ran: bool,
}

/// What the signature of an answer covers.
pub fn signed_bytes(leases: &str) -> Vec<u8> {
    [LEASES_DOMAIN.as_bytes(), leases.as_bytes()].concat()
}

impl SignedLeases {
    /// What the service says to `asked`; `None` unless one of its keys signed it as the answer to that.
    pub fn verify(&self, keys: &ServiceKeys, asked: &TakeLeases) -> Option<LeasesTaken> {
        if !keys.signed(&signed_bytes(&self.leases), &self.signature, &self.also) {
            return None;
        }
        let taken: LeasesTaken = serde_json::from_slice(self.leases.as_bytes()).ok()?;
        (taken.schema == LEASES_SCHEMA && taken.asked == *asked).then_some(taken)
    }
}

impl Constraints {
    /// The limits among these that hold for all gateways.
    pub fn fleet_limits(&self) -> Vec<FleetLimit> {
        let is_fleet = |scope: LimitScope| scope == LimitScope::Fleet;
        let slots = self.concurrency.iter().filter(|limit| is_fleet(limit.scope)).map(slot);
        slots.chain(self.rates.iter().filter(|limit| is_fleet(limit.scope)).map(window)).collect()
    }
}

fn slot(limit: &ConcurrencyLimit) -> FleetLimit {
    let name = Digest::tagged(NAME_TAG, format!("slots\n{}", limit.rule_id).as_bytes());
    FleetLimit { name, rule_id: limit.rule_id.clone(), most: limit.jobs_max, per_ms: None }
}

fn window(limit: &RateLimit) -> FleetLimit {
    let RateLimit { rule_id, calls_max, per_ms, key, of, scope: _ } = limit;
    let text = format!("calls\n{rule_id}\n{}\n{per_ms}\n{of}", key.as_str());
    let name = Digest::tagged(NAME_TAG, text.as_bytes());
    FleetLimit { name, rule_id: rule_id.clone(), most: *calls_max, per_ms: Some(*per_ms) }
}
