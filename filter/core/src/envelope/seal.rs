//! Step 5: makes the envelope: recognises the server, asks the catalogue.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, OnceLock};

use super::client_tags::{self, ClientTags, ClientTagsError};
use super::readings::{self, Reading};
use super::remembered::Facts;
use super::{Call, CallCredential, CallEnvelope, Meta, RouteFacts, Topic};
use crate::digest::Digest;
use crate::mcp::{CompletionRef, McpMessage, Method, Target};
use crate::order;
use crate::policy::{CatalogueServer, Fact, PolicySnapshot, ServerError};
use crate::secrets;

/// One call may name many resources at once; each is judged by every rule.
const READINGS_MAX: usize = 256;

/// Tag of a definition's part in a basis.
const DEFINITION_PART_TAG: &str = "holdpoint/definition-part/v1";

/// Why a message has no envelope. It is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The route leads to none or to several servers.
    Server(ServerError),
    /// The client's tags cannot be read.
    ClientTags(ClientTagsError),
    /// This argument, which names a resource, is a dot segment.
    DotSegment { argument: String },
    /// A resource URI is spelled in a way that the catalogue's patterns would not see through.
    ResourceSpelling,
    /// The message names too many resources at once.
    TooManyReadings,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::ClientTags(error) => error.fmt(f),
            Self::DotSegment { argument } => {
                write!(f, "argument `{argument}` is a dot segment; send the name it leads to")
            }
            Self::ResourceSpelling => f.write_str(
                "the resource URI has an upper-case scheme or percent-encodes letters, digits, `-`, `.`, `_` or `~`; \
                 send it plain",
            ),
            Self::TooManyReadings => f.write_str("the message names too many resources; ask in several messages"),
        }
    }
}

impl std::error::Error for SealError {}

impl CallEnvelope {
    /// What is found out of the same call under another snapshot; nothing where that cannot seal it. The call itself stays where
    /// it is, however long it may be: only the seal is another one meanwhile.
    pub(crate) fn sealed_under<T>(
        &mut self,
        other: &PolicySnapshot,
        find_out: impl FnOnce(&Self) -> T,
    ) -> Result<T, SealError> {
        let facts = other.facts(&self.call)?;
        let (facts, snapshot_id) =
            (mem::replace(&mut self.facts, facts), mem::replace(&mut self.snapshot_id, other.id()));
        // Text and digest name the server, too.
        let named = mem::take(&mut self.named);
        let found = find_out(self);
        (self.facts, self.snapshot_id, self.named) = (facts, snapshot_id, named);
        Ok(found)
    }
}

impl PolicySnapshot {
    /// Seals one call under this snapshot. On an error the call comes back, with the reason to refuse it.
    #[expect(
        clippy::result_large_err,
        reason = "the refusal needs the call, and moving it is all that either way costs"
    )]
    pub fn seal(&self, call: Call) -> Result<CallEnvelope, (Call, SealError)> {
        match self.facts(&call) {
            Ok(facts) => Ok(CallEnvelope {
                topic: Topic::of(call.message.method()),
                facts,
                named: OnceLock::new(),
                snapshot_id: self.id(),
                call,
            }),
            Err(error) => Err((call, error)),
        }
    }

    /// The name of the server that a route leads to; `None` where sealing would fail for it.
    pub fn server_of(&self, route: &RouteFacts) -> Option<&str> {
        self.catalogue.recognise(route).ok().map(|server| server.name.as_str())
    }

    fn facts(&self, call: &Call) -> Result<Arc<Facts>, SealError> {
        let server = self.catalogue.recognise(&call.route).map_err(SealError::Server)?;
        check_spelling(call.message.target())?;
        let tags = client_tags::read(&call.message).map_err(SealError::ClientTags)?;
        // Of what a caller puts into one call only tags and secrets become facts, and names of resources below.
        let tool = match (call.message.target(), call.message.method()) {
            (Target::Tool(tool), Method::ToolsCall) if tags.is_none() && !self.asks_for_secrets => Some(tool.as_str()),
            _ => None,
        };
        if let Some(facts) = tool.and_then(|tool| self.remembered.find(&server.name, tool, call)) {
            return Ok(facts);
        }
        self.found(call, server, tags.as_ref(), tool)
    }

    #[inline(never)]
    fn found(
        &self,
        call: &Call,
        server: &CatalogueServer,
        tags: Option<&ClientTags>,
        tool: Option<&str>,
    ) -> Result<Arc<Facts>, SealError> {
        let base =
            readings::base(&call.message, server).map_err(|dot| SealError::DotSegment { argument: dot.argument })?;
        let beside = beside(&base.readings, call, tags, self.asks_for_secrets && carries_secret(&call.message));
        if base.readings.len().saturating_add(beside.len()) > READINGS_MAX {
            return Err(SealError::TooManyReadings);
        }
        let credential = CallCredential::of(&base.readings, &server.credential, &call.principal);
        let mut catalogue_parts = base.catalogue_parts;
        let mut pin = None;
        if let Target::Tool(name) = call.message.target() {
            // Pins stand under exact names.
            pin = server.tools.named(name).and_then(|listed| listed.pin.clone());
            // Whoever approves approves a tool as its server described it then.
            let part = |seen: Digest| Digest::tagged(DEFINITION_PART_TAG, seen.as_bytes());
            catalogue_parts.extend(call.definition.map(part));
        }
        let names_resource = |tool: &str| server.tools.look_up(tool).iter().any(|listed| listed.resource.is_some());
        let is_lasting = tool.is_some_and(|tool| !names_resource(tool));
        let facts = Arc::new(Facts {
            server: server.name.clone(),
            credential,
            base: base.readings.len(),
            readings: {
                let mut readings = base.readings;
                readings.extend(beside);
                readings
            },
            catalogue_parts,
            pin,
            bound_headers: server.bind_headers.clone(),
            is_lasting,
            settled: OnceLock::new(),
        });
        if let Some(tool) = tool {
            self.remembered.keep(tool, call, &facts);
        }
        Ok(facts)
    }
}

/// The readings beside the base: each kind of fact that nobody vouches for by itself, and then all of them together,
/// because a rule may ask for two.
fn beside(base: &[Reading], call: &Call, tags: Option<&ClientTags>, has_secrets: bool) -> Vec<Reading> {
    let is_tool = matches!(call.message.target(), Target::Tool(_));
    let annotations = Some(&call.annotations).filter(|said| is_tool && said.say_something());
    if tags.is_none() && annotations.is_none() && !has_secrets {
        return Vec::new();
    }
    let mut beside = Vec::new();
    for reading in base {
        let tagged = tags.map(|tags| reading.tagged(tags));
        let annotated = annotations.map(|annotations| reading.annotated(annotations));
        let secret = has_secrets.then(|| reading.with_secrets());
        let alone = beside.len();
        beside.extend([tagged, annotated, secret].into_iter().flatten());
        if beside.len().saturating_sub(alone) > 1 {
            let all = tags.map_or_else(|| reading.clone(), |tags| reading.tagged(tags));
            let all = annotations.map_or_else(|| all.clone(), |annotations| all.annotated(annotations));
            beside.push(if has_secrets { all.with_secrets() } else { all });
        }
    }
    beside
}

/// Looks through everything of `params` that a server acts on. `_meta` and `requestState` carry tokens by design.
fn carries_secret(message: &McpMessage) -> bool {
    let params = message.params().into_iter().flat_map(|params| params.members());
    let acted_on = params.filter(|(name, _)| !matches!(name.as_ref(), "_meta" | "requestState"));
    acted_on.into_iter().any(|(_, value)| secrets::find_in(value).is_some())
}

/// What all base readings agree on.
pub(super) fn labels(base: &[Reading]) -> BTreeMap<String, String> {
    let Some((first, others)) = base.split_first() else {
        return BTreeMap::new();
    };
    let agreed =
        first.labels.iter().filter(|(name, value)| others.iter().all(|other| other.labels.get(name) == Some(value)));
    let mut labels: BTreeMap<String, String> =
        agreed.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Fact::Known(resource) = &first.resource
        && others.iter().all(|other| other.resource == first.resource)
    {
        labels.insert("mcp.resource".to_owned(), resource.clone());
    }
    labels
}

pub(super) fn meta(base: &[Reading], call: &Call) -> Meta {
    let capability = base.first().and_then(|first| first.capability.as_ref());
    let agreed = base.iter().all(|reading| reading.capability.as_ref() == capability);
    Meta {
        capability: capability.filter(|_| agreed).cloned(),
        risk_tags: order::set(base.iter().flat_map(|reading| reading.risk_tags.iter().cloned())),
        requires: order::set(base.iter().flat_map(|reading| reading.requires.iter().cloned())),
        actor_id: call.principal.subject.clone(),
        actor_type: call.principal.actor_type,
        tenant: call.principal.tenant.clone(),
    }
}

/// Two spellings of one URI (RFC 3986, section 6.2.2) must not meet two entries of the catalogue. Servers compare
/// them in every way there is, so only the plain one passes.
fn check_spelling(target: &Target) -> Result<(), SealError> {
    let uris: Vec<&str> = match target {
        Target::Resource(uri) | Target::Completion(CompletionRef::Resource(uri)) => vec![uri],
        Target::Subscription { uris, .. } => uris.iter().map(String::as_str).collect(),
        Target::None
        | Target::Tool(_)
        | Target::Prompt(_)
        | Target::Completion(CompletionRef::Prompt(_))
        | Target::Task(_) => return Ok(()),
    };
    if uris.into_iter().all(is_plain) { Ok(()) } else { Err(SealError::ResourceSpelling) }
}

pub(super) fn is_plain(uri: &str) -> bool {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let encoded_needlessly = uri.split('%').skip(1).any(|escape| {
        let digits = escape.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        digits.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    });
    !encoded_needlessly && !scheme.bytes().any(|byte| byte.is_ascii_uppercase())
}
