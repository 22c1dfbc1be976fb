//! Step 8: relief from asking for the same again: an approval that reaches further calls, where its rule allows it.
//!
//! A grant is for one principal, server, method and target under one basis. Calls it covers are identical, or differ only
//! in arguments that every approver named, within what they said. Each such call still has an approval, a claim and
//! entries of its own. What the catalogue classes as admin, or does not class, is always asked one by one.

use std::collections::BTreeMap;

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::digest::Digest;
use holdpoint_core::json::{Document, Kind, Limits, Value};
use serde::{Deserialize, Serialize};

use super::{Approvals, Attempt, StuckError, entry_of};
use crate::ledger::clip;
use crate::once::Once;
use crate::store::row::{Approval, Review};
use crate::store::{Change, StoreError, Write};
use crate::tokens::Credential;

/// Most arguments that may differ.
const PREDICATES_MAX: usize = 16;
/// Most values of one of them.
const VALUES_MAX: usize = 100;

/// How far a review would have the approval reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Calls in all, the one that is asked for included.
    pub uses: u32,
    /// For so many milliseconds.
    pub within_ms: u64,
    /// Which arguments may differ, by JSON pointer below `arguments`, and how. All others stay as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Predicate>,
}

/// What an argument that may differ must be. Something else than it can judge does not fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Predicate {
    /// One of these strings, numbers or booleans, exactly.
    OneOf(Vec<serde_json::Value>),
    /// A string that begins so.
    Prefix(String),
    /// A whole number from 0 to this.
    Lte(u64),
}

/// One approval that reaches further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Grant {
    pub id: String,
    /// The approval whose approvers gave it.
    pub approval_id: String,
    pub issuer: String,
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub server: String,
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub basis: Digest,
    pub call_digest: Digest,
    /// The call that people saw. Left out of lists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call_text: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Predicate>,
    /// `issuer subject` of everyone who gave it.
    pub by: String,
    pub uses_left: u32,
    pub expires_at_ms: u64,
}

/// Why a scope is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    #[error("the rules of this call allow no scope: approve this one call")]
    NotAllowed,
    #[error("calls of this kind are always asked one by one: approve this one call")]
    Destructive,
    #[error("`scope` reaches beyond what the rules allow: at most {uses_max} uses within {within_ms_max} ms")]
    TooFar { uses_max: u32, within_ms_max: u64 },
    #[error(
        "`scope` is at least 2 uses and 1 ms, with at most 16 arguments of at most 100 values, each below a pointer"
    )]
    Shape,
    #[error("an approval of more than one call needs a `reason`")]
    ReasonMissing,
}

/// Why a grant was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum RevokeGrantError {
    #[error("no grant `{0}` is in force: list them with GET /v1/grants")]
    NotFound(String),
    #[error("the grant has been used since you looked: look at it again")]
    Changed,
    #[error(transparent)]
    Stuck(#[from] StuckError),
}

impl From<StoreError> for RevokeGrantError {
    fn from(error: StoreError) -> Self {
        Self::Stuck(error.into())
    }
}

/// Whether this scope may be given for this approval.
pub fn check(scope: &Scope, approval: &Approval, reason: Option<&str>) -> Result<(), ScopeError> {
    let Some(limits) = approval.asked.requirement.grants else { return Err(ScopeError::NotAllowed) };
    if is_destructive(approval) {
        return Err(ScopeError::Destructive);
    }
    let is_plain = |(pointer, predicate): (&String, &Predicate)| {
        let values = match predicate {
            Predicate::OneOf(values) => values.len(),
            Predicate::Prefix(_) | Predicate::Lte(_) => 1,
        };
        pointer.starts_with('/') && (1..=VALUES_MAX).contains(&values)
    };
    if scope.uses < 2 || scope.within_ms == 0 || scope.arguments.len() > PREDICATES_MAX {
        return Err(ScopeError::Shape);
    }
    if !scope.arguments.iter().all(is_plain) {
        return Err(ScopeError::Shape);
    }
    if scope.uses > limits.uses_max || scope.within_ms > limits.within_ms_max {
        return Err(ScopeError::TooFar { uses_max: limits.uses_max, within_ms_max: limits.within_ms_max });
    }
    reason.map(drop).ok_or(ScopeError::ReasonMissing)
}

/// Whether people must look at each call of this kind: admin, or of no class that holds in every reading.
pub fn is_destructive(approval: &Approval) -> bool {
    let action = approval.asked.envelope.labels.get("mcp.action").map(String::as_str);
    !matches!(action, Some("read" | "write"))
}

/// What all who approved agree on, if every one of them gave a scope: the narrowest of them. Which arguments may differ
/// must be said alike.
pub(super) fn agreed(reviews: &[&Review]) -> Option<Scope> {
    let mut scopes = reviews.iter().map(|review| review.scope.clone());
    let first = scopes.next()??;
    scopes.try_fold(first, |sum, scope| {
        let scope = scope.filter(|scope| scope.arguments == sum.arguments)?;
        Some(Scope { uses: sum.uses.min(scope.uses), within_ms: sum.within_ms.min(scope.within_ms), ..sum })
    })
}

/// The grant that an approval becomes beside its own single use.
pub(super) fn given(approval: &Approval, scope: Scope, by: String, now_ms: u64) -> Grant {
    let asked = &approval.asked;
    Grant {
        id: uuid::Uuid::now_v7().simple().to_string(),
        approval_id: approval.id.clone(),
        issuer: asked.principal.issuer.clone(),
        subject: asked.principal.subject.clone(),
        tenant: asked.principal.tenant.clone(),
        server: asked.server.clone(),
        method: asked.method.clone(),
        target: asked.target.clone(),
        basis: asked.basis,
        call_digest: asked.call_digest,
        call_text: asked.call_text.clone(),
        arguments: scope.arguments,
        by,
        uses_left: scope.uses.saturating_sub(1),
        expires_at_ms: now_ms.saturating_add(scope.within_ms),
    }
}

/// What the record says of a grant.
pub(super) fn entry(grant: &Grant, status: &str, by: &str, at_ms: u64) -> AuditEntry {
    let mut entry = AuditEntry::new(EntryKind::GrantChanged, at_ms);
    entry.status = Some(status.to_owned());
    entry.by = Some(by.to_owned());
    entry.server = Some(grant.server.clone());
    entry.method = Some(grant.method.clone());
    entry.target.clone_from(&grant.target);
    entry.call_digest = Some(grant.call_digest);
    entry.basis = Some(grant.basis);
    entry.detail = Some(clip(&format!(
        "grant {} of approval {}: {} more calls of {} until {}",
        grant.id, grant.approval_id, grant.uses_left, grant.subject, grant.expires_at_ms
    )));
    entry
}

impl Grant {
    /// Whether it is for a call of this text; everything else about the call has been compared.
    pub fn covers(&self, call_digest: Digest, call_text: &str) -> bool {
        if call_digest == self.call_digest {
            return true;
        }
        if self.arguments.is_empty() {
            return false;
        }
        let read = |text: &str| Document::read(text.as_bytes().to_vec(), &Limits::default()).ok();
        let (Some(seen), Some(asked)) = (read(&self.call_text), read(call_text)) else { return false };
        fits(seen.root(), asked.root(), "", &self.arguments)
    }
}

/// Where arguments stand in the text of a call.
const ARGUMENTS: &str = "/params/arguments";

/// Whether `asked` is `seen` but for the arguments that may differ. Both are canonical, so equal texts are equal values.
fn fits(seen: Value<'_>, asked: Value<'_>, path: &str, may_differ: &BTreeMap<String, Predicate>) -> bool {
    if let Some(predicate) = path.strip_prefix(ARGUMENTS).and_then(|pointer| may_differ.get(pointer)) {
        return predicate.takes(asked);
    }
    match (seen.kind(), asked.kind()) {
        (Kind::Object, Kind::Object) => {
            let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            seen.len() == asked.len()
                && seen.members().with_key_values().all(|(key, value)| {
                    let Some(key) = key.as_str() else { return false };
                    asked.get(&key).is_some_and(|other| fits(value, other, &below(&key), may_differ))
                })
        }
        (Kind::Array, Kind::Array) => {
            seen.len() == asked.len()
                && seen
                    .elements()
                    .zip(asked.elements())
                    .enumerate()
                    .all(|(at, (value, other))| fits(value, other, &format!("{path}/{at}"), may_differ))
        }
        _ => seen.raw() == asked.raw(),
    }
}

impl Predicate {
    fn takes(&self, value: Value<'_>) -> bool {
        match self {
            Self::OneOf(values) => values.iter().any(|one| match one {
                serde_json::Value::String(text) => value.is_str(text),
                serde_json::Value::Bool(flag) => value.as_bool() == Some(*flag),
                serde_json::Value::Number(number) => value.number_text() == Some(number.to_string().as_str()),
                serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => false,
            }),
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::Lte(most) => {
                value.number_text().and_then(|text| text.parse::<u64>().ok()).is_some_and(|number| number <= *most)
            }
        }
    }
}

impl Approvals {
    /// The grants in force that the caller may know of, without the calls they were given for.
    pub async fn grants(&self, by: &Credential) -> Result<Vec<Grant>, StoreError> {
        let all = self.store.grants(self.store.now_ms().await?, None).await?;
        let seen = all.into_iter().filter(|grant| by.sees_tenant(grant.tenant.as_deref()));
        Ok(seen.map(|grant| Grant { call_text: String::new(), ..grant }).collect())
    }

    /// One of them.
    pub async fn grant(&self, id: &str, by: &Credential) -> Result<Option<Grant>, StoreError> {
        Ok(self.grants(by).await?.into_iter().find(|grant| grant.id == id))
    }

    /// Takes a grant back; what it still was good for. Only if `if_uses_left` are left, where that is given.
    pub async fn revoke_grant(
        &self,
        id: &str,
        by: &Credential,
        if_uses_left: Option<u32>,
        once: Option<&Once>,
    ) -> Result<Grant, RevokeGrantError> {
        let Some(grant) = self.grant(id, by).await? else { return Err(RevokeGrantError::NotFound(id.to_owned())) };
        if if_uses_left.is_some_and(|seen| seen != grant.uses_left) {
            return Err(RevokeGrantError::Changed);
        }
        let at_ms = self.store.now_ms().await?;
        let entries = vec![entry(&grant, "revoked", &by.name(), at_ms)];
        let mut writes = vec![Write::RevokeGrant { id: id.to_owned(), at_ms, if_uses_left }];
        if let Some(once) = once {
            writes.push(once.keep(&grant, at_ms)?);
        }
        match self.attempt(Change { writes, entries }).await? {
            Attempt::Done => Ok(grant),
            Attempt::Lost(_) if if_uses_left.is_some() && self.grant(id, by).await?.is_some() => {
                Err(RevokeGrantError::Changed)
            }
            Attempt::Lost(_) => Err(RevokeGrantError::NotFound(id.to_owned())),
        }
    }

    /// The grant that a call which nobody has been asked about yet runs under, if there is one.
    pub(super) async fn grant_for(
        &self,
        asked: &holdpoint_core::approval::OpenApproval,
        now_ms: u64,
    ) -> Result<Option<Grant>, StoreError> {
        if asked.requirement.grants.is_none() {
            return Ok(None);
        }
        let mine = self.store.grants(now_ms, Some((&asked.principal.issuer, &asked.principal.subject))).await?;
        Ok(mine.into_iter().find(|grant| {
            grant.uses_left > 0
                && (grant.basis, &grant.server, &grant.method) == (asked.basis, &asked.server, &asked.method)
                && (&grant.target, &grant.tenant) == (&asked.target, &asked.principal.tenant)
                && grant.covers(asked.call_digest, &asked.call_text)
        }))
    }
}

/// What the record says of an approval that a grant gave at once.
pub(super) fn used(approval: &Approval, grant: &Grant, now_ms: u64) -> AuditEntry {
    let mut closed = entry_of(EntryKind::ApprovalClosed, approval, now_ms);
    closed.status = Some(approval.status.as_str().to_owned());
    closed.by = Some(grant.by.clone());
    closed.detail = Some(format!("under grant {} of approval {}", grant.id, grant.approval_id));
    closed
}
