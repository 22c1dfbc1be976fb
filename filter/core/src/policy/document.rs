//! The policy as written: every value checked by itself, nothing compiled. Becomes a snapshot by `compile`.
//!
//! Lists that mean sets are sets here, aliases have become the proper word, and defaults are filled in, so that two
//! documents that say the same are equal.

mod after;
mod arguments;
mod catalogue;
mod conditions;
mod constraints;
mod read;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::glob::Glob;
use super::number::Number;
use super::pointer::Pointer;
use super::template::Template;
use crate::decision::{ApprovalRequirement, AuditLevel, LimitScope, OutputLimits, RateKey, Verdict};
use crate::digest::Digest;
use crate::identity::ActorType;
use crate::yaml::Place;

pub use after::AFTER_MS_MAX;
pub use read::{read_candidate, read_document, read_file};

pub(crate) use catalogue::CREDENTIAL_HEADERS;

/// The grammar versions this version reads.
pub const VERSIONS: [&str; 1] = ["2026-01-27"];

/// The rule ids that decisions use where no rule decided; no rule may have them.
pub const RESERVED_RULE_IDS: [&str; 4] = ["default_decision", "pinned_definition", "plumbing", "required_scopes"];

/// A policy with its catalogue.
#[derive(Clone, Debug)]
pub struct PolicyDocument {
    pub version: String,
    /// What becomes of a call that no rule matches: `Deny` unless the policy says `Allow`.
    pub default_decision: Verdict,
    /// By server name.
    pub servers: BTreeMap<String, Server>,
    /// In the order of the text, which means nothing: rule ids are unique.
    pub rules: Vec<Rule>,
}

/// What a call does to the world, as the catalogue says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionClass {
    Read,
    Write,
    Admin,
}

impl ActionClass {
    /// Every class, the mildest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The word used in policies, labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// One server of the catalogue.
#[derive(Clone, Debug)]
pub struct Server {
    pub at: Place,
    pub recognised_by: Recognition,
    /// What every call to it needs, such as `network:egress`.
    pub requires: BTreeSet<String>,
    pub risk_tags: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    /// Risk tags of what the catalogue does not name.
    pub unlisted_risk_tags: BTreeSet<String>,
    /// The most that the record may keep of a call to it.
    pub audit: Option<AuditLevel>,
    /// Lower-case names of headers that change what a call means.
    pub bind_headers: BTreeSet<String>,
    pub credential: Credential,
    pub tools: BTreeMap<Glob, Entry>,
    pub resources: BTreeMap<Glob, Entry>,
    pub prompts: BTreeMap<Glob, Entry>,
}

/// What the caller's credentials may do: whether they go on to the server, and what the token must carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// Whether the server sees the caller's credentials. Left out: a server does not, an entry does as its server.
    pub forward: Option<bool>,
    /// Scopes that the caller's token must carry, all of them. Those of an entry add to its server's.
    pub required_scopes: BTreeSet<String>,
    /// Lower-case names of further headers that hold credentials; only of a server.
    pub headers: BTreeSet<String>,
}

/// How a server is recognised: every field that is not empty must hold, each by any one of its values.
#[derive(Clone, Debug, Default)]
pub struct Recognition {
    /// Values of the route metadata key `server`. A server without `match` is recognised by its own name here.
    pub route_metadata: BTreeSet<String>,
    /// Patterns over the lower-case host without port.
    pub hosts: BTreeSet<Glob>,
    /// Path prefixes that end on a segment boundary.
    pub path_prefixes: BTreeSet<String>,
    /// Envoy cluster names.
    pub clusters: BTreeSet<String>,
}

/// What a tool, resource or prompt means.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Place,
    pub action: ActionClass,
    pub capability: Option<String>,
    pub resource: Option<Template>,
    pub risk_tags: BTreeSet<String>,
    pub requires: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    /// The most that the record may keep of a call of it.
    pub audit: Option<AuditLevel>,
    pub credential: Credential,
    /// Only of a tool that is named in full.
    pub pin: Option<Pin>,
}

/// Which definition of a tool was looked at by whoever wrote the policy, and what becomes of calls under another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Any of them; never empty.
    pub digests: BTreeSet<Digest>,
    /// `Deny` or `RequireApproval`.
    pub on_change: Verdict,
    /// As long as this Envoy has not seen the tool listed.
    pub on_unseen: Verdict,
    /// Who approves where that is asked.
    pub approval: ApprovalRequirement,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub at: Place,
    pub id: String,
    /// The condition; an empty one (`match: {}`) holds for every governed call.
    pub matches: Match,
    pub verdict: Verdict,
    pub reason: Option<String>,
    pub remediation: Option<String>,
    /// Only with `Deny`: the refusal looks as if the target did not exist.
    pub conceal: bool,
    /// Present exactly with `RequireApproval`.
    pub approval: Option<ApprovalRequirement>,
    /// Never with `Deny`.
    pub constraints: RuleConstraints,
    /// `mode: observe`: what the rule would do is recorded and not done.
    pub is_observed: bool,
    /// The most that the record may keep of a call that the rule matches.
    pub audit: Option<AuditLevel>,
}

/// `constraints` of a rule.
#[derive(Clone, Debug, Default)]
pub struct RuleConstraints {
    pub max_runtime_ms: Option<u64>,
    pub max_retries: Option<u32>,
    pub max_concurrent_jobs: Option<u32>,
    pub rate: Option<RateWindow>,
    /// What `max_concurrent_jobs` and `max_calls` count.
    pub scope: LimitScope,
    /// Tools that may be called at all; empty says nothing about tools.
    pub allowed_tools: BTreeSet<Glob>,
    pub arguments: BTreeMap<Pointer, Bound>,
    pub output: OutputLimits,
}

/// `max_calls`, `per_ms` and `key` of a rule's budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWindow {
    pub calls_max: u32,
    pub per_ms: u64,
    pub key: RateKey,
}

/// A bound on an argument: what cannot be judged breaks it.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    pub test: ValueTest,
    /// Absence keeps the bound. Otherwise it breaks it, for nobody knows what the server puts in its place.
    pub optional: bool,
}

impl RuleConstraints {
    /// Whether the rule asks nothing of enforcement.
    pub fn is_empty(&self) -> bool {
        let Self { max_runtime_ms, max_retries, max_concurrent_jobs, rate, scope: _, allowed_tools, arguments, output } =
            self;
        max_runtime_ms.is_none()
            && max_retries.is_none()
            && max_concurrent_jobs.is_none()
            && rate.is_none()
            && allowed_tools.is_empty()
            && arguments.is_empty()
            && output.is_empty()
    }
}

/// A condition on a call: every part that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// By label name: any of the patterns.
    pub labels: BTreeMap<String, BTreeSet<Glob>>,
    /// Any of them.
    pub risk_tags: BTreeSet<String>,
    /// All of them.
    pub requires: BTreeSet<String>,
    pub capabilities: BTreeSet<Glob>,
    pub topics: BTreeSet<Glob>,
    pub tenants: BTreeSet<String>,
    /// All of them, from the verified token.
    pub scopes: BTreeSet<String>,
    /// Any of them.
    pub groups: BTreeSet<String>,
    /// Subjects.
    pub actor_ids: BTreeSet<String>,
    pub actor_types: BTreeSet<ActorType>,
    /// The value is one of.
    pub mcp_allow: Selection,
    /// The value is there and none of.
    pub mcp_deny: Selection,
    /// Whether the call carries a secret.
    pub secrets_present: Option<bool>,
    pub arguments: BTreeMap<Pointer, ValueTest>,
    /// What the caller did before. Only where it tightens: in a rule that denies or asks, or under `not` in one that allows.
    pub after: Option<After>,
    /// Must not hold.
    pub not: Option<Box<Match>>,
}

/// A kind of earlier call of the same principal, through this Envoy process: every part that is not empty must fit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Any of them.
    pub risk_tags: BTreeSet<String>,
    pub capabilities: BTreeSet<Glob>,
    pub servers: BTreeSet<Glob>,
    /// How far back, from when it ran and from when the last of its answer was handed over.
    pub within_ms: u64,
    pub before_start: BeforeStart,
    /// `scope: process` is written, so the author knows.
    pub scope_is_declared: bool,
}

/// What a time counts as of which nobody knows anything, because nothing was written down yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeStart {
    /// It cannot be judged, which counts against the caller.
    Unknown,
    /// Nothing happened.
    Clean,
}

/// The patterns of `mcp.allow_…` or `mcp.deny_…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub servers: BTreeSet<Glob>,
    pub tools: BTreeSet<Glob>,
    pub resources: BTreeSet<Glob>,
    pub prompts: BTreeSet<Glob>,
    pub actions: BTreeSet<ActionClass>,
}

impl Selection {
    /// Field name after `allow_` or `deny_`, the label it looks at, and the patterns; actions stand apart.
    pub(crate) fn by_label(&self) -> [(&'static str, &'static str, &BTreeSet<Glob>); 4] {
        [
            ("servers", "mcp.server", &self.servers),
            ("tools", "mcp.tool", &self.tools),
            ("resources", "mcp.resource", &self.resources),
            ("prompts", "mcp.prompt", &self.prompts),
        ]
    }
}

/// A predicate over the value or values that a pointer leads to: every test that is present must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueTest {
    pub equals: Option<Scalar>,
    pub one_of: BTreeSet<Scalar>,
    pub glob: Option<Glob>,
    pub prefix: Option<String>,
    pub lt: Option<Number>,
    pub lte: Option<Number>,
    pub gt: Option<Number>,
    pub gte: Option<Number>,
    pub exists: Option<bool>,
    /// Characters of a string, elements of a list, members of an object.
    pub length_lte: Option<u64>,
    /// All values must pass instead of any. Only with a pointer that has a `*` segment.
    pub every: bool,
    pub not: Option<Box<ValueTest>>,
}

/// A value that arguments are compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
}
