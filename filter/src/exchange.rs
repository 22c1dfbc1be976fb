//! Steps 2 to 11 for one HTTP exchange, without IO: a host event and the time go in, host commands come out.
//!
//! ```text
//! AwaitingHead ─► AwaitingBody ─► Running ─► Ended        allowed
//!        │              ├─► Leasing ────────► Running      allowed, where a limit holds for all gateways
//!        │              ├─► Recording ──────► Running      allowed, where `audit.required` demands an entry first
//!        │              ├───────► Held ────► Running      approved
//!        │              └───────► Ended                   refused, at any point
//!        └────► Passing                                   the route says `passthrough`
//! ```
//! Only [`HostCommand::Forward`] lets a governed request through, and it holds the permit (invariant 1).

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::decision::PermitSet;
use holdpoint_core::digest::Digest;

use crate::desk::Desk;
use crate::enforce::HeaderEdit;
use crate::identity::PeerCertificate;
use crate::line::DecisionLine;
use crate::metrics::Metric;
use crate::refusal::LocalReply;
use crate::session::{self, SessionOwner};
use crate::usage::{self, SharedData};
use crate::worker::Worker;
use holdpoint_core::config::FilterConfig;
use holdpoint_core::order;
use holdpoint_core::policy::PolicySnapshot;
use overheard::TaskTurn;

mod batch;
mod beside;
mod call_trace;
mod callout;
mod hold;
mod judged;
mod leasing;
mod overheard;
mod recording;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use callout::{Callout, CalloutAnswer};
pub use request::RouteMetadata;

/// Most tasks whose end one piece of an answer may tell of.
const TASKS_ENDED_MAX: usize = 64;

/// What Envoy tells of this exchange.
#[derive(Debug)]
pub enum HostEvent {
    /// Request headers arrived, and with them what Envoy knows of the connection and the route.
    RequestHead(RequestHead),
    /// More of the request body is buffered; `buffered_bytes` in all.
    RequestPart { buffered_bytes: u64 },
    /// The request is whole: its body ended, or trailers followed it.
    RequestComplete { body: Vec<u8>, has_trailers: bool },
    /// The answer to the callout with this number.
    CalloutAnswered { ask: u32, answer: CalloutAnswer },
    /// The service answered for the entries with these counters: they are durable, or will never be.
    Recorded { counters: Range<u64>, is_durable: bool },
    /// A time came that a [`HostCommand::WakeAt`] named, or a later one.
    Wake,
    /// It is this exchange's turn to ask the service ([`HostCommand::AwaitTurn`]).
    Turn,
    /// Response headers arrived, from the server or from Envoy itself.
    ResponseHead(ResponseHead),
    /// A piece of the response body.
    ResponsePart { bytes: Vec<u8> },
    /// A piece of the response body that nobody wanted to see ([`Exchange::reads_answer`]).
    ResponsePassed { size_bytes: u64 },
    /// The response ended whole.
    ResponseComplete,
    /// The exchange is over for Envoy: finished, reset, or left by its client.
    Closed,
}

/// Request headers and the facts read beside them.
#[derive(Debug)]
pub struct RequestHead {
    /// Names in lower case, pseudo headers included, repeated ones repeated.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Serialised `envoy.config.core.v3.Metadata` of the request.
    pub dynamic_metadata: Vec<u8>,
    /// The client's certificate, if it showed one and [`Exchange::reads_certificate`].
    pub certificate: Option<PeerCertificate>,
    pub route: RouteMetadata,
    /// Name of the cluster the route selects, if [`Exchange::reads_cluster`].
    pub cluster: Option<String>,
}

/// How a response begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    pub format: AnswerFormat,
    /// Its content is compressed, or encoded in another way.
    pub is_encoded: bool,
    pub content_length: Option<u64>,
    /// A body follows.
    pub has_body: bool,
    /// Why Envoy answers in the server's place; `None` for an answer of the server.
    pub in_place: Option<InPlace>,
    /// SHA-256 of the `mcp-session-id` that the server gives.
    pub mcp_session: Option<Digest>,
}

/// Why Envoy answers in the server's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPlace {
    /// The server did not answer in the time of the route or of the call.
    TimedOut,
    /// The connection ended before the answer began: nobody can tell how far the call came.
    BrokeOff,
    /// No byte of the call reached a server.
    NotReached,
}

/// What the body of a response is, by its content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerFormat {
    Json,
    EventStream,
    #[default]
    Other,
    /// One client may take it for events or JSON where another does not, or read its bytes in another encoding.
    Unclear,
}

impl AnswerFormat {
    /// By the values of every `content-type` header. Clients look for a type at the start, or anywhere; some decode a
    /// stream by its `charset`. Only what all of them take for the same thing has a format.
    pub fn of(content_types: &[&[u8]]) -> Self {
        const EVENTS: &[u8] = b"text/event-stream";
        const JSON: &[u8] = b"application/json";
        match content_types {
            [JSON] => return Self::Json,
            [EVENTS] => return Self::EventStream,
            _ => {}
        }
        let text = content_types.join(&b',').to_ascii_lowercase();
        let says = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        let mut parts = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let media_type = parts.next().unwrap_or_default();
        let is_json = media_type == JSON || media_type.ends_with(b"+json");
        let charsets = text.windows(b"charset".len()).filter(|part| *part == b"charset").count();
        let plain = parts.filter(|part| matches!(*part, b"charset=utf-8" | b"charset=\"utf-8\"" | b"charset=utf8"));
        let is_utf8 = charsets == plain.count();
        match (media_type == EVENTS, is_json) {
            (true, _) if is_utf8 && !says(JSON) => Self::EventStream,
            (false, true) if is_utf8 && !says(EVENTS) => Self::Json,
            (false, false) if !says(JSON) && !says(EVENTS) => Self::Other,
            _ => Self::Unclear,
        }
    }
}

/// What Envoy is to do.
#[derive(Debug)]
pub enum HostCommand {
    /// Keep the request, or the response; more is to come.
    Pause,
    /// Let this piece go on its way: the response, or a request that nobody governs.
    Continue,
    Forward(Box<Forward>),
    /// Answer the client instead. Of a response only while its head is kept.
    Reply(LocalReply),
    /// Change a header of the response whose head is at hand or kept.
    EditAnswer(HeaderEdit),
    /// Put these bytes in the place of the piece of the response body that is at hand, and of all that is kept before it.
    ReplaceBody(Vec<u8>),
    /// Put these bytes behind the piece of the response body that is at hand.
    AppendBody(Vec<u8>),
    /// Close the response where it stands: the client sees that it broke off.
    CloseAnswer,
    /// Call the approval service; its answer comes back as [`HostEvent::CalloutAnswered`].
    Ask(Callout),
    /// Call the approval service or the server; nobody waits for the answer.
    Tell(Callout),
    /// The same at that time, in milliseconds, or soon after; whether or not this exchange is over by then.
    TellAt(u64, Callout),
    /// Wake this exchange at that Unix time in milliseconds, or soon after.
    WakeAt(u64),
    /// Tell this exchange when it is its turn to ask the service ([`HostEvent::Turn`], [`crate::queue`]).
    AwaitTurn,
    /// Write filter state `wasm.<name>`.
    FilterState(&'static str, String),
    /// Tell this exchange what became of the entry with this counter ([`HostEvent::Recorded`]).
    AwaitRecord(u64),
    Record(Box<AuditEntry>),
    /// Record under the quota of refusals.
    RecordRefusal(Box<AuditEntry>),
    Count(Metric, i64),
    /// A decision was made; its line goes into Envoy's log with the time that it took.
    Decided(DecisionLine),
    /// One line for the operator.
    Log(LogLevel, String),
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Info,
    Warn,
    Error,
}

/// Lets a request go to the server, exactly as it was judged.
#[derive(Debug)]
pub struct Forward {
    /// One permit for each message in the request.
    pub permit: PermitSet,
    pub edits: Vec<HeaderEdit>,
    /// What was judged, where that is not the body as it came: without what was for Holdpoint alone.
    pub body: Option<Vec<u8>>,
}

/// One HTTP request and its response.
pub struct Exchange {
    /// The plugin's name, by which the configuration in force is found at release.
    plugin: Rc<str>,
    /// The configuration this exchange began under.
    config: Rc<FilterConfig>,
    phase: Phase,
    /// Number of the last callout asked; answers to earlier ones are stale.
    asks: u32,
    /// Whose session it is that the server may be about to open.
    opens_session: Option<OpenedSession>,
    /// What is listened for in the answer.
    overheard: Option<Box<overheard::Overheard>>,
}

/// A session that the answer to an `initialize` may open.
struct OpenedSession {
    owner: SessionOwner,
    /// Its client opens URLs for its user.
    opens_urls: bool,
}

enum Phase {
    AwaitingHead,
    AwaitingBody(Box<request::AwaitingBody>),
    /// Nobody governs it.
    Passing,
    Leasing(Box<leasing::Leasing>),
    Recording(Box<recording::Recording>),
    Held(Box<hold::Hold>),
    Running(Box<response::Running>),
    Ended,
}

/// What the server has told of tasks while it answered.
#[inline(never)]
fn take_turns(
    turns: Vec<TaskTurn>,
    running: &mut response::Running,
    (plugin, config): (&str, &FilterConfig),
    around: &mut Surroundings<'_>,
) -> Vec<HostCommand> {
    let mut told = Vec::new();
    let over: BTreeSet<u64> = order::set(turns.iter().filter_map(TaskTurn::ended));
    for turn in turns {
        match turn {
            // What it has taken stays with the call, and is free when that has ended.
            TaskTurn::Began { task, .. } if over.contains(&task) => {}
            TaskTurn::Began { task, ttl_ms } => told.extend(running.goes_on_as(task, ttl_ms, around)),
            TaskTurn::Ended { .. } => {}
        }
    }
    // The server chooses how many it names; what is not freed here ends with its time.
    for task in over.into_iter().take(TASKS_ENDED_MAX) {
        usage::end_task(around.shared, plugin, config.policy.concurrency_rules(), task, around.now_ms);
        told.extend(leasing::end_task(config, task));
    }
    told
}

/// What an exchange may touch beside itself.
pub struct Surroundings<'a> {
    pub now_ms: u64,
    pub worker: &'a mut Worker,
    /// Of the plugin that this exchange belongs to.
    pub desk: &'a mut Desk,
    pub shared: &'a mut dyn SharedData,
}

impl Exchange {
    /// An exchange that begins under `config`.
    pub fn new(plugin: Rc<str>, config: Rc<FilterConfig>) -> Self {
        Self { plugin, config, phase: Phase::AwaitingHead, asks: 0, opens_session: None, overheard: None }
    }

    /// The plugin that it belongs to.
    pub fn plugin(&self) -> &Rc<str> {
        &self.plugin
    }

    /// Whether any source of identities looks at the client's certificate: reading it costs host calls.
    pub fn reads_certificate(&self) -> bool {
        self.config.identity.iter().any(|source| source.proof.reads_certificate())
    }

    /// Whether a policy looks at the cluster: reading it costs a host call. (A call that is held while a policy comes into
    /// force that does, and nothing before did, is of no server to that one, and refused.)
    pub fn reads_cluster(&self) -> bool {
        self.config.policy.reads_cluster() || self.config.candidate.as_ref().is_some_and(PolicySnapshot::reads_cluster)
    }

    /// Takes one event and says what to do. Never fails: what cannot go on is refused.
    pub fn handle(&mut self, event: HostEvent, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        if let HostEvent::RequestPart { buffered_bytes } = event
            && self.keeps_part(buffered_bytes, around.worker)
        {
            return vec![HostCommand::Pause];
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        if let (Phase::Running(_), HostEvent::ResponseHead(head)) = (&phase, &event) {
            self.note_session(head, around);
        }
        let mut phase = phase;
        let mut told = Vec::new();
        if let (Phase::Running(running), Some(overheard)) = (&mut phase, &mut self.overheard) {
            overheard.listen(&event, around);
            let turns = overheard.take_turns();
            if !turns.is_empty() {
                told = take_turns(turns, running, (&self.plugin, &self.config), around);
            }
        }
        let (phase, mut commands) = match (phase, event) {
            (Phase::AwaitingHead, HostEvent::RequestHead(head)) => self.on_head(head, around),
            (Phase::AwaitingBody(waiting), HostEvent::RequestPart { .. }) => self.too_large(&waiting, around),
            (Phase::AwaitingBody(waiting), HostEvent::RequestComplete { body, has_trailers }) => {
                self.on_complete(*waiting, body, has_trailers, around)
            }

            (Phase::AwaitingBody(waiting), HostEvent::Wake) => self.on_body_wait_over(waiting, around),
            (Phase::Passing, HostEvent::Closed) => (Phase::Ended, Vec::new()),
            (Phase::Passing, _) => (Phase::Passing, vec![HostCommand::Continue]),
            (Phase::Leasing(leasing), event) => self.on_leasing(leasing, event, around),
            (Phase::Recording(recording), event) => self.on_recording(recording, event, around),
            (Phase::Held(hold), event) => self.on_held(hold, event, around),
            (Phase::Running(running), event) => response::on_running(running, event, around),
            // The rest of a request or response that Envoy still delivers after its fate was settled.
            (
                Phase::Ended,
                HostEvent::ResponseHead(_)
                | HostEvent::ResponsePart { .. }
                | HostEvent::ResponsePassed { .. }
                | HostEvent::ResponseComplete,
            ) => (Phase::Ended, vec![HostCommand::Continue]),
            (Phase::Ended, _) => (Phase::Ended, Vec::new()),
            // A response before the request was judged is Envoy's own (it refused the request); nothing ran.
            (
                phase @ (Phase::AwaitingHead | Phase::AwaitingBody(_)),
                HostEvent::ResponseHead(_)
                | HostEvent::ResponsePart { .. }
                | HostEvent::ResponsePassed { .. }
                | HostEvent::ResponseComplete,
            ) => (phase, vec![HostCommand::Continue]),
            (Phase::AwaitingHead | Phase::AwaitingBody(_), HostEvent::Closed) => (Phase::Ended, Vec::new()),
            (
                phase @ Phase::AwaitingBody(_),
                HostEvent::RequestHead(_)
                | HostEvent::CalloutAnswered { .. }
                | HostEvent::Recorded { .. }
                | HostEvent::Turn,
            )
            | (
                phase @ Phase::AwaitingHead,
                HostEvent::RequestPart { .. }
                | HostEvent::RequestComplete { .. }
                | HostEvent::CalloutAnswered { .. }
                | HostEvent::Recorded { .. }
                | HostEvent::Wake
                | HostEvent::Turn,
            ) => (phase, Vec::new()),
        };
        self.phase = phase;
        commands.extend(told);
        commands
    }

    /// Remembers whose session it is that an `initialize` has just opened.
    fn note_session(&mut self, head: &ResponseHead, around: &mut Surroundings<'_>) {
        if let (Some(opened), Some(session)) = (self.opens_session.take(), head.mcp_session) {
            session::bind(around.shared, &opened.owner, session, opened.opens_urls, around.now_ms);
        }
    }

    /// Whether the bytes of the response body are looked at.
    pub fn reads_answer(&self) -> bool {
        match &self.phase {
            Phase::Running(running) => running.reads_body() || self.overheard.is_some(),
            Phase::AwaitingHead
            | Phase::AwaitingBody(_)
            | Phase::Passing
            | Phase::Leasing(_)
            | Phase::Recording(_)
            | Phase::Held(_)
            | Phase::Ended => false,
        }
    }

    /// The next callout's number; a lower one that answers late is stale.
    fn next_ask(&mut self) -> u32 {
        self.asks = self.asks.wrapping_add(1);
        self.asks
    }
}
