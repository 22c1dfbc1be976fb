//! Steps 10 to 12 after the forward: the answer passes, its outcome is told, leases end, the record gets its entry.

use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::Constraints;
use holdpoint_core::digest::Digest;
use holdpoint_core::json::{self, Document, Kind};

use super::{HostCommand, HostEvent, Phase, ResponseHead, Surroundings};
use crate::refusal::{Asked, Refusal};
use crate::usage::{self, LEASE_MS, Lease};

/// How much of an answer is kept to tell whether it is a result or an error; of a longer one only the status counts.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A call that was forwarded.
pub(super) struct Running {
    asked: Asked,
    max_runtime_ms: Option<u64>,
    /// The call whose tries are counted until one succeeds.
    tried: Option<Digest>,
    leases: Vec<Lease>,
    entry: AuditEntry,
    /// Of the other messages of the same batch; their outcome is the same.
    beside: Vec<AuditEntry>,
    renew_at_ms: u64,
    forwarded_at_ms: u64,
    answer: Answer,
}

#[derive(Default)]
struct Answer {
    head: Option<ResponseHead>,
    is_complete: bool,
    kept: Vec<u8>,
    overflowed: bool,
}

impl Running {
    /// `entry` is completed with the outcome and recorded when the exchange ends.
    pub(super) fn new(
        asked: &Asked,
        constraints: &Constraints,
        leases: Vec<Lease>,
        entry: AuditEntry,
        now_ms: u64,
    ) -> Self {
        Self {
            asked: asked.clone(),
            max_runtime_ms: constraints.max_runtime_ms,
            tried: None,
            leases,
            entry,
            beside: Vec::new(),
            renew_at_ms: now_ms.saturating_add(LEASE_MS / 2),
            forwarded_at_ms: now_ms,
            answer: Answer::default(),
        }
    }

    /// The same, with the entries of the other messages that the same answer is for.
    pub(super) fn beside(self, beside: Vec<AuditEntry>) -> Self {
        Self { beside, ..self }
    }

    /// The same, for a call whose tries are counted.
    pub(super) fn trying(self, tried: Option<Digest>) -> Self {
        Self { tried, ..self }
    }

    /// The wake-up at which leases must be renewed, if there are any.
    pub(super) fn renewal(&self) -> Option<HostCommand> {
        usage::needs_renewal(&self.leases).then_some(HostCommand::WakeAt(self.renew_at_ms))
    }

    /// Renews the leases when it is time; a wake-up left over from the hold comes too early.
    fn on_wake(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        if around.now_ms < self.renew_at_ms {
            return Vec::new();
        }
        usage::renew(around.shared, &self.leases, around.now_ms);
        self.renew_at_ms = around.now_ms.saturating_add(LEASE_MS / 2);
        self.renewal().into_iter().collect()
    }

    /// Whether the answer's body must be seen to tell the outcome: that of an approved call, whose entry says
    /// "outcome"; other calls are told by their status.
    fn reads_answer(&self) -> bool {
        self.entry.kind == EntryKind::Outcome || self.tried.is_some()
    }

    fn on_response_head(&mut self, head: ResponseHead) -> HostCommand {
        self.answer.head = Some(head);
        match self.max_runtime_ms {
            // Envoy's router gave up at the runtime that the filter set; its bare 504 would cost some clients their
            // connection and tells a model nothing.
            Some(max_runtime_ms) if head.is_timeout => {
                HostCommand::Reply(Refusal::OutOfTime { max_runtime_ms }.reply(&self.asked))
            }
            Some(_) | None => HostCommand::Continue,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.reads_answer() || self.answer.overflowed {
            return;
        }
        if self.answer.kept.len().saturating_add(bytes.len()) > KEPT_BYTES_MAX {
            self.answer.overflowed = true;
            self.answer.kept = Vec::new();
        } else {
            self.answer.kept.extend_from_slice(bytes);
        }
    }

    fn end(mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        usage::end(around.shared, std::mem::take(&mut self.leases), around.now_ms);
        let outcome = self.answer.outcome();
        if let (Some(call), Outcome::Committed) = (self.tried, outcome) {
            usage::succeeded(around.shared, call, around.now_ms);
        }
        self.entry.outcome = Some(outcome);
        self.entry.http_status = self.answer.head.map(|head| head.status);
        self.entry.latency_ms = Some(around.now_ms.saturating_sub(self.forwarded_at_ms));
        if self.answer.head.is_some_and(|head| head.is_timeout) {
            self.entry.detail = Some("Envoy gave up waiting for the server".to_owned());
        }
        let (outcome, http_status, latency_ms) = (self.entry.outcome, self.entry.http_status, self.entry.latency_ms);
        let mut commands = vec![HostCommand::Record(Box::new(self.entry))];
        for mut entry in self.beside {
            (entry.outcome, entry.http_status, entry.latency_ms) = (outcome, http_status, latency_ms);
            commands.push(HostCommand::Record(Box::new(entry)));
        }
        commands
    }
}

impl Answer {
    fn outcome(&self) -> Outcome {
        let Some(head) = self.head else { return Outcome::Unknown };
        match head.status {
            // Envoy answers 502 to 504 itself when the server broke off; only the server knows how far it came.
            502..=504 => Outcome::Unknown,
            400.. => Outcome::Failed,
            // Modern clients close an event stream as soon as they have their answer: what counts is that it was whole.
            _ => match self.says_error(head.is_event_stream) {
                Some(true) => Outcome::Failed,
                Some(false) => Outcome::Committed,
                None if self.is_complete => Outcome::Committed,
                None => Outcome::Unknown,
            },
        }
    }

    /// Whether the last message of the answer is a JSON-RPC error or a tool result with `isError`; `None` when there is
    /// no whole answer among what was kept.
    fn says_error(&self, is_event_stream: bool) -> Option<bool> {
        let body = if is_event_stream { last_event(&self.kept) } else { self.kept.clone() };
        let document = Document::read(body, &json::Limits::default()).ok()?;
        let root = document.root();
        if root.kind() != Kind::Object {
            return None;
        }
        if root.get("error").is_some() {
            return Some(true);
        }
        let result = root.get("result")?;
        Some(result.get("isError").and_then(|flag| flag.as_bool()) == Some(true))
    }
}

/// The data of the last event that has any; lines may end in LF or CRLF.
fn last_event(stream: &[u8]) -> Vec<u8> {
    let mut last = Vec::new();
    let mut current: Vec<u8> = Vec::new();
    for line in stream.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(data) = line.strip_prefix(b"data:") {
            current.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        } else if line.is_empty() && !current.is_empty() {
            last = std::mem::take(&mut current);
        }
    }
    if current.is_empty() { last } else { current }
}

pub(super) fn on_running(
    mut running: Box<Running>,
    event: HostEvent,
    around: &mut Surroundings<'_>,
) -> (Phase, Vec<HostCommand>) {
    let commands = match event {
        HostEvent::ResponseHead(head) => vec![running.on_response_head(head)],
        HostEvent::ResponsePart { bytes } => {
            running.keep(&bytes);
            vec![HostCommand::Continue]
        }
        HostEvent::ResponseComplete => {
            running.answer.is_complete = true;
            vec![HostCommand::Continue]
        }
        HostEvent::Wake => running.on_wake(around),
        HostEvent::Closed => return (Phase::Ended, running.end(around)),
        // The callout that led here was the last one asked; what else still comes is stale.
        HostEvent::CalloutAnswered { .. }
        | HostEvent::RequestHead(_)
        | HostEvent::RequestPart { .. }
        | HostEvent::RequestComplete { .. } => Vec::new(),
    };
    (Phase::Running(running), commands)
}
