//! Step 11, listening only: what an answer says that a later request of its client will lean on. What a server asks of its
//! client is remembered, so that the client may answer it; a task that it begins, so that it is its owner's alone.

use std::sync::Arc;

use holdpoint_core::decision::Constraints;
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::{CallEnvelope, Topic};
use holdpoint_core::identity::Principal;
use holdpoint_core::inventory::{CAPABILITIES_MAX, Introduction, Observation, Sighting};
use holdpoint_core::json::{Document, Kind, Limits, Value};
use holdpoint_core::mcp::{Method, Target, sse};

use super::{AnswerFormat, HostEvent, ResponseHead, Surroundings};
use crate::session::{self, SessionOwner, TaskOrigin};

/// Longest event, or answer without events, that is listened to. What is missed is refused later, not let through.
const HEARD_BYTES_MAX: usize = 256 * 1024;

/// How a task stands that will not go on (MCP 2025-11-25, "Task Status").
const ENDED: [&str; 3] = ["completed", "failed", "cancelled"];

/// Longest name or version of a server that is kept, in characters.
const WORD_CHARS_MAX: usize = 200;

/// One answer on its way.
pub(super) struct Overheard {
    /// Of a task that this answer begins.
    origin: TaskOrigin,
    mcp_session_id: Option<String>,
    /// Whether an answer that is no stream can begin a task.
    may_begin_task: bool,
    /// The task whose result this answer is.
    answers_task: Option<String>,
    /// It says who the server is.
    introduces: bool,
    server: String,
    principal: Arc<Principal>,
    heard: Heard,
    turns: Vec<TaskTurn>,
}

/// What an answer says of a task.
pub(super) enum TaskTurn {
    /// The call goes on as a task, which its server keeps for so long.
    Began {
        task: u64,
        ttl_ms: Option<u64>,
    },
    Ended {
        task: u64,
    },
}

impl TaskTurn {
    /// The task that has ended.
    pub(super) fn ended(&self) -> Option<u64> {
        match self {
            Self::Ended { task } => Some(*task),
            Self::Began { .. } => None,
        }
    }
}

enum Heard {
    Nothing,
    Events(sse::Splitter),
    Whole(Vec<u8>),
}

impl Overheard {
    /// Listens to the answer to this message.
    pub(super) fn answer_to(envelope: &CallEnvelope, constraints: &Constraints) -> Self {
        let message = envelope.message();
        let asks_for_task = message.params().is_some_and(|params| params.get("task").is_some());
        Self {
            origin: if constraints.output.is_empty() { TaskOrigin::Unlimited } else { TaskOrigin::Limited },
            mcp_session_id: message.mcp_session_id().map(str::to_owned),
            may_begin_task: asks_for_task || message.declares_tasks() || envelope.topic() == Topic::Task,
            answers_task: match (message.method(), message.target()) {
                (Method::TasksResult, Target::Task(id)) => Some(id.clone()),
                _ => None,
            },
            introduces: matches!(message.method(), Method::Initialize | Method::ServerDiscover),
            server: envelope.server().to_owned(),
            principal: Arc::clone(&envelope.call().principal),
            heard: Heard::Nothing,
            turns: Vec::new(),
        }
    }

    /// Listens to the answer to a batch, whose messages have one sender and one server.
    pub(super) fn answer_to_all(envelopes: &[CallEnvelope], constraints: &Constraints) -> Option<Self> {
        let mut all = envelopes.iter().map(|envelope| Self::answer_to(envelope, constraints));
        let first = all.next()?;
        Some(all.fold(first, |sum, one| Self { may_begin_task: sum.may_begin_task || one.may_begin_task, ..sum }))
    }

    fn owner(&self) -> SessionOwner {
        SessionOwner::new(&self.server, &self.principal)
    }

    /// What was heard of tasks since this was last asked.
    pub(super) fn take_turns(&mut self) -> Vec<TaskTurn> {
        std::mem::take(&mut self.turns)
    }

    /// Takes one event of a running exchange; changes nothing of it.
    pub(super) fn listen(&mut self, event: &HostEvent, around: &mut Surroundings<'_>) {
        match event {
            HostEvent::ResponseHead(head) => self.begin(head),
            HostEvent::ResponsePart { bytes } => self.on_part(bytes, around),
            HostEvent::ResponseComplete => self.end(around),
            HostEvent::RequestHead(_)
            | HostEvent::RequestPart { .. }
            | HostEvent::RequestComplete { .. }
            | HostEvent::ResponsePassed { .. }
            | HostEvent::CalloutAnswered { .. }
            | HostEvent::Recorded { .. }
            | HostEvent::Wake
            | HostEvent::Turn
            | HostEvent::Closed => {}
        }
    }

    fn begin(&mut self, head: &ResponseHead) {
        self.heard = match head.status {
            200..=299 if head.format == AnswerFormat::EventStream => Heard::Events(sse::Splitter::new(HEARD_BYTES_MAX)),
            200..=299 if self.may_begin_task || self.introduces => Heard::Whole(Vec::new()),
            _ => Heard::Nothing,
        };
    }

    fn on_part(&mut self, bytes: &[u8], around: &mut Surroundings<'_>) {
        match &mut self.heard {
            Heard::Nothing => {}
            Heard::Events(splitter) => match splitter.push(bytes) {
                Ok(events) => {
                    for data in events.iter().filter_map(sse::Event::data) {
                        self.note(data, around);
                    }
                }
                Err(_) => self.heard = Heard::Nothing,
            },
            Heard::Whole(kept) if kept.len().saturating_add(bytes.len()) > HEARD_BYTES_MAX => {
                self.heard = Heard::Nothing
            }
            Heard::Whole(kept) => kept.extend_from_slice(bytes),
        }
    }

    fn end(&mut self, around: &mut Surroundings<'_>) {
        match std::mem::replace(&mut self.heard, Heard::Nothing) {
            Heard::Nothing => {}
            Heard::Events(mut splitter) => {
                if let Some(data) = splitter.finish().and_then(|event| event.data()) {
                    self.note(data, around);
                }
            }
            Heard::Whole(kept) => self.note(kept, around),
        }
    }

    fn note(&mut self, data: Vec<u8>, around: &mut Surroundings<'_>) {
        // Most messages are neither, and need not be read.
        let says_something = says_any(&data, &[b"\"method\"", b"\"taskId\""]) || self.answers_task.is_some();
        if !says_something && !self.introduces {
            return;
        }
        let Ok(document) = Document::read(data, &Limits::default()) else { return };
        let root = document.root();
        // Up to 2025-03-26 an event may hold several messages.
        let one = (root.kind() == Kind::Object).then_some(root);
        for message in one.into_iter().chain(root.elements()) {
            self.note_message(message, around);
        }
    }

    fn note_message(&mut self, message: Value<'_>, around: &mut Surroundings<'_>) {
        let method = message.get("method").and_then(|method| method.as_str());
        if let (Some(method), Some(id)) = (&method, message.get("id")) {
            let asked = Method::asked_by_server(method);
            session::note_ask(around.shared, &self.owner(), self.mcp_session_id.as_deref(), id, &asked, around.now_ms);
        }
        if let Some(id) = self.answers_task.as_deref().filter(|_| method.is_none() && message.get("id").is_some()) {
            self.turns.push(TaskTurn::Ended { task: session::task_holder(&self.owner(), id) });
        }
        let told =
            [message.get("result"), message.get("params"), message.get("result").and_then(|all| all.get("task"))];
        for task in told.into_iter().flatten() {
            let is_over = task.get("status").is_some_and(|status| ENDED.iter().any(|word| status.is_str(word)));
            if let Some(id) = task.get("taskId").and_then(|id| id.as_str()).filter(|_| is_over) {
                self.turns.push(TaskTurn::Ended { task: session::task_holder(&self.owner(), &id) });
            }
        }
        let Some(result) = message.get("result") else { return };
        if self.introduces {
            self.note_introduction(result, around);
        }
        let begun = match result.get("task") {
            Some(task) => task.get("taskId"),
            None => result.get("resultType").filter(|kind| kind.is_str("task")).and(result.get("taskId")),
        };
        if let Some(task_id) = begun.and_then(|id| id.as_str()) {
            session::bind_task(around.shared, &self.owner(), &task_id, self.origin, around.now_ms);
            let described = result.get("task").unwrap_or(result);
            let is_over = described.get("status").is_some_and(|status| ENDED.iter().any(|word| status.is_str(word)));
            let ttl_ms = described.get("ttl").and_then(|ttl| ttl.raw().parse().ok());
            if !is_over {
                self.turns.push(TaskTurn::Began { task: session::task_holder(&self.owner(), &task_id), ttl_ms });
            }
        }
    }

    fn note_introduction(&self, result: Value<'_>, around: &mut Surroundings<'_>) {
        let introduction = introduction(result);
        let page = Digest::tagged("holdpoint/introduction/v1", self.server.as_bytes());
        let content = Digest::of(&serde_json::to_vec(&introduction).unwrap_or_default());
        if around.desk.inventory.is_known(&page, content, 0) {
            return;
        }
        let observation = Observation {
            at_ms: around.now_ms,
            server: self.server.clone(),
            caller: self.principal.named(),
            saw: Sighting::Introduced(introduction),
        };
        if around.desk.inventory.push(&observation) {
            around.desk.inventory.remember(page, content, 0);
        }
    }
}

/// Who a server says it is, in the result of `initialize` or `server/discover`.
fn introduction(result: Value<'_>) -> Introduction {
    let info = result.get("serverInfo").or_else(|| result.get("_meta")?.get("io.modelcontextprotocol/serverInfo"));
    let word = |value: Option<Value<'_>>| {
        let text = value.and_then(|value| value.as_str()).unwrap_or_default();
        text.chars().take(WORD_CHARS_MAX).collect::<String>()
    };
    let supported = result.get("supportedVersions").into_iter().flat_map(|versions| versions.elements());
    let supported: Vec<String> = supported.take(CAPABILITIES_MAX).map(|version| word(Some(version))).collect();
    let capabilities = result.get("capabilities").into_iter().flat_map(|capabilities| capabilities.members());
    Introduction {
        name: word(info.and_then(|info| info.get("name"))),
        version: word(info.and_then(|info| info.get("version"))),
        protocol: match result.get("protocolVersion") {
            Some(version) => word(Some(version)),
            None => supported.join(", "),
        },
        capabilities: capabilities
            .take(CAPABILITIES_MAX)
            .map(|(name, _)| name.chars().take(WORD_CHARS_MAX).collect())
            .collect(),
        instructions: result.get("instructions").and_then(|text| text.as_str()).map(|text| Digest::of(text.as_bytes())),
    }
}

/// Whether one of these keys, each in its quotes, stands in it.
fn says_any(data: &[u8], keys: &[&[u8]]) -> bool {
    let begins = |at: usize| data.get(at..).is_some_and(|rest| keys.iter().any(|key| rest.starts_with(key)));
    memchr::memchr_iter(b'"', data).any(begins)
}
