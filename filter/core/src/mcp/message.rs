//! Step 3: one message, strictly read. It owns its text and remembers the places in it that later steps ask for.

use std::fmt;

use super::era::Era;
use super::head::{Head, Routing};
use super::malformed::{Malformed, MalformedKind};
use super::method::Method;
use super::near_key;
use super::param_headers;
use super::target::Target;
use crate::json::{self, Document, Kind, NodeId, Value, text};

/// What one JSON-RPC message asks. Made by [`super::read`] only, so its facts hold: one reading, headers equal to body.
#[derive(Clone)]
pub struct McpMessage {
    document: Document,
    parts: Parts,
}

#[derive(Clone)]
struct Parts {
    era: Era,
    kind: MessageKind,
    method: Method,
    target: Target,
    id: Option<NodeId>,
    params: Option<NodeId>,
    arguments: Option<NodeId>,
    meta: Option<NodeId>,
    mcp_session_id: Option<String>,
    param_headers: Vec<(String, String)>,
}

/// What a message is to JSON-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// Has an id and wants an answer.
    Request,
    /// Has no id and gets no answer.
    Notification,
    /// Answers a request of the server.
    Response,
    /// No JSON-RPC message: the HTTP method says it all ([`Method::StreamOpen`], [`Method::SessionEnd`]).
    Bodiless,
}

/// The key of the envelope's version in `params._meta`.
pub(super) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const TASKS: &str = "io.modelcontextprotocol/tasks";

impl McpMessage {
    pub fn era(&self) -> Era {
        self.parts.era
    }

    pub fn kind(&self) -> MessageKind {
        self.parts.kind
    }

    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    pub fn target(&self) -> &Target {
        &self.parts.target
    }

    /// The id, a string or an integer; nothing on a notification.
    pub fn id(&self) -> Option<Value<'_>> {
        self.place(self.parts.id)
    }

    /// The id as its JSON text, for an answer that repeats it verbatim.
    pub fn id_raw(&self) -> Option<&str> {
        self.id().map(|id| id.raw())
    }

    /// `params`; an object wherever the method is known. Of a response [`McpMessage::answering`] a known request, its
    /// result or error.
    pub fn params(&self) -> Option<Value<'_>> {
        self.place(self.parts.params)
    }

    /// `params.arguments` of a tool or prompt, an object.
    pub fn arguments(&self) -> Option<Value<'_>> {
        self.place(self.parts.arguments)
    }

    /// `params._meta`, an object.
    pub fn meta(&self) -> Option<Value<'_>> {
        self.place(self.parts.meta)
    }

    /// What the server, or Holdpoint, gave the client to bring back in a later round of the same call.
    pub fn request_state(&self) -> Option<Value<'_>> {
        self.params()?.get("requestState")
    }

    /// The client's answers to what an earlier round asked for.
    pub fn input_responses(&self) -> Option<Value<'_>> {
        self.params()?.get("inputResponses")
    }

    /// The token under which the client wants to hear of progress.
    pub fn progress_token(&self) -> Option<Value<'_>> {
        self.meta()?.get("progressToken")
    }

    /// The id, as its JSON text, that a `notifications/cancelled` withdraws.
    pub fn cancelled_request_id(&self) -> Option<Value<'_>> {
        (self.parts.method == Method::NotificationsCancelled).then(|| self.params()?.get("requestId")).flatten()
    }

    /// Whether this very message says that its client opens URLs for its user. Always false before 2026-07-28, where
    /// capabilities are told once per session.
    pub fn declares_url_elicitation(&self) -> bool {
        let url = self.capabilities().and_then(|capabilities| capabilities.get("elicitation")?.get("url"));
        url.is_some_and(|url| url.kind() == Kind::Object)
    }

    /// Whether this `initialize` says that the client of the session it opens opens URLs for its user.
    pub fn session_opens_urls(&self) -> bool {
        let capabilities = self.params().filter(|_| self.parts.method == Method::Initialize);
        let url = capabilities.and_then(|params| params.get("capabilities")?.get("elicitation")?.get("url"));
        url.is_some_and(|url| url.kind() == Kind::Object)
    }

    /// Whether this very message says that its client understands a task as the answer. Always false before 2026-07-28.
    pub fn declares_tasks(&self) -> bool {
        let tasks = self.capabilities().and_then(|capabilities| capabilities.get("extensions")?.get(TASKS));
        tasks.is_some_and(|tasks| tasks.kind() == Kind::Object)
    }

    /// The session a message before 2026-07-28 belongs to. Proves nothing about who sent it.
    pub fn mcp_session_id(&self) -> Option<&str> {
        self.parts.mcp_session_id.as_deref()
    }

    /// The `mcp-param-…` headers: lower-case name and trimmed value, sorted by name. They repeat arguments by a rule in
    /// the tool's definition, so they are bound to the call here and compared where the definition is known.
    pub fn param_headers(&self) -> &[(String, String)] {
        &self.parts.param_headers
    }

    /// The same response, now that it is known what its server asked. What it says is judged where the parameters of a
    /// request are. Anything but a response stays as it is.
    #[must_use]
    pub fn answering(mut self, asked: Method) -> Self {
        if self.parts.kind == MessageKind::Response {
            let root = self.document.root();
            let answer = root.get("result").or(root.get("error")).map(|answer| answer.id());
            (self.parts.method, self.parts.params) = (asked, answer);
        }
        self
    }

    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Gives the body back, byte for byte.
    pub fn into_bytes(self) -> Vec<u8> {
        self.document.into_bytes()
    }

    fn capabilities(&self) -> Option<Value<'_>> {
        if self.parts.era.is_modern() { self.meta()?.get(CAPABILITIES) } else { None }
    }

    fn place(&self, id: Option<NodeId>) -> Option<Value<'_>> {
        self.document.value(id?)
    }
}

impl fmt::Debug for McpMessage {
    /// Arguments and the headers that repeat them may hold secrets, so neither is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpMessage")
            .field("era", &self.parts.era)
            .field("kind", &self.parts.kind)
            .field("method", &self.parts.method)
            .field("target", &self.parts.target)
            .field("document", &self.document)
            .finish_non_exhaustive()
    }
}

/// Reads `document` as one message under `head`.
pub(super) fn read(head: &Head<'_>, document: Document) -> Result<McpMessage, Malformed> {
    let parts = parts(head, document.root())?;
    Ok(McpMessage { document, parts })
}

/// Reads a request without a body: what it asks is in its method and its headers.
pub(super) fn bodiless(head: &Head<'_>, method: Method) -> Result<McpMessage, Malformed> {
    let routing = head.routing()?;
    let era = match routing.version {
        Some(version) => Era::from_wire(version).ok_or_else(unknown_version)?,
        None => Era::V2025_03_26,
    };
    let document = Document::read(b"{}".to_vec(), &json::Limits::default()).map_err(|error| Malformed::json(&error))?;
    let parts = Parts {
        era,
        kind: MessageKind::Bodiless,
        method,
        target: Target::None,
        id: None,
        params: None,
        arguments: None,
        meta: None,
        mcp_session_id: routing.mcp_session_id.map(str::to_owned),
        param_headers: Vec::new(),
    };
    Ok(McpMessage { document, parts })
}

fn parts(head: &Head<'_>, root: Value<'_>) -> Result<Parts, Malformed> {
    match root.kind() {
        Kind::Object => {}
        Kind::Array => {
            return Err(Malformed::new(MalformedKind::Batch, "batches are refused; send each message by itself"));
        }
        kind @ (Kind::Null | Kind::Bool | Kind::Number | Kind::String) => {
            return Err(envelope(format!("a message is an object, found {}", kind.as_str())));
        }
    }
    near_key::refuse(root, near_key::TOP_LEVEL)?;
    let id = root.get("id");
    if let Some(id) = id {
        check_id(id, "id")?;
    }
    let id_raw = id.map(|id| id.raw());
    let (kind, method) = shape(root, id).map_err(|error| error.with_id(id_raw))?;
    let claims = Claims::of(root, kind, &method).map_err(|error| error.with_id(id_raw))?;
    let known_so_far = |error: Malformed| match claims.version {
        Some(_) if claims.is_enveloped() => error.with_id(id_raw).with_era(Era::V2026_07_28),
        Some(_) | None => error.with_id(id_raw),
    };
    let routing = head.routing().map_err(known_so_far)?;
    let era = claims.era(&routing).map_err(|error| match error.era {
        Some(era) => error.with_id(id_raw).with_era(era),
        None => error.with_id(id_raw),
    })?;
    // A request of a method that this era dropped, without what it used to need, names nothing: the server says that it
    // does not know it, where the policy lets it be asked.
    let dropped = Method::Unknown(method.as_str().to_owned());
    let is_dropped = era.is_modern() && method.needs_a_session() && Target::of(&method, claims.params).is_err();
    let claims = if is_dropped { Claims { method: &dropped, ..claims } } else { claims };
    let target = target(&claims, &routing, era).map_err(|error| error.with_id(id_raw).with_era(era))?;
    let arguments = match target {
        Target::Tool(_) | Target::Prompt(_) => claims.params.and_then(|params| params.get("arguments")),
        Target::None | Target::Resource(_) | Target::Completion(_) | Target::Task(_) | Target::Subscription { .. } => {
            None
        }
    };
    Ok(Parts {
        era,
        kind,
        target,
        id: id.map(|id| id.id()),
        params: claims.params.map(|params| params.id()),
        arguments: arguments.map(|arguments| arguments.id()),
        meta: claims.meta.map(|meta| meta.id()),
        mcp_session_id: routing.mcp_session_id.map(str::to_owned),
        param_headers: routing.params,
        method: claims.method.clone(),
    })
}

/// Tells request, notification and response apart; what could be two of them is refused.
fn shape(root: Value<'_>, id: Option<Value<'_>>) -> Result<(MessageKind, Method), Malformed> {
    if !root.get("jsonrpc").is_some_and(|version| version.is_str("2.0")) {
        return Err(envelope("`jsonrpc` must be the string \"2.0\""));
    }
    let (result, error) = (root.get("result"), root.get("error"));
    let Some(method) = root.get("method") else {
        return match (result.or(error), id) {
            (None, _) => Err(envelope("a message has a `method`, a `result` or an `error`; this one has none of them")),
            (Some(_), None) => Err(envelope("a response must carry the `id` of the request it answers")),
            (Some(_), _) if result.is_some() && error.is_some() => {
                Err(envelope("a response has a `result` or an `error`, not both"))
            }
            (Some(_), _) if root.get("params").is_some() => Err(envelope("a response has no `params`")),
            (Some(answer), Some(_)) if answer.kind() != Kind::Object => {
                Err(envelope("the `result` or `error` of a response must be an object"))
            }
            (Some(_), Some(_)) => Ok((MessageKind::Response, Method::Response)),
        };
    };
    if result.is_some() || error.is_some() {
        return Err(envelope("a message with a `method` has neither `result` nor `error`"));
    }
    let name = method.as_str().ok_or_else(|| envelope("`method` must be a string"))?;
    let length_is_fine = (1..=METHOD_BYTES_MAX).contains(&name.len());
    if !length_is_fine || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(envelope(format!("`method` must have 1 to {METHOD_BYTES_MAX} visible ASCII characters")));
    }
    let method = Method::from_wire(&name);
    match (id.is_some(), method.is_notification()) {
        (true, false) => Ok((MessageKind::Request, method)),
        (false, true) => Ok((MessageKind::Notification, method)),
        (true, true) => Err(envelope("a notification has no `id`")),
        // A server might run a call that was sent as a notification; what it did could never be governed.
        (false, false) if method.is_known() => Err(envelope("this method wants an answer, so it must carry an `id`")),
        (false, false) => Ok((MessageKind::Notification, method)),
    }
}

const METHOD_BYTES_MAX: usize = 128;
const ID_BYTES_MAX: usize = 256;

/// Refuses ids that readers would not give back alike. `key` names it in the error.
fn check_id(id: Value<'_>, key: &str) -> Result<(), Malformed> {
    /// Beyond this, JavaScript gives another number back than it was sent.
    const EXACT_MAX: u64 = (1 << 53) - 1;
    let fits = id.raw().len() <= ID_BYTES_MAX;
    let plain = match id.kind() {
        Kind::String => true,
        Kind::Number => {
            let number = id.raw();
            let digits = number.strip_prefix('-').filter(|digits| *digits != "0").unwrap_or(number);
            digits.parse::<u64>().is_ok_and(|magnitude| magnitude <= EXACT_MAX)
        }
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => false,
    };
    if fits && plain {
        return Ok(());
    }
    Err(envelope(format!(
        "`{key}` must be a string of at most {ID_BYTES_MAX} bytes or an integer within ±(2^53 - 1), without fraction"
    )))
}

/// What the body says, before the headers are held against it.
struct Claims<'d> {
    kind: MessageKind,
    method: &'d Method,
    params: Option<Value<'d>>,
    meta: Option<Value<'d>>,
    /// The version in `params._meta`.
    version: Option<Value<'d>>,
}

impl<'d> Claims<'d> {
    fn of(root: Value<'d>, kind: MessageKind, method: &'d Method) -> Result<Self, Malformed> {
        let params = root.get("params");
        match params.map(|params| params.kind()) {
            None | Some(Kind::Object) => {}
            Some(Kind::Array) if !method.is_known() => {}
            Some(Kind::Null | Kind::Bool | Kind::Number | Kind::String | Kind::Array) => {
                return Err(envelope("`params` must be an object"));
            }
        }
        if let Some(params) = params {
            near_key::refuse(params, near_key::PARAMS)?;
        }
        let meta = params.and_then(|params| params.get("_meta"));
        if let Some(meta) = meta {
            if meta.kind() != Kind::Object {
                return Err(envelope("`params._meta` must be an object"));
            }
            near_key::refuse(meta, near_key::META)?;
            if let Some(token) = meta.get("progressToken") {
                check_id(token, "params._meta.progressToken")?;
            }
        }
        Ok(Self { kind, method, params, meta, version: meta.and_then(|meta| meta.get(VERSION)) })
    }

    /// Whether the message carries the envelope of 2026-07-28. `initialize` never makes a modern message: that revision
    /// has none, but clients that know it still offer it that way.
    fn is_enveloped(&self) -> bool {
        self.version.is_some() && *self.method != Method::Initialize
    }

    /// The era of this one message. An error knows the era that it is to be answered in.
    fn era(&self, routing: &Routing<'_>) -> Result<Era, Malformed> {
        if let Some(version) = self.version {
            self.enveloped_version(version, routing)?;
        }
        if self.is_enveloped() {
            return Ok(Era::V2026_07_28);
        }
        let header = routing.version.map(|version| Era::from_wire(version).ok_or_else(unknown_version)).transpose()?;
        if *self.method == Method::Initialize {
            let offered = self.params.and_then(|params| params.get("protocolVersion")?.as_str());
            let offered = offered.and_then(|version| Era::from_wire(&version)).filter(|era| !era.is_modern());
            return Ok(offered.unwrap_or(Era::NEWEST_WITH_HANDSHAKE));
        }
        match (header, self.kind) {
            (Some(Era::V2026_07_28), MessageKind::Request) => {
                let detail = format!("a 2026-07-28 request must carry `params._meta[\"{VERSION}\"]`");
                Err(envelope(detail).with_params_code().with_era(Era::V2026_07_28))
            }
            (Some(era), _) => Ok(era),
            (None, _) => Ok(Era::V2025_03_26),
        }
    }

    /// Holds the version in `params._meta` against the header and against what is known.
    fn enveloped_version(&self, version: Value<'_>, routing: &Routing<'_>) -> Result<(), Malformed> {
        let modern = Era::V2026_07_28;
        let Some(version) = version.as_str() else {
            let detail = format!("`params._meta[\"{VERSION}\"]` must be a string");
            return Err(envelope(detail).with_params_code().with_era(modern));
        };
        let must_have_header = self.is_enveloped();
        let agrees = routing.version.map_or(!must_have_header, |header| header == version);
        if !agrees {
            let detail = format!("header `mcp-protocol-version` must equal `params._meta[\"{VERSION}\"]`");
            return Err(Malformed::new(MalformedKind::Header, detail).with_era(modern));
        }
        if must_have_header && version != modern.as_str() {
            let requested_version = Some(text::excerpt(&version));
            return Err(Malformed { requested_version, ..unknown_version().with_era(modern) });
        }
        Ok(())
    }
}

/// Everything that is judged once the era is known.
fn target(claims: &Claims<'_>, routing: &Routing<'_>, era: Era) -> Result<Target, Malformed> {
    if era.is_modern() {
        if claims.kind == MessageKind::Response {
            return Err(envelope("in 2026-07-28 a client posts no responses; answer in `inputResponses`"));
        }
        let capabilities = claims.meta.and_then(|meta| meta.get(CAPABILITIES));
        if capabilities.is_some_and(|capabilities| capabilities.kind() != Kind::Object) {
            return Err(envelope(format!("`params._meta[\"{CAPABILITIES}\"]` must be an object")).with_params_code());
        }
    }
    let target = Target::of(claims.method, claims.params)?;
    if *claims.method == Method::NotificationsCancelled
        && let Some(id) = claims.params.and_then(|params| params.get("requestId"))
    {
        check_id(id, "params.requestId")?;
    }
    let method = (claims.kind != MessageKind::Response).then_some(claims.method);
    routing.agree(method, &target, era.is_modern() && claims.kind == MessageKind::Request)?;
    if era.is_modern() && *claims.method == Method::ToolsCall {
        param_headers::agree(&routing.params, claims.params.and_then(|params| params.get("arguments")))?;
    }
    Ok(target)
}

fn unknown_version() -> Malformed {
    let known: Vec<&str> = Era::ALL.into_iter().map(Era::as_str).collect();
    Malformed::new(
        MalformedKind::Version,
        format!("this protocol version is not known; use one of {}", known.join(", ")),
    )
}

fn envelope(detail: impl Into<String>) -> Malformed {
    Malformed::new(MalformedKind::Envelope, detail)
}
