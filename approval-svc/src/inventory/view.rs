//! Step 11: the inventory as auditors and approvers read it: API, command line and pages.

use std::collections::BTreeSet;

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::GONE_AFTER_MS;
use holdpoint_core::policy::{self, PolicySnapshot};
use serde::{Deserialize, Serialize};

use super::Inventory;
use crate::store::inventory::{CallerRow, DefinitionRow, DriftRow, IntroductionRow, ItemRow, ServerRow};
use crate::store::{Store, StoreError};
use crate::tokens::Credential;

const CALLERS_MAX: u32 = 1_000;
const DRIFT_MAX: u32 = 200;
const GATEWAYS_MAX: u32 = 1_000;

/// `GET /v1/inventory/servers`
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServersView {
    pub servers: Vec<ServerLine>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One server in a list.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerLine {
    pub server: String,
    /// As it introduced itself last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<IntroductionRow>,
    pub tools: usize,
    pub resources: usize,
    pub prompts: usize,
    /// Entries that no policy in force names.
    pub unclassified: usize,
    /// Tools under another definition than the pinned one.
    pub changed: usize,
    pub first_seen_ms: u64,
    pub last_seen_ms: u64,
}

/// `GET /v1/inventory/servers/{server}`
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerView {
    #[serde(flatten)]
    pub line: ServerLine,
    /// The latest first.
    pub introductions: Vec<IntroductionRow>,
    pub items: Vec<ItemView>,
    /// The latest first.
    pub drift: Vec<DriftRow>,
    /// The latest first; those of the reader's tenant.
    pub callers: Vec<CallerRow>,
}

/// One tool, resource, template or prompt.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ItemView {
    pub kind: DefinitionKind,
    pub name: String,
    pub definition: Digest,
    pub is_removed: bool,
    /// A policy in force names it; absent where no gateway reports any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_classified: Option<bool>,
    /// What policies in force pin.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pinned: BTreeSet<Digest>,
    pub first_seen_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at_ms: Option<u64>,
    pub last_seen_ms: u64,
}

impl ItemView {
    /// Whether it is pinned and now another one.
    pub fn is_pin_broken(&self) -> bool {
        !self.pinned.is_empty() && !self.pinned.contains(&self.definition)
    }
}

/// `GET /v1/inventory/servers/{server}/definitions?kind=…&name=…`: the latest first.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DefinitionsView {
    pub server: String,
    pub kind: DefinitionKind,
    pub name: String,
    pub definitions: Vec<DefinitionRow>,
}

impl Inventory {
    /// Every server, by name.
    pub async fn servers(&self) -> Result<ServersView, StoreError> {
        let policies = in_force(&*self.store).await?;
        let mut servers = Vec::new();
        for row in self.store.inventory_servers().await? {
            let introduced = self.store.inventory_introductions(&row.server).await?.into_iter().next();
            let items = items(&row, self.store.inventory_items(&row.server).await?, &policies);
            servers.push(line(row, introduced, &items));
        }
        Ok(ServersView { servers, next_cursor: None })
    }

    /// All of one server; `None` for one that was never seen.
    pub async fn server(&self, server: &str, reader: &Credential) -> Result<Option<ServerView>, StoreError> {
        let Some(row) = self.store.inventory_server(server).await? else { return Ok(None) };
        let policies = in_force(&*self.store).await?;
        let introductions = self.store.inventory_introductions(server).await?;
        let items = items(&row, self.store.inventory_items(server).await?, &policies);
        let mut callers = self.store.inventory_callers(server, CALLERS_MAX).await?;
        callers.retain(|row| reader.sees_tenant(Some(row.caller.tenant.as_str()).filter(|tenant| !tenant.is_empty())));
        Ok(Some(ServerView {
            line: line(row, introductions.first().cloned(), &items),
            introductions,
            items,
            drift: self.store.inventory_drift(server, DRIFT_MAX).await?,
            callers,
        }))
    }

    /// Every definition of one of its entries; `None` where there is none.
    pub async fn definitions(
        &self,
        server: &str,
        kind: DefinitionKind,
        name: &str,
    ) -> Result<Option<DefinitionsView>, StoreError> {
        let definitions = self.store.inventory_definitions(server, kind, name).await?;
        let view = DefinitionsView { server: server.to_owned(), kind, name: name.to_owned(), definitions };
        Ok((!view.definitions.is_empty()).then_some(view))
    }
}

/// The policies that gateways have in force.
async fn in_force(store: &dyn Store) -> Result<Vec<PolicySnapshot>, StoreError> {
    let now_ms = store.now_ms().await?;
    let rows = store.all_in_force(now_ms.saturating_sub(GONE_AFTER_MS), GATEWAYS_MAX).await?;
    let ids: BTreeSet<Digest> = rows.into_iter().map(|row| row.report.snapshot_id).collect();
    let mut snapshots = Vec::new();
    for id in ids {
        let Some(row) = store.policy(id).await? else { continue };
        // One that this version cannot read classifies nothing.
        snapshots.extend(policy::read_file(&row.canonical).and_then(|document| policy::compile(&document)).ok());
    }
    Ok(snapshots)
}

fn items(server: &ServerRow, rows: Vec<ItemRow>, policies: &[PolicySnapshot]) -> Vec<ItemView> {
    let view = |row: ItemRow| {
        let names = |policy: &PolicySnapshot| policy.names(&server.server, row.kind, &row.name);
        let pinned = policies.iter().filter(|_| row.kind == DefinitionKind::Tool);
        ItemView {
            is_classified: (!policies.is_empty()).then(|| policies.iter().any(names)),
            pinned: pinned.flat_map(|policy| policy.pinned(&server.server, &row.name)).collect(),
            kind: row.kind,
            name: row.name,
            definition: row.digest,
            is_removed: row.is_removed,
            first_seen_ms: row.first_seen_ms,
            changed_at_ms: row.changed_at_ms,
            last_seen_ms: row.last_seen_ms,
        }
    };
    rows.into_iter().map(view).collect()
}

fn line(row: ServerRow, introduced: Option<IntroductionRow>, items: &[ItemView]) -> ServerLine {
    let there = || items.iter().filter(|item| !item.is_removed);
    let count = |kinds: &[DefinitionKind]| there().filter(|item| kinds.contains(&item.kind)).count();
    ServerLine {
        server: row.server,
        introduced,
        tools: count(&[DefinitionKind::Tool]),
        resources: count(&[DefinitionKind::Resource, DefinitionKind::ResourceTemplate]),
        prompts: count(&[DefinitionKind::Prompt]),
        unclassified: there().filter(|item| item.is_classified == Some(false)).count(),
        changed: there().filter(|item| item.is_pin_broken()).count(),
        first_seen_ms: row.first_seen_ms,
        last_seen_ms: row.last_seen_ms,
    }
}
