//! Step 6: whether a call keeps to the tools and argument values that a rule's constraints allow. What cannot be judged
//! does not.

use super::canonical;
use super::condition::{self, Arguments, Facts};
use super::document::{Bound, Rule, RuleConstraints};
use super::glob::Glob;
use super::pointer::Pointer;
use crate::decision::{ConcurrencyLimit, Constraints, KeptBound, MAX_BYTES, MAX_RETRIES, MAX_RUNTIME, REDACTION_LEVEL};
use crate::decision::{RateKey, RateLimit};
use crate::envelope::{CallEnvelope, LabelFact, Reading, Topic};
use crate::order;

/// The first bound of the rule that this reading of a call breaks, in words; nothing when it keeps all of them.
pub(super) fn broken(of: &RuleConstraints, facts: &Facts<'_>) -> Option<String> {
    if forbids(of, facts.reading) {
        return Some(format!("only the tools {} may be called", tools(of)));
    }
    // What else there is has no arguments to bound.
    if facts.topic != Topic::Tool && facts.topic != Topic::Prompt {
        return None;
    }
    let broken = of.arguments.iter().find(|(pointer, bound)| !keeps(pointer, bound, facts));
    broken.map(|(pointer, bound)| {
        format!("argument `{}` is outside its bound {}", pointer.as_str(), canonical::bound(bound))
    })
}

/// Whether the rule's tool list leaves out the tool that this reading is about.
pub(super) fn forbids(of: &RuleConstraints, reading: &Reading) -> bool {
    matches!(reading.label("mcp.tool"), LabelFact::Known(tool) if forbids_tool(of, tool))
}

fn forbids_tool(of: &RuleConstraints, tool: &str) -> bool {
    !of.allowed_tools.is_empty() && !of.allowed_tools.iter().any(|glob| glob.matches(tool))
}

fn keeps(pointer: &Pointer, bound: &Bound, facts: &Facts<'_>) -> bool {
    match facts.arguments {
        Arguments::Sent(arguments) => condition::keeps_bound(pointer, &bound.test, bound.optional, arguments),
        // Some arguments keep it.
        Arguments::Any(_) => true,
    }
}

fn tools(of: &RuleConstraints) -> String {
    let quoted: Vec<String> = of.allowed_tools.iter().map(|glob: &Glob| format!("`{}`", glob.as_str())).collect();
    quoted.join(", ")
}

/// What a rule asks of enforcement if this call runs.
pub(super) fn constraints(rule: &Rule, envelope: &CallEnvelope) -> Constraints {
    let of = &rule.constraints;
    let rule_id = || rule.id.clone();
    let scalars = [
        (MAX_RUNTIME, of.max_runtime_ms.is_some()),
        (MAX_RETRIES, of.max_retries.is_some()),
        (MAX_BYTES, of.output.max_bytes.is_some()),
        (REDACTION_LEVEL, !of.output.redaction_level.is_none()),
    ];
    let limit =
        of.max_concurrent_jobs.map(|jobs_max| ConcurrencyLimit { rule_id: rule_id(), jobs_max, scope: of.scope });
    let rate = of.rate.map(|rate| RateLimit {
        rule_id: rule_id(),
        calls_max: rate.calls_max,
        per_ms: rate.per_ms,
        key: rate.key,
        of: counted_by(rate.key, envelope),
        scope: of.scope,
    });
    let arguments = of.arguments.iter().map(|(pointer, bound)| KeptBound {
        rule_id: rule_id(),
        text: format!("`{}` within {}", pointer.as_str(), canonical::bound(bound)),
    });
    let tools = (!of.allowed_tools.is_empty())
        .then(|| KeptBound { rule_id: rule_id(), text: format!("only the tools {}", tools(of)) });
    Constraints {
        max_runtime_ms: of.max_runtime_ms,
        max_retries: of.max_retries,
        concurrency: order::set(limit),
        rates: order::set(rate),
        output: of.output.clone(),
        bounds: order::set(arguments.chain(tools)),
        limited_by: order::map(
            scalars.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (name.to_owned(), rule_id())),
        ),
    }
}

fn counted_by(key: RateKey, envelope: &CallEnvelope) -> String {
    let principal = envelope.principal();
    match key {
        RateKey::Actor => format!("{} {}", principal.issuer, principal.subject),
        RateKey::Tool => format!("{}/{}", envelope.server(), envelope.target().unwrap_or(envelope.method())),
        RateKey::Server => envelope.server().to_owned(),
        RateKey::Tenant => principal.tenant.clone().unwrap_or_default(),
    }
}
