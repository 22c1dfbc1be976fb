//! Step 7, beside the policy: what an administrator has stopped everywhere, signed by the service's key.
//!
//! A freeze only ever refuses. Filters fetch the list every few seconds; one that is older than the list they have, or
//! not signed by the configured key, changes nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::approval::ServiceKeys;
use crate::envelope::CallEnvelope;
use crate::identity::Principal;

#[cfg(test)]
mod tests;

/// `schema` of every [`FreezeList`].
pub const FREEZE_SCHEMA: &str = "holdpoint/freezes/v1";

/// Problem `code` with which the service refuses to open or to claim what is frozen.
pub const PROBLEM_FROZEN: &str = "frozen";

/// What the signature covers starts with this line, so that it can never pass for another signed document.
const FREEZE_DOMAIN: &str = "holdpoint/freezes/v1\n";

/// Most freezes at once.
pub const FREEZES_MAX: usize = 1_000;

/// What is stopped: every field that is there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FreezeScope {
    /// The catalogue's name of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Exact name of a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// A subject or an agent id, whoever vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

impl FreezeScope {
    /// Whether it names nothing, which would stop everything.
    pub fn is_empty(&self) -> bool {
        self.server.is_none() && self.tool.is_none() && self.principal.is_none()
    }

    /// Whether it covers a call of `principal` to `server`; `tool` is there for tool calls only.
    pub fn covers(&self, server: &str, tool: Option<&str>, principal: &Principal) -> bool {
        let is_named = |name: &String| *name == principal.subject || Some(name) == principal.agent_id.as_ref();
        !self.is_empty()
            && self.server.as_deref().is_none_or(|name| name == server)
            && self.tool.as_deref().is_none_or(|name| tool == Some(name))
            && self.principal.as_ref().is_none_or(is_named)
    }
}

impl fmt::Display for FreezeScope {
    /// In words: `tool `x` on server `y``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("tool", &self.tool), ("server", &self.server), ("principal", &self.principal)];
        let words: Vec<String> =
            parts.into_iter().filter_map(|(kind, name)| Some(format!("{kind} `{}`", name.as_ref()?))).collect();
        f.write_str(&words.join(", "))
    }
}

/// One thing that is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Freeze {
    pub id: String,
    pub scope: FreezeScope,
    /// In the words of who stopped it; agents are told.
    pub reason: String,
    /// `issuer subject` of who stopped it.
    pub by: String,
    /// Unix time in milliseconds.
    pub since_ms: u64,
}

/// Everything that is stopped now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeList {
    /// Always [`FREEZE_SCHEMA`].
    pub schema: String,
    /// Grows with every change; a list with a lower one is an old one.
    pub version: u64,
    pub freezes: Vec<Freeze>,
}

/// The exact text of a [`FreezeList`] and the service's Ed25519 signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedFreezes {
    pub list: String,
    /// 64 bytes in lower-case hex, over [`signed_bytes`].
    pub signature: String,
    /// The same by further keys, while one key takes the place of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// Why a list changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeError {
    Signature,
    Shape,
}

impl fmt::Display for FreezeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => {
                "the list of freezes is not signed by the configured service key: check `approval.service_key` against \
                 `holdpoint keys show`"
            }
            Self::Shape => "the signed list of freezes is not one of this version: upgrade filter and service together",
        })
    }
}

impl std::error::Error for FreezeError {}

/// What the signature of a list covers.
pub fn signed_bytes(list: &str) -> Vec<u8> {
    [FREEZE_DOMAIN.as_bytes(), list.as_bytes()].concat()
}

impl SignedFreezes {
    /// The list, if the service's key signed it.
    pub fn verify(&self, keys: &ServiceKeys) -> Result<FreezeList, FreezeError> {
        if !keys.signed(&signed_bytes(&self.list), &self.signature, &self.also) {
            return Err(FreezeError::Signature);
        }
        let list: FreezeList = serde_json::from_slice(self.list.as_bytes()).map_err(|_| FreezeError::Shape)?;
        if list.schema == FREEZE_SCHEMA && list.freezes.len() <= FREEZES_MAX {
            Ok(list)
        } else {
            Err(FreezeError::Shape)
        }
    }
}

impl FreezeList {
    /// The first freeze that covers this call.
    pub fn stops(&self, envelope: &CallEnvelope) -> Option<&Freeze> {
        let tool = envelope.message().target().tool();
        self.freezes.iter().find(|freeze| freeze.scope.covers(envelope.server(), tool, envelope.principal()))
    }
}
