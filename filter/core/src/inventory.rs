//! Step 11: what the filter learns of servers from traffic and tells the service.
//!
//! Filters say what they saw and the service says what is new: only it remembers, and its log has no room for schemas.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::definition::DefinitionKind;
use crate::digest::Digest;
use crate::identity::Principal;

/// Longest name of a tool, URI or prompt that is learned, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Longest definition that is kept, in bytes of its canonical text; of a longer one the digest alone is.
pub const TEXT_BYTES_MAX: usize = 32 * 1_024;
/// Most entries of one list that are learned.
pub const ENTRIES_MAX: usize = 4_096;
/// Most capabilities of a server that are named.
pub const CAPABILITIES_MAX: usize = 64;

/// Body of `POST /v1/inventory/observations`. Sending one again is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ObservationBatch {
    /// `gateway/boot id` of the filter.
    pub source: String,
    pub observations: Vec<Observation>,
}

/// One thing that a server said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Observation {
    /// Unix time in milliseconds, by the clock of the filter.
    pub at_ms: u64,
    /// The catalogue's name of the server.
    pub server: String,
    /// To whom.
    pub caller: Principal,
    pub saw: Sighting,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    Introduced(Introduction),
    Listed(ListedPage),
}

/// How a server introduced itself. It says so itself: good to know, never to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Introduction {
    pub name: String,
    pub version: String,
    /// The protocol version it chose, or those it supports.
    pub protocol: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<String>,
    /// SHA-256 of its instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Digest>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ListedPage {
    pub kind: DefinitionKind,
    /// Names the page by the cursor it was asked with; absent where nobody knows which page it is, or not all of it was
    /// learned: then nothing is missing from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Digest>,
    /// It was asked without a cursor and gives none: the whole list.
    pub is_whole: bool,
    pub entries: Vec<ListedEntry>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ListedEntry {
    pub name: String,
    pub digest: Digest,
    /// The canonical definition; absent when this filter has sent it before, or it is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
