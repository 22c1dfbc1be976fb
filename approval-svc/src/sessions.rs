//! Step 8: how a browser comes to stand for an approver: a link that works once begins a session that ends by itself.

use std::fmt;

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::digest::{Digest, hex_encode};

use crate::delegations;
use crate::keys::ServiceSigner;
use crate::ledger::clip;
use crate::store::row::{SignIn, Visitor};
use crate::store::{Change, CommitError, Store, StoreError, Write};
use crate::tokens::{Credential, Proof, Role, standing};

#[cfg(test)]
mod tests;

/// How long a sign-in link works.
pub const CODE_MS_MAX: u64 = 10 * 60 * 1_000;
/// How long a session lasts.
pub const SESSION_MS_MAX: u64 = 12 * 60 * 60 * 1_000;
/// Tag of the digest that forms carry to prove that they come from a page of their session.
const FORM_TAG: &str = "holdpoint/form/v1";

/// The secret of a link or of a session: 256 random bits in hex.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex_encode(&bytes)))
    }

    /// A secret as a browser sent it.
    pub fn presented(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself, for the link or the cookie and nothing else.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What forms carry: it tells nothing about the secret.
    fn form_token(&self) -> String {
        hex_encode(Digest::tagged(FORM_TAG, self.0.as_bytes()).as_bytes())
    }

    fn hash(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A session that lasts.
#[derive(Clone, Debug)]
pub struct Session {
    /// What every form of this session carries. Whoever has not seen a page of the session cannot know it.
    pub form_token: String,
    /// The text in the cookie; absent where each request brings a token of the identity provider.
    pub secret: Option<Secret>,
    /// Whom the browser acts for.
    pub person: Credential,
}

/// Why nobody was signed in, or no link was made.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("this link has been used already, or is older than 10 minutes: ask for a new one")]
    Used,
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CommitError> for SignInError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self::Store(error),
            CommitError::Conflict(_) => Self::Used,
        }
    }
}

/// Makes the code of a link that signs `visitor` in, once, and records it.
pub async fn invite(store: &dyn Store, visitor: Visitor) -> Result<Secret, SignInError> {
    let code = Secret::random().map_err(SignInError::Random)?;
    let at_ms = store.now_ms().await?;
    let entry = entry(at_ms, "created", "command line", &format!("sign-in link {}", may(&visitor)));
    let row = SignIn { hash: code.hash(), visitor, expires_at_ms: at_ms.saturating_add(CODE_MS_MAX) };
    store.commit(Change { writes: vec![Write::AddSignInCode { code: row, at_ms }], entries: vec![entry] }).await?;
    Ok(code)
}

/// Whom a code would sign in; using nothing up, because mail and chat programs look behind links too.
pub async fn invited(store: &dyn Store, code: &Secret) -> Result<Visitor, SignInError> {
    let now_ms = store.now_ms().await?;
    let row = store.sign_in_code(code.hash()).await?.filter(|row| row.expires_at_ms > now_ms);
    row.map(|row| row.visitor).ok_or(SignInError::Used)
}

/// Uses the code up and begins a session.
pub async fn sign_in(store: &dyn Store, code: &Secret) -> Result<Session, SignInError> {
    let visitor = invited(store, code).await?;
    let secret = Secret::random().map_err(SignInError::Random)?;
    let at_ms = store.now_ms().await?;
    let expires_at_ms = at_ms.saturating_add(SESSION_MS_MAX);
    let by = name(&visitor);
    let entry = entry(at_ms, "signed_in", &by, &format!("browser session {}", may(&visitor)));
    let row = SignIn { hash: secret.hash(), visitor: visitor.clone(), expires_at_ms };
    // One change: of two browsers with one code, only the first gets its session.
    let writes = vec![Write::TakeSignInCode { hash: code.hash(), at_ms }, Write::AddSession { session: row, at_ms }];
    store.commit(Change { writes, entries: vec![entry] }).await?;
    let person = credential(visitor, Proof::Session(secret.hash()));
    Ok(Session { form_token: secret.form_token(), secret: Some(secret), person })
}

/// The session that a cookie stands for; `None` when it has ended.
pub async fn find(store: &dyn Store, secret: Secret) -> Result<Option<Session>, StoreError> {
    let Some(row) = store.session(secret.hash()).await? else { return Ok(None) };
    if row.expires_at_ms <= store.now_ms().await? {
        return Ok(None);
    }
    let mut person = credential(row.visitor, Proof::Session(row.hash));
    if person.role == Role::Approver {
        person.lent = delegations::lent_to(store, &person.person()).await?;
    }
    Ok(Some(Session { form_token: secret.form_token(), secret: Some(secret), person }))
}

/// The session of somebody whose requests each carry a token of the identity provider, put there by a proxy. Its forms
/// are the person's own, whichever of the tokens they came with.
pub fn of_token(person: Credential, signer: &ServiceSigner) -> Session {
    let whose = serde_json::json!([person.issuer, person.subject, person.tenant]).to_string();
    Session { form_token: signer.seal("form", &whose), secret: None, person }
}

/// Ends a session. One that has ended already stays so, and one of the identity provider is ended there.
pub async fn sign_out(store: &dyn Store, session: &Session) -> Result<(), StoreError> {
    let at_ms = store.now_ms().await?;
    let Credential { role, issuer, subject, groups, tenant, .. } = &session.person;
    let whose = standing(*role, issuer, subject, groups, tenant.as_deref());
    let entry = entry(at_ms, "signed_out", &session.person.name(), &format!("browser session {whose}"));
    let Some(secret) = &session.secret else { return Ok(()) };
    let end = Write::EndSession { hash: secret.hash() };
    match store.commit(Change { writes: vec![end], entries: vec![entry] }).await {
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
    }
}

fn credential(visitor: Visitor, proof: Proof) -> Credential {
    let Visitor { role, issuer, subject, groups, tenant } = visitor;
    Credential { role, issuer, subject, groups, tenant, client_id: None, proof, lent: Vec::new() }
}

fn may(visitor: &Visitor) -> String {
    let Visitor { role, issuer, subject, groups, tenant } = visitor;
    standing(*role, issuer, subject, groups, tenant.as_deref())
}

fn name(visitor: &Visitor) -> String {
    format!("{} {}", visitor.issuer, visitor.subject)
}

fn entry(at_ms: u64, status: &str, by: &str, detail: &str) -> AuditEntry {
    let mut entry = AuditEntry::new(EntryKind::TokenChanged, at_ms);
    entry.status = Some(status.to_owned());
    entry.by = Some(by.to_owned());
    entry.detail = Some(clip(detail));
    entry
}
