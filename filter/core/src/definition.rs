//! Step 11: what a server says of one tool, resource or prompt, and the digest that names it. Pins and the inventory
//! compare by it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::envelope::Annotations;
use crate::json::canonical;
use crate::json::{Kind, Value};

#[cfg(test)]
mod tests;

/// Tag of [`Definition::digest`].
const DEFINITION_TAG: &str = "holdpoint/definition/v1";

/// What is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    Tool,
    Resource,
    ResourceTemplate,
    Prompt,
}

impl DefinitionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Resource, Self::ResourceTemplate, Self::Prompt];

    /// The word used in digests, records and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource_template",
            Self::Prompt => "prompt",
        }
    }

    /// Members that say how a thing is at the moment and not what it is. `_meta` is the protocol's own place for that;
    /// a resource also tells its size and when it last changed.
    fn passing(self) -> &'static [&'static str] {
        match self {
            Self::Tool | Self::Prompt => &["_meta"],
            Self::Resource | Self::ResourceTemplate => &["_meta", "annotations", "size"],
        }
    }
}

/// One entry of a list that a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub kind: DefinitionKind,
    /// Tool name, resource URI, URI template or prompt name.
    pub name: String,
    /// sha256 of `holdpoint/definition/v1`, a line feed and the canonical `{"definition": …, "kind": …}`.
    pub digest: Digest,
    /// Canonical JSON of the entry: every member, known or not, but those that only say how it is at the moment. For a
    /// tool that is name, title, description, input and output schema, annotations, icons, execution.
    pub text: String,
    /// Of a tool; nothing was said of the others.
    pub annotations: Annotations,
}

impl Definition {
    /// Reads an entry that goes by `name`.
    pub fn read(kind: DefinitionKind, name: &str, entry: Value<'_>) -> Self {
        let passing = kind.passing();
        let mut text = String::with_capacity(entry.span().len());
        canonical::write_where(entry, |member| !passing.contains(&member), &mut text);
        let annotations = match kind {
            DefinitionKind::Tool => annotations(entry),
            DefinitionKind::Resource | DefinitionKind::ResourceTemplate | DefinitionKind::Prompt => {
                Annotations::default()
            }
        };
        Self { kind, name: name.to_owned(), digest: digest(kind, &text), text, annotations }
    }
}

/// The digest of a definition's canonical text.
pub fn digest(kind: DefinitionKind, text: &str) -> Digest {
    let parts = [r#"{"definition":"#, text, r#","kind":""#, kind.as_str(), r#""}"#];
    Digest::tagged_all(DEFINITION_TAG, &parts.map(str::as_bytes))
}

fn annotations(entry: Value<'_>) -> Annotations {
    let said = entry.get("annotations").filter(|said| said.kind() == Kind::Object);
    let hint = |name: &str| said.and_then(|said| said.get(name)).and_then(|hint| hint.as_bool());
    Annotations {
        read_only: hint("readOnlyHint"),
        destructive: hint("destructiveHint"),
        open_world: hint("openWorldHint"),
    }
}

/// What is known of a called tool's definition when it is judged; kept with its approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DefinitionFact {
    /// As the server last listed it, to whomever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Digest>,
    /// What the catalogue pins.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pinned: BTreeSet<Digest>,
}

impl DefinitionFact {
    /// Whether the catalogue pins another definition than the one that was seen.
    pub fn is_changed(&self) -> bool {
        !self.pinned.is_empty() && self.seen.is_some_and(|seen| !self.pinned.contains(&seen))
    }

    /// Whether the catalogue pins a definition and none was seen.
    pub fn is_unseen(&self) -> bool {
        !self.pinned.is_empty() && self.seen.is_none()
    }
}
