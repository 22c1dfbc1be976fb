//! Step 11: whether a listed tool, resource or prompt could be called at all, whatever its arguments.
//!
//! Errs to one side only: what some call of this principal could reach is never hidden. Predicates over arguments are
//! looked at one by one, so what only their interplay rules out is shown.

use super::bounds;
use super::compile::{PolicySnapshot, SnapshotRule};
use super::condition::{self, Arguments, Before, Facts, Kinds, Mode};
use super::evaluate::{effect, is_asked};
use super::trace::{Effect, Untraced};
use super::truth::Truth;
use crate::decision::Verdict;
use crate::envelope::{Offered, Reading, Topic, prospects};
use crate::identity::Principal;

impl PolicySnapshot {
    /// Whether some call of `offered` by `principal` would be allowed or would wait for an approval.
    ///
    /// `server` is the catalogue's name of the server. False for a server that the catalogue does not know: nothing
    /// passes there.
    pub fn may_ever(&self, principal: &Principal, server: &str, offered: Offered<'_>) -> bool {
        let Some(server) = self.catalogue.server(server) else { return false };
        prospects(offered, server).iter().any(|prospect| {
            let could_pass = |reading| self.could_pass(principal, prospect.topic, reading);
            prospect.readings.iter().all(|variants| variants.iter().any(could_pass))
        })
    }

    fn could_pass(&self, principal: &Principal, topic: Topic, reading: &Reading) -> bool {
        if !reading.required_scopes.is_subset(&principal.scopes) {
            return false;
        }
        let arguments = match topic {
            Topic::Tool => Arguments::Any(Kinds::All),
            Topic::Prompt => Arguments::Any(Kinds::Text),
            Topic::Resource
            | Topic::Completion
            | Topic::Subscription
            | Topic::Task
            | Topic::List
            | Topic::Lifecycle
            | Topic::Sampling
            | Topic::Elicitation
            | Topic::Roots
            | Topic::Response
            | Topic::Unknown => Arguments::Sent(None),
        };
        let facts = Facts { topic, reading, principal, arguments, before: Before::Any };
        let mut is_open = self.is_open_by_default(topic);
        let asked = self
            .index
            .candidates(&facts, &self.index.of_caller(topic, principal))
            .into_iter()
            .filter_map(|at| self.rules.get(at));
        let enforced = asked.filter(|compiled| !compiled.rule.is_observed && is_asked(&compiled.rule, topic));
        for SnapshotRule { rule, .. } in enforced {
            // The caller would have denials miss and all else match.
            let forbids = bounds::forbids(&rule.constraints, reading);
            let wished = if rule.verdict == Verdict::Deny || forbids { Truth::False } else { Truth::True };
            let mode = Mode::of_rule(rule.verdict == Verdict::Allow).towards(wished);
            let matched = condition::holds(&rule.matches, &facts, mode, &mut Untraced);
            match effect(rule, matched, topic) {
                _ if forbids && matched != Truth::False => return false,
                Effect::Denies => return false,
                Effect::Asks | Effect::Grants => is_open = true,
                Effect::MayAsk | Effect::Constrains | Effect::Nothing | Effect::PassedOver => {}
            }
        }
        is_open
    }
}
