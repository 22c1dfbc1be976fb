//! Step 11: streams that are asked for again. What an answer was bound to holds as well when its client has lost the
//! stream, opens another one by GET, and names the last event it saw (`Last-Event-ID`).
//!
//! The gateway remembers what the events of a session belong to. Of what it does not know, or has forgotten, it assumes
//! that any call may be answered there that this principal could have made: the strictest limits of all rules stand.

use holdpoint_core::decision::{Constraints, OutputLimits};
use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::mcp::Method;
use holdpoint_core::mcp::answer::Answer;
use holdpoint_core::mcp::sse::Event;
use holdpoint_core::policy::PolicySnapshot;

use super::Running;
use super::governing::Judged;
use crate::exchange::Surroundings;
use crate::refusal::Refusal;
use crate::session::{self, SessionOwner, Standing};

/// By which a client says what it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Longest id of an event that is remembered, in bytes; by a longer one nothing can be asked for again.
const ID_BYTES_MAX: usize = 1_024;

/// What one answer is to those that may be asked for after it, and to those before it.
pub(in crate::exchange) struct Replay {
    owner: SessionOwner,
    mcp_session_id: String,
    /// What its events are remembered as; nothing where nobody knows what they belong to.
    standing: Option<Standing>,
    /// Whether what it is bound to would hold on a stream that is asked for again.
    may_be_resumed: bool,
    /// What holds for the messages on it, where they are not those of one call.
    limits: Option<Limits>,
}

/// Limits on messages of which the calls are gone.
struct Limits {
    output: OutputLimits,
    answers: Answers,
    /// Whether all messages count together: they were one call's.
    is_one_answer: bool,
    passed_bytes: u64,
}

/// When an answer may still come.
#[derive(Clone, Copy)]
enum Answers {
    Always,
    Until {
        until_ms: u64,
        max_runtime_ms: u64,
    },
    /// A rule bounds how long calls may run, and nobody knows how long this one has.
    Never,
}

impl Replay {
    /// Of the answer to a call in a session; nothing where no rule binds any answer.
    pub(super) fn of_call(
        owner: SessionOwner,
        mcp_session_id: &str,
        strictest: &Constraints,
        own: &OutputLimits,
        until_ms: Option<u64>,
    ) -> Option<Self> {
        if strictest.is_empty() {
            return None;
        }
        let is_free = own.is_empty() && until_ms.is_none();
        let standing = if is_free { Standing::Free } else { Standing::Bounded { until_ms } };
        Some(Self {
            owner,
            mcp_session_id: mcp_session_id.to_owned(),
            standing: Some(standing),
            may_be_resumed: covers(&strictest.output, own),
            limits: None,
        })
    }

    /// Of the stream that this message opens, if it opens one.
    pub(in crate::exchange) fn of_stream(
        envelope: &CallEnvelope,
        policy: &PolicySnapshot,
        around: &mut Surroundings<'_>,
    ) -> Option<Self> {
        let message = envelope.message();
        let mcp_session_id = message.mcp_session_id().filter(|_| *message.method() == Method::StreamOpen)?;
        let strictest = policy.strictest_answer(envelope.principal(), envelope.server());
        if strictest.is_empty() {
            return None;
        }
        let owner = SessionOwner::new(envelope.server(), envelope.principal());
        let mut named = envelope.call().headers.iter().filter(|(name, _)| name == LAST_EVENT_ID);
        let standing = match (named.next(), named.next()) {
            (None, _) => Some(Standing::Open),
            (Some((_, id)), None) => {
                session::event(around.shared, &owner, mcp_session_id, id.trim_ascii(), around.now_ms)
            }
            // Which of them the server takes, nobody knows.
            (Some(_), Some(_)) => None,
        };
        let answers = match (standing, strictest.max_runtime_ms) {
            (_, None) | (Some(Standing::Free | Standing::Bounded { until_ms: None }), Some(_)) => Answers::Always,
            (Some(Standing::Bounded { until_ms: Some(until_ms) }), Some(max_runtime_ms)) => {
                Answers::Until { until_ms, max_runtime_ms }
            }
            (Some(Standing::Open) | None, Some(_)) => Answers::Never,
        };
        let limits = (standing != Some(Standing::Free)).then(|| Limits {
            output: strictest.output,
            answers,
            is_one_answer: standing != Some(Standing::Open),
            passed_bytes: 0,
        });
        let mcp_session_id = mcp_session_id.to_owned();
        Some(Self { owner, mcp_session_id, standing, may_be_resumed: true, limits })
    }

    /// What is taken out of its messages.
    pub(super) fn output(&self) -> Option<&OutputLimits> {
        self.limits.as_ref().map(|limits| &limits.output)
    }

    pub(super) fn may_be_resumed(&self) -> bool {
        self.may_be_resumed
    }

    /// Remembers what this event belongs to, for whoever asks for what came after it.
    pub(super) fn note(&self, event: &Event, around: &mut Surroundings<'_>) {
        let Some(standing) = self.standing else { return };
        for id in event.ids().filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX) {
            session::note_event(around.shared, &self.owner, &self.mcp_session_id, id, standing, around.now_ms);
        }
    }

    /// Why this message may not go on, if it may not.
    fn withholds(&mut self, answer: &Answer, now_ms: u64) -> Option<Refusal> {
        let limits = self.limits.as_mut()?;
        let bytes = u64::try_from(answer.bytes().len()).unwrap_or(u64::MAX);
        let before = if limits.is_one_answer { limits.passed_bytes } else { 0 };
        let passed_bytes = before.saturating_add(bytes);
        if let Some(bytes_max) = limits.output.max_bytes.filter(|bytes_max| passed_bytes > *bytes_max) {
            return Some(Refusal::AnswerTooLong { bytes_max });
        }
        if answer.is_response() {
            match limits.answers {
                Answers::Until { until_ms, max_runtime_ms } if now_ms >= until_ms => {
                    return Some(Refusal::OutOfTime { max_runtime_ms });
                }
                Answers::Never => {
                    let why = "the policy bounds how long calls may run, and nobody knows any more when this one began";
                    return Some(Refusal::AnswerDenied(why.to_owned()));
                }
                Answers::Always | Answers::Until { .. } => {}
            }
        }
        limits.passed_bytes = passed_bytes;
        None
    }
}

impl Running {
    /// The same, for a stream that brings answers to other calls.
    pub(in crate::exchange) fn replaying(mut self: Box<Self>, replay: Option<Replay>) -> Box<Self> {
        if let Some(output) = replay.as_ref().and_then(Replay::output) {
            self.governing.redact(&together(&self.output, output));
        }
        self.replay = replay;
        self
    }

    /// Judges one text of the server. What a stream may not bring any more is answered in its place.
    pub(super) fn judge(&mut self, text: Vec<u8>, around: &mut Surroundings<'_>) -> Judged {
        let Some(replay) = self.replay.as_mut().filter(|replay| replay.limits.is_some()) else {
            return self.governing.judge(text, &mut self.observed, around);
        };
        let answer = match Answer::read(text) {
            Ok(answer) => answer,
            Err(error) => return Judged::Refused(format!("it cannot be read: {error}")),
        };
        let Some(refusal) = replay.withholds(&answer, around.now_ms) else {
            return self.governing.judge(answer.bytes().to_vec(), &mut self.observed, around);
        };
        self.observed.note_withheld(refusal.sentence());
        let responses = answer.messages().into_iter().filter(|message| message.get("method").is_none());
        let errors: Vec<String> =
            responses.filter_map(|message| Some(refusal.error_for(message.get("id")?.raw()))).collect();
        match errors.as_slice() {
            [] => Judged::Dropped(Vec::new()),
            [one] => Judged::Changed(one.clone().into_bytes()),
            several => Judged::Changed(format!("[{}]", several.join(",")).into_bytes()),
        }
    }
}

/// Whether `strictest` asks at least what `own` asks.
fn covers(strictest: &OutputLimits, own: &OutputLimits) -> bool {
    together(strictest, own) == *strictest
}

fn together(one: &OutputLimits, other: &OutputLimits) -> OutputLimits {
    let of = |output: &OutputLimits| Constraints { output: output.clone(), ..Constraints::default() };
    of(one).united(&of(other)).output
}
