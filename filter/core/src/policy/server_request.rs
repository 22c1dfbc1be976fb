//! Step 11: whether a server may ask something of the client it answers: sampling, elicitation, roots.
//!
//! Judged by the same rules as calls, under its own topic. It acts for the same principal, and it cannot wait: where a
//! rule wants an approval, the answer is no.

use super::compile::{PolicySnapshot, SnapshotRule};
use super::condition::{self, Arguments, Before, Facts, Mode};
use super::evaluate::{Decider, Tally, effect, is_asked};
use super::past::UsageView;
use super::trace::Untraced;
use crate::decision::Verdict;
use crate::envelope::{Topic, plain};
use crate::identity::Principal;
use crate::json::Value;

/// What was decided about one request of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRequestDecision {
    pub is_allowed: bool,
    /// The deciding rule, `default_decision` or `plumbing`.
    pub rule_id: String,
    pub reason: String,
}

impl PolicySnapshot {
    /// Decides whether `server` (its name in the catalogue) may ask `method` with `params` of the client that acts for
    /// `principal`. Never fails: what cannot be judged is a no.
    pub fn judge_server_request(
        &self,
        principal: &Principal,
        server: &str,
        method: &str,
        params: Option<Value<'_>>,
        usage: &dyn UsageView,
    ) -> ServerRequestDecision {
        let no = |rule_id: &str, reason: String| ServerRequestDecision {
            is_allowed: false,
            rule_id: rule_id.to_owned(),
            reason,
        };
        let Some(server) = self.catalogue.server(server) else {
            return no("default_decision", "the catalogue does not know this server".to_owned());
        };
        let topic = Topic::of_server_request(method);
        let reading = plain(server, method.to_owned());
        let facts = Facts {
            topic,
            reading: &reading,
            principal,
            arguments: Arguments::Sent(params),
            before: Before::Told(usage),
        };
        let mut tally = Tally::default();
        for (index, SnapshotRule { rule, .. }) in self.rules.iter().enumerate() {
            if !rule.is_observed && is_asked(rule, topic) {
                let mode = Mode::of_rule(rule.verdict == Verdict::Allow);
                let matched = condition::holds(&rule.matches, &facts, mode, &mut Untraced);
                tally.take(index, rule, effect(rule, matched, topic), None);
            }
        }
        let (verdict, decider) = tally.verdict(topic, self.is_open_by_default(topic));
        let decided = match decider {
            Decider::Rule(index) => self.rules.get(index).map(|decided| &decided.rule),
            Decider::Default | Decider::Plumbing => None,
        };
        let (rule_id, reason) = match decided {
            Some(rule) => (rule.id.as_str(), rule.reason.clone().unwrap_or_default()),
            None if decider == Decider::Plumbing => ("plumbing", String::new()),
            None => ("default_decision", format!("no rule lets this server ask `{}`", topic.as_str())),
        };
        match verdict {
            Verdict::Allow => ServerRequestDecision { is_allowed: true, rule_id: rule_id.to_owned(), reason },
            Verdict::RequireApproval => no(rule_id, "what a server asks cannot wait for an approval".to_owned()),
            Verdict::Deny => no(rule_id, reason),
        }
    }
}
