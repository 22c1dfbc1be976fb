//! Step 7 before step 10, where a limit holds for all gateways: a call that may run waits until the service has counted it.
//!
//! The wait is bounded, and whatever ends it other than the service's signed word that there is a place ends in a refusal.
//! A place that nobody gives back, because its gateway died or its word was lost, is free after [`LEASE_MS`].

use std::rc::Rc;

use holdpoint_core::config::FilterConfig;
use holdpoint_core::decision::Constraints;
use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::fleet::{EndLeases, RenewLeases, TakeLeases};

use super::callout::{Callout, CalloutAnswer, LeaseAnswer};
use super::response::Running;
use super::{Exchange, Forward, HostCommand, HostEvent, LogLevel, Phase, Surroundings};
use crate::metrics::Metric;
use crate::refusal::Refusal;
use crate::usage::{LEASE_MS, TASK_MS, TASK_MS_MAX};
use crate::worker::Ids;

/// What an agent is told whose call waited for its place while the policy changed.
const CHANGED: &str = "the policy changed while this call was being counted; repeat the same call";

/// How long after a callout's own timeout its answer counts as lost.
const ANSWER_MARGIN_MS: u64 = 1_000;

/// The places of one call under limits that hold for all gateways: asked for, or had.
#[derive(Debug)]
pub(super) struct FleetLease {
    take: TakeLeases,
    config: Rc<FilterConfig>,
    /// It may run on these places until then, unless they have been renewed.
    ends_at_ms: u64,
}

impl FleetLease {
    /// What this call has to ask for; nothing where no limit holds for all gateways.
    pub(super) fn of(
        constraints: &Constraints,
        envelope: &CallEnvelope,
        config: &Rc<FilterConfig>,
        ids: &mut Ids,
        now_ms: u64,
    ) -> Option<Self> {
        let limits = constraints.fleet_limits();
        if limits.is_empty() {
            return None;
        }
        let take = TakeLeases { holder: ids.next_id(), call_digest: envelope.call_digest(), ttl_ms: LEASE_MS, limits };
        Some(Self { take, config: Rc::clone(config), ends_at_ms: now_ms.saturating_add(LEASE_MS) })
    }

    pub(super) fn ask(&self, ask: u32) -> Callout {
        Callout::take_leases(&self.config.approval, &self.take, ask)
    }

    /// Whether `lease` has a place under each limit that holds for all gateways.
    pub(super) fn covers(lease: Option<&Self>, constraints: &Constraints) -> bool {
        let has = |limit| lease.is_some_and(|lease| lease.take.limits.contains(&limit));
        constraints.fleet_limits().into_iter().all(has)
    }

    /// Whether a call that has not begun may no longer begin: its places may be somebody else's by now.
    pub(super) fn is_over(lease: Option<&Self>, now_ms: u64) -> bool {
        lease.is_some_and(|lease| now_ms >= lease.ends_at_ms)
    }

    /// What the service said to it.
    pub(super) fn read(&self, answer: &CalloutAnswer) -> LeaseAnswer {
        LeaseAnswer::read(answer, &self.config.approval, &self.take)
    }

    /// When it is to be renewed first.
    pub(super) fn renew_at_ms(&self) -> u64 {
        self.ends_at_ms.saturating_sub(LEASE_MS / 4 * 3)
    }

    /// Whether it must be renewed while its call runs.
    pub(super) fn is_renewed(&self) -> bool {
        self.take.limits.iter().any(|limit| limit.per_ms.is_none())
    }

    pub(super) fn renewal(&self) -> HostCommand {
        let record = RenewLeases { ttl_ms: LEASE_MS, to: None };
        HostCommand::Tell(Callout::renew_leases(&self.config.approval, &self.take.holder, &record))
    }

    /// Hands the places that can end to the task that goes on after the call, which its server keeps for so long.
    pub(super) fn go_on_as(self, task: u64, ttl_ms: Option<u64>) -> HostCommand {
        let ttl_ms = ttl_ms.unwrap_or(TASK_MS).clamp(LEASE_MS, TASK_MS_MAX);
        let record = RenewLeases { ttl_ms, to: Some(task_holder(task)) };
        HostCommand::Tell(Callout::renew_leases(&self.config.approval, &self.take.holder, &record))
    }

    /// Gives the places back.
    pub(super) fn end(self, ran: bool) -> HostCommand {
        HostCommand::Tell(Callout::end_leases(&self.config.approval, &self.take.holder, &EndLeases { ran }))
    }
}

/// A task has ended: whatever places it had at the service are free. Nothing where no rule counts for all gateways.
pub(super) fn end_task(config: &FilterConfig, task: u64) -> Option<HostCommand> {
    let has_slots = config.policy.counts_for_the_fleet();
    has_slots
        .then(|| HostCommand::Tell(Callout::end_leases(&config.approval, &task_holder(task), &EndLeases { ran: true })))
}

fn task_holder(task: u64) -> String {
    format!("task-{task:016x}")
}

/// A call that may run as soon as it has its places.
pub(super) struct Leasing {
    running: Box<Running>,
    forward: Box<Forward>,
    lease: FleetLease,
    ask: u32,
    deadline_ms: u64,
    body_bytes: u64,
    /// What was judged: an administrator may stop it while it waits.
    envelopes: Vec<CallEnvelope>,
}

type Next = (Phase, Vec<HostCommand>);

impl Exchange {
    /// Lets a call run that has all that this process counts: at once, or when the service has counted it too.
    pub(super) fn run_counted(
        &mut self,
        running: Box<Running>,
        forward: Box<Forward>,
        envelopes: Vec<CallEnvelope>,
        body_bytes: u64,
        around: &mut Surroundings<'_>,
    ) -> Next {
        let constraints = forward.permit.constraints();
        let (ids, now_ms) = (&mut around.worker.ids, around.now_ms);
        // One message: a batch with such a call does not come so far.
        let lease = envelopes.first();
        let lease = lease.and_then(|envelope| FleetLease::of(constraints, envelope, &self.config, ids, now_ms));
        let Some(lease) = lease else {
            return self.run_recorded(running, forward, envelopes, body_bytes, around);
        };
        if !around.worker.room.enter(body_bytes, &self.config.limits) {
            return (Phase::Ended, running.never_ran(&Refusal::LimitUnknown, around));
        }
        let ask = self.next_ask();
        let callout = lease.ask(ask);
        let deadline_ms = around.now_ms.saturating_add(u64::from(callout.timeout_ms)).saturating_add(ANSWER_MARGIN_MS);
        let commands = vec![HostCommand::Pause, HostCommand::Ask(callout), HostCommand::WakeAt(deadline_ms)];
        let leasing = Leasing { running, forward, lease, ask, deadline_ms, body_bytes, envelopes };
        (Phase::Leasing(Box::new(leasing)), commands)
    }

    pub(super) fn on_leasing(
        &mut self,
        leasing: Box<Leasing>,
        event: HostEvent,
        around: &mut Surroundings<'_>,
    ) -> Next {
        match event {
            HostEvent::CalloutAnswered { ask, answer } if ask == leasing.ask => {
                around.worker.room.leave(leasing.body_bytes);
                match leasing.lease.read(&answer) {
                    LeaseAnswer::Taken => self.on_leased(*leasing, around),
                    LeaseAnswer::Full { rule_id } => {
                        (Phase::Ended, leasing.running.never_ran(&Refusal::Busy { rule_id }, around))
                    }
                    LeaseAnswer::Unusable { why } => (Phase::Ended, leasing.unknown(why, around)),
                }
            }
            HostEvent::Wake if around.now_ms >= leasing.deadline_ms => {
                around.worker.room.leave(leasing.body_bytes);
                (Phase::Ended, leasing.unknown("the approval service did not answer in time", around))
            }
            HostEvent::Closed => {
                around.worker.room.leave(leasing.body_bytes);
                (Phase::Ended, leasing.counted().left(around))
            }
            // Envoy itself answers, for instance when a timer of the stream ran out: this call never runs.
            HostEvent::ResponseHead(_)
            | HostEvent::ResponsePart { .. }
            | HostEvent::ResponsePassed { .. }
            | HostEvent::ResponseComplete => {
                around.worker.room.leave(leasing.body_bytes);
                let mut commands = leasing.counted().left(around);
                commands.push(HostCommand::Continue);
                (Phase::Ended, commands)
            }
            HostEvent::RequestHead(_) | HostEvent::RequestPart { .. } | HostEvent::RequestComplete { .. } => {
                (Phase::Leasing(leasing), vec![HostCommand::Pause])
            }
            HostEvent::Wake | HostEvent::Turn | HostEvent::Recorded { .. } | HostEvent::CalloutAnswered { .. } => {
                (Phase::Leasing(leasing), Vec::new())
            }
        }
    }

    fn on_leased(&mut self, leasing: Leasing, around: &mut Surroundings<'_>) -> Next {
        let current = around.worker.in_force(&self.plugin).unwrap_or_else(|| Rc::clone(&self.config));
        let frozen = leasing.envelopes.iter().find_map(|envelope| around.desk.freezes.stops(envelope));
        let refusal = match frozen {
            Some(freeze) => Some(Refusal::Frozen { reason: freeze.reason.clone() }),
            None if !Rc::ptr_eq(&current, &self.config) => Some(Refusal::Unsupported(CHANGED.to_owned())),
            None => None,
        };
        let Leasing { running, forward, lease, body_bytes, envelopes, .. } = leasing;
        let running = running.counted_by(Some(lease)).beginning_at(around.now_ms);
        match refusal {
            Some(refusal) => (Phase::Ended, running.never_ran(&refusal, around)),
            None => self.run_recorded(running, forward, envelopes, body_bytes, around),
        }
    }
}

impl Leasing {
    /// The call as one that has its places, so that its end gives them back.
    fn counted(self) -> Box<Running> {
        self.running.counted_by(Some(self.lease))
    }

    /// Nobody said that there is a place; if one was taken all the same, it is given back.
    fn unknown(self, why: &str, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let mut commands = vec![HostCommand::Count(Metric::ServiceUnavailable, 1), uncounted(why)];
        commands.extend(self.counted().never_ran(&Refusal::LimitUnknown, around));
        commands
    }
}

/// What operators are told when nobody can say whether there is a place.
pub(super) fn uncounted(why: &str) -> HostCommand {
    HostCommand::Log(LogLevel::Warn, format!("a call under a limit of all gateways is not run: {why}"))
}
