//! What the claims of a token with a right signature mean: whether its holder is a person who may be here, and as whom.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::TokenError;
use super::settings::{ANYBODY, IssuerSettings, RoleEntry};
use crate::text::visible;
use crate::tokens::{Credential, Proof, Role};

/// How far clocks may be apart.
const LEEWAY_S: u64 = 60;
/// How long a token may be good for: it cannot be revoked.
const LIFETIME_S_MAX: u64 = 24 * 60 * 60;
/// Longest name, in bytes; the same as for callers of MCP servers.
const NAME_BYTES_MAX: usize = 512;
const GROUPS_MAX: usize = 1_000;
/// Claims by which providers say to which client a token was given.
const CLIENT_CLAIMS: [&str; 4] = ["azp", "client_id", "cid", "appid"];

/// Who shows this token, at `now_ms`.
pub(super) fn judge(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    now_ms: u64,
) -> Result<Credential, TokenError> {
    let expires_s = in_time(claims, now_ms / 1_000)?;
    meant_for_us(claims, settings)?;
    let subject = name(claims.get("sub")).ok_or(TokenError::Name("sub"))?;
    let client_id = by_a_person(claims, settings, &subject)?;
    let groups = groups(claims, settings)?;
    let fits = |entry: &&RoleEntry| {
        let is_client = |clients: &BTreeSet<String>| client_id.as_ref().is_some_and(|id| clients.contains(id));
        (entry.groups.contains(ANYBODY) || !entry.groups.is_disjoint(&groups))
            && entry.clients.as_ref().is_none_or(is_client)
    };
    let role = settings.roles.iter().find(fits).map(|entry| entry.role).ok_or(TokenError::NoRole)?;
    let tenant = tenant(claims, settings, role)?;
    Ok(Credential {
        role,
        issuer: settings.issuer.clone(),
        subject,
        groups,
        tenant,
        client_id,
        proof: Proof::Jwt { expires_at_ms: expires_s.saturating_add(LEEWAY_S).saturating_mul(1_000) },
        lent: Vec::new(),
    })
}

/// When it expires, in seconds since 1970. RFC 7519 §2 allows fractions.
fn in_time(claims: &Map<String, Value>, now_s: u64) -> Result<u64, TokenError> {
    let time = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
            Some(seconds) if (0.0..1e12).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(TokenError::Malformed),
        },
    };
    let expires_s = time("exp")?.ok_or(TokenError::Expired)?;
    if expires_s.saturating_add(LEEWAY_S) <= now_s {
        return Err(TokenError::Expired);
    }
    for begins_s in [time("nbf")?, time("iat")?].into_iter().flatten() {
        if begins_s > now_s.saturating_add(LEEWAY_S) {
            return Err(TokenError::NotYet);
        }
    }
    if expires_s - now_s.min(expires_s) > LIFETIME_S_MAX + LEEWAY_S {
        return Err(TokenError::LongLived);
    }
    Ok(expires_s)
}

fn meant_for_us(claims: &Map<String, Value>, settings: &IssuerSettings) -> Result<(), TokenError> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(TokenError::Audience)?,
        _ => return Err(TokenError::Audience),
    };
    if audiences.iter().any(|audience| settings.mcp_audiences.contains(*audience)) {
        return Err(TokenError::McpAudience);
    }
    if !audiences.iter().any(|audience| settings.audiences.contains(*audience)) {
        return Err(TokenError::Audience);
    }
    Ok(())
}

/// The client that the person signed in with, if the token names one.
fn by_a_person(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    subject: &str,
) -> Result<Option<String>, TokenError> {
    // RFC 8693 §4.1: somebody else acts for the subject.
    if claims.get("act").is_some_and(|act| !act.is_null()) {
        return Err(TokenError::Acting);
    }
    let mut given_to = None;
    for claim in CLIENT_CLAIMS {
        let Some(value) = claims.get(claim) else { continue };
        let client = name(Some(value)).ok_or(TokenError::Name(claim))?;
        if client == subject {
            return Err(TokenError::Program);
        }
        if !settings.clients.contains(&client) {
            return Err(TokenError::Client(client));
        }
        given_to.get_or_insert(client);
    }
    if claims.get("gty").and_then(Value::as_str) == Some("client-credentials") {
        return Err(TokenError::Program);
    }
    Ok(given_to)
}

fn groups(claims: &Map<String, Value>, settings: &IssuerSettings) -> Result<BTreeSet<String>, TokenError> {
    // OpenID Connect Core §5.6.2: the claim is elsewhere, because the person is in too many.
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
    let mut groups = BTreeSet::new();
    for way in &settings.group_claims {
        if way.first().is_some_and(|first| elsewhere.is_some_and(|names| names.contains_key(first))) {
            return Err(TokenError::Groups("the provider keeps them elsewhere: have it put fewer into the token"));
        }
        let found: Vec<&Value> = match at(claims, way) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one) => vec![one],
        };
        if groups.len() + found.len() > GROUPS_MAX {
            return Err(TokenError::Groups("there are more than 1000"));
        }
        for group in found {
            let group = name(Some(group)).ok_or(TokenError::Groups("one is not a printable name"))?;
            groups.insert(settings.group_names.get(&group).cloned().unwrap_or(group));
        }
    }
    // What a rule says of anybody is no group that a provider could put somebody into.
    groups.remove(ANYBODY);
    Ok(groups)
}

fn tenant(claims: &Map<String, Value>, settings: &IssuerSettings, role: Role) -> Result<Option<String>, TokenError> {
    let Some(way) = &settings.tenant_claim else { return Ok(None) };
    let named = match at(claims, way) {
        None | Some(Value::Null) => None,
        some => Some(name(some).ok_or(TokenError::Tenant)?),
    };
    match (role, named) {
        // Without this, a claim that is missing would show everything to somebody of one tenant.
        (Role::Approver | Role::BreakGlass | Role::Auditor | Role::Enforcer, None) => Err(TokenError::Tenant),
        (Role::Admin, None) => Ok(None),
        (Role::Admin, Some(_)) => Err(TokenError::AdminTenant),
        (_, named) => Ok(named),
    }
}

fn at<'a>(claims: &'a Map<String, Value>, way: &[String]) -> Option<&'a Value> {
    let (first, rest) = way.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))
}

/// A printable name. One that only looks like another would be another person who looks like that one.
fn name(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    let is_name = !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.trim() == text && visible(text) == text;
    is_name.then(|| text.to_owned())
}
