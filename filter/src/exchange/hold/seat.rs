//! Step 8: what a call that waits occupies, and how all of it is given back.

use std::rc::Rc;

use holdpoint_core::approval::{WithdrawCause, WithdrawHold};
use holdpoint_core::config::FilterConfig;
use holdpoint_core::digest::Digest;

use super::Next;
use crate::exchange::callout::Callout;
use crate::exchange::leasing::FleetLease;
use crate::exchange::request::refuse;
use crate::exchange::{HostCommand, LogLevel, Phase, Surroundings};
use crate::line;
use crate::metrics::{HoldEnd, Metric};
use crate::refusal::{Asked, Refusal};
use crate::usage::{self, Lease};

/// What a hold occupies, and what its end needs: all of it is given back in [`Seat::end`] or [`Hold::release`].
pub(super) struct Seat {
    pub(super) hold_id: String,
    pub(super) gateway: String,
    pub(super) asked: Asked,
    /// Under which the call is sealed; its settings name the service.
    pub(super) config: Rc<FilterConfig>,
    /// Whether it takes up room among the holds; without, it does not wait at all.
    pub(super) in_room: bool,
    /// Whether it is its turn to ask the service.
    pub(super) has_turn: bool,
    pub(super) body_bytes: u64,
    pub(super) leases: Vec<Lease>,
    /// The same under limits that hold for all gateways.
    pub(super) fleet: Option<FleetLease>,
    pub(super) began_at_ms: u64,
    /// The request it waits for, once it is known.
    pub(super) approval_id: Option<String>,
}

impl Seat {
    /// Ends the hold with an answer to the client, and tells the service that nobody waits any more.
    pub(super) fn end(
        mut self,
        refusal: &Refusal,
        cause: WithdrawCause,
        end: HoldEnd,
        around: &mut Surroundings<'_>,
    ) -> Next {
        let mut commands = self.leave_room(around);
        commands.extend(self.ended(end, around));
        commands.push(self.withdraw(cause, None));
        commands.extend(refuse(refusal, &self.asked));
        (Phase::Ended, commands)
    }

    /// Counts the end, and says it in one line.
    pub(super) fn ended(&self, end: HoldEnd, around: &Surroundings<'_>) -> Vec<HostCommand> {
        let mut commands = vec![HostCommand::Count(Metric::HoldEnded(end), 1)];
        if around.worker.logs_info {
            let call = self.asked.call_digest().and_then(|digest| digest.parse::<Digest>().ok());
            let waited_ms = around.now_ms.saturating_sub(self.began_at_ms).to_string();
            let text = line::text(
                "hold",
                &[
                    ("end", Some(end.as_str())),
                    ("hold", Some(&self.hold_id)),
                    ("approval", self.approval_id.as_deref()),
                    ("call", call.map(|digest| digest.short()).as_deref()),
                    ("waited_ms", Some(&waited_ms)),
                ],
            );
            commands.push(HostCommand::Log(LogLevel::Info, text));
        }
        commands
    }

    /// Tells the service that this hold can never claim from now on.
    pub(super) fn withdraw(&self, cause: WithdrawCause, rejoin_ms: Option<u64>) -> HostCommand {
        HostCommand::Tell(self.withdrawal(cause, rejoin_ms))
    }

    /// What says so.
    pub(super) fn withdrawal(&self, cause: WithdrawCause, rejoin_ms: Option<u64>) -> Callout {
        Callout::withdraw(&self.config.approval, &self.hold_id, &WithdrawHold { cause, rejoin_ms })
    }

    /// Gives back what was taken for a call that does not run now.
    pub(super) fn give_back(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        usage::give_back(around.shared, std::mem::take(&mut self.leases), around.now_ms);
        self.fleet.take().map(|fleet| fleet.end(false)).into_iter().collect()
    }

    /// Lets the next one ask.
    pub(super) fn give_turn_back(&mut self, around: &mut Surroundings<'_>) {
        if std::mem::take(&mut self.has_turn) {
            around.desk.queue.leave();
        }
    }

    pub(super) fn leave_room(&mut self, around: &mut Surroundings<'_>) -> Vec<HostCommand> {
        let mut commands = self.give_back(around);
        self.give_turn_back(around);
        if std::mem::take(&mut self.in_room) {
            around.worker.room.leave(self.body_bytes);
            commands.push(HostCommand::Count(Metric::HoldsWaiting, -1));
        }
        commands
    }
}
