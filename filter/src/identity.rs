//! Step 4: verified facts from Envoy → the principal a call acts for.
//!
//! Only facts that Envoy has proven count: claims of a token that `jwt_authn` verified and put into dynamic metadata.
//! Nothing that the caller merely sends is read. A caller without such facts is refused before any rule.

use std::collections::BTreeSet;

use holdpoint_core::identity::{ActorType, Principal};
use serde_json::{Map, Value};

use holdpoint_core::config::IdentitySource;

pub mod metadata;
#[cfg(test)]
mod tests;

/// Where Envoy's `jwt_authn` filter writes the claims of a verified token.
const JWT_AUTHN_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// Longest issuer, subject, agent, tenant, group or scope, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// Most groups or scopes of one principal.
const NAMES_MAX: usize = 1_000;

/// Why nobody can say whom a call acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// No configured source had verified facts.
    Absent,
    /// Verified claims that do not name a principal; the text says which claim.
    Unusable(&'static str),
}

impl std::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no verified identity: send a bearer token that this gateway accepts"),
            Self::Unusable(what) => write!(f, "the verified token cannot be used: {what}"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// Finds the principal. `dynamic_metadata` is the serialised `Metadata` of the request's dynamic metadata.
///
/// Sources are tried in the order of the configuration; all of them are required facts, so the first one configured
/// decides and an absent one is not passed over for a weaker one.
pub fn resolve(sources: &[IdentitySource], dynamic_metadata: &[u8]) -> Result<Principal, IdentityError> {
    match sources.first() {
        None => Err(IdentityError::Absent),
        Some(IdentitySource::Jwt { metadata_key }) => {
            let namespace = metadata::namespace(dynamic_metadata, JWT_AUTHN_NAMESPACE)
                .map_err(|_| IdentityError::Unusable("its claims cannot be read"))?;
            let claims = namespace.as_ref().and_then(|all| all.get(metadata_key));
            match claims {
                None => Err(IdentityError::Absent),
                Some(Value::Object(claims)) => from_claims(claims),
                Some(_) => Err(IdentityError::Unusable("its claims are not an object")),
            }
        }
    }
}

fn from_claims(claims: &Map<String, Value>) -> Result<Principal, IdentityError> {
    let issuer = name(claims.get("iss"))?.ok_or(IdentityError::Unusable("claim `iss` is missing"))?;
    let subject = name(claims.get("sub"))?.ok_or(IdentityError::Unusable("claim `sub` is missing"))?;
    // RFC 8693 §4.1: `act` names the party that acts for the subject.
    let acting = match claims.get("act") {
        None => None,
        Some(Value::Object(act)) => name(act.get("sub"))?,
        Some(_) => return Err(IdentityError::Unusable("claim `act` is not an object")),
    };
    let client = match name(claims.get("azp"))? {
        Some(client) => Some(client),
        None => name(claims.get("client_id"))?,
    };
    let actor_type = match (&acting, &client) {
        (Some(_), _) => ActorType::Agent,
        // A token that a client got for itself (RFC 9068 §2.2: `sub` is then the client's id).
        (None, Some(client)) if *client == subject => ActorType::Service,
        (None, _) => ActorType::Human,
    };
    Ok(Principal {
        issuer,
        subject,
        agent_id: acting.or(client),
        actor_type,
        tenant: name(claims.get("tenant"))?,
        groups: names(claims.get("groups"), "claim `groups` is not a list of names")?,
        scopes: scopes(claims)?,
    })
}

/// RFC 8693 §4.2 writes `scope` as one string with spaces; some issuers write a list, or `scp`.
fn scopes(claims: &Map<String, Value>) -> Result<BTreeSet<String>, IdentityError> {
    const UNUSABLE: &str = "claim `scope` is neither a string nor a list of names";
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => {
            let scopes: BTreeSet<String> = text.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
            if scopes.len() > NAMES_MAX { Err(IdentityError::Unusable(UNUSABLE)) } else { Ok(scopes) }
        }
        other => names(other, UNUSABLE),
    }
}

fn names(claim: Option<&Value>, unusable: &'static str) -> Result<BTreeSet<String>, IdentityError> {
    match claim {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::Array(list)) if list.len() <= NAMES_MAX => {
            list.iter().map(|one| name(Some(one)).ok().flatten().ok_or(IdentityError::Unusable(unusable))).collect()
        }
        Some(_) => Err(IdentityError::Unusable(unusable)),
    }
}

/// A claim that names somebody: a string of bounded length without control characters, and not empty.
fn name(claim: Option<&Value>) -> Result<Option<String>, IdentityError> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let usable = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
            if usable {
                Ok(Some(text.clone()))
            } else {
                Err(IdentityError::Unusable("a claim is empty or not printable"))
            }
        }
        Some(_) => Err(IdentityError::Unusable("a claim that names somebody is not a string")),
    }
}
