//! Step 11: the rows of the inventory, and how they are written, whatever database keeps them.

use std::collections::BTreeMap;

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use holdpoint_core::inventory::Introduction;
use serde::{Deserialize, Serialize};

/// One write into the inventory.
#[derive(Clone, Debug)]
pub enum InventoryWrite {
    /// Says that a server was seen. Fails with [`super::Conflict::Counter`] unless it stands at `revision`, 0 for one never
    /// seen; afterwards it stands at one more.
    Server {
        server: String,
        revision: u64,
        at_ms: u64,
    },
    /// How it introduced itself. Older ones beyond a bound are forgotten.
    Introduction {
        server: String,
        introduction: Introduction,
        at_ms: u64,
    },
    /// An entry of a list, as it stands now.
    Item(Box<SeenItem>),
    /// No list has it any more.
    Removed {
        server: String,
        kind: DefinitionKind,
        name: String,
        at_ms: u64,
    },
    /// What a page holds now. `alone` forgets the caller's other pages of that list.
    Page {
        server: String,
        kind: DefinitionKind,
        page: PageRow,
        alone: bool,
        at_ms: u64,
    },
    Drift {
        server: String,
        drift: DriftRow,
    },
    /// Calls of a server, added to those before. A new row is not added where a server has very many.
    Calls {
        server: String,
        /// By what was called, and by whom: how often.
        calls: BTreeMap<(String, CallerName), u64>,
        at_ms: u64,
    },
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenItem {
    pub server: String,
    pub kind: DefinitionKind,
    pub name: String,
    pub digest: Digest,
    pub text: Option<String>,
    /// It had another definition before.
    pub has_changed: bool,
    /// Nothing newer is known. Of what is older, only the definition is kept.
    pub is_latest: bool,
    pub at_ms: u64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    pub server: String,
    pub revision: u64,
    pub first_seen_ms: u64,
    pub last_seen_ms: u64,
}

/// One tool, resource, template or prompt, under its latest definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow {
    pub kind: DefinitionKind,
    pub name: String,
    pub digest: Digest,
    pub is_removed: bool,
    pub first_seen_ms: u64,
    pub changed_at_ms: Option<u64>,
    pub last_seen_ms: u64,
}

/// One definition of one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DefinitionRow {
    pub digest: Digest,
    /// Canonical JSON; absent where it was too long to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub first_seen_ms: u64,
    pub last_seen_ms: u64,
}

/// One page of one caller's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRow {
    /// Digest of who the caller is.
    pub caller: Digest,
    pub page: Digest,
    pub names: Vec<String>,
    /// By which gateway it was told, and when it was seen there, in Unix milliseconds of that gateway's clock.
    pub told: Option<(String, u64)>,
}

/// How something came to differ from what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftChange {
    New,
    Changed,
    Removed,
}

impl DriftChange {
    /// The word in the API, the database and the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// One such change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DriftRow {
    pub kind: DefinitionKind,
    pub name: String,
    pub change: DriftChange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
    pub at_ms: u64,
}

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallerName {
    pub issuer: String,
    pub subject: String,
    /// Empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
}

/// Who called what, how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallerRow {
    /// Tool, resource or prompt; empty for what no list has.
    pub target: String,
    #[serde(flatten)]
    pub caller: CallerName,
    pub calls: u64,
    pub first_seen_ms: u64,
    pub last_seen_ms: u64,
}

/// How a server introduced itself, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IntroductionRow {
    #[serde(flatten)]
    pub introduction: Introduction,
    pub first_seen_ms: u64,
    pub last_seen_ms: u64,
}
