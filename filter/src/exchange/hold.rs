//! Steps 8 and 9: a call that waits for people. Opens or joins an approval, polls it in legs, takes leases, claims,
//! verifies the signed claim under the policy in force now, and only then lets the call run.
//!
//! ```text
//! Opening ⇄ Telling              the service must know the policy that asks
//!    └─► Polling ─► (Busy) ─► (Leasing) ─► Claiming ─► forwarded
//! Claiming ─► Telling ─► Opening   what was claimed is not what is asked for by then: asked anew, as another hold
//! any of them ─► Retrying        the service is away; the hold goes on when it is back in time
//! before Opening or (Leasing) ─► InLine     many others ask just now
//! ```

mod claim;
mod seat;

use std::rc::Rc;
use std::sync::Arc;

use holdpoint_core::approval::{ApprovalState, ApprovalStatus, ComeBack, OpenApproval, PROBLEM_ROUND, WithdrawCause};
use holdpoint_core::config::FilterConfig;
use holdpoint_core::decision::{Decision, Verdict};
use holdpoint_core::envelope::Call;
use holdpoint_core::freeze::PROBLEM_FROZEN;
use holdpoint_core::mcp::{Era, wrap};
use holdpoint_core::wire::{PROBLEM_WIRE, WIRE};

use super::call_trace::CallTrace;
use super::callout::{Callout, ClaimAnswer, StateAnswer};
use super::judged::Judged;
use super::{Exchange, HostCommand, HostEvent, LogLevel, Phase, Surroundings};
use crate::metrics::{HoldEnd, Metric};
use crate::refusal::Refusal;
use seat::Seat;

/// How long between the first two tries while the service is away, and between any two of them.
const RETRY_MS: u64 = 250;
const RETRY_MS_MAX: u64 = 2_000;

/// Of many who lost their answers at the same moment, so many of a worker try again in a millisecond, and the last of them
/// after so long.
const RETRIES_PER_MS: u64 = 5;
const RETRY_SPREAD_MS_MAX: u64 = 2_000;

/// The part of a leg by which one may be shorter than another: calls that came together do not ask together for ever.
const LEG_SPREAD: u64 = 4;

/// A poll answered sooner than this without news did not wait: the next one is paced like a retry.
const POLL_MS_MIN: u64 = 100;

/// How long after a callout's own timeout its answer counts as lost.
const ANSWER_MARGIN_MS: u64 = 1_000;

/// How long a claim that is asked for when the hold's time is over may take, its answer being lost included.
const CLAIM_MARGIN_MS: u64 = 10_000;

/// How often one hold may ask anew because its grant went to another call or lapsed.
const REOPENS_MAX: u32 = 8;

/// What an agent reads whose call is judged otherwise than when it was approved: the policy is another one, or more is known of
/// the tool.
const CHANGED: &str = "the policy changed while this call waited; repeat the same call";

/// A call that waits.
pub(super) struct Hold {
    judged: Judged,
    seat: Seat,
    /// What the open request was asked under.
    decision: Decision,
    deadline_ms: u64,
    approval: Option<ApprovalState>,
    /// With what this client is sent away if it cannot wait long enough.
    come_back: Option<ComeBack>,
    step: Step,
    /// When the last poll was asked.
    polled_at_ms: Option<u64>,
    /// When the answer to the last callout counts as lost. The SDK files a callout under whichever context was active,
    /// and drops the answer if that one is gone by then.
    answer_by_ms: u64,
    outage_began_at_ms: Option<u64>,
    /// The rule that let no more calls run when the grant was to be claimed last.
    busy_rule: Option<String>,
    reopens: u32,
}

enum Step {
    Opening {
        ask: u32,
    },
    /// The service is told what it has to know before it is asked: the policy that asks, or that what was claimed did not run.
    Telling {
        ask: u32,
    },
    Polling {
        ask: u32,
    },
    Retrying {
        at_ms: u64,
        then: Retry,
    },
    /// It waits for its turn to ask.
    InLine {
        since_ms: u64,
        then: Asking,
    },
    Busy {
        at_ms: u64,
    },
    /// The service is asked for places under limits that hold for all gateways.
    Leasing {
        ask: u32,
    },
    Claiming {
        ask: u32,
        nonce: String,
    },
}

enum Retry {
    Open,
    Poll,
    Claim {
        nonce: String,
    },
    /// The policy in force is asked again, and then the grant is claimed.
    Judge,
}

/// What is asked for in turn. A claim that was asked for once is asked for again at once: the grant may be used up by it.
#[derive(Clone, Copy)]
enum Asking {
    Open,
    Judge,
}

type Next = (Phase, Vec<HostCommand>);

impl Step {
    /// Whether the service is being asked for something that it answers at once.
    fn is_answered_at_once(&self) -> bool {
        match self {
            Self::Opening { .. } | Self::Telling { .. } | Self::Leasing { .. } | Self::Claiming { .. } => true,
            Self::Polling { .. } | Self::Retrying { .. } | Self::InLine { .. } | Self::Busy { .. } => false,
        }
    }
}

impl Hold {
    /// Begins to wait: takes room, works out how long this client can wait, opens the approval.
    pub(super) fn begin(
        judged: Judged,
        decision: Decision,
        config: &Rc<FilterConfig>,
        ask: u32,
        around: &mut Surroundings<'_>,
    ) -> (Self, Vec<HostCommand>) {
        let settings = &config.approval;
        let in_room = around.worker.room.enter(judged.body_bytes, &config.limits);
        // The answer must come before the client's patience ends, the call's own runtime included.
        let runtime_ms = decision.constraints.max_runtime_ms.unwrap_or(0);
        let patience_ms = settings.client_patience_ms.saturating_sub(runtime_ms);
        let hold_ms = if in_room { settings.hold_ms_max.min(patience_ms) } else { 0 };
        let mut hold = Self {
            seat: Seat {
                hold_id: around.worker.ids.next_id(),
                gateway: around.worker.gateway.clone(),
                asked: judged.asked.clone(),
                config: Rc::clone(config),
                in_room,
                has_turn: false,
                body_bytes: judged.body_bytes,
                leases: Vec::new(),
                fleet: None,
                began_at_ms: around.now_ms,
                approval_id: None,
            },
            judged,
            decision,
            deadline_ms: around.now_ms.saturating_add(hold_ms),
            approval: None,
            come_back: None,
            step: Step::Opening { ask },
            polled_at_ms: None,
            answer_by_ms: u64::MAX,
            outage_began_at_ms: None,
            busy_rule: None,
            reopens: 0,
        };
        let mut commands = vec![HostCommand::Count(Metric::HoldBegan, 1), HostCommand::Pause];
        if in_room {
            commands.push(HostCommand::Count(Metric::HoldsWaiting, 1));
            commands.push(HostCommand::WakeAt(hold.deadline_ms));
        }
        commands.extend(match hold.take_turn(false, around) {
            true => hold.open(ask, around.now_ms),
            false => hold.stand_in_line(Asking::Open, around.now_ms),
        });
        (hold, commands)
    }

    /// Whether it is its turn to ask. Who has no room to wait does not stand in line either.
    fn take_turn(&mut self, was_called: bool, around: &mut Surroundings<'_>) -> bool {
        if !self.seat.has_turn {
            self.seat.has_turn = around.desk.queue.enter(was_called);
        }
        self.seat.has_turn || !self.seat.in_room
    }

    fn stand_in_line(&mut self, then: Asking, now_ms: u64) -> Vec<HostCommand> {
        self.step = Step::InLine { since_ms: now_ms, then };
        vec![HostCommand::AwaitTurn, self.line_alarm(now_ms)]
    }

    /// Should the service answer nobody for so long, there is nothing to stand in line for.
    fn silence_ms_max(&self) -> u64 {
        self.seat.config.approval.outage_ms_max.max(RETRY_MS)
    }

    fn line_alarm(&self, now_ms: u64) -> HostCommand {
        HostCommand::WakeAt(now_ms.saturating_add(self.silence_ms_max()))
    }

    /// Names this wait, in the record too.
    pub(super) fn id(&self) -> &str {
        &self.seat.hold_id
    }

    /// How long this hold lasts at the most: a claim that is asked for at its last moment may still have to be asked again.
    fn ends_within_ms(&self, now_ms: u64) -> u64 {
        let claiming_ms = self.seat.config.approval.outage_ms_max.saturating_add(CLAIM_MARGIN_MS);
        self.deadline_ms.saturating_sub(now_ms).saturating_add(claiming_ms)
    }

    /// How long the next leg may wait.
    fn leg_ms(&self, around: &mut Surroundings<'_>) -> u64 {
        let leg_ms_max = self.seat.config.approval.leg_ms_max;
        let leg_ms = leg_ms_max.saturating_sub(around.worker.ids.spread(leg_ms_max / LEG_SPREAD));
        leg_ms.min(self.deadline_ms.saturating_sub(around.now_ms))
    }

    /// When to try again after the service has been away for so long: the more seldom the longer that is, but once more before
    /// it is too long.
    fn retry_at_ms(&self, away_ms: u64, around: &mut Surroundings<'_>) -> u64 {
        let left_ms = self.seat.config.approval.outage_ms_max.saturating_sub(away_ms);
        let pause_ms = away_ms.min(RETRY_MS_MAX).min(left_ms).max(RETRY_MS);
        let spread_ms = (u64::from(around.worker.room.len()) / RETRIES_PER_MS).min(RETRY_SPREAD_MS_MAX);
        around.now_ms.saturating_add(pause_ms).saturating_add(around.worker.ids.spread(spread_ms))
    }

    /// Asks, and makes sure to be woken if no answer ever comes.
    fn ask(&mut self, mut callout: Callout, now_ms: u64) -> Vec<HostCommand> {
        callout.headers.extend(self.judged.trace.as_ref().map(CallTrace::of_hold));
        self.answer_by_ms = now_ms.saturating_add(u64::from(callout.timeout_ms)).saturating_add(ANSWER_MARGIN_MS);
        vec![HostCommand::Ask(callout), HostCommand::WakeAt(self.answer_by_ms)]
    }

    fn open(&mut self, ask: u32, now_ms: u64) -> Vec<HostCommand> {
        let envelope = &self.judged.envelope;
        let record = OpenApproval {
            hold_id: self.seat.hold_id.clone(),
            gateway: self.seat.gateway.clone(),
            call_text: envelope.call_text().to_owned(),
            call_digest: envelope.call_digest(),
            principal: envelope.principal().named(),
            server: envelope.server().to_owned(),
            method: envelope.method().to_owned(),
            target: envelope.target().map(str::to_owned),
            envelope: envelope.record(),
            reasons: self.decision.reasons.clone(),
            requirement: self.decision.approval.clone().unwrap_or_default(),
            constraints: self.decision.constraints.clone(),
            snapshot_id: self.decision.snapshot_id,
            basis: self.decision.basis,
            definition: envelope.definition(),
            trace_id: self.judged.trace.as_ref().map(|trace| trace.trace_id.clone()),
            span_id: self.judged.trace.as_ref().map(|trace| trace.span_id.clone()),
            round: self.judged.round.clone(),
            cancel_key: envelope.cancel_key(),
            ends_within_ms: Some(self.ends_within_ms(now_ms)),
        };
        self.ask(Callout::open(&self.seat.config.approval, &record, ask), now_ms)
    }

    /// Seals the call under the policy in force now and what its tool is known for now, when either is another one. An
    /// error ends the hold.
    fn reseal(
        mut self,
        current: &Rc<FilterConfig>,
        around: &mut Surroundings<'_>,
    ) -> Result<Self, (Box<Seat>, String)> {
        let envelope = &self.judged.envelope;
        let learned = around.worker.definition_keys.learned(around.shared, envelope.server(), envelope.message());
        let definition = learned.map(|learned| learned.definition);
        let annotations = learned.map(|learned| learned.annotations).unwrap_or_default();
        let call = envelope.call();
        let is_same_tool = call.definition == definition && call.annotations == annotations;
        if Rc::ptr_eq(&self.seat.config, current) && is_same_tool {
            return Ok(self);
        }
        self.seat.config = Rc::clone(current);
        let call = Call { definition, annotations, ..self.judged.envelope.into_call() };
        match current.policy.seal(call) {
            Ok(envelope) => {
                self.judged.envelope = envelope;
                Ok(self)
            }
            Err((_, error)) => Err((Box::new(self.seat), error.to_string())),
        }
    }

    /// Whether nobody has heard from the service for as long as a hold puts up with.
    fn is_line_dead(&self, since_ms: u64, around: &Surroundings<'_>) -> bool {
        let waits_ms = around.now_ms.saturating_sub(since_ms);
        waits_ms >= self.silence_ms_max() && around.desk.queue.is_silent_since(since_ms)
    }

    fn stay(self, commands: Vec<HostCommand>) -> Next {
        (Phase::Held(Box::new(self)), commands)
    }

    /// The service gave no usable answer: tries again until it has been away for too long.
    fn retry(mut self, then: Retry, around: &mut Surroundings<'_>) -> Next {
        let began_at_ms = *self.outage_began_at_ms.get_or_insert(around.now_ms);
        let away_ms = around.now_ms.saturating_sub(began_at_ms);
        let mut commands = vec![HostCommand::Count(Metric::ServiceUnavailable, 1)];
        if !self.seat.in_room || away_ms >= self.seat.config.approval.outage_ms_max {
            let line =
                format!("hold {}: the approval service gave no usable answer for {away_ms} ms", self.seat.hold_id);
            commands.push(HostCommand::Log(LogLevel::Error, line));
            let (phase, ended) =
                self.seat.end(&Refusal::Unavailable, WithdrawCause::Refused, HoldEnd::Unavailable, around);
            commands.extend(ended);
            return (phase, commands);
        }
        let at_ms = self.retry_at_ms(away_ms, around);
        self.step = Step::Retrying { at_ms, then };
        commands.push(HostCommand::WakeAt(at_ms));
        self.stay(commands)
    }

    /// The time this client can wait is over: "repeat the same call" if its request stands, "unavailable" if not even
    /// that is known.
    fn out_of_patience(self, around: &mut Surroundings<'_>) -> Next {
        let refusal = match (&self.approval, &self.busy_rule) {
            (Some(approval), Some(rule_id)) => {
                Refusal::ApprovedButBusy { approval_id: approval.id.clone(), rule_id: rule_id.clone() }
            }
            (Some(approval), None) => Refusal::Pending {
                approval_id: approval.id.clone(),
                reason: self.decision.reason().to_owned(),
                ran_before: approval.ran_before.clone(),
                come_back: self.come_back.as_ref().map(|given| ComeBack {
                    token: wrap(&given.token, self.judged.envelope.message()),
                    status_url: given.status_url.clone(),
                }),
            },
            (None, _) => {
                return self.seat.end(&Refusal::Unavailable, WithdrawCause::Refused, HoldEnd::Unavailable, around);
            }
        };
        self.seat.end(&refusal, WithdrawCause::AnsweredPending, HoldEnd::Pending, around)
    }
}

impl Exchange {
    pub(super) fn on_held(&mut self, hold: Box<Hold>, event: HostEvent, around: &mut Surroundings<'_>) -> Next {
        if let HostEvent::CalloutAnswered { answer, .. } = &event
            && answer.status.is_some_and(|status| status < 500)
        {
            around.desk.queue.note_answer(around.now_ms);
        }
        let (mut phase, commands) = self.on_held_event(hold, event, around);
        if let Phase::Held(hold) = &mut phase
            && !hold.step.is_answered_at_once()
        {
            hold.seat.give_turn_back(around);
        }
        (phase, commands)
    }

    fn on_held_event(&mut self, hold: Box<Hold>, event: HostEvent, around: &mut Surroundings<'_>) -> Next {
        match event {
            HostEvent::CalloutAnswered { ask: answered, answer } => match hold.step {
                Step::Opening { ask } | Step::Polling { ask } if ask == answered => {
                    let read = StateAnswer::read(&answer, hold.judged.envelope.call_digest());
                    self.on_state(*hold, read, around)
                }
                Step::Telling { ask } if ask == answered => match answer.status {
                    Some(200..=204) => self.reopen(*hold, around),
                    Some(_) | None => hold.retry(Retry::Open, around),
                },
                Step::Leasing { ask } if ask == answered => self.on_lease_answer(*hold, &answer, around),
                Step::Claiming { ask, .. } if ask == answered => {
                    self.on_claim_answer(*hold, ClaimAnswer::read(&answer), around)
                }
                Step::Opening { .. }
                | Step::Polling { .. }
                | Step::Telling { .. }
                | Step::Leasing { .. }
                | Step::Claiming { .. }
                | Step::Retrying { .. }
                | Step::InLine { .. }
                | Step::Busy { .. } => (Phase::Held(hold), Vec::new()),
            },
            HostEvent::Wake => self.on_wake(*hold, around),
            HostEvent::Turn => self.on_turn(*hold, around),
            HostEvent::Recorded { .. } => (Phase::Held(hold), Vec::new()),
            HostEvent::Closed => on_client_gone(*hold, around),
            // Envoy itself answers, for instance when a timer of the stream ran out: this client is as good as gone.
            HostEvent::ResponseHead(_)
            | HostEvent::ResponsePart { .. }
            | HostEvent::ResponsePassed { .. }
            | HostEvent::ResponseComplete => {
                let (phase, mut commands) = on_client_gone(*hold, around);
                commands.push(HostCommand::Continue);
                (phase, commands)
            }
            HostEvent::RequestHead(_) | HostEvent::RequestPart { .. } | HostEvent::RequestComplete { .. } => {
                (Phase::Held(hold), vec![HostCommand::Pause])
            }
        }
    }

    fn on_state(&mut self, mut hold: Hold, answer: StateAnswer, around: &mut Surroundings<'_>) -> Next {
        let was_open = hold.approval.is_some();
        match answer {
            StateAnswer::State(state) => {
                hold.outage_began_at_ms = None;
                if state.come_back.is_some() {
                    hold.come_back.clone_from(&state.come_back);
                }
                let status = state.status;
                let mut commands = Vec::new();
                if !was_open {
                    commands.push(HostCommand::FilterState("holdpoint.approval", state.id.clone()));
                }
                hold.seat.approval_id = Some(state.id.clone());
                hold.approval = Some(*state);
                let (phase, next) = self.on_status(hold, status, around);
                commands.extend(next);
                (phase, commands)
            }
            StateAnswer::Unchanged => {
                hold.outage_began_at_ms = None;
                self.poll(hold, around)
            }
            StateAnswer::PolicyUnknown => {
                let ask = self.next_ask();
                hold.step = Step::Telling { ask };
                let callout = Callout::register(&hold.seat.config, ask);
                let commands = hold.ask(callout, around.now_ms);
                hold.stay(commands)
            }
            StateAnswer::TooManyPending => {
                hold.seat.end(&Refusal::TooManyPending, WithdrawCause::Refused, HoldEnd::Refused, around)
            }
            StateAnswer::Refused(code) => refused_by_service(hold, &code, around),
            StateAnswer::Unusable => hold.retry(if was_open { Retry::Poll } else { Retry::Open }, around),
        }
    }

    fn on_status(&mut self, hold: Hold, status: ApprovalStatus, around: &mut Surroundings<'_>) -> Next {
        match status {
            ApprovalStatus::Pending => self.poll(hold, around),
            ApprovalStatus::Approved => self.judge_in_turn(hold, false, around),
            // The grant went to an identical call, or its clock ran out, or the policy changed: ask anew.
            ApprovalStatus::Consumed | ApprovalStatus::Lapsed | ApprovalStatus::Superseded => self.reopen(hold, around),
            ApprovalStatus::Denied | ApprovalStatus::Expired | ApprovalStatus::Withdrawn | ApprovalStatus::Revoked => {
                let (approval_id, reason, by) = match hold.approval {
                    Some(state) => (state.id, state.reason, state.decided_by),
                    None => (String::new(), None, None),
                };
                let refusal = Refusal::NotApproved { status, approval_id, reason, by };
                hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Denied, around)
            }
        }
    }

    fn poll(&mut self, mut hold: Hold, around: &mut Surroundings<'_>) -> Next {
        if around.now_ms >= hold.deadline_ms {
            return hold.out_of_patience(around);
        }
        let since_poll_ms = hold.polled_at_ms.map(|polled_at_ms| around.now_ms.saturating_sub(polled_at_ms));
        if since_poll_ms.is_some_and(|ms| ms < POLL_MS_MIN) {
            let at_ms = around.now_ms.saturating_add(RETRY_MS);
            hold.step = Step::Retrying { at_ms, then: Retry::Poll };
            return hold.stay(vec![HostCommand::WakeAt(at_ms)]);
        }
        let Some(approval) = &hold.approval else { return self.reopen(hold, around) };
        let ask = self.next_ask();
        hold.polled_at_ms = Some(around.now_ms);
        let callout = Callout::poll(&hold.seat.config.approval, approval, hold.leg_ms(around), ask);
        hold.step = Step::Polling { ask };
        let commands = hold.ask(callout, around.now_ms);
        hold.stay(commands)
    }

    /// Opens a request of its own for this hold, under what the policy in force asks now.
    fn reopen(&mut self, hold: Hold, around: &mut Surroundings<'_>) -> Next {
        let mut hold = match self.under_current_policy(hold, around) {
            Ok(hold) => *hold,
            Err(ended) => return *ended,
        };
        hold.reopens = hold.reopens.saturating_add(1);
        if hold.reopens > REOPENS_MAX {
            return refused_by_service(hold, "too-many-reopens", around);
        }
        hold.approval = None;
        self.open_in_turn(hold, false, around)
    }

    fn open_in_turn(&mut self, mut hold: Hold, was_called: bool, around: &mut Surroundings<'_>) -> Next {
        if !hold.take_turn(was_called, around) {
            let commands = hold.stand_in_line(Asking::Open, around.now_ms);
            return hold.stay(commands);
        }
        let ask = self.next_ask();
        hold.step = Step::Opening { ask };
        let commands = hold.open(ask, around.now_ms);
        hold.stay(commands)
    }

    /// The hold, sealed and decided anew under the policy in force, if that still asks for an approval; else its end.
    fn under_current_policy(&self, hold: Hold, around: &mut Surroundings<'_>) -> Result<Box<Hold>, Box<Next>> {
        let mut hold = match hold.reseal(&self.in_force(around), around) {
            Ok(hold) => hold,
            Err((seat, error)) => {
                let refusal = Refusal::Unsupported(error);
                return Err(Box::new(seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around)));
            }
        };
        let now = hold.seat.config.policy.evaluate(&hold.judged.envelope, &self.past(around)).decision;
        let now = Arc::unwrap_or_clone(now);
        let refusal = match now.verdict {
            Verdict::RequireApproval => {
                hold.decision = now;
                return Ok(Box::new(hold));
            }
            Verdict::Deny => Refusal::Denied(Box::new(now)),
            Verdict::Allow => Refusal::Unsupported(CHANGED.to_owned()),
        };
        Err(Box::new(hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around)))
    }

    fn on_wake(&mut self, mut hold: Hold, around: &mut Surroundings<'_>) -> Next {
        let now_ms = around.now_ms;
        let is_over = now_ms >= hold.deadline_ms;
        let is_answer_lost = now_ms >= hold.answer_by_ms;
        match hold.step {
            Step::Opening { .. } | Step::Telling { .. } if is_answer_lost => hold.retry(Retry::Open, around),
            Step::Claiming { ref nonce, .. } if is_answer_lost => {
                let nonce = nonce.clone();
                hold.retry(Retry::Claim { nonce }, around)
            }
            Step::Leasing { .. } if is_answer_lost => hold.without_places(around),
            // A claim in flight is settled by its own answer: to give up now could burn the grant for nothing.
            // So is an opening, which is answered at once: its answer names the request that the client is told of.
            Step::Leasing { .. } | Step::Claiming { .. } | Step::Opening { .. } | Step::Telling { .. } => {
                hold.stay(Vec::new())
            }
            Step::Polling { .. } if is_over => hold.out_of_patience(around),
            Step::Polling { .. } if is_answer_lost => hold.retry(Retry::Poll, around),
            Step::Polling { .. } => hold.stay(Vec::new()),
            Step::Retrying { then: Retry::Open | Retry::Poll | Retry::Judge, .. }
            | Step::InLine { then: Asking::Judge, .. }
                if is_over =>
            {
                hold.out_of_patience(around)
            }
            // As an opening that is under way, for it names the request that the client is told of; but not for ever.
            Step::InLine { .. } if now_ms >= hold.deadline_ms.saturating_add(hold.silence_ms_max()) => {
                hold.out_of_patience(around)
            }
            Step::InLine { since_ms, .. } if hold.is_line_dead(since_ms, around) => {
                let line = format!("hold {}: the approval service answers nobody", hold.seat.hold_id);
                let (phase, mut commands) =
                    hold.seat.end(&Refusal::Unavailable, WithdrawCause::Refused, HoldEnd::Unavailable, around);
                commands.push(HostCommand::Log(LogLevel::Error, line));
                (phase, commands)
            }
            // Its place in the line stays as it is.
            Step::InLine { .. } => {
                let alarm = hold.line_alarm(now_ms);
                hold.stay(vec![alarm])
            }
            Step::Retrying { at_ms, .. } | Step::Busy { at_ms } if now_ms < at_ms => hold.stay(Vec::new()),
            Step::Busy { .. } => self.judge_in_turn(hold, false, around),
            Step::Retrying { ref mut then, .. } => match std::mem::replace(then, Retry::Open) {
                Retry::Open => self.open_in_turn(hold, false, around),
                Retry::Poll => self.poll(hold, around),
                Retry::Judge => self.judge_in_turn(hold, false, around),
                Retry::Claim { nonce } => match hold.approval.clone() {
                    Some(approval) => hold.claim(&approval.id, nonce, self.next_ask(), around.now_ms),
                    None => self.reopen(hold, around),
                },
            },
        }
    }

    /// It was called: it asks, if it still waits for that.
    fn on_turn(&mut self, hold: Hold, around: &mut Surroundings<'_>) -> Next {
        match hold.step {
            Step::InLine { then: Asking::Open, .. } => self.open_in_turn(hold, true, around),
            Step::InLine { then: Asking::Judge, .. } => self.judge_in_turn(hold, true, around),
            Step::Opening { .. }
            | Step::Telling { .. }
            | Step::Polling { .. }
            | Step::Retrying { .. }
            | Step::Busy { .. }
            | Step::Leasing { .. }
            | Step::Claiming { .. } => hold.stay(Vec::new()),
        }
    }

    /// From the approval to the claim, when it is its turn.
    fn judge_in_turn(&mut self, mut hold: Hold, was_called: bool, around: &mut Surroundings<'_>) -> Next {
        if !hold.take_turn(was_called, around) {
            let commands = hold.stand_in_line(Asking::Judge, around.now_ms);
            return hold.stay(commands);
        }
        self.on_approved(hold, around)
    }

    /// The configuration in force on this worker now.
    fn in_force(&self, around: &Surroundings<'_>) -> Rc<FilterConfig> {
        around.worker.in_force(&self.plugin).unwrap_or_else(|| Rc::clone(&self.config))
    }
}

/// Envoy saw the client leave: this call never runs. On the modern era leaving is a cancel, and only an identical call
/// within `rejoin_ms` keeps the request alive; on older ones the request stays for its own clock.
fn on_client_gone(mut hold: Hold, around: &mut Surroundings<'_>) -> Next {
    let is_modern = hold.judged.envelope.call().message.era() == Era::V2026_07_28;
    let rejoin_ms = is_modern.then_some(hold.seat.config.approval.rejoin_ms);
    let mut commands = hold.seat.leave_room(around);
    commands.extend(hold.seat.ended(HoldEnd::ClientGone, around));
    commands.push(hold.seat.withdraw(WithdrawCause::ClientGone, rejoin_ms));
    (Phase::Ended, commands)
}

/// The service said no for a reason that waiting does not mend.
fn refused_by_service(hold: Hold, code: &str, around: &mut Surroundings<'_>) -> Next {
    if code == PROBLEM_ROUND {
        let why = "this `requestState` was not given for this call, or is too old; call again without it";
        let refusal = Refusal::Unsupported(why.to_owned());
        return hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around);
    }
    if code == PROBLEM_FROZEN {
        // The service knows of a freeze that this worker has not heard of yet.
        let refusal = Refusal::Frozen { reason: "see the list of freezes".to_owned() };
        return hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around);
    }
    let line = match code {
        PROBLEM_WIRE => format!(
            "hold {}: this filter speaks wire version {WIRE}, and the approval service one that is too far from it: upgrade \
             the older of the two",
            hold.seat.hold_id
        ),
        _ => format!("hold {}: the approval service refuses: {code}", hold.seat.hold_id),
    };
    let refusal = if code == PROBLEM_WIRE { Refusal::WireApart } else { Refusal::Unavailable };
    let (phase, mut commands) = hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Unavailable, around);
    commands.push(HostCommand::Log(LogLevel::Error, line));
    (phase, commands)
}
