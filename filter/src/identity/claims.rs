//! Step 4: the principal of a bearer token, from the claims that Envoy's `jwt_authn` verified.

use std::collections::BTreeSet;

use holdpoint_core::identity::{ActorType, Principal};
use serde_json::{Map, Value};

use super::{CallerFacts, IdentityError, is_name, metadata};

/// Where Envoy's `jwt_authn` filter writes the claims of a verified token.
const JWT_AUTHN_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// Most groups or scopes of one principal.
const NAMES_MAX: usize = 1_000;

/// The principal of the verified token.
///
/// A token that came and left no claims was not verified (`jwt_authn` may be told to let such ones pass): it is
/// unusable, not absent. A token in the query string would end up in every log, and MCP forbids it.
pub(super) fn find(metadata_key: &str, facts: &CallerFacts<'_>) -> Result<Principal, IdentityError> {
    if facts.headers.iter().any(|(name, value)| name == b":path" && has_token_in_query(value)) {
        return Err(IdentityError::Unusable("a token does not belong into the query string; send it as a header"));
    }
    let namespace = metadata::namespace(facts.dynamic_metadata, JWT_AUTHN_NAMESPACE)
        .map_err(|_| IdentityError::Unusable("the token's claims cannot be read"))?;
    match namespace.as_ref().and_then(|all| all.get(metadata_key)) {
        Some(Value::Object(claims)) => from_claims(claims),
        Some(_) => Err(IdentityError::Unusable("the token's claims are not an object")),
        None if facts.headers.iter().any(|(name, _)| name == b"authorization") => {
            Err(IdentityError::Unusable("the authorization that was sent is no token that this gateway verified"))
        }
        None => Err(IdentityError::Absent("send a bearer token that this gateway accepts")),
    }
}

fn has_token_in_query(path: &[u8]) -> bool {
    let query = path.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
    query.split(|byte| matches!(byte, b'&' | b';')).any(|pair| pair.starts_with(b"access_token="))
}

pub(super) fn from_claims(claims: &Map<String, Value>) -> Result<Principal, IdentityError> {
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
            if is_name(text) {
                Ok(Some(text.clone()))
            } else {
                Err(IdentityError::Unusable("a claim is empty or not printable"))
            }
        }
        Some(_) => Err(IdentityError::Unusable("a claim that names somebody is not a string")),
    }
}
