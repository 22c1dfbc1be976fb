//! Step 6, twice: a policy that is tried on live calls beside the one in force, and what it would have decided otherwise.
//!
//! A candidate decides nothing. It is judged by the same `evaluate`, on the same call, and only the difference is kept.

use serde::{Deserialize, Serialize};

use crate::decision::{Decision, Verdict};
use crate::digest::Digest;
use crate::envelope::CallEnvelope;
use crate::policy::{PolicySnapshot, UsageView};
use crate::simulate::{Change, compare_decisions, compare_verdicts};

#[cfg(test)]
mod tests;

/// Most kinds of difference that one worker tells apart; what comes beyond them is told without the name of its tool.
pub const DIFFERENCES_MAX: usize = 256;
/// Most of those without the name of a tool; what comes beyond these too is only counted.
pub const NAMELESS_MAX: usize = 64;
/// Longest name of a tool or a rule in a report, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// The rule of a candidate that cannot judge a call at all, such as one to a server that its catalogue does not have.
pub const UNSUPPORTED: &str = "unsupported";

/// What the candidate would have made of one call, where that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OtherDecision {
    /// The candidate.
    pub snapshot_id: Digest,
    /// From the policy in force to the candidate.
    pub change: Change,
    pub verdict: Verdict,
    /// The deciding rule.
    pub rule_id: String,
}

/// Judges one call by the candidate; nothing where it would be decided alike. `in_force` is what was decided. The envelope is
/// afterwards as it was before.
pub fn judge(
    candidate: &PolicySnapshot,
    in_force: &Decision,
    envelope: &mut CallEnvelope,
    usage: &dyn UsageView,
) -> Option<OtherDecision> {
    // Sealed anew: the candidate's catalogue may say something else of the same call.
    let decided = envelope.sealed_under(candidate, |envelope| candidate.evaluate(envelope, usage).decision);
    let (change, verdict, rule_id) = match decided {
        Ok(decision) => (compare_decisions(in_force, &decision), decision.verdict, decision.rule_id().to_owned()),
        Err(_) => (compare_verdicts(in_force.verdict, Verdict::Deny), Verdict::Deny, UNSUPPORTED.to_owned()),
    };
    (change != Change::Same).then(|| OtherDecision { snapshot_id: candidate.id(), change, verdict, rule_id })
}

/// Body of `POST /v1/policies/candidates`: all that one worker has compared since it began with this pair of policies. A
/// later report of the same takes the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CandidateReport {
    /// Envoy's node id.
    pub gateway: String,
    /// `gateway/boot id` of the worker.
    pub source: String,
    /// The plugin's name in Envoy's configuration.
    pub plugin: String,
    /// The policy in force.
    pub snapshot_id: Digest,
    /// The one that is tried.
    pub candidate_id: Digest,
    /// When the first call was compared, and the last: Unix time in milliseconds, by the gateway's clock.
    pub since_ms: u64,
    pub until_ms: u64,
    /// Calls that both have judged.
    pub compared: u64,
    /// Calls that would be decided otherwise and are in none of `differences`.
    pub unlisted: u64,
    pub differences: Vec<CandidateDifference>,
}

/// Calls that the candidate would decide otherwise, all in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CandidateDifference {
    /// The catalogue's name of the server.
    pub server: String,
    pub method: String,
    /// Of tool calls; absent of others, and where too many tools differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    pub change: Change,
    /// What was decided, and by which rule.
    pub verdict: Verdict,
    pub rule_id: String,
    /// What the candidate would have decided, and by which rule.
    pub candidate_verdict: Verdict,
    pub candidate_rule_id: String,
    pub calls: u64,
    /// The last of them, by which the record has it.
    pub sample: CandidateSample,
}

/// One call of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CandidateSample {
    /// `call_digest` of its entry; absent where the record may not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_digest: Option<Digest>,
    /// Unix time in milliseconds, by the gateway's clock.
    pub at_ms: u64,
}

impl CandidateDifference {
    /// What makes it one difference: all but how often and when.
    pub fn key(&self) -> CandidateKey {
        CandidateKey {
            server: self.server.clone(),
            method: self.method.clone(),
            tool: self.tool.clone(),
            verdict: self.verdict,
            rule_id: self.rule_id.clone(),
            candidate_verdict: self.candidate_verdict,
            candidate_rule_id: self.candidate_rule_id.clone(),
            change: self.change,
        }
    }

    /// Adds what another worker, or the same one later, saw of the same difference.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        if other.sample.at_ms > self.sample.at_ms {
            self.sample = other.sample.clone();
        }
    }
}

/// See [`CandidateDifference::key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CandidateKey {
    server: String,
    method: String,
    tool: Option<String>,
    verdict: Verdict,
    rule_id: String,
    candidate_verdict: Verdict,
    candidate_rule_id: String,
    change: Change,
}
