//! Steps 10 to 12 after the forward: the answer is governed on its way back, its outcome told, leases end, the record
//! gets its entry.
//!
//! ```text
//! Awaiting ─► Holding ─► (judged whole) ─► Done         what must be read whole: lists, redaction
//!        ├──► Streaming ──────────────────► Done         events, each judged as soon as it is there
//!        └──► Passing ────────────────────► Done         everything else, looked through on its way
//! any of them ─► Replied | Cut                            the client has its last word, the rest is dropped
//! ```

mod governing;
mod held;
mod listed;
mod observed;
mod recalled;
mod replay;
mod stream;

use holdpoint_core::audit::payload::{Lost, Part};
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::{AuditLevel, Constraints, OutputLimits};
use holdpoint_core::digest::Digest;
use holdpoint_core::mcp::answer::Scanner;
use holdpoint_core::mcp::sse::Splitter;

pub(super) use governing::Governing;
pub(super) use replay::Replay;

use super::beside;
use super::leasing::FleetLease;
use super::request::bounded;
use super::{AnswerFormat, HostCommand, HostEvent, InPlace, LogLevel, Phase, ResponseHead, Surroundings};
use crate::enforce::HeaderEdit;
use crate::past::Trail;
use crate::refusal::{Asked, Refusal};
use crate::usage::{self, LEASE_MS, Lease};
use observed::Observed;

/// After its last event a stream stays open so long, for that event to leave Envoy, before it is closed.
const LAST_EVENT_MS: u64 = 150;

/// Stands in the place of an error page that cannot be judged.
const WITHHELD: &str =
    "The server answered with an error. Its text was not delivered: it is no JSON and cannot be looked through.\n";

/// A call that was forwarded.
pub(super) struct Running {
    asked: Asked,
    governing: Governing,
    max_runtime_ms: Option<u64>,
    output: OutputLimits,
    /// The call whose tries are counted until one succeeds.
    tried: Option<Digest>,
    leases: Vec<Lease>,
    /// Its places under limits that hold for all gateways.
    fleet: Option<FleetLease>,
    entry: Box<AuditEntry>,
    /// Of the other messages of the same batch; their outcome is the same.
    beside: Vec<AuditEntry>,
    renew_at_ms: u64,
    forwarded_at_ms: u64,
    observed: Observed,
    /// What the call leaves behind for rules that look back.
    trail: Option<Trail>,
    /// What it is to answers that are asked for again; nothing where no rule binds any.
    replay: Option<Replay>,
    step: Step,
}

/// Where the answer is.
enum Step {
    /// No head yet.
    Awaiting,
    /// The head waits until the whole body is judged.
    Holding { body: Vec<u8> },
    /// Events go on one by one. The head waits for the first one where a clock runs, so that there is still a way to say
    /// that the time is over.
    Streaming { splitter: Splitter, head_is_out: bool },
    /// The body goes on as it comes; `scanner` sees that it asks nothing of the client.
    Passing { scanner: Option<Scanner> },
    /// Head and status went on, but the body is no text that can be judged: a sentence stands in its place.
    Withholding { said: bool },
    /// Answered in the server's place; what Envoy still shows is that answer.
    Replied,
    /// What else comes is dropped, and at that time the stream is closed.
    Cut { close_at_ms: u64 },
}

impl Running {
    /// `entry` is completed with the outcome and recorded when the exchange ends.
    pub(super) fn new(
        asked: &Asked,
        governing: Governing,
        constraints: &Constraints,
        leases: Vec<Lease>,
        entry: Box<AuditEntry>,
        now_ms: u64,
    ) -> Box<Self> {
        let counts_tries = constraints.max_retries.is_some();
        let reads_outcome = entry.kind == EntryKind::Outcome || counts_tries;
        Box::new(Self {
            asked: asked.clone(),
            governing: governing.under(&constraints.output, reads_outcome),
            observed: Observed::keeping(beside::result_bytes_max(entry.audit)),
            max_runtime_ms: constraints.max_runtime_ms,
            output: constraints.output.clone(),
            tried: None,
            leases,
            fleet: None,
            entry,
            beside: Vec::new(),
            renew_at_ms: now_ms.saturating_add(LEASE_MS / 2),
            forwarded_at_ms: now_ms,
            trail: None,
            replay: None,
            step: Step::Awaiting,
        })
    }

    /// The same, with the entries of the other messages that the same answer is for.
    pub(super) fn beside(mut self: Box<Self>, beside: Vec<AuditEntry>) -> Box<Self> {
        self.beside = beside;
        self.observed = Observed::keeping(beside::result_bytes_max(self.audit()));
        self
    }

    /// What the record may keep of the answer: of a batch's no more than of the answer to each.
    fn audit(&self) -> Option<AuditLevel> {
        self.entries().fold(None, |least, entry| AuditLevel::least(least, entry.audit))
    }

    /// Its entries: its own, then those of the other messages of its batch.
    pub(super) fn entries(&self) -> impl Iterator<Item = &AuditEntry> {
        std::iter::once(&*self.entry).chain(&self.beside)
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut AuditEntry> {
        std::iter::once(&mut *self.entry).chain(&mut self.beside)
    }

    #[cfg(test)]
    pub(super) fn principal(&self) -> std::sync::Arc<holdpoint_core::identity::Principal> {
        std::sync::Arc::clone(&self.governing.principal)
    }

    /// What its answers need.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Frees its slots, of a call that never ran.
    pub(super) fn give_back(&mut self, around: &mut Surroundings<'_>) -> Option<HostCommand> {
        usage::give_back(around.shared, std::mem::take(&mut self.leases), around.now_ms);
        self.fleet.take().map(|fleet| fleet.end(false))
    }

    /// The same call, that runs from now on.
    pub(super) fn beginning_at(mut self: Box<Self>, now_ms: u64) -> Box<Self> {
        let fleet_ms = self.fleet.as_ref().map_or(u64::MAX, FleetLease::renew_at_ms);
        self.forwarded_at_ms = now_ms;
        self.renew_at_ms = now_ms.saturating_add(LEASE_MS / 2).min(fleet_ms);
        self
    }

    /// The same, for a call that the service counts.
    pub(super) fn counted_by(mut self: Box<Self>, fleet: Option<FleetLease>) -> Box<Self> {
        let fleet_ms = fleet.as_ref().map_or(u64::MAX, FleetLease::renew_at_ms);
        self.renew_at_ms = self.renew_at_ms.min(fleet_ms);
        self.fleet = fleet;
        self
    }

    /// Whether it waited for so long that the service may have given its place to another call.
    pub(super) fn lost_its_place(&self, now_ms: u64) -> bool {
        FleetLease::is_over(self.fleet.as_ref(), now_ms)
    }

    /// The same for places that this process counts: whatever it has of them lasts from now on, or the rule is told of which
    /// another call has its place.
    pub(super) fn keep_slots(
        &self,
        plugin: &str,
        constraints: &Constraints,
        around: &mut Surroundings<'_>,
    ) -> Result<(), String> {
        usage::keep(around.shared, plugin, &self.leases, constraints, around.now_ms)
    }

    /// It never ran, so it was no try.
    pub(super) fn untry(&mut self, around: &mut Surroundings<'_>) {
        if let Some(call) = self.tried.take() {
            usage::untry(around.shared, call, around.now_ms);
        }
    }

    /// The same, for a call whose tries are counted.
    pub(super) fn trying(mut self: Box<Self>, tried: Option<Digest>) -> Box<Self> {
        self.tried = tried;
        self
    }

    /// The same, for a call that leaves marks: they are written again before each part of its answer goes on.
    pub(super) fn leaving(self: Box<Self>, trail: Trail) -> Box<Self> {
        self.leaving_all(Some(trail))
    }

    /// The same, for all messages of a batch.
    pub(super) fn leaving_all(mut self: Box<Self>, trail: Option<Trail>) -> Box<Self> {
        self.trail = trail;
        self
    }

    /// The call goes on as a task after its answer: what it has taken is the task's from now on.
    pub(super) fn goes_on_as(
        &mut self,
        task: u64,
        ttl_ms: Option<u64>,
        around: &mut Surroundings<'_>,
    ) -> Option<HostCommand> {
        usage::hand_to_task(around.shared, std::mem::take(&mut self.leases), task, ttl_ms, around.now_ms);
        self.fleet.take().map(|fleet| fleet.go_on_as(task, ttl_ms))
    }

    /// Writes the marks of the call as of now. What is answered instead of letting the answer go on, if that fails.
    fn remember(&mut self, around: &mut Surroundings<'_>) -> Option<Vec<HostCommand>> {
        if self.trail.as_mut().is_none_or(|trail| trail.write(around.shared, around.now_ms)) {
            return None;
        }
        let why = "a rule looks back for it, and it cannot be written down now";
        match self.step {
            Step::Awaiting | Step::Holding { .. } | Step::Streaming { head_is_out: false, .. } => {
                Some(vec![warn(why), self.refuse(&Refusal::AnswerUnreadable(why.to_owned()))])
            }
            Step::Streaming { head_is_out: true, .. } | Step::Passing { .. } | Step::Withholding { .. } => {
                self.cut(why.to_owned(), around.now_ms);
                Some(vec![warn(why), HostCommand::ReplaceBody(Vec::new()), HostCommand::CloseAnswer])
            }
            Step::Replied | Step::Cut { .. } => None,
        }
    }

    /// The wake-ups it needs: to renew leases, to end the call when its time is over.
    pub(super) fn alarms(&self) -> Vec<HostCommand> {
        let mut alarms = Vec::new();
        if self.is_renewed() {
            alarms.push(HostCommand::WakeAt(self.renew_at_ms));
        }
        if let Some(deadline_ms) = self.deadline_ms() {
            alarms.push(HostCommand::WakeAt(deadline_ms));
        }
        alarms
    }

    /// Whether the bytes of the answer's body are looked at.
    pub(super) fn reads_body(&self) -> bool {
        match &self.step {
            Step::Passing { scanner } => scanner.is_some() || self.governing.reads_outcome,
            Step::Holding { .. } | Step::Streaming { .. } | Step::Withholding { .. } | Step::Cut { .. } => true,
            Step::Awaiting | Step::Replied => false,
        }
    }

    /// Whether anything that it has taken ends unless it is renewed.
    fn is_renewed(&self) -> bool {
        usage::needs_renewal(&self.leases) || self.fleet.as_ref().is_some_and(FleetLease::is_renewed)
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.max_runtime_ms.map(|max_runtime_ms| self.forwarded_at_ms.saturating_add(max_runtime_ms))
    }

    fn on_wake(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let mut commands = Vec::new();
        match self.step {
            Step::Cut { close_at_ms } if around.now_ms >= close_at_ms => return vec![HostCommand::CloseAnswer],
            Step::Cut { .. } | Step::Replied => return commands,
            Step::Awaiting
            | Step::Holding { .. }
            | Step::Streaming { .. }
            | Step::Passing { .. }
            | Step::Withholding { .. } => {}
        }
        if self.is_renewed() && around.now_ms >= self.renew_at_ms {
            usage::renew(around.shared, &self.leases, around.now_ms);
            commands.extend(self.fleet.as_ref().filter(|fleet| fleet.is_renewed()).map(FleetLease::renewal));
            // One that is lost is not sent again: the next one must come in time.
            self.renew_at_ms = around.now_ms.saturating_add(LEASE_MS / 4);
            commands.push(HostCommand::WakeAt(self.renew_at_ms));
        }
        if let Some(deadline_ms) = self.deadline_ms()
            && around.now_ms >= deadline_ms
            && !self.observed.is_complete
        {
            commands.extend(self.out_of_time(around.now_ms));
        }
        commands
    }

    /// The call's time is over and the server has not finished: the client is told if nothing has been said to it yet,
    /// and a server of the older eras, to which a closed connection means nothing, is told to stop.
    fn out_of_time(&mut self, now_ms: u64) -> Vec<HostCommand> {
        let max_runtime_ms = self.max_runtime_ms.unwrap_or_default();
        let mut commands = self.cancel_now();
        let is_silent = match &self.step {
            Step::Awaiting | Step::Holding { .. } | Step::Streaming { head_is_out: false, .. } => true,
            Step::Streaming { head_is_out: true, .. }
            | Step::Passing { .. }
            | Step::Withholding { .. }
            | Step::Replied
            | Step::Cut { .. } => false,
        };
        if is_silent {
            commands.push(self.refuse(&Refusal::OutOfTime { max_runtime_ms }));
        } else {
            self.cut(format!("ended after {max_runtime_ms} ms"), now_ms);
            commands.push(HostCommand::CloseAnswer);
        }
        commands
    }

    /// Tells a server of the older eras, to which a closed connection means nothing, to stop.
    fn cancel_now(&self) -> Vec<HostCommand> {
        self.governing.cancel_at_server(&self.asked).into_iter().map(HostCommand::Tell).collect()
    }

    /// What a client has left before the server was done goes on there, and the client may ask for its answer on another
    /// stream; its time ends all the same.
    fn cancel_in_time(&self) -> Option<HostCommand> {
        let is_over = self.observed.is_complete || self.observed.was_cut || self.observed.has_answer();
        let deadline_ms = self.deadline_ms().filter(|_| !is_over)?;
        Some(HostCommand::TellAt(deadline_ms, self.governing.cancel_at_server(&self.asked)?))
    }

    /// Answers in the server's place. Only while the head of its answer has not gone on.
    fn refuse(&mut self, refusal: &Refusal) -> HostCommand {
        self.observed.was_cut = true;
        self.observed.withhold();
        self.entry.detail = Some(refusal.sentence());
        self.step = Step::Replied;
        HostCommand::Reply(refusal.reply(&self.asked))
    }

    /// From here on nothing of the server reaches the client, and soon the stream is closed.
    fn cut(&mut self, detail: String, now_ms: u64) {
        self.observed.was_cut = true;
        self.entry.detail = Some(detail);
        self.step = Step::Cut { close_at_ms: now_ms.saturating_add(LAST_EVENT_MS) };
    }

    fn on_response_head(&mut self, head: ResponseHead) -> Vec<HostCommand> {
        if matches!(self.step, Step::Replied) {
            return vec![HostCommand::Continue];
        }
        self.observed.head = Some(head);
        if let Some(in_place) = head.in_place
            && self.asked.is_answered()
        {
            // Envoy's own bare 503 or 504 would cost some clients their connection and tells a model nothing.
            let refusal = match (in_place, self.max_runtime_ms) {
                (InPlace::TimedOut, Some(max_runtime_ms)) => Refusal::OutOfTime { max_runtime_ms },
                (InPlace::TimedOut, None) | (InPlace::BrokeOff, _) => Refusal::ServerBrokeOff,
                (InPlace::NotReached, _) => Refusal::ServerAway,
            };
            return vec![self.refuse(&refusal)];
        }
        let too_long = self.output.max_bytes.filter(|max| head.content_length.is_some_and(|length| length > *max));
        if let Some(bytes_max) = too_long {
            return vec![self.refuse(&Refusal::AnswerTooLong { bytes_max })];
        }
        let must_read = self.governing.must_read();
        let unknown_length = self.output.max_bytes.is_some() && head.content_length.is_none();
        let judges_other = must_read || unknown_length;
        let unreadable = match head.format {
            AnswerFormat::EventStream => head.is_encoded,
            // Nobody was invited to encode it, and unread it could ask anything of the client.
            AnswerFormat::Json => head.is_encoded && head.has_body,
            AnswerFormat::Unclear => head.has_body,
            // No client of MCP reads anything else; but what cannot be filtered must not look like a list either.
            AnswerFormat::Other => judges_other && head.has_body && head.status < 300,
        };
        if unreadable {
            let why = "its format or encoding cannot be read".to_owned();
            return vec![self.refuse(&Refusal::AnswerUnreadable(why))];
        }
        // Where a clock runs or the answer may ask for input, there must be a way to say no until it is whole.
        let waits = self.max_runtime_ms.is_some() || self.governing.is_modern;
        match head.format {
            _ if !head.has_body => {
                self.step = Step::Passing { scanner: None };
                vec![HostCommand::Continue]
            }
            AnswerFormat::EventStream => {
                if self.replay.is_none() {
                    self.replay = self.governing.replay(&self.output, self.deadline_ms());
                }
                let head_is_out = self.max_runtime_ms.is_none();
                let splitter = Splitter::new(self.governing.answer_bytes_max());
                self.step = Step::Streaming { splitter, head_is_out };
                let release = if head_is_out { HostCommand::Continue } else { HostCommand::Pause };
                vec![HostCommand::EditAnswer(HeaderEdit::Remove("content-length".to_owned())), release]
            }
            AnswerFormat::Json if must_read || waits || unknown_length => {
                self.step = Step::Holding { body: Vec::new() };
                vec![HostCommand::Pause]
            }
            AnswerFormat::Json => {
                self.step = Step::Passing { scanner: Some(Scanner::new()) };
                vec![HostCommand::Continue]
            }
            // An error page says what went wrong, and may say it with what must not be read. The status is enough to act on.
            AnswerFormat::Other if judges_other => {
                self.entry.detail = Some("the body of an error was withheld: it is no JSON".to_owned());
                self.step = Step::Withholding { said: false };
                vec![
                    HostCommand::EditAnswer(HeaderEdit::Remove("content-length".to_owned())),
                    HostCommand::EditAnswer(HeaderEdit::Remove("content-encoding".to_owned())),
                    HostCommand::EditAnswer(HeaderEdit::Set("content-type", "text/plain; charset=utf-8".to_owned())),
                    HostCommand::Continue,
                ]
            }
            AnswerFormat::Other | AnswerFormat::Unclear => {
                self.step = Step::Passing { scanner: None };
                vec![HostCommand::Continue]
            }
        }
    }

    fn on_part(&mut self, bytes: &[u8], size_bytes: u64, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        self.observed.bytes = self.observed.bytes.saturating_add(size_bytes);
        match &mut self.step {
            Step::Awaiting | Step::Replied => vec![HostCommand::Continue],
            Step::Cut { .. } => vec![HostCommand::ReplaceBody(Vec::new()), HostCommand::Continue],
            Step::Withholding { said } => {
                let sentence = if std::mem::replace(said, true) { "" } else { WITHHELD };
                vec![HostCommand::ReplaceBody(sentence.as_bytes().to_vec()), HostCommand::Continue]
            }
            Step::Holding { .. } => self.hold_part(bytes),
            Step::Streaming { .. } => self.stream_part(bytes, around),
            Step::Passing { scanner } => {
                let asks = scanner.as_mut().is_some_and(|scanner| scanner.push(bytes));
                if self.governing.reads_outcome {
                    self.observed.keep(bytes);
                }
                self.observed.pass(bytes);
                if asks {
                    self.cut("the answer asked something of the client where it must not".to_owned(), around.now_ms);
                    return vec![HostCommand::ReplaceBody(Vec::new()), HostCommand::CloseAnswer];
                }
                vec![HostCommand::Continue]
            }
        }
    }

    fn on_complete(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        match &mut self.step {
            Step::Holding { .. } => self.judge_held(around),
            Step::Streaming { .. } => self.finish_stream(around),
            Step::Passing { .. } => {
                self.observed.is_complete = true;
                self.observed.passed();
                vec![HostCommand::Continue]
            }
            Step::Awaiting | Step::Withholding { .. } => {
                self.observed.is_complete = true;
                vec![HostCommand::Continue]
            }
            Step::Replied | Step::Cut { .. } => vec![HostCommand::Continue],
        }
    }

    /// What of the answer is to stand beside the entry.
    fn keep_result(&mut self, around: &mut Surroundings<'_>) {
        let audit = self.audit();
        match self.observed.take_result() {
            None => {}
            Some(Ok(bytes)) => match std::str::from_utf8(&bytes) {
                Ok(text) => {
                    // What stands beside one entry has one salt.
                    let salted = self.entry.payload.as_ref().map(|payload| payload.salt);
                    let salt = salted.unwrap_or_else(|| around.worker.ids.next_salt());
                    beside::keep(&mut self.entry, audit, Part::Result, text, salt);
                }
                Err(_) => beside::lose(&mut self.entry, audit, Part::Result, bytes.len(), Lost::Unreadable),
            },
            Some(Err(length)) => beside::lose(&mut self.entry, audit, Part::Result, length, Lost::TooLong),
        }
    }

    fn end(mut self: Box<Self>, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        usage::end(around.shared, std::mem::take(&mut self.leases), around.now_ms);
        let cancellation = self.cancel_in_time();
        let ended = self.fleet.take().map(|fleet| fleet.end(true));
        let outcome = self.observed.outcome();
        if let (Some(call), Outcome::Committed) = (self.tried, outcome) {
            usage::succeeded(around.shared, call, around.now_ms);
        }
        self.entry.outcome = Some(outcome);
        self.entry.http_status = self.observed.head.map(|head| head.status);
        self.entry.latency_ms = Some(around.now_ms.saturating_sub(self.forwarded_at_ms));
        self.entry.answer_bytes = self.observed.head.map(|_| self.observed.bytes);
        self.keep_result(around);
        if self.entry.detail.is_none() {
            self.entry.detail = self.observed.detail();
        }
        let (outcome, http_status, latency_ms) = (self.entry.outcome, self.entry.http_status, self.entry.latency_ms);
        let mut commands = vec![HostCommand::Record(self.entry)];
        for mut entry in self.beside {
            (entry.outcome, entry.http_status, entry.latency_ms) = (outcome, http_status, latency_ms);
            commands.push(HostCommand::Record(Box::new(entry)));
        }
        commands.extend(cancellation);
        commands.extend(ended);
        commands
    }
}

pub(super) fn on_running(
    mut running: Box<Running>,
    event: HostEvent,
    around: &mut Surroundings<'_>,
) -> (Phase, Vec<HostCommand>) {
    let brings = matches!(
        event,
        HostEvent::ResponseHead(_)
            | HostEvent::ResponsePart { .. }
            | HostEvent::ResponsePassed { .. }
            | HostEvent::ResponseComplete
    );
    if brings && let Some(commands) = running.remember(around) {
        return (Phase::Running(running), commands);
    }
    let commands = match event {
        HostEvent::ResponseHead(head) => running.on_response_head(head),
        HostEvent::ResponsePart { bytes } => {
            let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            running.on_part(&bytes, size_bytes, around)
        }
        HostEvent::ResponsePassed { size_bytes } => running.on_part(&[], size_bytes, around),
        HostEvent::ResponseComplete => running.on_complete(around),
        HostEvent::Wake => running.on_wake(around),
        HostEvent::Closed => return (Phase::Ended, running.end(around)),
        // The callout that led here was the last one asked; what else still comes is stale.
        HostEvent::CalloutAnswered { .. }
        | HostEvent::Recorded { .. }
        | HostEvent::Turn
        | HostEvent::RequestHead(_)
        | HostEvent::RequestPart { .. }
        | HostEvent::RequestComplete { .. } => Vec::new(),
    };
    (Phase::Running(running), commands)
}

/// One line for the operator about an answer that was not delivered.
fn warn(why: &str) -> HostCommand {
    HostCommand::Log(LogLevel::Warn, format!("answer not delivered: {}", bounded(why)))
}
