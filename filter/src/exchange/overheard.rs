//! Step 11, listening only: what an answer says that a later request of its client will lean on. What a server asks of its
//! client is remembered, so that the client may answer it; a task that it begins, so that it is its owner's alone.

use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::json::{Document, Kind, Limits, Value};
use holdpoint_core::mcp::{Method, sse};

use super::{AnswerFormat, HostEvent, ResponseHead, Surroundings};
use crate::session::{self, SessionOwner};

/// Longest event, or answer without events, that is listened to. What is missed is refused later, not let through.
const HEARD_BYTES_MAX: usize = 256 * 1024;

/// One answer on its way.
pub(super) struct Overheard {
    owner: SessionOwner,
    mcp_session_id: Option<String>,
    /// Whether an answer that is no stream can begin a task.
    may_begin_task: bool,
    heard: Heard,
}

enum Heard {
    Nothing,
    Events(sse::Splitter),
    Whole(Vec<u8>),
}

impl Overheard {
    /// Listens to the answer to this message.
    pub(super) fn answer_to(envelope: &CallEnvelope) -> Self {
        let message = envelope.message();
        let asks_for_task = message.params().is_some_and(|params| params.get("task").is_some());
        Self {
            owner: SessionOwner::new(envelope.server(), envelope.principal()),
            mcp_session_id: message.mcp_session_id().map(str::to_owned),
            may_begin_task: asks_for_task || message.declares_tasks(),
            heard: Heard::Nothing,
        }
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
            | HostEvent::Closed => {}
        }
    }

    fn begin(&mut self, head: &ResponseHead) {
        self.heard = match head.status {
            200..=299 if head.format == AnswerFormat::EventStream => Heard::Events(sse::Splitter::new(HEARD_BYTES_MAX)),
            200..=299 if self.may_begin_task => Heard::Whole(Vec::new()),
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

    fn note(&self, data: Vec<u8>, around: &mut Surroundings<'_>) {
        // Most messages are neither, and need not be read.
        if !says(&data, b"\"method\"") && !says(&data, b"\"taskId\"") {
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

    fn note_message(&self, message: Value<'_>, around: &mut Surroundings<'_>) {
        let method = message.get("method").and_then(|method| method.as_str());
        if let (Some(method), Some(id)) = (method, message.get("id")) {
            let asked = Method::asked_by_server(&method);
            session::note_ask(around.shared, &self.owner, self.mcp_session_id.as_deref(), id, &asked, around.now_ms);
        }
        let Some(result) = message.get("result") else { return };
        let begun = match result.get("task") {
            Some(task) => task.get("taskId"),
            None => result.get("resultType").filter(|kind| kind.is_str("task")).and(result.get("taskId")),
        };
        if let Some(task_id) = begun.and_then(|id| id.as_str()) {
            session::bind_task(around.shared, &self.owner, &task_id, around.now_ms);
        }
    }
}

fn says(data: &[u8], word: &[u8]) -> bool {
    data.windows(word.len()).any(|part| part == word)
}
