//! Step 4: whom a call acts for. Plain facts; the filter proves them, rules match on them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What kind of actor makes the calls, as far as verified facts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    Human,
    Agent,
    Service,
}

impl ActorType {
    /// The word used in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Service => "service",
        }
    }
}

/// Whom a call acts for: (issuer, subject) from verified facts only, never from what the caller merely says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Who vouches for the subject: the `iss` of a verified token.
    pub issuer: String,
    /// The human or workload the call acts for.
    pub subject: String,
    /// The agent or OAuth client that acts, when the token names one (`act.sub`, else `azp`, else `client_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    pub actor_type: ActorType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
}

impl Principal {
    /// Who it is, without the groups and scopes, of which there can be very many: what records carry.
    #[must_use]
    pub fn named(&self) -> Self {
        Self { groups: BTreeSet::new(), scopes: BTreeSet::new(), ..self.clone() }
    }
}
