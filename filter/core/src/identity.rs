//! Step 4: whom a call acts for. Plain facts; the filter proves them, rules match on them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::canonical::ObjectWriter;

/// What kind of actor makes the calls, as far as verified facts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    Human,
    Agent,
    Service,
    /// Nobody has proven who calls; a route that says `anonymous: judged` lets such calls be judged.
    Anonymous,
}

impl ActorType {
    /// The word used in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Service => "service",
            Self::Anonymous => "anonymous",
        }
    }
}

const NAME_TAG: &str = "holdpoint/principal/v1";

/// Issuer of [`Principal::anonymous`]: nobody vouches for it.
const ANONYMOUS_ISSUER: &str = "holdpoint.dev/anonymous";

/// Whom a call acts for: (issuer, subject) from verified facts only, never from what the caller merely says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Principal {
    /// Who vouches for the subject: the `iss` of a verified token, the trust domain of a certificate, or the peer that
    /// may say for whom it acts.
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
    /// Everybody who has proven nothing: one principal, in no group, without scopes.
    pub fn anonymous() -> Self {
        Self {
            issuer: ANONYMOUS_ISSUER.to_owned(),
            subject: "anonymous".to_owned(),
            agent_id: None,
            actor_type: ActorType::Anonymous,
            tenant: None,
            groups: BTreeSet::new(),
            scopes: BTreeSet::new(),
        }
    }

    /// Whether nobody has proven who calls. Such a call never reaches an approval.
    pub fn is_anonymous(&self) -> bool {
        self.actor_type == ActorType::Anonymous
    }

    /// Names who it is. Groups and scopes may change while it stays the same; issuer, subject, agent and tenant may not.
    pub fn name(&self) -> Digest {
        Digest::tagged(NAME_TAG, self.name_text().as_bytes())
    }

    /// What [`Principal::name`] is the digest of.
    pub fn name_text(&self) -> String {
        let writer = ObjectWriter::new()
            .string("agent", self.agent_id.as_deref().unwrap_or_default())
            .string("issuer", &self.issuer)
            .string("subject", &self.subject)
            .string("tenant", self.tenant.as_deref().unwrap_or_default());
        writer.finish()
    }

    /// Who it is, without the groups and scopes, of which there can be very many: what records carry.
    #[must_use]
    pub fn named(&self) -> Self {
        Self {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            agent_id: self.agent_id.clone(),
            actor_type: self.actor_type,
            tenant: self.tenant.clone(),
            groups: BTreeSet::new(),
            scopes: BTreeSet::new(),
        }
    }
}
