//! Step 11: answers as a stream of events, each judged and let go as soon as it is whole.

use holdpoint_core::mcp::answer::{Answer, Scanner};
use holdpoint_core::mcp::sse::{self, Event, EventTooLong};

use super::governing::Judged;
use super::{LAST_EVENT_MS, Running, Step, warn};
use crate::exchange::{HostCommand, Surroundings};
use crate::refusal::Refusal;

impl Running {
    pub(super) fn stream_part(&mut self, bytes: &[u8], around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let Step::Streaming { splitter, .. } = &mut self.step else { return vec![HostCommand::Continue] };
        let now_ms = around.now_ms;
        let events = splitter.push(bytes);
        let mut commands = Vec::new();
        let mut out = Vec::new();
        let over = match events {
            Ok(events) => self.judge_events(events, &mut out, &mut commands, around),
            Err(EventTooLong { event_bytes_max }) => {
                Some(Refusal::AnswerTooLong { bytes_max: u64::try_from(event_bytes_max).unwrap_or(u64::MAX) })
            }
        };
        if let Some(refusal) = self.over_limit(now_ms) {
            commands.extend(self.end_stream(&refusal, Vec::new(), now_ms));
            return commands;
        }
        if let Some(refusal) = over {
            commands.extend(self.end_stream(&refusal, out, now_ms));
            return commands;
        }
        let Step::Streaming { head_is_out, .. } = &mut self.step else { return commands };
        if !*head_is_out && out.is_empty() {
            commands.push(HostCommand::Pause);
            return commands;
        }
        // Until the head is out the bytes that came before stand in Envoy's buffer too: all of them are replaced.
        let was_out = std::mem::replace(head_is_out, true);
        if !was_out || out != bytes {
            commands.push(HostCommand::ReplaceBody(out));
        }
        commands.push(HostCommand::Continue);
        commands
    }

    pub(super) fn finish_stream(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let Step::Streaming { splitter, head_is_out } = &mut self.step else { return vec![HostCommand::Continue] };
        let head_is_out = *head_is_out;
        let rest = splitter.finish();
        let mut commands = Vec::new();
        let mut out = Vec::new();
        let over = self.judge_events(rest.into_iter().collect(), &mut out, &mut commands, around);
        self.observed.is_complete = true;
        if let Some(refusal) = over.or_else(|| self.over_limit(around.now_ms)) {
            out.extend(self.last_event(&refusal));
            self.observed.was_cut = true;
            self.entry.detail = Some(refusal.sentence());
        }
        self.step = Step::Passing { scanner: None };
        if !head_is_out {
            commands.push(HostCommand::ReplaceBody(out));
        } else if !out.is_empty() {
            commands.push(HostCommand::AppendBody(out));
        }
        commands.push(HostCommand::Continue);
        commands
    }

    /// The event that answers the call in the server's place; nothing where nobody waits for an answer.
    fn last_event(&self, refusal: &Refusal) -> Vec<u8> {
        let body = refusal.reply(&self.asked).body;
        if body.is_empty() { Vec::new() } else { sse::message(body.as_bytes()) }
    }

    /// Puts what may go on into `out`; answers why the stream must end, if it must.
    fn judge_events(
        &mut self,
        events: Vec<Event>,
        out: &mut Vec<u8>,
        commands: &mut Vec<HostCommand>,
        around: &mut Surroundings<'_>,
    ) -> Option<Refusal> {
        for event in events {
            let mut event = event.for_every_reader();
            match &self.replay {
                Some(replay) if replay.may_be_resumed() => replay.note(&event, around),
                None if self.governing.may_be_resumed() => {}
                Some(_) | None => event = event.without_id(),
            }
            let Some(data) = event.data() else {
                out.extend(event.into_raw());
                continue;
            };
            if !(self.governing.must_read() || Scanner::new().push(&data)) {
                // It asks for nothing, whoever reads it; only outcome and result may have to be told.
                let tells_outcome = self.governing.reads_outcome;
                if (tells_outcome || self.observed.keeps(data.len()))
                    && let Ok(answer) = Answer::read(data)
                {
                    if tells_outcome {
                        self.observed.note_message(&answer);
                    }
                    if answer.is_response() {
                        self.observed.deliver(answer.bytes());
                    }
                }
                out.extend(event.into_raw());
                continue;
            }
            match self.judge(data, around) {
                Judged::Passes => out.extend(event.into_raw()),
                Judged::Changed(text) => out.extend(event.with_data(&text)),
                Judged::Dropped(told) => commands.extend(told),
                Judged::Refused(why) => {
                    commands.push(warn(&why));
                    return Some(Refusal::AnswerDenied(why));
                }
            }
        }
        None
    }

    /// A limit of the whole answer that is passed by now.
    fn over_limit(&self, now_ms: u64) -> Option<Refusal> {
        let is_late = self.deadline_ms().is_some_and(|deadline_ms| now_ms >= deadline_ms);
        if let Some(max_runtime_ms) = self.max_runtime_ms.filter(|_| is_late) {
            return Some(Refusal::OutOfTime { max_runtime_ms });
        }
        let bytes_max = self.output.max_bytes.filter(|bytes_max| self.observed.bytes > *bytes_max)?;
        Some(Refusal::AnswerTooLong { bytes_max })
    }

    /// The client gets what was let through so far and a last event that says why there is no more; then the stream is
    /// closed.
    fn end_stream(&mut self, refusal: &Refusal, out: Vec<u8>, now_ms: u64) -> Vec<HostCommand> {
        let Step::Streaming { head_is_out, .. } = self.step else { return Vec::new() };
        let mut commands = self.cancel_now();
        if !head_is_out && out.is_empty() {
            commands.push(self.refuse(refusal));
            return commands;
        }
        let mut text = out;
        text.extend(self.last_event(refusal));
        self.cut(refusal.sentence(), now_ms);
        commands.push(HostCommand::ReplaceBody(text));
        commands.push(HostCommand::WakeAt(now_ms.saturating_add(LAST_EVENT_MS)));
        commands.push(HostCommand::Continue);
        commands
    }
}
