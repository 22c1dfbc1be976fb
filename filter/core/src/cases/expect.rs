//! What a case expects, and how it differs from what was decided.

use std::collections::{BTreeMap, BTreeSet};

use super::Judged;
use crate::decision::{ApprovalRequirement, AuditLevel, Constraints, Decision, OutputLimits, Verdict};
use crate::policy::RESERVED_RULE_IDS;

/// The expectation of one case. What is `None` is not looked at; constraints always are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// `None`: the call is refused before any rule.
    pub verdict: Option<Verdict>,
    /// Every rule that took part, and no other.
    pub rules: Option<BTreeSet<String>>,
    /// The rule that decided, or `default_decision`.
    pub decided_by: Option<String>,
    /// As [`constraints`] writes them; empty when none are expected.
    pub constraints: BTreeMap<String, String>,
    /// Minimum by group.
    pub approvers: Option<BTreeMap<String, u32>>,
    /// Part of the sentence that the agent is given.
    pub reason: Option<String>,
    pub conceal: Option<bool>,
    /// The verdict if rules in `mode: observe` were enforced.
    pub observed: Option<Verdict>,
    /// The most that the record may keep of the call.
    pub audit: Option<AuditLevel>,
}

/// One thing that is not as expected, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as `verdict` or `constraints.budgets.max_runtime_ms`.
    pub field: String,
    pub expected: String,
    pub found: String,
}

impl Expected {
    /// Everything in which `judged` differs; nothing when the case passes.
    pub fn differences(&self, judged: &Judged) -> Vec<Difference> {
        let mut differences = Differences::default();
        differences.compare("verdict", self.verdict_word(), verdict_word(judged));
        match judged {
            Judged::Refused(why) => {
                if let Some(part) = self.reason.as_ref().filter(|part| !why.contains(part.as_str())) {
                    differences.add("reason", &format!("a sentence with `{part}`"), why);
                }
            }
            Judged::Decided(decision) => self.compare(decision, &mut differences),
        }
        differences.found
    }

    fn verdict_word(&self) -> &'static str {
        self.verdict.map_or("refused", Verdict::as_str)
    }

    fn compare(&self, decision: &Decision, differences: &mut Differences) {
        if let Some(rule) = &self.decided_by {
            differences.compare("decided_by", rule, decision.rule_id());
        }
        if let Some(expected) = &self.rules {
            let found = rules(decision);
            if *expected != found {
                differences.add("rules", &listed(expected), &listed(&found));
            }
        }
        // Nobody bounds a call that does not run.
        if decision.verdict != Verdict::Deny {
            let found = constraints(&decision.constraints);
            let none = "nothing".to_owned();
            let names: BTreeSet<&String> = self.constraints.keys().chain(found.keys()).collect();
            for name in names {
                let expected = self.constraints.get(name).unwrap_or(&none);
                let found = found.get(name).unwrap_or(&none);
                differences.compare(&format!("constraints.{name}"), expected, found);
            }
        }
        if let Some(expected) = &self.approvers {
            let found = decision.approval.as_ref().map(approvers).unwrap_or_default();
            if *expected != found {
                differences.add("approvers", &people(expected), &people(&found));
            }
        }
        if let Some(part) = self.reason.as_ref().filter(|part| !decision.reason().contains(part.as_str())) {
            differences.add("reason", &format!("a sentence with `{part}`"), decision.reason());
        }
        if let Some(expected) = self.conceal {
            differences.compare("conceal", &expected.to_string(), &decision.conceal.to_string());
        }
        if let Some(expected) = self.observed {
            let found = decision.observed.as_ref().map_or("nothing observed", |observed| observed.verdict.as_str());
            differences.compare("observed", expected.as_str(), found);
        }
        if let Some(expected) = self.audit {
            differences.compare("audit", expected.as_str(), decision.audit.map_or("nothing", AuditLevel::as_str));
        }
    }
}

#[derive(Default)]
struct Differences {
    found: Vec<Difference>,
}

impl Differences {
    fn compare(&mut self, field: &str, expected: &str, found: &str) {
        if expected != found {
            self.add(field, expected, found);
        }
    }

    fn add(&mut self, field: &str, expected: &str, found: &str) {
        let (field, expected, found) = (field.to_owned(), expected.to_owned(), found.to_owned());
        self.found.push(Difference { field, expected, found });
    }
}

/// The word for what became of a call: a verdict, or `refused`.
pub(super) fn verdict_word(judged: &Judged) -> &'static str {
    match judged {
        Judged::Decided(decision) => decision.verdict.as_str(),
        Judged::Refused(_) => "refused",
    }
}

/// The policy's own rules that took part: the fixed words for "no rule" are none of them.
fn rules(decision: &Decision) -> BTreeSet<String> {
    let all = decision.reasons.iter().map(|reason| &reason.rule_id);
    all.filter(|rule| !RESERVED_RULE_IDS.contains(&rule.as_str())).cloned().collect()
}

/// Constraints as a policy writes them: by path such as `budgets.max_runtime_ms`, values as JSON. Of several leases the
/// smallest, of several windows the one that lets fewest calls through. Bounds that the call kept are not among them:
/// a call that breaks one is denied.
pub fn constraints(constraints: &Constraints) -> BTreeMap<String, String> {
    let Constraints { max_runtime_ms, max_retries, concurrency, rates, output, bounds: _, limited_by: _ } = constraints;
    let OutputLimits { max_bytes, redact, redaction_level } = output;
    let mut written = BTreeMap::new();
    let mut write = |name: &str, value: Option<serde_json::Value>| {
        written.extend(value.map(|value| (name.to_owned(), value.to_string())));
    };
    write("budgets.max_runtime_ms", max_runtime_ms.map(Into::into));
    write("budgets.max_retries", max_retries.map(Into::into));
    write("budgets.max_concurrent_jobs", concurrency.iter().map(|limit| limit.jobs_max).min().map(Into::into));
    let narrowest = rates.iter().min_by_key(|rate| (u64::from(rate.calls_max), std::cmp::Reverse(rate.per_ms)));
    write("budgets.max_calls", narrowest.map(|rate| rate.calls_max.into()));
    write("budgets.per_ms", narrowest.map(|rate| rate.per_ms.into()));
    write("budgets.key", narrowest.map(|rate| rate.key.as_str().into()));
    write("output.max_bytes", max_bytes.map(Into::into));
    let patterns = || redact.iter().map(|pattern| serde_json::Value::from(pattern.as_str())).collect::<Vec<_>>();
    write("output.redact", (!redact.is_empty()).then(|| patterns().into()));
    write("redaction_level", (!redaction_level.is_none()).then(|| redaction_level.as_str().into()));
    written
}

/// The smallest number of people of each group that must approve.
pub fn approvers(requirement: &ApprovalRequirement) -> BTreeMap<String, u32> {
    requirement.all_of.iter().map(|entry| (entry.group.clone(), entry.min)).collect()
}

fn listed(rules: &BTreeSet<String>) -> String {
    if rules.is_empty() {
        return "no rule".to_owned();
    }
    rules.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn people(groups: &BTreeMap<String, u32>) -> String {
    if groups.is_empty() {
        return "nobody".to_owned();
    }
    groups.iter().map(|(group, min)| format!("{min} of {group}")).collect::<Vec<_>>().join(", ")
}
