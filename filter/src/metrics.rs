//! Every metric of the filter, as one enum: a name that is not here does not exist, and no label has free text.

use holdpoint_core::decision::Verdict;

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
    /// Calls let through on a route that says `passthrough`.
    Passthrough,
    /// Those among them whose headers look like MCP: a server that nobody governs.
    PassthroughMcp,
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

impl Metric {
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
            Self::Passthrough => "holdpoint.passthrough_total",
            Self::PassthroughMcp => "holdpoint.passthrough_mcp_total",
        }
    }

    /// Whether it goes up and down.
    pub fn is_gauge(self) -> bool {
        self == Self::HoldsWaiting
    }
}
