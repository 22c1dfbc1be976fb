//! Step 5: seals one governed message into the facts that rules see, and into what the digest names.
//!
//! Facts that a caller can influence never replace what the catalogue says: they become further readings, and the
//! decision is the strictest over all of them.

mod annotations;
mod call_text;
mod client_tags;
mod credential;
mod labels;
mod prospects;
mod readings;
mod remembered;
mod seal;
mod topic;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::approval::CALL_DIGEST_TAG;
use crate::definition::DefinitionFact;
use crate::digest::Digest;
use crate::identity::{ActorType, Principal};
use crate::json::canonical::ObjectWriter;
use crate::mcp::McpMessage;
use crate::policy::Pin;
use remembered::Facts;

pub use annotations::Annotations;
pub use client_tags::ClientTagsError;
pub use credential::CallCredential;
pub use prospects::Offered;
pub use seal::SealError;
pub use topic::Topic;

pub(crate) use prospects::Prospects;
pub(crate) use readings::{LabelFact, Reading, SECRETS_TAG, plain};
pub(crate) use remembered::{Remembered, Settled};

/// Tag of [`CallEnvelope::cancel_key`].
const CANCEL_KEY_TAG: &str = "holdpoint/cancel/v1";

/// Where a message is going, as Envoy says after the last header change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFacts {
    /// The route's metadata, namespace `holdpoint`, key `server`.
    pub metadata_server: Option<String>,
    /// The `:authority` header, verbatim.
    pub host: Option<String>,
    /// The `:path` header with query, verbatim.
    pub path: String,
    pub cluster: Option<String>,
}

/// One message, whom it acts for and where it is going: all that a seal needs.
#[derive(Clone)]
pub struct Call {
    pub message: McpMessage,
    /// Shared, for much of what becomes of a call names it.
    pub principal: Arc<Principal>,
    pub route: RouteFacts,
    /// Names in lower case. Only those that the catalogue binds are looked at.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What the server last said of the tool that is called; nothing where no list has been seen.
    pub annotations: Annotations,
    /// Digest of the definition under which the server last listed the tool that is called, to whomever.
    pub definition: Option<Digest>,
}

impl fmt::Debug for Call {
    /// Header values may hold secrets, so only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("message", &self.message)
            .field("principal", &self.principal)
            .field("route", &self.route)
            .field("headers", &self.headers.len())
            .field("annotations", &self.annotations)
            .field("definition", &self.definition)
            .finish()
    }
}

/// The sealed facts of one governed message: the only thing rules see. Made by `PolicySnapshot::seal`, and good for
/// evaluation under that very snapshot.
pub struct CallEnvelope {
    call: Call,
    topic: Topic,
    /// Shared with the calls of which the same holds.
    facts: Arc<Facts>,
    /// Text and digest of the call, made when first asked for.
    named: OnceLock<(String, Digest)>,
    snapshot_id: Digest,
}

/// The envelope's `meta`: what the catalogue and the verified identity say. Client tags are not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Meta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub risk_tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
    /// The subject of the principal.
    pub actor_id: String,
    pub actor_type: ActorType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// The envelope as approvals and the record keep it: without the arguments, which are the guide's `context`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EnvelopeRecord {
    pub topic: String,
    pub labels: BTreeMap<String, String>,
    pub meta: Meta,
}

impl CallEnvelope {
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// What holds in every base reading: an unlisted tool has no `mcp.action`, for it is read as all of them. Made for who
    /// asks: of a call that runs at once nobody does.
    pub fn labels(&self) -> BTreeMap<String, String> {
        seal::labels(self.base())
    }

    /// What the catalogue and the verified identity say. Made for who asks, like the labels.
    pub fn meta(&self) -> Meta {
        seal::meta(self.base(), &self.call)
    }

    fn base(&self) -> &[Reading] {
        self.facts.readings.get(..self.facts.base).unwrap_or(&self.facts.readings)
    }

    /// The catalogue's name of the server.
    pub fn server(&self) -> &str {
        &self.facts.server
    }

    pub fn principal(&self) -> &Principal {
        &self.call.principal
    }

    pub fn call(&self) -> &Call {
        &self.call
    }

    pub fn message(&self) -> &McpMessage {
        &self.call.message
    }

    /// The JSON-RPC method.
    pub fn method(&self) -> &str {
        self.call.message.method().as_str()
    }

    /// Tool name, resource URI, prompt name or task id.
    pub fn target(&self) -> Option<&str> {
        self.call.message.target().name()
    }

    /// Names of the headers that the catalogue binds: part of the digest, and forwarded with an approved call.
    pub fn bound_headers(&self) -> &BTreeSet<String> {
        &self.facts.bound_headers
    }

    /// What becomes of the caller's credentials, and which scopes it lacks.
    pub fn credential(&self) -> &CallCredential {
        &self.facts.credential
    }

    /// The lookup key of approvals: the tagged digest of [`CallEnvelope::call_text`].
    pub fn call_digest(&self) -> Digest {
        self.named().1
    }

    /// Canonical JSON of what was judged: equal for equal calls, different for any other.
    pub fn call_text(&self) -> &str {
        &self.named().0
    }

    /// What was sealed cannot change, so it does not matter when this is made. Most calls are allowed and never need it,
    /// and on a large body it costs more than judging.
    fn named(&self) -> &(String, Digest) {
        self.named.get_or_init(|| {
            let text = call_text::write(&self.call, &self.facts.server, &self.facts.bound_headers);
            let digest = Digest::tagged(CALL_DIGEST_TAG, text.as_bytes());
            (text, digest)
        })
    }

    /// Names one live call to its own client, by whom it acts for, its server, its session and its id; of a
    /// `notifications/cancelled`, the call that it cancels. `None` where there is no id.
    pub fn cancel_key(&self) -> Option<Digest> {
        let message = self.message();
        let id = message.cancelled_request_id().or_else(|| message.id())?;
        let principal = self.principal();
        let writer = ObjectWriter::new()
            .string("agent", principal.agent_id.as_deref().unwrap_or_default())
            .value("id", id)
            .string("issuer", &principal.issuer)
            .string("server", &self.facts.server)
            .string("session", message.mcp_session_id().unwrap_or_default())
            .string("subject", &principal.subject)
            .string("tenant", principal.tenant.as_deref().unwrap_or_default());
        Some(Digest::tagged(CANCEL_KEY_TAG, writer.finish().as_bytes()))
    }

    /// What is known of the definition of the tool that is called; nothing where it was not seen and none is pinned.
    pub fn definition(&self) -> Option<DefinitionFact> {
        let pinned = self.facts.pin.as_ref().map(|pin| pin.digests.clone()).unwrap_or_default();
        let fact = DefinitionFact { seen: self.call.definition, pinned };
        (fact.seen.is_some() || !fact.pinned.is_empty()).then_some(fact)
    }

    /// Whether the catalogue pins the definition of the tool that is called.
    pub fn is_pinned(&self) -> bool {
        self.facts.pin.is_some()
    }

    /// The snapshot it was sealed under.
    pub fn snapshot_id(&self) -> Digest {
        self.snapshot_id
    }

    /// What approvals and the record keep.
    pub fn record(&self) -> EnvelopeRecord {
        EnvelopeRecord { topic: self.topic.as_str().to_owned(), labels: self.labels(), meta: self.meta() }
    }

    /// Breaks the seal, to seal the call again under a newer snapshot.
    pub fn into_call(self) -> Call {
        self.call
    }

    pub(crate) fn pin(&self) -> Option<&Pin> {
        self.facts.pin.as_ref()
    }

    pub(crate) fn readings(&self) -> &[Reading] {
        &self.facts.readings
    }

    pub(crate) fn catalogue_parts(&self) -> &[Digest] {
        &self.facts.catalogue_parts
    }

    /// What was decided of a call in which nothing is another than here, if nothing but this enters into it.
    pub(crate) fn settled(&self) -> Option<&Settled> {
        self.facts.settled.get()
    }

    /// Remembers a decision into which nothing entered that may be another in the next call of the same facts.
    pub(crate) fn settle(&self, settled: &Settled) {
        if self.facts.is_lasting {
            // Whoever came first has found the same.
            let _ = self.facts.settled.set(settled.clone());
        }
    }
}

impl fmt::Debug for CallEnvelope {
    /// The call text holds the arguments, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallEnvelope")
            .field("topic", &self.topic)
            .field("labels", &self.labels())
            .field("meta", &self.meta())
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
