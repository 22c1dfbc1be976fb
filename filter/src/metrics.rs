//! Every metric of the filter: a name that is not here does not exist, and no label has free text. Serves step 12.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_core::decision::Verdict;
use holdpoint_core::digest::Digest;

#[cfg(test)]
mod tests;

/// One thing that is counted. `host` adds to the Envoy metric [`Metric::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Decisions by verdict.
    Decision(Verdict),
    /// Messages refused before any rule: malformed.
    Malformed,
    /// Messages refused before any rule: no principal.
    Unidentified,
    /// Calls that were held.
    HoldBegan,
    /// Holds by how they ended.
    HoldEnded(HoldEnd),
    /// Calls that wait now, in this process (a gauge).
    HoldsWaiting,
    /// Claim answers that were not acceptable, an unsigned one above all: never normal.
    ClaimRefused,
    /// Messages refused because an administrator has stopped server, tool or caller.
    Frozen,
    /// Callouts to the service that got no usable answer.
    ServiceUnavailable,
    /// Audit entries lost because the buffer was full.
    AuditLost,
    /// Arguments and results that were not kept because no room was left for them; their entries say so.
    PayloadsLost,
    /// Calls refused because their entry was not durable in time (`audit.required`).
    NotRecorded,
    /// Observations of servers lost because the buffer was full, or the service would not take them.
    InventoryLost,
    /// Calls let through on a route that says `passthrough`.
    Passthrough,
    /// Those among them whose headers look like MCP: a server that nobody governs.
    PassthroughMcp,
    /// The memory of the largest VM that this process has had, in bytes (a gauge): what a VM has taken it never gives back.
    VmMemory,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldEnd {
    Released,
    Denied,
    Pending,
    ClientGone,
    Refused,
    Unavailable,
}

impl HoldEnd {
    /// The word in metrics and lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Denied => "denied",
            Self::Pending => "pending",
            Self::ClientGone => "client_gone",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Most snapshots that get a series of their own in the life of one VM: Envoy never forgets a series. Those that come
/// later share one.
const SNAPSHOTS_NAMED_MAX: usize = 100;

/// Which series say what policy is in force: a gauge for each snapshot, 1 while it is in force, else 0.
#[derive(Debug, Default)]
pub struct SnapshotSeries {
    named: BTreeSet<String>,
    /// By plugin.
    in_force: BTreeMap<String, String>,
}

impl SnapshotSeries {
    /// A plugin has put a snapshot in force: (series, value) of every gauge that changes.
    pub fn put_in_force(&mut self, plugin: &str, snapshot: &Digest) -> Vec<(String, u64)> {
        let short = snapshot.short();
        let is_named = self.named.contains(&short) || self.named.len() < SNAPSHOTS_NAMED_MAX;
        if is_named {
            self.named.insert(short.clone());
        }
        let label = if is_named { short } else { "other".to_owned() };
        let before = self.in_force.insert(plugin.to_owned(), label.clone());
        let series = |label: &str| format!("holdpoint.policy_in_force.snapshot.{label}");
        let gone = before.filter(|before| !self.in_force.values().any(|label| label == before));
        let mut changes: Vec<(String, u64)> = gone.iter().map(|label| (series(label), 0)).collect();
        changes.push((series(&label), 1));
        changes
    }
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Decision(Verdict::Allow),
        Self::Decision(Verdict::RequireApproval),
        Self::Decision(Verdict::Deny),
        Self::Malformed,
        Self::Unidentified,
        Self::HoldBegan,
        Self::HoldEnded(HoldEnd::Released),
        Self::HoldEnded(HoldEnd::Denied),
        Self::HoldEnded(HoldEnd::Pending),
        Self::HoldEnded(HoldEnd::ClientGone),
        Self::HoldEnded(HoldEnd::Refused),
        Self::HoldEnded(HoldEnd::Unavailable),
        Self::HoldsWaiting,
        Self::ClaimRefused,
        Self::Frozen,
        Self::ServiceUnavailable,
        Self::AuditLost,
        Self::PayloadsLost,
        Self::NotRecorded,
        Self::InventoryLost,
        Self::Passthrough,
        Self::PassthroughMcp,
        Self::VmMemory,
    ];

    /// The name in Envoy, below `wasmcustom.`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decision(Verdict::Allow) => "holdpoint.decisions_total.verdict.allow",
            Self::Decision(Verdict::RequireApproval) => "holdpoint.decisions_total.verdict.require_approval",
            Self::Decision(Verdict::Deny) => "holdpoint.decisions_total.verdict.deny",
            Self::Malformed => "holdpoint.malformed_total",
            Self::Unidentified => "holdpoint.unidentified_total",
            Self::HoldBegan => "holdpoint.holds_total",
            Self::HoldEnded(HoldEnd::Released) => "holdpoint.holds_ended_total.end.released",
            Self::HoldEnded(HoldEnd::Denied) => "holdpoint.holds_ended_total.end.denied",
            Self::HoldEnded(HoldEnd::Pending) => "holdpoint.holds_ended_total.end.pending",
            Self::HoldEnded(HoldEnd::ClientGone) => "holdpoint.holds_ended_total.end.client_gone",
            Self::HoldEnded(HoldEnd::Refused) => "holdpoint.holds_ended_total.end.refused",
            Self::HoldEnded(HoldEnd::Unavailable) => "holdpoint.holds_ended_total.end.unavailable",
            Self::HoldsWaiting => "holdpoint.holds_waiting",
            Self::ClaimRefused => "holdpoint.claims_refused_total",
            Self::Frozen => "holdpoint.frozen_total",
            Self::ServiceUnavailable => "holdpoint.service_unavailable_total",
            Self::AuditLost => "holdpoint.audit_lost_total",
            Self::PayloadsLost => "holdpoint.audit_payloads_lost_total",
            Self::NotRecorded => "holdpoint.not_recorded_total",
            Self::InventoryLost => "holdpoint.inventory_lost_total",
            Self::Passthrough => "holdpoint.passthrough_total",
            Self::PassthroughMcp => "holdpoint.passthrough_mcp_total",
            Self::VmMemory => "holdpoint.vm_memory_bytes",
        }
    }

    /// Whether it is set or goes down, and not only counted up.
    pub fn is_gauge(self) -> bool {
        matches!(self, Self::HoldsWaiting | Self::VmMemory)
    }
}
