//! Steps 6 and 8: which gateway has which policy in force, as filters tell the service.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Problem `code` of a claim under a policy that its own gateway has replaced: the worker that waits has not caught up.
pub const PROBLEM_POLICY_REPLACED: &str = "policy-replaced";

/// How often a filter repeats its report, and after how long without one a gateway counts as gone.
pub const REPORT_EVERY_MS: u64 = 60_000;
pub const GONE_AFTER_MS: u64 = 5 * REPORT_EVERY_MS;

/// Where one configuration of the filter stands among those that its Envoy process has had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PolicyStanding {
    /// One life of one Envoy process: a random 128-bit number in lower-case hex. Replicas may share a node id.
    pub instance: String,
    /// The plugin's name in Envoy's configuration.
    pub plugin: String,
    /// Grows with every policy that the process puts in force for the plugin.
    pub sequence: u64,
}

/// Body of `POST /v1/policies/in-force`. The same report again says that the gateway is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PolicyReport {
    /// Envoy's node id.
    pub gateway: String,
    #[serde(flatten)]
    pub standing: PolicyStanding,
    pub snapshot_id: Digest,
    /// Unix time in milliseconds, by the gateway's clock.
    pub since_ms: u64,
}
