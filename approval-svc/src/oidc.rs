//! Step 8: whom a token of an identity provider stands for. Only what its keys signed, for this service, about a person.
//!
//! `settings` says whose tokens are taken and what their claims mean, `keys` keeps the providers' public keys, `claims`
//! judges a token whose signature is right. (issuer, subject) is who somebody is, by whatever way they come in.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation, dangerous};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::delegations;
use crate::store::{Store, StoreError};
use crate::tokens::{Credential, Role};
use keys::Keys;
use settings::IssuerSettings;

mod claims;
pub mod keys;
pub mod settings;
#[cfg(test)]
pub mod tests;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16_384;
/// How often the keys are looked at, whether they are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The identity providers whose tokens are taken; none unless configured.
#[derive(Clone, Default)]
pub struct Oidc(Arc<Vec<Issuer>>);

struct Issuer {
    settings: IssuerSettings,
    keys: Keys,
}

/// How it stands with one identity provider, for whoever looks after the installation.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct IssuerStanding {
    pub issuer: String,
    /// Public keys in use.
    pub keys: u64,
    /// How old they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// Why they could not be had the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How far the provider's clock is ahead of this service's, by its answer's `date`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<i64>,
}

/// Why a token stands for nobody here.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("this service takes no tokens of identity providers: start it with `--oidc`, or use a token of its own")]
    NotConfigured,
    #[error("the token is no signed JWT of at most 16 KiB")]
    Malformed,
    #[error("the token's `iss` names no identity provider that this service knows")]
    Issuer,
    #[error("the token is signed by `{0:?}`, which is not one of `algorithms` of its issuer")]
    Algorithm(Algorithm),
    #[error("no public key of the issuer fits the token: {0}")]
    Key(String),
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired: sign in again")]
    Expired,
    #[error("the token is not valid yet: compare the clocks of the identity provider and of this service")]
    NotYet,
    #[error("the token is valid for more than a day: one that cannot be revoked must be short-lived")]
    LongLived,
    #[error("the token is not meant for this service: its `aud` is none of `audiences`")]
    Audience,
    #[error(
        "the token also opens MCP servers (`aud` has one of `mcp_audiences`): an agent may hold it, so it decides nothing"
    )]
    McpAudience,
    #[error("the token says that somebody acts for its subject (`act`): only people themselves decide")]
    Acting,
    #[error("the token was given to `{0}`, which is none of the `clients` that people sign in with")]
    Client(String),
    #[error("the token is a program's own: only people decide")]
    Program,
    #[error("claim `{0}` is missing, or is not a printable name of at most 512 bytes")]
    Name(&'static str),
    #[error("the groups cannot be read: {0}")]
    Groups(&'static str),
    #[error("the token names no tenant, and its issuer's people belong to one each")]
    Tenant,
    #[error("an administrator acts for all tenants, and the token names one")]
    AdminTenant,
    #[error("no entry of `roles` fits the token's groups")]
    NoRole,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// Whether the token is good, and merely does not let its holder in here.
    pub fn is_genuine(&self) -> bool {
        match self {
            Self::McpAudience
            | Self::Acting
            | Self::Client(_)
            | Self::Program
            | Self::Name(_)
            | Self::Groups(_)
            | Self::Tenant
            | Self::AdminTenant
            | Self::NoRole => true,
            Self::NotConfigured
            | Self::Malformed
            | Self::Issuer
            | Self::Algorithm(_)
            | Self::Key(_)
            | Self::Signature
            | Self::Expired
            | Self::NotYet
            | Self::LongLived
            | Self::Audience
            | Self::Store(_) => false,
        }
    }
}

/// Whether a bearer token is one of an identity provider, by its shape alone. Tokens of this service have no dots.
pub fn is_jwt(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Oidc {
    pub fn new(issuers: Vec<IssuerSettings>) -> Self {
        let issuer = |settings: IssuerSettings| Issuer { keys: Keys::new(settings.jwks.clone()), settings };
        Self(Arc::new(issuers.into_iter().map(issuer).collect()))
    }

    /// Whom this token stands for, as of now by the store's clock.
    pub async fn authenticate(&self, store: &dyn Store, token: &str) -> Result<Credential, TokenError> {
        if self.0.is_empty() {
            return Err(TokenError::NotConfigured);
        }
        let (header, issuer) = self.read(token)?;
        if !issuer.settings.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm(header.alg));
        }
        let key = issuer.keys.find(header.kid.as_deref(), header.alg).await.map_err(TokenError::Key)?;
        let mut validation = Validation::new(header.alg);
        // Times are judged below by the store's clock, audiences with what else is said about them.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        let verified = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        let claims = verified.map_err(|_| TokenError::Signature)?.claims;
        let mut credential = claims::judge(&claims, &issuer.settings, store.now_ms().await?)?;
        if credential.role == Role::Approver {
            credential.lent = delegations::lent_to(store, &credential.person()).await?;
        }
        Ok(credential)
    }

    /// Reads what must be known before the signature can be checked: nothing of it is believed.
    fn read(&self, token: &str) -> Result<(Header, &Issuer), TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515 §4.1.11: what we must understand and do not, we refuse. And a logout token or a proof of possession is
        // signed by the same keys.
        let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        let is_token = matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt");
        if header.crit.is_some() || header.enc.is_some() || !is_token {
            return Err(TokenError::Malformed);
        }
        let claims = dangerous::insecure_decode::<Map<String, Value>>(token).map_err(|_| TokenError::Malformed)?.claims;
        let named = claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Issuer)?;
        let issuer = self.0.iter().find(|issuer| issuer.settings.issuer == named).ok_or(TokenError::Issuer)?;
        Ok((header, issuer))
    }

    /// Gets keys for the first time, and again whenever they are due, until the end of the service.
    pub async fn keep_keys_fresh(self) {
        loop {
            for issuer in self.0.iter() {
                issuer.keys.refresh_if_due().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How it stands with each provider.
    pub fn standings(&self) -> Vec<IssuerStanding> {
        self.0.iter().map(|issuer| issuer.keys.standing(&issuer.settings.issuer)).collect()
    }

    /// What does not work, in words.
    pub fn troubles(&self) -> Vec<String> {
        let trouble = |one: IssuerStanding| Some(format!("keys of {}: {}", one.issuer, one.problem?));
        self.standings().into_iter().filter_map(trouble).collect()
    }
}
