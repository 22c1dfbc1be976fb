//! Step 8: an approver lets somebody else decide in their place until a date. Never further than that one person.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdpoint_core::audit::{AuditEntry, EntryKind};
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, clip};
use crate::once::Once;
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};
use crate::tokens::{Credential, Role};

/// Longest that authority may be lent: 90 days.
const DELEGATION_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1_000;
/// Longest name of a person.
const NAME_CHARS_MAX: usize = 1_000;

/// One person's authority, lent to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delegation {
    pub id: String,
    pub from: Person,
    pub to: Person,
    /// Groups of `from` as they were when they were lent.
    pub groups: BTreeSet<String>,
    /// The lender's: nobody lends a say in what is not theirs to see. `None` for all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub reason: String,
    /// Unix time in milliseconds from which it counts for nothing.
    pub until_ms: u64,
}

impl Delegation {
    /// Whether it counts for what belongs to `tenant`.
    pub fn reaches(&self, tenant: Option<&str>) -> bool {
        self.tenant.is_none() || self.tenant.as_deref() == tenant
    }
}

/// Somebody, and who vouches for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub issuer: String,
    pub subject: String,
}

impl Person {
    /// `issuer subject`, as the record names people.
    pub fn name(&self) -> String {
        format!("{} {}", self.issuer, self.subject)
    }
}

/// Body of `POST /v1/delegations`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DelegationBody {
    pub to: Person,
    /// Which of your groups; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    pub until_ms: u64,
    pub reason: String,
}

/// Why nothing was lent, or nothing ended.
#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    #[error("`until_ms` must be in the future and at most 90 days away")]
    Until,
    #[error("`to` must be somebody else, with an issuer and a subject of 1 to 1000 characters")]
    To,
    #[error("you can lend only groups that you are in yourself: `{0}` is none of them")]
    NotYourGroup(String),
    #[error("you are in no group, so there is nothing to lend")]
    NoGroups,
    #[error("a delegation needs a `reason`: it stands in the record")]
    ReasonMissing,
    #[error("you have lent nothing under `{0}`: list with GET /v1/delegations")]
    NotFound(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All delegations of this service.
#[derive(Clone)]
pub struct Delegations {
    store: Arc<dyn Store>,
    ledger: Ledger,
}

impl Delegations {
    pub fn new(store: Arc<dyn Store>, ledger: Ledger) -> Self {
        Self { store, ledger }
    }

    /// Lends own groups: what was itself lent cannot be lent on.
    pub async fn add(
        &self,
        by: &Credential,
        body: DelegationBody,
        once: Option<&Once>,
    ) -> Result<Delegation, DelegationError> {
        let now_ms = self.store.now_ms().await?;
        let from = by.person();
        if body.until_ms <= now_ms || body.until_ms - now_ms > DELEGATION_MS_MAX {
            return Err(DelegationError::Until);
        }
        let is_name = |name: &String| (1..=NAME_CHARS_MAX).contains(&name.chars().count());
        if !is_name(&body.to.issuer) || !is_name(&body.to.subject) || body.to.subject == from.subject {
            return Err(DelegationError::To);
        }
        let groups = body.groups.unwrap_or_else(|| by.groups.clone());
        if let Some(other) = groups.iter().find(|group| !by.groups.contains(*group)) {
            return Err(DelegationError::NotYourGroup(other.clone()));
        }
        if groups.is_empty() {
            return Err(DelegationError::NoGroups);
        }
        let reason = clip(body.reason.trim());
        if reason.is_empty() {
            return Err(DelegationError::ReasonMissing);
        }
        let id = uuid::Uuid::now_v7().simple().to_string();
        let delegation =
            Delegation { id, from, to: body.to, groups, tenant: by.tenant.clone(), reason, until_ms: body.until_ms };
        let entry = entry(&delegation, "lent", &by.name(), now_ms);
        let mut writes = vec![Write::AddDelegation { delegation: delegation.clone(), at_ms: now_ms }];
        if let Some(once) = once {
            writes.push(once.keep(&delegation, now_ms)?);
        }
        self.commit(Change { writes, entries: vec![entry] }, &delegation.id).await?;
        Ok(delegation)
    }

    /// Ends one, by who lent it or by an administrator.
    pub async fn end(&self, by: &Credential, id: &str, once: Option<&Once>) -> Result<Delegation, DelegationError> {
        let now_ms = self.store.now_ms().await?;
        let found = self.store.delegations(now_ms).await?.into_iter().find(|delegation| delegation.id == id);
        let may_end = |delegation: &Delegation| {
            (by.role == Role::Admin && by.sees_tenant(delegation.tenant.as_deref())) || delegation.from == by.person()
        };
        let Some(delegation) = found.filter(may_end) else { return Err(DelegationError::NotFound(id.to_owned())) };
        let entry = entry(&delegation, "ended", &by.name(), now_ms);
        let mut writes = vec![Write::EndDelegation { id: id.to_owned(), at_ms: now_ms }];
        if let Some(once) = once {
            writes.push(once.keep(&delegation, now_ms)?);
        }
        self.commit(Change { writes, entries: vec![entry] }, id).await?;
        Ok(delegation)
    }

    /// Those in force that concern the caller; all of them for an administrator or an auditor.
    pub async fn list(&self, by: &Credential) -> Result<Vec<Delegation>, StoreError> {
        let all = self.store.delegations(self.store.now_ms().await?).await?;
        let me = by.person();
        let sees_all = matches!(by.role, Role::Admin | Role::Auditor);
        Ok(all
            .into_iter()
            .filter(|one| (sees_all && by.sees_tenant(one.tenant.as_deref())) || one.from == me || one.to == me)
            .collect())
    }

    async fn commit(&self, change: Change, id: &str) -> Result<(), DelegationError> {
        match self.ledger.commit(change).await {
            Ok(()) => Ok(()),
            Err(CommitError::Conflict(Conflict::Missing)) => Err(DelegationError::NotFound(id.to_owned())),
            Err(CommitError::Conflict(conflict)) => Err(StoreError::Database(conflict.to_string()).into()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

/// What others have lent this person.
pub async fn lent_to(store: &dyn Store, person: &Person) -> Result<Vec<Delegation>, StoreError> {
    let all = store.delegations(store.now_ms().await?).await?;
    Ok(all.into_iter().filter(|delegation| delegation.to == *person).collect())
}

fn entry(delegation: &Delegation, status: &str, by: &str, at_ms: u64) -> AuditEntry {
    let groups: Vec<&str> = delegation.groups.iter().map(String::as_str).collect();
    let mut entry = AuditEntry::new(EntryKind::DelegationChanged, at_ms);
    entry.status = Some(status.to_owned());
    entry.by = Some(by.to_owned());
    entry.detail = Some(clip(&format!(
        "{} lends {} to {} until {} ({}): {}",
        delegation.from.name(),
        groups.join(", "),
        delegation.to.name(),
        delegation.until_ms,
        delegation.id,
        delegation.reason
    )));
    entry
}
