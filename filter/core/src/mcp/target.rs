//! Step 3: what a message is about, taken from its parameters by method. What a method needs must be there and plain.

use std::borrow::Cow;

use super::malformed::{Malformed, MalformedKind};
use super::message::VERSION;
use super::method::Method;
use super::near_key;
use crate::json::{Kind, Value};

/// What one message names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The message names nothing.
    None,
    Tool(String),
    /// A URI, verbatim.
    Resource(String),
    Prompt(String),
    Completion(CompletionRef),
    /// A task id.
    Task(String),
    /// What the client wants to be told about, in the order of the message.
    Subscription {
        uris: Vec<String>,
        task_ids: Vec<String>,
    },
}

/// Whose argument a completion is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompletionRef {
    /// The name of a prompt.
    Prompt(String),
    /// A resource URI or URI template, verbatim.
    Resource(String),
}

const NAME_CHARS_MAX: usize = 256;
const URI_BYTES_MAX: usize = 8192;
const SUBSCRIPTIONS_MAX: usize = 256;

impl Target {
    /// The one name in it; nothing where there is none or may be several.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tool(name)
            | Self::Resource(name)
            | Self::Prompt(name)
            | Self::Task(name)
            | Self::Completion(CompletionRef::Prompt(name) | CompletionRef::Resource(name)) => Some(name),
            Self::None | Self::Subscription { .. } => None,
        }
    }

    /// The name of the tool that it is.
    pub fn tool(&self) -> Option<&str> {
        match self {
            Self::Tool(name) => Some(name),
            Self::None
            | Self::Resource(_)
            | Self::Prompt(_)
            | Self::Completion(_)
            | Self::Task(_)
            | Self::Subscription { .. } => None,
        }
    }

    /// What the `mcp-name` header repeats, and whether 2026-07-28 demands it. Where it does not, some clients send it all
    /// the same.
    pub(super) fn in_name_header(&self, method: &Method) -> Option<(&str, bool)> {
        match self {
            Self::Tool(name) | Self::Prompt(name) => Some((name, true)),
            Self::Resource(uri) => Some((uri, *method == Method::ResourcesRead)),
            Self::Task(id) => Some((id, *method != Method::TasksResult)),
            Self::Subscription { uris, .. } if *method != Method::SubscriptionsListen => Some((uris.first()?, false)),
            Self::None | Self::Completion(_) | Self::Subscription { .. } => None,
        }
    }

    /// Reads what `method` names in `params`, and checks the types of everything that changes what it does.
    pub(super) fn of(method: &Method, params: Option<Value<'_>>) -> Result<Self, Malformed> {
        let member = |key: &str| params.and_then(|params| params.get(key));
        match method {
            Method::ToolsCall => {
                optional(member("arguments"), "arguments", Kind::Object)?;
                optional(member("task"), "task", Kind::Object)?;
                check_continuation(params)?;
                Ok(Self::Tool(name(member("name"), "name")?))
            }
            Method::ResourcesRead => {
                check_continuation(params)?;
                Ok(Self::Resource(uri(member("uri"), "uri")?))
            }
            Method::ResourcesDirectoryRead => {
                optional(member("cursor"), "cursor", Kind::String)?;
                Ok(Self::Resource(uri(member("uri"), "uri")?))
            }
            Method::SkillsGet => Ok(Self::Resource(uri(member("uri"), "uri")?)),
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                Ok(Self::Subscription { uris: vec![uri(member("uri"), "uri")?], task_ids: Vec::new() })
            }
            Method::PromptsGet => {
                check_continuation(params)?;
                let arguments = optional(member("arguments"), "arguments", Kind::Object)?;
                if arguments.is_some_and(|arguments| arguments.members().any(|(_, value)| value.kind() != Kind::String))
                {
                    return Err(params_error("`params.arguments` of a prompt must hold strings only"));
                }
                Ok(Self::Prompt(name(member("name"), "name")?))
            }
            Method::CompletionComplete => completion(params),
            Method::SubscriptionsListen => subscription(params),
            Method::TasksGet | Method::TasksResult | Method::TasksUpdate | Method::TasksCancel => {
                check_continuation(params)?;
                Ok(Self::Task(name(member("taskId"), "taskId")?))
            }
            Method::TasksList
            | Method::ToolsList
            | Method::ResourcesList
            | Method::ResourcesTemplatesList
            | Method::PromptsList
            | Method::SkillsList => {
                optional(member("cursor"), "cursor", Kind::String)?;
                Ok(Self::None)
            }
            Method::Initialize => {
                // With the envelope of 2026-07-28 it is a question that servers of that revision answer with "no such method".
                let has_envelope = member("_meta").is_some_and(|meta| meta.get(VERSION).is_some());
                match has_envelope {
                    true => optional(member("protocolVersion"), "protocolVersion", Kind::String).map(drop)?,
                    false => required(member("protocolVersion"), "protocolVersion", Kind::String).map(drop)?,
                }
                Ok(Self::None)
            }
            Method::ServerDiscover
            | Method::Ping
            | Method::LoggingSetLevel
            | Method::NotificationsInitialized
            | Method::NotificationsCancelled
            | Method::NotificationsProgress
            | Method::NotificationsRootsListChanged
            | Method::NotificationsTasksStatus
            | Method::StreamOpen
            | Method::SessionEnd
            | Method::SamplingCreateMessage
            | Method::ElicitationCreate
            | Method::RootsList
            | Method::Response
            | Method::Unknown(_) => Ok(Self::None),
        }
    }
}

/// What a later round of the same call brings along.
fn check_continuation(params: Option<Value<'_>>) -> Result<(), Malformed> {
    let member = |key: &str| params.and_then(|params| params.get(key));
    optional(member("requestState"), "requestState", Kind::String)?;
    optional(member("inputResponses"), "inputResponses", Kind::Object)?;
    Ok(())
}

fn completion(params: Option<Value<'_>>) -> Result<Target, Malformed> {
    let member = |key: &str| params.and_then(|params| params.get(key));
    let reference = required(member("ref"), "ref", Kind::Object)?;
    near_key::refuse(reference, near_key::REF)?;
    let argument = required(member("argument"), "argument", Kind::Object)?;
    near_key::refuse(argument, near_key::ARGUMENT)?;
    required(argument.get("name"), "argument.name", Kind::String)?;
    required(argument.get("value"), "argument.value", Kind::String)?;
    let of = required(reference.get("type"), "ref.type", Kind::String)?;
    if of.is_str("ref/prompt") {
        Ok(Target::Completion(CompletionRef::Prompt(name(reference.get("name"), "ref.name")?)))
    } else if of.is_str("ref/resource") {
        Ok(Target::Completion(CompletionRef::Resource(uri(reference.get("uri"), "ref.uri")?)))
    } else {
        Err(params_error("`params.ref.type` must be `ref/prompt` or `ref/resource`"))
    }
}

fn subscription(params: Option<Value<'_>>) -> Result<Target, Malformed> {
    let notifications = params.and_then(|params| params.get("notifications"));
    let notifications = required(notifications, "notifications", Kind::Object)?;
    near_key::refuse(notifications, near_key::NOTIFICATIONS)?;
    let each = |key: &'static str, read: fn(Option<Value<'_>>, &str) -> Result<String, Malformed>| {
        let Some(list) = optional(notifications.get(key), key, Kind::Array)? else {
            return Ok(Vec::new());
        };
        if list.len() > SUBSCRIPTIONS_MAX {
            return Err(params_error(format!(
                "`params.notifications.{key}` has more than {SUBSCRIPTIONS_MAX} entries"
            )));
        }
        list.elements().map(|entry| read(Some(entry), key)).collect()
    };
    Ok(Target::Subscription { uris: each("resourceSubscriptions", uri)?, task_ids: each("taskIds", name)? })
}

fn name(value: Option<Value<'_>>, key: &str) -> Result<String, Malformed> {
    let name = text(required(value, key, Kind::String)?);
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(params_error(format!("`params.{key}` must have 1 to {NAME_CHARS_MAX} characters")));
    }
    // An approver must see the name that the server gets.
    if name.chars().any(|character| character.is_control() || near_key::is_invisible(character)) {
        return Err(params_error(format!("`params.{key}` holds a control or invisible character")));
    }
    if name.trim().len() != name.len() {
        return Err(params_error(format!("`params.{key}` starts or ends with white space")));
    }
    Ok(name.into_owned())
}

fn uri(value: Option<Value<'_>>, key: &str) -> Result<String, Malformed> {
    let uri = text(required(value, key, Kind::String)?);
    if uri.is_empty() || uri.len() > URI_BYTES_MAX {
        return Err(params_error(format!("`params.{key}` must have 1 to {URI_BYTES_MAX} bytes")));
    }
    let unseen =
        |character: char| character.is_control() || character.is_whitespace() || near_key::is_invisible(character);
    if uri.chars().any(unseen) {
        return Err(params_error(format!("`params.{key}` holds white space or a control or invisible character")));
    }
    let mut decoded = uri.as_bytes().to_vec();
    for _ in 0..PERCENT_ROUNDS {
        if has_dot_segment(&decoded) {
            return Err(params_error(format!("`params.{key}` holds a dot segment; write the path it leads to")));
        }
        if decoded.iter().any(u8::is_ascii_control) {
            return Err(params_error(format!("`params.{key}` holds an encoded control character")));
        }
        match percent_decoded(&decoded) {
            Some(next) => decoded = next,
            None => return Ok(uri.into_owned()),
        }
    }
    Err(params_error(format!("`params.{key}` is percent-encoded more than twice over")))
}

/// The text itself, encoded once, encoded twice. A server that decodes more often does not exist for honest clients.
const PERCENT_ROUNDS: usize = 3;

/// Whether some server could walk up or stay: `.` or `..` between any two characters that some parser splits at.
fn has_dot_segment(uri: &[u8]) -> bool {
    uri.split(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#' | b':' | b';')).any(|part| matches!(part, b"." | b".."))
}

/// One round of percent-decoding; nothing when there is nothing to decode.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut changed = false;
    while let Some((first, tail)) = rest.split_first() {
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        let byte = match (first, tail) {
            (b'%', [high, low, ..]) => hex(high).zip(hex(low)).and_then(|(h, l)| u8::try_from((h << 4) | l).ok()),
            _ => None,
        };
        decoded.push(byte.unwrap_or(*first));
        changed |= byte.is_some();
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    changed.then_some(decoded)
}

fn required<'d>(value: Option<Value<'d>>, key: &str, kind: Kind) -> Result<Value<'d>, Malformed> {
    optional(value, key, kind)?
        .ok_or_else(|| params_error(format!("`params.{key}` is missing; its type is {}", kind.as_str())))
}

fn optional<'d>(value: Option<Value<'d>>, key: &str, kind: Kind) -> Result<Option<Value<'d>>, Malformed> {
    match value {
        Some(found) if found.kind() != kind => {
            let (wanted, found) = (kind.as_str(), found.kind().as_str());
            Err(params_error(format!("`params.{key}` must be of type {wanted}, found {found}")))
        }
        found => Ok(found),
    }
}

fn text(value: Value<'_>) -> Cow<'_, str> {
    value.as_str().unwrap_or_default()
}

fn params_error(detail: impl Into<String>) -> Malformed {
    Malformed::new(MalformedKind::Params, detail)
}
