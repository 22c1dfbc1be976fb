//! Step 7: what administrators stop everywhere at once, without a policy update; kept, signed for the filters, recorded.

use std::sync::Arc;

use holdpoint_core::approval::OpenApproval;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::freeze::{FREEZE_SCHEMA, FREEZES_MAX, Freeze, FreezeList, FreezeScope, SignedFreezes};
use serde::{Deserialize, Serialize};

use crate::keys::{ServiceSigner, Signatures};
use crate::ledger::{Ledger, clip};
use crate::notify::Notify;
use crate::once::Once;
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};
use crate::tokens::Credential;

#[cfg(test)]
mod tests;

/// Longest name in a scope.
const NAME_CHARS_MAX: usize = 1_000;
/// MCP's own name of a tool call, the only method that a scope's `tool` is about.
const TOOLS_CALL: &str = "tools/call";

/// Body of `POST /v1/freezes`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeBody {
    pub scope: FreezeScope,
    /// Agents are told.
    pub reason: String,
}

/// Answer of `GET /v1/freezes`: filters read `list` and `signature`, people `freezes`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FreezesView {
    #[serde(flatten)]
    pub signed: SignedFreezes,
    pub version: u64,
    pub freezes: Vec<Freeze>,
}

/// Why nothing was stopped, or nothing lifted.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    #[error("`scope` must name a server, a tool or a principal, each with 1 to 1000 characters")]
    Scope,
    #[error("a freeze needs a `reason`: it is what agents are told")]
    ReasonMissing,
    #[error("{FREEZES_MAX} freezes are in force: lift those that are over first")]
    TooMany,
    #[error("no freeze `{0}` is in force: `holdpoint freeze list` and GET /v1/freezes show those that are")]
    NotFound(String),
    #[error("the list of freezes has changed since you looked: look at it again")]
    Changed,
    #[error("the list could not be written: {0}")]
    Text(serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All freezes of this service.
#[derive(Clone)]
pub struct Freezes {
    store: Arc<dyn Store>,
    ledger: Ledger,
    signer: Arc<ServiceSigner>,
    /// Whom the service tells what.
    pub(crate) notify: Notify,
}

impl Freezes {
    pub fn new(store: Arc<dyn Store>, ledger: Ledger, signer: Arc<ServiceSigner>) -> Self {
        Self { store, ledger, signer, notify: Notify::default() }
    }

    /// Stops something from now on.
    pub async fn add(&self, by: &Credential, body: FreezeBody, once: Option<&Once>) -> Result<Freeze, FreezeError> {
        let FreezeBody { scope, reason } = body;
        let is_name = |name: &String| (1..=NAME_CHARS_MAX).contains(&name.chars().count());
        let names = [&scope.server, &scope.tool, &scope.principal];
        if scope.is_empty() || !names.into_iter().flatten().all(is_name) {
            return Err(FreezeError::Scope);
        }
        let reason = clip(reason.trim());
        if reason.is_empty() {
            return Err(FreezeError::ReasonMissing);
        }
        let since_ms = self.store.now_ms().await?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let freeze = Freeze { id, scope, reason, by: by.name(), since_ms };
        let entry = entry(&freeze, "frozen", &freeze.by, &freeze.reason, since_ms);
        let mut writes = self.notify.freeze(&freeze, "frozen", &freeze.by, since_ms);
        writes.push(Write::AddFreeze { freeze: freeze.clone(), at_ms: since_ms, in_force_max: FREEZES_MAX });
        if let Some(once) = once {
            writes.push(once.keep(&freeze, since_ms)?);
        }
        self.commit(Change { writes, entries: vec![entry] }, &freeze.id).await?;
        Ok(freeze)
    }

    /// Lets it go on; what was stopped. Only if the list stands at `if_version`, where one is given.
    pub async fn lift(
        &self,
        by: &Credential,
        id: &str,
        if_version: Option<u64>,
        once: Option<&Once>,
    ) -> Result<Freeze, FreezeError> {
        let list = self.store.freezes().await?;
        let Some(freeze) = list.freezes.into_iter().find(|freeze| freeze.id == id) else {
            return Err(FreezeError::NotFound(id.to_owned()));
        };
        let at_ms = self.store.now_ms().await?;
        let entry = entry(&freeze, "lifted", &by.name(), &freeze.reason, at_ms);
        let mut writes = self.notify.freeze(&freeze, "lifted", &by.name(), at_ms);
        writes.push(Write::LiftFreeze { id: id.to_owned(), at_ms, if_version });
        if let Some(once) = once {
            writes.push(once.keep(&freeze, at_ms)?);
        }
        self.commit(Change { writes, entries: vec![entry] }, id).await?;
        Ok(freeze)
    }

    /// What is stopped now, signed.
    pub async fn view(&self) -> Result<FreezesView, FreezeError> {
        let FreezeList { version, freezes, .. } = self.store.freezes().await?;
        let list = FreezeList { schema: FREEZE_SCHEMA.to_owned(), version, freezes };
        let text = serde_json::to_string(&list).map_err(FreezeError::Text)?;
        let Signatures { signature, also } = self.signer.sign_freezes(&text);
        Ok(FreezesView { signed: SignedFreezes { list: text, signature, also }, version, freezes: list.freezes })
    }

    /// The version alone: what a filter asks for every few seconds.
    pub async fn version(&self) -> Result<u64, StoreError> {
        self.store.freeze_version().await
    }

    async fn commit(&self, change: Change, id: &str) -> Result<(), FreezeError> {
        match self.ledger.commit(change).await {
            Ok(()) => Ok(()),
            Err(CommitError::Conflict(Conflict::TooManyFreezes)) => Err(FreezeError::TooMany),
            Err(CommitError::Conflict(Conflict::Moved)) => Err(FreezeError::Changed),
            Err(CommitError::Conflict(Conflict::Missing)) => Err(FreezeError::NotFound(id.to_owned())),
            Err(CommitError::Conflict(conflict)) => Err(StoreError::Database(conflict.to_string()).into()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

/// After the database was put back from a copy: what was stopped when the copy was made is stopped, what was stopped since is
/// not, and gateways, which know a newer list, must hear so. `detail` goes into the record.
pub fn restored(at_ms: u64, detail: &str) -> Change {
    let mut entry = AuditEntry::new(EntryKind::FreezeChanged, at_ms);
    entry.status = Some("restored".to_owned());
    entry.detail = Some(clip(detail));
    Change { writes: vec![Write::RenewFreezes { at_ms }], entries: vec![entry] }
}

/// What stops this call, if anything does.
pub async fn stops(store: &dyn Store, asked: &OpenApproval) -> Result<Option<Freeze>, StoreError> {
    Ok(stopping(&store.freezes().await?, asked).cloned())
}

/// The one of this list that stops what is asked.
pub fn stopping<'l>(list: &'l FreezeList, asked: &OpenApproval) -> Option<&'l Freeze> {
    let tool = asked.target.as_deref().filter(|_| asked.method == TOOLS_CALL);
    list.freezes.iter().find(|freeze| freeze.scope.covers(&asked.server, tool, &asked.principal))
}

fn entry(freeze: &Freeze, status: &str, by: &str, reason: &str, at_ms: u64) -> AuditEntry {
    let mut entry = AuditEntry::new(EntryKind::FreezeChanged, at_ms);
    entry.status = Some(status.to_owned());
    entry.by = Some(by.to_owned());
    entry.server.clone_from(&freeze.scope.server);
    entry.target.clone_from(&freeze.scope.tool);
    entry.detail = Some(clip(&format!("{} ({}): {reason}", freeze.scope, freeze.id)));
    entry
}
