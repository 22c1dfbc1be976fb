//! Step 5: the tags a client puts on its own call (`params._meta["holdpoint.dev/tags"]`). They can only tighten.

use std::collections::BTreeSet;
use std::fmt;

use crate::json::{Kind, Value};
use crate::mcp::McpMessage;
use crate::policy::ActionClass;

const KEY: &str = "holdpoint.dev/tags";
const TAGS_MAX: usize = 32;
const TAG_BYTES_MAX: usize = 64;

/// What a client says of its own call: a list of risk tags, or an object with `risk_tags` and `action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientTags {
    pub(super) risk_tags: BTreeSet<String>,
    pub(super) action: Option<ActionClass>,
}

/// Why client tags cannot be read. The call is refused: its client meant to be bound by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTagsError {
    Shape,
    TooMany,
    Tag,
    Action,
}

impl fmt::Display for ClientTagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`_meta[\"{KEY}\"]` ")?;
        match self {
            Self::Shape => f.write_str("must be a list of risk tags, or an object with `risk_tags` and `action` alone"),
            Self::TooMany => write!(f, "holds more than {TAGS_MAX} tags"),
            Self::Tag => write!(f, "holds a tag that is not a string of 1 to {TAG_BYTES_MAX} bytes"),
            Self::Action => f.write_str("names an action that is not `read`, `write` or `admin`"),
        }
    }
}

/// The client's tags, when it sent any.
pub(super) fn read(message: &McpMessage) -> Result<Option<ClientTags>, ClientTagsError> {
    let Some(value) = message.meta().and_then(|meta| meta.get(KEY)) else {
        return Ok(None);
    };
    let mut tags = ClientTags { risk_tags: BTreeSet::new(), action: None };
    match value.kind() {
        Kind::Array => tags.risk_tags = risk_tags(value)?,
        Kind::Object => {
            for (name, member) in value.members() {
                match name.as_ref() {
                    "risk_tags" if member.kind() == Kind::Array => tags.risk_tags = risk_tags(member)?,
                    "action" => tags.action = Some(action(member)?),
                    _ => return Err(ClientTagsError::Shape),
                }
            }
        }
        Kind::Null | Kind::Bool | Kind::Number | Kind::String => return Err(ClientTagsError::Shape),
    }
    Ok(Some(tags))
}

fn risk_tags(list: Value<'_>) -> Result<BTreeSet<String>, ClientTagsError> {
    if list.len() > TAGS_MAX {
        return Err(ClientTagsError::TooMany);
    }
    let tag = |value: Value<'_>| {
        let text = value.as_str().ok_or(ClientTagsError::Tag)?;
        if text.is_empty() || text.len() > TAG_BYTES_MAX { Err(ClientTagsError::Tag) } else { Ok(text.into_owned()) }
    };
    let mut tags = BTreeSet::new();
    for value in list.elements() {
        tags.insert(tag(value)?);
    }
    Ok(tags)
}

fn action(value: Value<'_>) -> Result<ActionClass, ClientTagsError> {
    let named = ActionClass::ALL.into_iter().find(|action| value.is_str(action.as_str()));
    named.ok_or(ClientTagsError::Action)
}
