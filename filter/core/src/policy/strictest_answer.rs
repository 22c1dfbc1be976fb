//! Step 11: the most that the rules could ask of an answer, for answers of which nobody can tell which call they are for.
//!
//! A stream that is asked for again brings answers to calls of the past, to whoever holds the session. Errs to one side
//! only: what some rule could ask of some call of this principal at this server is asked here.

use super::compile::PolicySnapshot;
use super::document::Match;
use crate::decision::{Constraints, Verdict};
use crate::identity::Principal;

impl PolicySnapshot {
    /// Limits on answers and runtimes of every rule that may match a call of `principal` at `server`, its name in the
    /// catalogue. Nothing else is in it. Who the principal is counts; its groups and scopes do not, for they may be
    /// others now than when the call was made.
    pub fn strictest_answer(&self, principal: &Principal, server: &str) -> Constraints {
        let enforced = self.rules.iter().map(|compiled| &compiled.rule).filter(|rule| {
            let limits = rule.constraints.max_runtime_ms.is_some() || !rule.constraints.output.is_empty();
            limits && !rule.is_observed && rule.verdict != Verdict::Deny
        });
        enforced.filter(|rule| may_be_about(&rule.matches, principal, server)).fold(
            Constraints::default(),
            |sum, rule| {
                let of = &rule.constraints;
                let max_runtime_ms = of.max_runtime_ms;
                sum.united(&Constraints { max_runtime_ms, output: of.output.clone(), ..Constraints::default() })
            },
        )
    }
}

fn may_be_about(condition: &Match, principal: &Principal, server: &str) -> bool {
    let is_actor = condition.actor_ids.is_empty() || condition.actor_ids.contains(&principal.subject);
    let tenant = principal.tenant.as_ref();
    let is_tenant = condition.tenants.is_empty() || tenant.is_some_and(|tenant| condition.tenants.contains(tenant));
    let servers = &condition.mcp_allow.servers;
    is_actor && is_tenant && (servers.is_empty() || servers.iter().any(|glob| glob.matches(server)))
}
