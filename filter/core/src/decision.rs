//! Step 6: what a decision says, as plain data, and the permit that alone lets a call through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::order;

#[cfg(test)]
mod tests;

/// What is to become of a call. Ordered by strictness: the greater one wins.
///
/// `allow_with_constraints` is [`Verdict::Allow`] on a [`Decision`] whose constraints are not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allow,
    RequireApproval,
    Deny,
}

impl Verdict {
    /// The word used in policies, records, metrics and filter state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::RequireApproval => "require_approval",
            Self::Deny => "deny",
        }
    }
}

/// What one limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// The calls through one Envoy process.
    #[default]
    Process,
    /// Those through all gateways of one approval service, which counts them.
    Fleet,
}

impl LimitScope {
    /// Whether each Envoy process counts by itself.
    pub fn is_process(&self) -> bool {
        *self == Self::Process
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Process => "",
            Self::Fleet => " over all gateways",
        }
    }
}

/// At most `jobs_max` calls may run at once under `rule_id`. Limits of several rules stand side
/// by side: a call needs a lease of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConcurrencyLimit {
    pub rule_id: String,
    pub jobs_max: u32,
    #[serde(default, skip_serializing_if = "LimitScope::is_process")]
    pub scope: LimitScope,
}

/// At most `calls_max` calls in any `per_ms` milliseconds under `rule_id`, for one value of `key`.
/// Windows of several rules stand side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RateLimit {
    pub rule_id: String,
    pub calls_max: u32,
    pub per_ms: u64,
    pub key: RateKey,
    /// Whose calls are counted: the actor, tool, server or tenant of this call.
    pub of: String,
    #[serde(default, skip_serializing_if = "LimitScope::is_process")]
    pub scope: LimitScope,
}

/// What calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RateKey {
    /// Issuer and subject of the principal.
    Actor,
    /// Tool, resource or prompt on its server.
    Tool,
    Server,
    /// The tenant of the principal; callers without one share a window.
    Tenant,
}

impl RateKey {
    /// The word used in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Tool => "tool",
            Self::Server => "server",
            Self::Tenant => "tenant",
        }
    }
}

/// A bound that this call has been found to keep, in words; kept for the people who approve and for the record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KeptBound {
    pub rule_id: String,
    pub text: String,
}

/// What enforcement must do to the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutputLimits {
    /// An answer of more bytes is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Patterns whose matches are taken out of every string.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub redact: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "RedactionLevel::is_none")]
    pub redaction_level: RedactionLevel,
}

impl OutputLimits {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        let Self { max_bytes, redact, redaction_level } = self;
        max_bytes.is_none() && redact.is_empty() && redaction_level.is_none()
    }

    /// Whether the text of the answer may have to change.
    pub fn redacts(&self) -> bool {
        !self.redact.is_empty() || !self.redaction_level.is_none()
    }
}

/// What is taken out of an answer beside the patterns that a rule names. Ordered: the greater one takes out more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RedactionLevel {
    #[default]
    None,
    /// Keys, tokens and passwords of well-known shapes.
    Secrets,
    /// Every text: only the shape of the answer remains.
    Full,
}

impl RedactionLevel {
    /// The word used in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Secrets => "secrets",
            Self::Full => "full",
        }
    }

    /// Whether nothing is taken out.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What enforcement must do if it lets the call run. Those of all matching rules unite, each towards stricter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Constraints {
    /// The call is ended after this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runtime_ms: Option<u64>,
    /// How often Envoy may forward again after an attempt that cannot have reached the server, and how often an
    /// identical call may be sent again after one that did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Sorted by rule id, one per rule.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub concurrency: BTreeSet<ConcurrencyLimit>,
    /// Sorted by rule id.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rates: BTreeSet<RateLimit>,
    #[serde(default, skip_serializing_if = "OutputLimits::is_empty")]
    pub output: OutputLimits,
    /// What was checked before the call was let through.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bounds: BTreeSet<KeptBound>,
    /// Which rule a scalar limit came from, by the limit's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limited_by: BTreeMap<String, String>,
}

/// Names of the scalar limits in [`Constraints::limited_by`].
pub(crate) const MAX_RUNTIME: &str = "max_runtime_ms";
pub(crate) const MAX_RETRIES: &str = "max_retries";
pub(crate) const MAX_BYTES: &str = "output.max_bytes";
pub(crate) const REDACTION_LEVEL: &str = "redaction_level";

impl Constraints {
    /// Whether nothing is asked of enforcement.
    pub fn is_empty(&self) -> bool {
        let Self { max_runtime_ms, max_retries, concurrency, rates, output, bounds, limited_by: _ } = self;
        max_runtime_ms.is_none()
            && max_retries.is_none()
            && concurrency.is_empty()
            && rates.is_empty()
            && output.is_empty()
            && bounds.is_empty()
    }

    /// Both at once: numbers by minimum, leases, windows and bounds side by side, redactions by union.
    #[must_use]
    pub fn united(&self, other: &Self) -> Self {
        let mut limited_by = BTreeMap::new();
        let mut origin = |name: &str, is_mine: bool, is_theirs: bool| {
            let mine = self.limited_by.get(name).filter(|_| is_mine);
            let theirs = other.limited_by.get(name).filter(|_| is_theirs);
            // Where both ask the same, the first by id is named, so that no order shows.
            if let Some(rule_id) = mine.into_iter().chain(theirs).min() {
                limited_by.insert(name.to_owned(), rule_id.clone());
            }
        };
        let max_runtime_ms = least(self.max_runtime_ms, other.max_runtime_ms);
        let max_retries = least(self.max_retries, other.max_retries);
        let max_bytes = least(self.output.max_bytes, other.output.max_bytes);
        let redaction_level = self.output.redaction_level.max(other.output.redaction_level);
        origin(MAX_RUNTIME, self.max_runtime_ms == max_runtime_ms, other.max_runtime_ms == max_runtime_ms);
        origin(MAX_RETRIES, self.max_retries == max_retries, other.max_retries == max_retries);
        origin(MAX_BYTES, self.output.max_bytes == max_bytes, other.output.max_bytes == max_bytes);
        origin(
            REDACTION_LEVEL,
            self.output.redaction_level == redaction_level,
            other.output.redaction_level == redaction_level,
        );
        Self {
            max_runtime_ms,
            max_retries,
            concurrency: order::set(self.concurrency.union(&other.concurrency).cloned()),
            rates: order::set(self.rates.union(&other.rates).cloned()),
            output: OutputLimits {
                max_bytes,
                redact: order::set(self.output.redact.union(&other.output.redact).cloned()),
                redaction_level,
            },
            bounds: order::set(self.bounds.union(&other.bounds).cloned()),
            limited_by,
        }
    }
}

fn least<T: Ord + Copy>(one: Option<T>, two: Option<T>) -> Option<T> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (some, None) | (None, some) => some,
    }
}

impl fmt::Display for Constraints {
    /// In words, for the person who approves: `at most 30000 ms, 1 retry, 1 at a time (rule `bounded`)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |name: &str| match self.limited_by.get(name) {
            Some(rule_id) => format!(" (rule `{rule_id}`)"),
            None => String::new(),
        };
        let mut words = Vec::new();
        if let Some(max_runtime_ms) = self.max_runtime_ms {
            words.push(format!("at most {max_runtime_ms} ms{}", from(MAX_RUNTIME)));
        }
        let retries = match self.max_retries {
            None => None,
            Some(0) => Some("no retries".to_owned()),
            Some(1) => Some("1 retry".to_owned()),
            Some(retries) => Some(format!("{retries} retries")),
        };
        words.extend(retries.map(|retries| retries + &from(MAX_RETRIES)));
        for ConcurrencyLimit { rule_id, jobs_max, scope } in &self.concurrency {
            words.push(format!("{jobs_max} at a time{} (rule `{rule_id}`)", scope.in_words()));
        }
        for RateLimit { rule_id, calls_max, per_ms, key, of, scope } in &self.rates {
            let (by, over) = (key.as_str(), scope.in_words());
            words.push(format!("{calls_max} calls in {per_ms} ms for {by} `{of}`{over} (rule `{rule_id}`)"));
        }
        if let Some(max_bytes) = self.output.max_bytes {
            words.push(format!("an answer of at most {max_bytes} bytes{}", from(MAX_BYTES)));
        }
        match self.output.redaction_level {
            RedactionLevel::None => {}
            RedactionLevel::Secrets => words.push(format!("secrets taken out of the answer{}", from(REDACTION_LEVEL))),
            RedactionLevel::Full => words.push(format!("all text taken out of the answer{}", from(REDACTION_LEVEL))),
        }
        for pattern in &self.output.redact {
            words.push(format!("`{pattern}` taken out of the answer"));
        }
        for KeptBound { rule_id, text } in &self.bounds {
            words.push(format!("{text} (rule `{rule_id}`)"));
        }
        if words.is_empty() {
            words.push("no constraints".to_owned());
        }
        f.write_str(&words.join(", "))
    }
}

/// `min` people of `group` must approve. The group `*` is any group: one person who may approve at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApproverGroup {
    pub group: String,
    pub min: u32,
}

/// Who has to approve, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApprovalRequirement {
    /// Every entry must be met; one person counts once. Sorted by group, one per group, never empty.
    pub all_of: Vec<ApproverGroup>,
    /// A request nobody decided within this many milliseconds is expired.
    pub decide_within_ms: u64,
    /// An approval nobody claimed within this many milliseconds is lapsed.
    pub claim_within_ms: u64,
    /// Who else may decide when nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// How far one decision may reach beyond one call; `None` for one call only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<GrantLimits>,
}

/// A second way to meet a requirement, open from a time on. The first one stays open too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Escalation {
    /// Milliseconds after the request was opened.
    pub after_ms: u64,
    /// Like [`ApprovalRequirement::all_of`].
    pub all_of: Vec<ApproverGroup>,
}

/// The most that approvers may grant at once: so many further calls, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GrantLimits {
    pub uses_max: u32,
    pub within_ms_max: u64,
}

impl ApprovalRequirement {
    /// What all of them together ask, each by its own rule: per group the largest minimum, the shortest clocks. It
    /// escalates when the last of those that do has escalated, and grants no more than every one of them grants.
    pub fn all_together<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let after_ms = all.clone().filter_map(|one| Some(one.escalation.as_ref()?.after_ms)).max();
        let escalated = all.clone().flat_map(|one| one.escalation.as_ref().map_or(&one.all_of, |next| &next.all_of));
        let escalation = after_ms.map(|after_ms| Escalation { after_ms, all_of: largest(escalated) });
        let limits = |one: &Self| one.grants;
        let grants = all.clone().map(limits).reduce(|one, two| match (one, two) {
            (Some(one), Some(two)) => Some(GrantLimits {
                uses_max: one.uses_max.min(two.uses_max),
                within_ms_max: one.within_ms_max.min(two.within_ms_max),
            }),
            (None, _) | (_, None) => None,
        });
        Self {
            all_of: largest(all.clone().flat_map(|one| &one.all_of)),
            decide_within_ms: all.clone().map(|one| one.decide_within_ms).min().unwrap_or(u64::MAX),
            claim_within_ms: all.map(|one| one.claim_within_ms).min().unwrap_or(u64::MAX),
            escalation,
            grants: grants.flatten(),
        }
    }
}

fn largest<'a>(groups: impl Iterator<Item = &'a ApproverGroup>) -> Vec<ApproverGroup> {
    let mut largest: BTreeMap<&str, u32> = BTreeMap::new();
    for ApproverGroup { group, min } in groups {
        let most = largest.entry(group).or_insert(0);
        *most = (*most).max(*min);
    }
    // One person of any group: whoever approves for a named group is that person.
    if largest.len() > 1 && largest.get("*") == Some(&1) {
        largest.remove("*");
    }
    largest.into_iter().map(|(group, min)| ApproverGroup { group: group.to_owned(), min }).collect()
}

impl Default for ApprovalRequirement {
    /// One person who may approve at all, within 15 minutes; good for 5 minutes.
    fn default() -> Self {
        Self {
            all_of: vec![ApproverGroup { group: "*".to_owned(), min: 1 }],
            decide_within_ms: 900_000,
            claim_within_ms: 300_000,
            escalation: None,
            grants: None,
        }
    }
}

/// One rule that took part in a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reason {
    /// The rule's id, or `default_decision` when no rule matched.
    pub rule_id: String,
    /// The rule's `reason`, for people and for the agent.
    pub text: String,
    /// The rule's `remediation`: what the agent may do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
}

/// How much of its arguments and its result the record may keep of a call. Ordered by what it reveals: of several rules
/// and entries of the catalogue the least counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuditLevel {
    /// Nothing, not even a digest: short arguments could be guessed from one.
    Metadata,
    /// Digests.
    Digest,
    /// The values, without what is secret.
    Redacted,
    /// The values.
    Full,
}

impl AuditLevel {
    /// The less revealing of the two; of one alone, that one.
    pub fn least(one: Option<Self>, two: Option<Self>) -> Option<Self> {
        match (one, two) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        }
    }

    /// The word used in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Digest => "digest",
            Self::Redacted => "redacted",
            Self::Full => "full",
        }
    }
}

/// What rules in `mode: observe` would have made of a call, had they been enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Observed {
    /// The verdict of all rules, the observed ones among them.
    pub verdict: Verdict,
    /// The observed rules that had a say, sorted.
    pub rule_ids: Vec<String>,
}

/// One decision, as plain data: it says what was decided and proves nothing. Only a [`Permit`] lets a call through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub verdict: Verdict,
    pub constraints: Constraints,
    /// Present exactly when the verdict is `require_approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRequirement>,
    /// The deciding rule first, then every other rule that matched.
    pub reasons: Vec<Reason>,
    /// The refusal must look as if the target did not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conceal: bool,
    /// Present when a rule in `mode: observe` had a say. Never changes anything else of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// The most that the record may keep of the call; absent when no rule says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditLevel>,
    /// The policy and catalogue that decided.
    pub snapshot_id: Digest,
    /// Only the rules, catalogue entries and constraints that took part: an unrelated edit keeps it.
    pub basis: Digest,
}

impl Decision {
    /// The deciding rule, or `default_decision`.
    pub fn rule_id(&self) -> &str {
        self.reasons.first().map_or("default_decision", |reason| &reason.rule_id)
    }

    /// The sentence of the deciding rule.
    pub fn reason(&self) -> &str {
        self.reasons.first().map_or("", |reason| &reason.text)
    }
}

/// A decision and, exactly when it allows, the permit to forward.
#[derive(Debug)]
pub struct Evaluated {
    /// Shared with the calls of which the same was decided.
    pub decision: Arc<Decision>,
    pub permit: Option<Permit>,
}

/// Proof that one judged call may be forwarded, and under which constraints.
///
/// Invariant 1: only `PolicySnapshot::evaluate` (on allow) and `approval::verify` make one. It cannot be cloned,
/// deserialized or built elsewhere.
#[derive(Debug)]
pub struct Permit {
    approved_call: Option<Digest>,
    snapshot_id: Digest,
    /// Shared: whatever a permit becomes part of names them.
    constraints: Arc<Constraints>,
}

impl Permit {
    pub(crate) fn new(approved_call: Option<Digest>, snapshot_id: Digest, constraints: Arc<Constraints>) -> Self {
        Self { approved_call, snapshot_id, constraints }
    }

    /// Digest of the call that people approved; `None` where the policy alone allowed it.
    pub fn approved_call(&self) -> Option<Digest> {
        self.approved_call
    }

    /// The snapshot that allowed it.
    pub fn snapshot_id(&self) -> Digest {
        self.snapshot_id
    }

    /// What enforcement must do while it runs.
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }
}

/// The permits of everything that one HTTP request holds: one message, or each message of a batch. Never empty.
///
/// A batch is forwarded whole or not at all, so one permit too few is none.
#[derive(Debug)]
pub struct PermitSet {
    permits: Vec<Permit>,
    constraints: Arc<Constraints>,
}

impl PermitSet {
    /// The set for a body of that many messages. `None` unless `permits` holds exactly one for each of them.
    pub fn of_all(permits: Vec<Permit>, messages: usize) -> Option<Self> {
        let united = |sum: Constraints, permit: &Permit| sum.united(permit.constraints());
        (!permits.is_empty() && permits.len() == messages)
            .then(|| Self { constraints: Arc::new(permits.iter().fold(Constraints::default(), united)), permits })
    }

    /// Under which constraints all of it runs.
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    /// The permits, at least one.
    pub fn permits(&self) -> &[Permit] {
        &self.permits
    }
}

impl From<Permit> for PermitSet {
    /// The set for one message.
    fn from(permit: Permit) -> Self {
        Self { constraints: Arc::clone(&permit.constraints), permits: vec![permit] }
    }
}
