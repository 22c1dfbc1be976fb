//! Step 8: bearer tokens. 256 random bits, shown once and stored as a SHA-256; each names a role and one identity.

use std::collections::BTreeSet;
use std::fmt;

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::digest::{Digest, hex_encode};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::delegations::{self, Delegation, Person};
use crate::ledger::clip;
use crate::store::row::Token;
use crate::store::{Change, CommitError, Store, StoreError, Write};
use crate::text::time;

#[cfg(test)]
mod tests;

/// Issuer of a token whose identity no identity provider vouches for.
pub const ISSUER_LOCAL: &str = "local";

/// What the holder of a token may do. Roles do not include each other: a gateway cannot review, a person cannot claim.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A gateway: opens, polls, claims and withdraws, registers policies, sends audit entries.
    Enforcer,
    /// A person: reads approvals and reviews them.
    Approver,
    /// A person in an emergency: one approval is enough, whatever the rule asks. It is recorded and shown
    /// as broken glass, and told to the channels that ask for it.
    #[value(alias = "break_glass")]
    BreakGlass,
    /// Reads approvals with their arguments, and the record.
    Auditor,
    /// Stops things and lets them go on, takes approvals and grants back, ends delegations, registers policies; reads
    /// approvals without their arguments, and the record.
    Admin,
}

impl Role {
    /// The word used in tokens, the database and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforcer => "enforcer",
            Self::Approver => "approver",
            Self::BreakGlass => "break_glass",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By what a credential was proven: what must still hold for whoever stays connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// By nothing that could end.
    #[default]
    Nothing,
    /// The token with this hash.
    Token(Digest),
    /// A token of an identity provider, good until then.
    Jwt { expires_at_ms: u64 },
    /// The browser session with this hash.
    Session(Digest),
}

impl Proof {
    /// Whether it still proves anything.
    pub async fn holds(&self, store: &dyn Store) -> Result<bool, StoreError> {
        Ok(match self {
            Self::Nothing => true,
            Self::Token(hash) => match store.token(*hash).await? {
                Some(token) => is_good(store, &token).await?,
                None => false,
            },
            Self::Jwt { expires_at_ms } => store.now_ms().await? < *expires_at_ms,
            Self::Session(hash) => {
                let now_ms = store.now_ms().await?;
                store.session(*hash).await?.is_some_and(|session| session.expires_at_ms > now_ms)
            }
        })
    }
}

/// Whom a presented token stands for.
#[derive(Clone, Debug)]
pub struct Credential {
    pub role: Role,
    pub issuer: String,
    pub subject: String,
    pub groups: BTreeSet<String>,
    /// Only what belongs to this tenant is shown; `None` for all tenants.
    pub tenant: Option<String>,
    /// The client that the identity provider gave the token to (`azp`, else `client_id`), if it named one.
    pub client_id: Option<String>,
    pub proof: Proof,
    /// What others have lent this person, as of this request.
    pub lent: Vec<Delegation>,
}

impl Credential {
    /// `issuer subject`, as the record names people.
    pub fn name(&self) -> String {
        self.person().name()
    }

    /// Who it is.
    pub fn person(&self) -> Person {
        Person { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }

    /// Whether somebody of this tenant may know of what belongs to `tenant`.
    pub fn sees_tenant(&self, tenant: Option<&str>) -> bool {
        self.tenant.is_none() || self.tenant.as_deref() == tenant
    }
}

/// What a new token is for.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub role: Role,
    pub issuer: String,
    pub subject: String,
    pub groups: BTreeSet<String>,
    pub tenant: Option<String>,
    /// How long it is good for; `None` until it is revoked.
    pub lasts_ms: Option<u64>,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a token and records it. The text is the secret; it cannot be shown again.
pub async fn create(store: &dyn Store, new: NewToken) -> Result<(Token, String), CreateTokenError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(CreateTokenError::Random)?;
    let text = format!("hp_{}_{}", new.role, hex_encode(&secret));
    let created_at_ms = store.now_ms().await?;
    let token = Token {
        id: uuid::Uuid::now_v7().simple().to_string(),
        hash: hash_of(&text),
        role: new.role,
        issuer: new.issuer,
        subject: new.subject,
        groups: new.groups,
        tenant: new.tenant,
        created_at_ms,
        expires_at_ms: new.lasts_ms.map(|lasts_ms| created_at_ms.saturating_add(lasts_ms)),
        revoked_at_ms: None,
    };
    let entry = change_entry(created_at_ms, "created", &described(&token));
    store.commit(Change { writes: vec![Write::AddToken(token.clone())], entries: vec![entry] }).await?;
    Ok((token, text))
}

/// Makes a token useless from now on, and records it. A missing or revoked one is a conflict.
pub async fn revoke(store: &dyn Store, id: &str) -> Result<(), CommitError> {
    let at_ms = store.now_ms().await?;
    let known = store.tokens().await?.into_iter().find(|token| token.id == id);
    let what = known.map_or_else(|| format!("token {id}"), |token| described(&token));
    let entry = change_entry(at_ms, "revoked", &what);
    store
        .commit(Change { writes: vec![Write::RevokeToken { id: id.to_owned(), at_ms }], entries: vec![entry] })
        .await?;
    Ok(())
}

/// Whom the presented text stands for; `None` when it is no token, a revoked one, or one whose time is over.
pub async fn authenticate(store: &dyn Store, text: &str) -> Result<Option<Credential>, StoreError> {
    let hash = hash_of(text);
    let Some(token) = store.token(hash).await? else { return Ok(None) };
    // The database finds the row by an index, whose timing can tell at most something about the hash of a guess.
    let same: bool = token.hash.as_bytes().ct_eq(hash.as_bytes()).into();
    if !same || !is_good(store, &token).await? {
        return Ok(None);
    }
    let Token { role, issuer, subject, groups, tenant, .. } = token;
    let proof = Proof::Token(hash);
    let mut credential = Credential { role, issuer, subject, groups, tenant, client_id: None, proof, lent: Vec::new() };
    if role == Role::Approver {
        credential.lent = delegations::lent_to(store, &credential.person()).await?;
    }
    Ok(Some(credential))
}

/// Whether it is neither revoked nor over. The store's clock is asked only about those that end.
async fn is_good(store: &dyn Store, token: &Token) -> Result<bool, StoreError> {
    Ok(token.revoked_at_ms.is_none()
        && match token.expires_at_ms {
            Some(at_ms) => store.now_ms().await? < at_ms,
            None => true,
        })
}

fn hash_of(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn described(token: &Token) -> String {
    let whose = standing(token.role, &token.issuer, &token.subject, &token.groups, token.tenant.as_deref());
    let until = token.expires_at_ms.map(|at_ms| format!(", until {}", time(at_ms))).unwrap_or_default();
    format!("token {} {whose}{until}", token.id)
}

/// For whom a token, a link or a session stands and what they may do, as the record says it.
pub fn standing(role: Role, issuer: &str, subject: &str, groups: &BTreeSet<String>, tenant: Option<&str>) -> String {
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let groups = if groups.is_empty() { String::new() } else { format!(", groups [{}]", groups.join(", ")) };
    let tenant = tenant.map(|tenant| format!(", tenant {tenant}")).unwrap_or_default();
    format!("of role {role} for `{issuer} {subject}`{groups}{tenant}")
}

fn change_entry(at_ms: u64, status: &str, detail: &str) -> AuditEntry {
    let mut entry = AuditEntry::new(EntryKind::TokenChanged, at_ms);
    entry.status = Some(status.to_owned());
    entry.by = Some("command line".to_owned());
    entry.detail = Some(clip(detail));
    entry
}
