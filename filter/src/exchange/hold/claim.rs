//! Step 9: from an approval to the permit. The policy in force is asked again, slots are taken, the grant is claimed, and
//! what the service signed is verified.

use std::rc::Rc;

use holdpoint_core::approval::{self, ClaimError, ClaimRequest, LiveHold, SignedClaim, WithdrawCause};
use holdpoint_core::audit::EntryKind;
use holdpoint_core::decision::{Constraints, Permit};

use super::{CHANGED, Hold, Next, RETRY_MS, Retry, Step, refused_by_service};
use crate::exchange::callout::{Callout, CalloutAnswer, ClaimAnswer, LeaseAnswer};
use crate::exchange::leasing::{FleetLease, uncounted};
use crate::exchange::overheard::Overheard;
use crate::exchange::response::{Governing, Running};
use crate::exchange::{Exchange, HostCommand, LogLevel, Phase, Surroundings};
use crate::metrics::{HoldEnd, Metric};
use crate::past::Trail;
use crate::refusal::Refusal;
use crate::usage::{self, Leased, Taker};

/// How long between two looks for a free slot.
const BUSY_RETRY_MS: u64 = 200;
/// The same where the service is asked.
const FLEET_BUSY_RETRY_MS: u64 = 1_000;

impl Hold {
    /// Asks to use the grant.
    pub(super) fn claim(mut self, approval_id: &str, nonce: String, ask: u32, now_ms: u64) -> Next {
        let record = ClaimRequest {
            hold_id: self.seat.hold_id.clone(),
            nonce: nonce.clone(),
            call_digest: self.judged.envelope.call_digest(),
            basis: self.decision.basis,
            snapshot_id: self.seat.config.policy.id(),
            standing: self.seat.config.standing.clone(),
        };
        let callout = Callout::claim(&self.seat.config.approval, approval_id, &record, ask);
        self.step = Step::Claiming { ask, nonce };
        self.busy_rule = None;
        let commands = self.ask(callout, now_ms);
        self.stay(commands)
    }

    /// Nobody said that there are places at the service: what was taken is given back, and asked for again later.
    pub(super) fn without_places(mut self, around: &mut Surroundings<'_>) -> Next {
        let mut commands = self.seat.give_back(around);
        let (phase, next) = match around.now_ms >= self.deadline_ms {
            true => self.out_of_patience(around),
            false => self.retry(Retry::Judge, around),
        };
        commands.extend(next);
        (phase, commands)
    }

    /// Step 10: the permit is there; the call runs.
    fn release(
        self,
        plugin: &Rc<str>,
        permit: Permit,
        answer: &Constraints,
        approval_id: &str,
        around: &mut Surroundings<'_>,
    ) -> Next {
        let Self { mut judged, mut seat, decision, .. } = self;
        let mut trail = Trail::of(&seat.config.policy, &judged.envelope);
        if !trail.write(around.shared, around.now_ms) {
            return seat.end(&Refusal::CannotRemember, WithdrawCause::Refused, HoldEnd::Refused, around);
        }
        let mut entry = judged.entry(EntryKind::Outcome, &decision, around.now_ms);
        entry.approval_id = Some(approval_id.to_owned());
        entry.hold_id = Some(seat.hold_id.clone());
        let leases = std::mem::take(&mut seat.leases);
        let fleet = seat.fleet.take();
        let governing = Governing::new(plugin, &seat.config, &judged.envelope);
        let running =
            Running::new(&seat.asked, governing, answer, leases, entry, around.now_ms).leaving(trail).counted_by(fleet);
        let mut commands = seat.leave_room(around);
        commands.extend(seat.ended(HoldEnd::Released, around));
        commands.extend(running.alarms());
        commands.push(HostCommand::Forward(judged.forward(&seat.config, permit, true)));
        (Phase::Running(running), commands)
    }
}

impl Exchange {
    /// People approved. The policy in force now is asked again, then slots are taken, then the grant is claimed.
    pub(super) fn on_approved(&mut self, hold: Hold, around: &mut Surroundings<'_>) -> Next {
        let mut hold = match hold.reseal(&self.in_force(around), around) {
            Ok(hold) => hold,
            Err((seat, error)) => {
                return seat.end(&Refusal::Unsupported(error), WithdrawCause::Refused, HoldEnd::Refused, around);
            }
        };
        if let Some(refusal) = frozen(&hold, around) {
            return hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around);
        }
        let Some(approval) = hold.approval.clone() else { return self.reopen(hold, around) };
        if approval.call_digest != hold.judged.envelope.call_digest() {
            // The catalogue now reads this call as another one; what was approved is not what would run.
            return self.ask_anew(hold, around);
        }
        let judged_now =
            approval::rejudge(hold.decision.basis, &hold.judged.envelope, &hold.seat.config.policy, &self.past(around));
        let constraints = match judged_now {
            Ok(decision) => hold.decision.constraints.united(&decision.constraints),
            Err(ClaimError::PolicyDenies(decision)) => {
                return hold.seat.end(&Refusal::Denied(decision), WithdrawCause::Refused, HoldEnd::Refused, around);
            }
            Err(
                ClaimError::PolicyChanged(_)
                | ClaimError::Signature
                | ClaimError::Shape
                | ClaimError::Mismatch(_)
                | ClaimError::Expired,
            ) => return self.ask_anew(hold, around),
        };
        let holder = around.worker.ids.next_number();
        let taker = Taker { plugin: &self.plugin, who: hold.judged.envelope.principal(), holder };
        match usage::take(around.shared, &taker, &constraints, around.now_ms) {
            Leased::Full { rule_id } if around.now_ms < hold.deadline_ms => {
                let at_ms = around.now_ms.saturating_add(BUSY_RETRY_MS);
                hold.step = Step::Busy { at_ms };
                hold.busy_rule = Some(rule_id);
                hold.stay(vec![HostCommand::WakeAt(at_ms)])
            }
            Leased::Full { rule_id } => {
                hold.busy_rule = Some(rule_id);
                hold.out_of_patience(around)
            }
            Leased::All(leases) => {
                hold.seat.leases = leases;
                let (envelope, ids) = (&hold.judged.envelope, &mut around.worker.ids);
                let fleet = FleetLease::of(&constraints, envelope, &hold.seat.config, ids, around.now_ms);
                let Some(fleet) = fleet else {
                    let nonce = around.worker.ids.next_id();
                    return hold.claim(&approval.id, nonce, self.next_ask(), around.now_ms);
                };
                let ask = self.next_ask();
                hold.step = Step::Leasing { ask };
                let commands = hold.ask(fleet.ask(ask), around.now_ms);
                hold.seat.fleet = Some(fleet);
                hold.stay(commands)
            }
        }
    }

    /// The service said whether there are places under the limits that hold for all gateways.
    pub(super) fn on_lease_answer(
        &mut self,
        mut hold: Hold,
        answer: &CalloutAnswer,
        around: &mut Surroundings<'_>,
    ) -> Next {
        let said = match hold.seat.fleet.as_ref() {
            Some(fleet) => fleet.read(answer),
            None => LeaseAnswer::Unusable { why: "it was not asked for" },
        };
        match (said, hold.approval.clone()) {
            (LeaseAnswer::Taken, Some(approval)) => {
                hold.outage_began_at_ms = None;
                let nonce = around.worker.ids.next_id();
                hold.claim(&approval.id, nonce, self.next_ask(), around.now_ms)
            }
            (LeaseAnswer::Full { rule_id }, _) => {
                hold.outage_began_at_ms = None;
                // Nothing was taken there.
                hold.seat.fleet = None;
                hold.seat.give_back(around);
                let at_ms = around.now_ms.saturating_add(FLEET_BUSY_RETRY_MS);
                hold.step = Step::Busy { at_ms };
                hold.busy_rule = Some(rule_id);
                if around.now_ms >= hold.deadline_ms {
                    return hold.out_of_patience(around);
                }
                hold.stay(vec![HostCommand::WakeAt(at_ms)])
            }
            (LeaseAnswer::Taken, None) => hold.without_places(around),
            (LeaseAnswer::Unusable { why }, _) => {
                let (phase, mut commands) = hold.without_places(around);
                commands.push(uncounted(why));
                (phase, commands)
            }
        }
    }

    /// The policy in force asks something else than what was approved: a claim under the new basis makes the service
    /// supersede the old request, and the answer leads to a new one.
    fn ask_anew(&mut self, hold: Hold, around: &mut Surroundings<'_>) -> Next {
        let hold = match self.under_current_policy(hold, around) {
            Ok(hold) => *hold,
            Err(ended) => return *ended,
        };
        match hold.approval.clone() {
            Some(approval) => {
                let nonce = around.worker.ids.next_id();
                hold.claim(&approval.id, nonce, self.next_ask(), around.now_ms)
            }
            None => self.reopen(hold, around),
        }
    }

    /// The grant was used by the claim, and what people approved is not what is asked for by now: another policy is in force, or
    /// more is known of the tool. The service is told that nothing ran, then the call is asked anew, as another hold, for a
    /// hold claims once.
    fn ask_as_another(&mut self, hold: Hold, around: &mut Surroundings<'_>) -> Next {
        if around.now_ms >= hold.deadline_ms {
            let refusal = Refusal::Unsupported(CHANGED.to_owned());
            return hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around);
        }
        // Before anything is told: should no answer to that come, it is what is asked for now that is opened.
        let mut hold = match self.under_current_policy(hold, around) {
            Ok(hold) => *hold,
            Err(ended) => return *ended,
        };
        let mut commands = hold.seat.give_back(around);
        let withdrawal = hold.seat.withdrawal(WithdrawCause::Refused, None);
        hold.seat.hold_id = around.worker.ids.next_id();
        hold.approval = None;
        let ask = self.next_ask();
        hold.step = Step::Telling { ask };
        commands.extend(hold.ask(Callout { ask, ..withdrawal }, around.now_ms));
        hold.stay(commands)
    }

    pub(super) fn on_claim_answer(
        &mut self,
        mut hold: Hold,
        answer: ClaimAnswer,
        around: &mut Surroundings<'_>,
    ) -> Next {
        match answer {
            ClaimAnswer::Signed(signed) => self.on_signed(hold, &signed, around),
            ClaimAnswer::Gone => {
                let mut commands = hold.seat.give_back(around);
                let (phase, next) = match around.now_ms >= hold.deadline_ms {
                    true => hold.out_of_patience(around),
                    false => self.reopen(hold, around),
                };
                commands.extend(next);
                (phase, commands)
            }
            // A sibling has a newer policy already; this worker will have it in a moment.
            ClaimAnswer::Replaced => {
                let mut commands = hold.seat.give_back(around);
                let (phase, next) = match around.now_ms >= hold.deadline_ms {
                    true => hold.out_of_patience(around),
                    false => {
                        let at_ms = around.now_ms.saturating_add(RETRY_MS);
                        hold.step = Step::Retrying { at_ms, then: Retry::Judge };
                        hold.stay(vec![HostCommand::WakeAt(at_ms)])
                    }
                };
                commands.extend(next);
                (phase, commands)
            }
            ClaimAnswer::Refused(code) => refused_by_service(hold, &code, around),
            ClaimAnswer::Unusable => {
                let nonce = match &hold.step {
                    Step::Claiming { nonce, .. } => nonce.clone(),
                    Step::Opening { .. }
                    | Step::Telling { .. }
                    | Step::Polling { .. }
                    | Step::Retrying { .. }
                    | Step::InLine { .. }
                    | Step::Leasing { .. }
                    | Step::Busy { .. } => around.worker.ids.next_id(),
                };
                hold.retry(Retry::Claim { nonce }, around)
            }
        }
    }

    /// Step 9: only a claim that the service signed for this hold, under a policy that still agrees, is a permit.
    fn on_signed(&mut self, hold: Hold, signed: &SignedClaim, around: &mut Surroundings<'_>) -> Next {
        let hold = match hold.reseal(&self.in_force(around), around) {
            Ok(hold) => hold,
            Err((seat, error)) => {
                return seat.end(&Refusal::Unsupported(error), WithdrawCause::Refused, HoldEnd::Refused, around);
            }
        };
        if let Some(refusal) = frozen(&hold, around) {
            return hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around);
        }
        let (Some(approval), Step::Claiming { nonce, .. }) = (&hold.approval, &hold.step) else {
            return refused_by_service(hold, "claim-without-request", around);
        };
        let approval_id = approval.id.clone();
        let live = LiveHold { approval_id: &approval_id, hold_id: &hold.seat.hold_id, nonce };
        let config = Rc::clone(&hold.seat.config);
        let wall_ms = around.worker.wall_ms(around.now_ms);
        let verified = approval::verify(
            signed,
            &config.approval.service_keys,
            live,
            &hold.judged.envelope,
            &config.policy,
            &self.past(around),
            wall_ms,
        );
        match verified {
            // The policy may have come to bound the call while the claim was under way: no slot, no run.
            Ok(permit)
                if !usage::covers(&self.plugin, &hold.seat.leases, permit.constraints())
                    || !FleetLease::covers(hold.seat.fleet.as_ref(), permit.constraints()) =>
            {
                let refusal = Refusal::Unsupported(CHANGED.to_owned());
                hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around)
            }
            // The claim came so late that the place may be another call's by now.
            Ok(_) if FleetLease::is_over(hold.seat.fleet.as_ref(), around.now_ms) => {
                hold.seat.end(&Refusal::LimitUnknown, WithdrawCause::Refused, HoldEnd::Refused, around)
            }
            Ok(permit) => {
                let (leases, constraints) = (&hold.seat.leases, permit.constraints());
                let kept = usage::keep(around.shared, &self.plugin, leases, constraints, around.now_ms);
                if let Err(rule_id) = kept {
                    return hold.seat.end(&Refusal::Busy { rule_id }, WithdrawCause::Refused, HoldEnd::Refused, around);
                }
                self.overheard = Some(Box::new(Overheard::answer_to(&hold.judged.envelope, permit.constraints())));
                let answer = self.of_answer(&hold.judged.envelope, permit.constraints(), around).into_owned();
                hold.release(&self.plugin, permit, &answer, &approval_id, around)
            }
            Err(error) => {
                let line = format!("hold {}: claim of approval {approval_id} refused: {error}", hold.seat.hold_id);
                let level = match error {
                    ClaimError::PolicyChanged(_) => LogLevel::Warn,
                    ClaimError::PolicyDenies(_)
                    | ClaimError::Signature
                    | ClaimError::Shape
                    | ClaimError::Mismatch(_)
                    | ClaimError::Expired => LogLevel::Error,
                };
                let mut commands = vec![HostCommand::Count(Metric::ClaimRefused, 1), HostCommand::Log(level, line)];
                let refusal = match error {
                    ClaimError::PolicyDenies(decision) => Refusal::Denied(decision),
                    ClaimError::PolicyChanged(_) => {
                        let (phase, asked) = self.ask_as_another(hold, around);
                        commands.extend(asked);
                        return (phase, commands);
                    }
                    ClaimError::Signature | ClaimError::Shape | ClaimError::Mismatch(_) | ClaimError::Expired => {
                        Refusal::Unavailable
                    }
                };
                let (phase, ended) = hold.seat.end(&refusal, WithdrawCause::Refused, HoldEnd::Refused, around);
                commands.extend(ended);
                (phase, commands)
            }
        }
    }
}

/// An administrator has come to stop what this call would do.
fn frozen(hold: &Hold, around: &Surroundings<'_>) -> Option<Refusal> {
    let freeze = around.desk.freezes.stops(&hold.judged.envelope)?;
    Some(Refusal::Frozen { reason: freeze.reason.clone() })
}
