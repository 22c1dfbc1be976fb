//! Step 12 before step 10, where `audit.required` says so: a call that may run waits until its entry is durable.
//!
//! The wait is bounded, and whatever ends it other than the service's word that the entry is kept ends in a refusal: no
//! record, no call. A held call needs none of this, for its claim is an entry that the service wrote before it answered.

use std::rc::Rc;

use holdpoint_core::audit::{EntryKind, Outcome};
use holdpoint_core::envelope::CallEnvelope;

use super::response::Running;
use super::{Exchange, Forward, HostCommand, HostEvent, Phase, Surroundings};
use crate::metrics::Metric;
use crate::refusal::Refusal;

/// What an agent is told whose call waited for its entry while the policy changed.
const CHANGED: &str = "the policy changed while this call was being recorded; repeat the same call";

/// A call that may run as soon as its entries are durable.
pub(super) struct Recording {
    running: Box<Running>,
    forward: Box<Forward>,
    /// Counter of its last entry in this worker's buffer.
    counter: u64,
    deadline_ms: u64,
    body_bytes: u64,
    /// What was judged: an administrator may stop it while it waits.
    envelopes: Vec<CallEnvelope>,
}

type Next = (Phase, Vec<HostCommand>);

impl Exchange {
    /// Lets a call run: at once, or, where the configuration demands a record, when it is recorded.
    pub(super) fn run_recorded(
        &mut self,
        running: Box<Running>,
        forward: Box<Forward>,
        envelopes: Vec<CallEnvelope>,
        body_bytes: u64,
        around: &mut Surroundings<'_>,
    ) -> Next {
        if !self.config.audit.required {
            let mut commands = running.alarms();
            commands.push(HostCommand::Forward(forward));
            return (Phase::Running(running), commands);
        }
        if !around.worker.room.enter(body_bytes, &self.config.limits) {
            let mut commands = vec![HostCommand::Count(Metric::NotRecorded, 1)];
            commands.extend(running.never_ran(&Refusal::NotRecorded, around));
            return (Phase::Ended, commands);
        }
        let deadline_ms = around.now_ms.saturating_add(self.config.audit.wait_ms_max);
        let mut counter = None;
        for entry in running.entries() {
            counter = around.desk.audit.push_awaited(entry.clone());
            if counter.is_none() {
                break;
            }
        }
        let recording = Recording {
            running: running.after_intent(),
            forward,
            counter: counter.unwrap_or_default(),
            deadline_ms,
            body_bytes,
            envelopes,
        };
        match counter {
            None => {
                let (phase, mut commands) = recording.refuse(&Refusal::NotRecorded, around);
                commands.insert(0, HostCommand::Count(Metric::AuditLost, 1));
                (phase, commands)
            }
            Some(counter) => {
                let commands =
                    vec![HostCommand::Pause, HostCommand::AwaitRecord(counter), HostCommand::WakeAt(deadline_ms)];
                (Phase::Recording(Box::new(recording)), commands)
            }
        }
    }

    pub(super) fn on_recording(
        &mut self,
        mut recording: Box<Recording>,
        event: HostEvent,
        around: &mut Surroundings<'_>,
    ) -> Next {
        match event {
            HostEvent::Recorded { counters, is_durable } if counters.contains(&recording.counter) => {
                let current = around.worker.in_force(&self.plugin).unwrap_or_else(|| Rc::clone(&self.config));
                let frozen = recording.envelopes.iter().find_map(|envelope| around.desk.freezes.stops(envelope));
                let refusal = match frozen {
                    _ if !is_durable => Some(Refusal::NotRecorded),
                    Some(freeze) => Some(Refusal::Frozen { reason: freeze.reason.clone() }),
                    None if !Rc::ptr_eq(&current, &self.config) => Some(Refusal::Unsupported(CHANGED.to_owned())),
                    None if recording.running.lost_its_place(around.now_ms) => Some(Refusal::LimitUnknown),
                    None => {
                        let constraints = recording.forward.permit.constraints();
                        let kept = recording.running.keep_slots(&self.plugin, constraints, around);
                        kept.err().map(|rule_id| Refusal::Busy { rule_id })
                    }
                };
                match refusal {
                    Some(refusal) => recording.refuse(&refusal, around),
                    None => recording.run(around),
                }
            }
            HostEvent::Wake if around.now_ms >= recording.deadline_ms => {
                recording.refuse(&Refusal::NotRecorded, around)
            }
            HostEvent::Closed => {
                recording.leave_room(around);
                (Phase::Ended, recording.running.left(around))
            }
            // Envoy itself answers, for instance when a timer of the stream ran out: this call never runs.
            HostEvent::ResponseHead(_)
            | HostEvent::ResponsePart { .. }
            | HostEvent::ResponsePassed { .. }
            | HostEvent::ResponseComplete => {
                recording.leave_room(around);
                let mut commands = recording.running.left(around);
                commands.push(HostCommand::Continue);
                (Phase::Ended, commands)
            }
            HostEvent::RequestHead(_) | HostEvent::RequestPart { .. } | HostEvent::RequestComplete { .. } => {
                (Phase::Recording(recording), vec![HostCommand::Pause])
            }
            HostEvent::Wake | HostEvent::Turn | HostEvent::Recorded { .. } | HostEvent::CalloutAnswered { .. } => {
                (Phase::Recording(recording), Vec::new())
            }
        }
    }
}

impl Recording {
    fn leave_room(&mut self, around: &mut Surroundings<'_>) {
        around.worker.room.leave(self.body_bytes);
    }

    fn run(mut self, around: &mut Surroundings<'_>) -> Next {
        self.leave_room(around);
        let running = self.running.beginning_at(around.now_ms);
        let mut commands = running.alarms();
        commands.push(HostCommand::Forward(self.forward));
        (Phase::Running(running), commands)
    }

    fn refuse(mut self, refusal: &Refusal, around: &mut Surroundings<'_>) -> Next {
        self.leave_room(around);
        let metric = match refusal {
            Refusal::Frozen { .. } => Some(Metric::Frozen),
            Refusal::NotRecorded => Some(Metric::NotRecorded),
            // Its entry is durable; something else stands in its way by now.
            _ => None,
        };
        let mut commands: Vec<HostCommand> = metric.map(|metric| HostCommand::Count(metric, 1)).into_iter().collect();
        commands.extend(self.running.never_ran(refusal, around));
        (Phase::Ended, commands)
    }
}

impl Running {
    /// The entries that say that the call is about to run; its outcome comes as entries of their own.
    fn after_intent(mut self: Box<Self>) -> Box<Self> {
        for entry in self.entries_mut() {
            entry.kind = EntryKind::Outcome;
            (entry.arguments, entry.payload) = (None, None);
        }
        self
    }

    /// Answers in the server's place, for a call that was never forwarded.
    pub(super) fn never_ran(self: Box<Self>, refusal: &Refusal, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let reply = HostCommand::Reply(refusal.reply(self.asked()));
        let mut commands = self.unforwarded(&refusal.sentence(), around);
        commands.push(reply);
        commands
    }

    /// Its client left before it ran.
    pub(super) fn left(self: Box<Self>, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        self.unforwarded("its client left before it ran", around)
    }

    fn unforwarded(mut self: Box<Self>, detail: &str, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let given_back = self.give_back(around);
        self.untry(around);
        let entries = self.entries_mut().map(|entry| {
            entry.outcome = Some(Outcome::Refused);
            entry.detail = Some(detail.to_owned());
            HostCommand::Record(Box::new(entry.clone()))
        });
        entries.chain(given_back).collect()
    }
}
