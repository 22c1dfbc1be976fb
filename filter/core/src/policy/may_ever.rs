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
use crate::envelope::{Offered, Prospects, Reading, Topic};
use crate::identity::Principal;

/// One caller before the lists of one server.
pub struct Onlooker<'p> {
    policy: &'p PolicySnapshot,
    principal: &'p Principal,
    /// `None` for a server that the catalogue does not know.
    prospects: Option<Prospects<'p>>,
    /// The rules that what the caller is leads to.
    of_caller: Vec<usize>,
}

impl Onlooker<'_> {
    /// As [`PolicySnapshot::may_ever`].
    pub fn may_ever(&mut self, offered: Offered<'_>) -> bool {
        let Self { policy, principal, prospects, of_caller } = self;
        let Some(prospects) = prospects else { return false };
        prospects.of(offered).iter().any(|prospect| {
            let could_pass = |reading| policy.could_pass(principal, of_caller, prospect.topic, reading);
            prospect.readings.iter().all(|variants| variants.iter().any(could_pass))
        })
    }
}

impl PolicySnapshot {
    /// Whether some call of `offered` by `principal` would be allowed or would wait for an approval.
    ///
    /// `server` is the catalogue's name of the server. False for a server that the catalogue does not know: nothing
    /// passes there.
    pub fn may_ever(&self, principal: &Principal, server: &str, offered: Offered<'_>) -> bool {
        self.onlooker(principal, server).may_ever(offered)
    }

    /// Somebody who looks at what a server lists, for many questions of [`PolicySnapshot::may_ever`] after one another.
    pub fn onlooker<'p>(&'p self, principal: &'p Principal, server: &str) -> Onlooker<'p> {
        Onlooker {
            policy: self,
            principal,
            prospects: self.catalogue.server(server).map(Prospects::new),
            // Nothing that a list offers is plumbing, of which only rules that name topics are asked.
            of_caller: self.index.of_caller(Topic::Tool, principal),
        }
    }

    fn could_pass(&self, principal: &Principal, of_caller: &[usize], topic: Topic, reading: &Reading) -> bool {
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
        let asked = self.index.candidates(&facts, of_caller).into_iter().filter_map(|at| self.rules.get(at));
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
