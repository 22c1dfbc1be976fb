//! Step 6: a policy document becomes a snapshot: compiled, and named by the digest of its one spelling.

use super::bases::Bases;
use super::canonical;
use super::catalogue::Catalogue;
use super::document::{Match, PolicyDocument, Rule};
use super::index::RuleIndex;
use super::past::{self, Sought};
use crate::decision::{LimitScope, Verdict};
use crate::digest::Digest;
use crate::envelope::{Remembered, SECRETS_TAG};
use crate::order;
use crate::yaml::{Place, Problem, Problems};

const SNAPSHOT_TAG: &str = "holdpoint/policy/v1";
const RULE_TAG: &str = "holdpoint/policy-part/v1";
const RULES_MAX: usize = 100_000;

/// A policy in force: rules and catalogue, immutable, named by [`PolicySnapshot::id`].
#[derive(Clone, Debug)]
pub struct PolicySnapshot {
    id: Digest,
    canonical: String,
    pub(crate) catalogue: Catalogue,
    /// In the order of their ids, so that nothing depends on the order of the text.
    pub(super) rules: Vec<SnapshotRule>,
    pub(super) index: RuleIndex,
    pub(super) default_decision: Verdict,
    /// Whether any rule is in `mode: observe`.
    pub(super) observes: bool,
    /// Whether any rule asks for secrets, so that texts without such a rule are not searched for them.
    pub(crate) asks_for_secrets: bool,
    /// The kinds of earlier call that rules look back for.
    pub(super) sought: Vec<Sought>,
    pub(super) bases: Bases,
    pub(crate) remembered: Remembered,
}

/// A rule with what its evaluation needs beside it.
#[derive(Clone, Debug)]
pub(super) struct SnapshotRule {
    pub(super) rule: Rule,
    /// Over the rule as written; part of each basis it took part in.
    pub(super) digest: Digest,
    /// Whether what it does depends on anything that may be another in every call of one caller to one tool: arguments,
    /// or what ran before.
    pub(super) looks_at_call: bool,
}

impl PolicySnapshot {
    /// The digest of [`PolicySnapshot::canonical`].
    pub fn id(&self) -> Digest {
        self.id
    }

    /// Policy and catalogue as canonical JSON, which `policy::read_file` reads back into a snapshot of the same id.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// How many rules it has.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }
}

impl PolicySnapshot {
    /// Ids of the rules that limit how many calls run at once.
    pub fn concurrency_rules(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter(|compiled| !compiled.rule.is_observed)
            .filter(|compiled| compiled.rule.constraints.max_concurrent_jobs.is_some())
            .map(|compiled| compiled.rule.id.as_str())
    }

    /// Whether any server is recognised by the cluster that its route selects ([`crate::envelope::RouteFacts`]).
    pub fn reads_cluster(&self) -> bool {
        self.catalogue.reads_cluster
    }

    /// Whether any rule bounds how many calls run at once over all gateways.
    pub fn counts_for_the_fleet(&self) -> bool {
        self.rules
            .iter()
            .map(|compiled| &compiled.rule.constraints)
            .any(|constraints| constraints.scope == LimitScope::Fleet && constraints.max_concurrent_jobs.is_some())
    }

    /// Whether any rule counts calls: `max_calls`, or `max_retries` for identical ones.
    pub fn counts_calls(&self) -> bool {
        let counts = |rule: &Rule| rule.constraints.rate.is_some() || rule.constraints.max_retries.is_some();
        self.rules.iter().any(|compiled| counts(&compiled.rule))
    }
}

/// Compiles a document. The error lists what only shows when the parts are seen together.
pub fn compile(document: &PolicyDocument) -> Result<PolicySnapshot, Problems> {
    let mut problems = Problems::new();
    let rules: Vec<SnapshotRule> = document
        .rules
        .iter()
        .map(|rule| SnapshotRule {
            rule: rule.clone(),
            digest: Digest::tagged(RULE_TAG, canonical::rule(rule).as_bytes()),
            looks_at_call: looks_at_call(&rule.matches) || !rule.constraints.arguments.is_empty(),
        })
        .collect();
    if rules.len() > RULES_MAX {
        let message = format!("at most {RULES_MAX} rules are compiled, found {}", rules.len());
        problems.push(Problem { at: Place::START, path: "rules".to_owned(), message });
    }
    let rules = order::sorted(rules, |one, two| one.rule.id.cmp(&two.rule.id));
    for (one, two) in rules.iter().zip(rules.iter().skip(1)) {
        if one.rule.id == two.rule.id {
            let message = format!("rule `{}`: another rule has this id; ids are unique", two.rule.id);
            problems.push(Problem { at: two.rule.at, path: "rules".to_owned(), message });
        }
    }
    let sought = past::sought(document, &mut problems);
    let canonical = canonical::document(document);
    let snapshot = PolicySnapshot {
        id: Digest::tagged(SNAPSHOT_TAG, canonical.as_bytes()),
        canonical,
        catalogue: Catalogue::compile(document),
        observes: rules.iter().any(|compiled| compiled.rule.is_observed),
        asks_for_secrets: rules.iter().any(|compiled| asks_for_secrets(&compiled.rule.matches)),
        sought,
        bases: Bases::default(),
        remembered: Remembered::default(),
        index: RuleIndex::build(&rules),
        rules,
        default_decision: document.default_decision,
    };
    problems.or(Some(snapshot))
}

/// Whether a condition looks at the arguments of a call, or at what its caller did before.
fn looks_at_call(condition: &Match) -> bool {
    // Taken apart, so that nobody adds a condition and forgets it here. Tags and secrets of a call are facts of its seal.
    let Match {
        labels: _,
        risk_tags: _,
        requires: _,
        capabilities: _,
        topics: _,
        tenants: _,
        scopes: _,
        groups: _,
        actor_ids: _,
        actor_types: _,
        mcp_allow: _,
        mcp_deny: _,
        secrets_present: _,
        arguments,
        after,
        not,
    } = condition;
    !arguments.is_empty() || after.is_some() || not.as_deref().is_some_and(looks_at_call)
}

/// Whether a secret in the call could change how the condition comes out.
fn asks_for_secrets(condition: &Match) -> bool {
    condition.secrets_present.is_some()
        || condition.looks_back_for_secrets()
        || condition.risk_tags.contains(SECRETS_TAG)
        || condition.not.as_deref().is_some_and(asks_for_secrets)
}
