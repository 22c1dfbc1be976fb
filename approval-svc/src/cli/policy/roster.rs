//! Who is there to approve: a roster of groups, against what rules ask for. Before step 6.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::policy::{Finding, PolicyDocument, Rule};
use holdpoint_core::yaml;
use serde::Deserialize;

/// People by group, as a file says: `groups: {sre: [alice, bob]}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Roster {
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let node = yaml::read(&text, &yaml::Limits::default()).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            anyhow::anyhow!("{}:{first}", path.display())
        })?;
        serde_json::from_value(yaml::to_json(&node))
            .with_context(|| format!("`{}`: expected `groups: {{name: [person, …]}}`", path.display()))
    }

    /// One warning for each group of a rule in which nobody is, or fewer than the rule asks for.
    pub fn lint(&self, document: &PolicyDocument) -> Vec<Finding> {
        document.rules.iter().filter(|rule| !rule.is_observed).flat_map(|rule| self.of_rule(rule)).collect()
    }

    fn of_rule(&self, rule: &Rule) -> Vec<Finding> {
        let Some(approval) = &rule.approval else { return Vec::new() };
        let escalated = approval.escalation.as_ref().map(|next| next.all_of.as_slice()).unwrap_or_default();
        let short = |asked: &ApproverGroup| {
            let people = match asked.group.as_str() {
                // Anybody who may approve at all.
                "*" => self.groups.values().flatten().collect::<BTreeSet<_>>().len(),
                group => self.groups.get(group).map_or(0, BTreeSet::len),
            };
            let message = match people {
                0 => format!("asks group `{}`, in which nobody is: its calls wait until they expire", asked.group),
                _ if people < asked.min as usize => format!(
                    "asks {} of group `{}`, in which {people} are: its calls wait until they expire",
                    asked.min, asked.group
                ),
                _ => return None,
            };
            Some(Finding { lint: "roster-too-small", at: rule.at, subject: format!("rule `{}`", rule.id), message })
        };
        approval.all_of.iter().chain(escalated).filter_map(short).collect()
    }
}
