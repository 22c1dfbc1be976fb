//! Step 4: the principal of a bearer token, from the claims that Envoy's `jwt_authn` verified.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::metadata::{self, MetadataError, Said, Structure};
use super::{CallerFacts, IdentityError, Known, is_name};
use holdpoint_core::identity::{ActorType, Principal};
use holdpoint_core::order;

/// Where Envoy's `jwt_authn` filter writes the claims of a verified token.
const JWT_AUTHN_NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// Most groups or scopes of one principal.
const NAMES_MAX: usize = 1_000;

/// The principal of the verified token.
///
/// A token that came and left no claims was not verified (`jwt_authn` may be told to let such ones pass): it is
/// unusable, not absent. A token in the query string would end up in every log, and MCP forbids it.
pub(super) fn find(
    metadata_key: &str,
    facts: &CallerFacts<'_>,
    known: &mut Known,
) -> Result<Arc<Principal>, IdentityError> {
    if facts.headers.iter().any(|(name, value)| name == b":path" && has_token_in_query(value)) {
        return Err(IdentityError::Unusable("a token does not belong into the query string; send it as a header"));
    }
    let namespace = metadata::namespace(facts.dynamic_metadata, JWT_AUTHN_NAMESPACE).map_err(unreadable)?;
    match namespace.map(|all| all.get(metadata_key)).transpose().map_err(unreadable)?.flatten() {
        Some(Said::Structure(claims)) => match known.find(claims) {
            Some(principal) => Ok(principal),
            None => {
                let principal = Arc::new(from_claims(claims)?);
                known.keep(claims, &principal);
                Ok(principal)
            }
        },
        Some(Said::Null | Said::Number(_) | Said::Text(_) | Said::Bool(_) | Said::List(_)) => {
            Err(IdentityError::Unusable("the token's claims are not an object"))
        }
        None if facts.headers.iter().any(|(name, _)| name == b"authorization") => {
            Err(IdentityError::Unusable("the authorization that was sent is no token that this gateway verified"))
        }
        None => Err(IdentityError::Absent("send a bearer token that this gateway accepts")),
    }
}

fn unreadable(_: MetadataError) -> IdentityError {
    IdentityError::Unusable("the token's claims cannot be read")
}

fn has_token_in_query(path: &[u8]) -> bool {
    let query = path.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
    query.split(|byte| matches!(byte, b'&' | b';')).any(|pair| pair.starts_with(b"access_token="))
}

/// The claims that say who it is.
#[derive(Default)]
struct Claims<'a> {
    iss: Option<Said<'a>>,
    sub: Option<Said<'a>>,
    act: Option<Said<'a>>,
    azp: Option<Said<'a>>,
    client_id: Option<Said<'a>>,
    tenant: Option<Said<'a>>,
    groups: Option<Said<'a>>,
    scope: Option<Said<'a>>,
    scp: Option<Said<'a>>,
}

impl<'a> Claims<'a> {
    fn of(token: Structure<'a>) -> Result<Self, MetadataError> {
        let mut claims = Self::default();
        for member in token.members() {
            let (name, said) = member?;
            said.check()?;
            let slot = match name {
                "iss" => &mut claims.iss,
                "sub" => &mut claims.sub,
                "act" => &mut claims.act,
                "azp" => &mut claims.azp,
                "client_id" => &mut claims.client_id,
                "tenant" => &mut claims.tenant,
                "groups" => &mut claims.groups,
                "scope" => &mut claims.scope,
                "scp" => &mut claims.scp,
                _ => continue,
            };
            *slot = Some(said);
        }
        Ok(claims)
    }
}

#[inline(never)]
pub(super) fn from_claims(token: Structure<'_>) -> Result<Principal, IdentityError> {
    let claims = Claims::of(token).map_err(unreadable)?;
    let issuer = name(claims.iss)?.ok_or(IdentityError::Unusable("claim `iss` is missing"))?;
    let subject = name(claims.sub)?.ok_or(IdentityError::Unusable("claim `sub` is missing"))?;
    // RFC 8693 §4.1: `act` names the party that acts for the subject.
    let acting = match claims.act {
        None => None,
        Some(Said::Structure(act)) => name(act.get("sub").map_err(unreadable)?)?,
        Some(Said::Null | Said::Number(_) | Said::Text(_) | Said::Bool(_) | Said::List(_)) => {
            return Err(IdentityError::Unusable("claim `act` is not an object"));
        }
    };
    let client = match name(claims.azp)? {
        Some(client) => Some(client),
        None => name(claims.client_id)?,
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
        tenant: name(claims.tenant)?,
        groups: names(claims.groups, "claim `groups` is not a list of names")?,
        scopes: scopes(&claims)?,
    })
}

/// RFC 8693 §4.2 writes `scope` as one string with spaces; some issuers write a list, or `scp`.
fn scopes(claims: &Claims<'_>) -> Result<BTreeSet<String>, IdentityError> {
    const UNUSABLE: &str = "claim `scope` is neither a string nor a list of names";
    match claims.scope.or(claims.scp) {
        Some(Said::Text(text)) => {
            let scopes = order::set(text.split(' ').filter(|one| !one.is_empty()).map(str::to_owned));
            if scopes.len() > NAMES_MAX { Err(IdentityError::Unusable(UNUSABLE)) } else { Ok(scopes) }
        }
        other => names(other, UNUSABLE),
    }
}

fn names(claim: Option<Said<'_>>, unusable: &'static str) -> Result<BTreeSet<String>, IdentityError> {
    match claim {
        None | Some(Said::Null) => Ok(BTreeSet::new()),
        Some(Said::List(list)) if list.elements().count() <= NAMES_MAX => {
            let named = |one| name(Some(one)).ok().flatten().ok_or(IdentityError::Unusable(unusable));
            let mut names = BTreeSet::new();
            for one in list.elements() {
                names.insert(named(one.map_err(unreadable)?)?);
            }
            Ok(names)
        }
        Some(Said::List(_) | Said::Number(_) | Said::Text(_) | Said::Bool(_) | Said::Structure(_)) => {
            Err(IdentityError::Unusable(unusable))
        }
    }
}

/// A claim that names somebody: a string of bounded length without control characters, and not empty.
fn name(claim: Option<Said<'_>>) -> Result<Option<String>, IdentityError> {
    match claim {
        None | Some(Said::Null) => Ok(None),
        Some(Said::Text(text)) => {
            if is_name(text) {
                Ok(Some(text.to_owned()))
            } else {
                Err(IdentityError::Unusable("a claim is empty or not printable"))
            }
        }
        Some(Said::Number(_) | Said::Bool(_) | Said::Structure(_) | Said::List(_)) => {
            Err(IdentityError::Unusable("a claim that names somebody is not a string"))
        }
    }
}
