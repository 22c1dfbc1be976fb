//! Steps 5 to 7 for a batch of 2025-03-26: every message is judged, and the server gets all of them or none.

use std::sync::Arc;

use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::decision::{Decision, PermitSet, Verdict};
use holdpoint_core::identity::Principal;
use holdpoint_core::mcp::{McpMessage, MethodClass};

use super::judged::Judged;
use super::overheard::Overheard;
use super::request::{Delivery, bounded, refuse};
use super::response::{Governing, Running};
use super::{Exchange, Forward, HostCommand, Phase, Surroundings};
use crate::enforce::Plan;
use crate::metrics::Metric;
use crate::past::Trail;
use crate::refusal::{self, Asked, Refusal};
use crate::usage::{self, Lease, Leased, Taker};

/// What the messages are told that would have run.
const NOT_ALONE: &str = "another message of the same batch was refused, so none of it ran; send this one by itself";
/// What a message is told that needs people, who are shown one call at a time.
const NEEDS_PEOPLE: &str =
    "this call needs a human approval, and that is asked for one call at a time; send it by itself";
/// What a list is told: what a caller may never call is taken out of lists, which is not done inside a batch.
const LISTS_ALONE: &str = "a list is not answered inside a batch; ask for it by itself";
/// What a call is told whose tries are counted, or which the service counts: that is done call by call.
const LIMITED_ALONE: &str = "a call whose repeats are limited, or that is counted over all gateways, is not sent inside a batch; send it by itself";

/// One judged message of a batch.
struct Element {
    judged: Judged,
    decision: Arc<Decision>,
    /// Why it does not run; `None` when it may.
    refusal: Option<Refusal>,
}

impl Exchange {
    pub(super) fn on_batch(
        &mut self,
        messages: Vec<McpMessage>,
        delivery: &Delivery,
        around: &mut Surroundings<'_>,
    ) -> (Phase, Vec<HostCommand>) {
        let asked: Vec<Asked> = messages.iter().map(Asked::of).collect();
        let mut elements = Vec::with_capacity(messages.len());
        let mut permits = Vec::with_capacity(messages.len());
        let mut commands = Vec::new();
        for message in messages {
            let mut judged = match self.seal(message, delivery.clone(), around) {
                Ok(judged) => judged,
                // What cannot even be sealed is answered for all of them: no message of this request can run.
                Err(unsealed) => {
                    commands.extend(unsealed.commands);
                    commands.extend(refuse(&unsealed.refusal, &Asked::all_of(asked)));
                    return (Phase::Ended, commands);
                }
            };
            let (decision, plan) = self.judge(&mut judged, around);
            let is_list = judged.envelope.message().method().class() == MethodClass::List;
            let refusal = match plan {
                Err(freeze) => {
                    commands.push(HostCommand::Count(Metric::Frozen, 1));
                    Some(Refusal::Frozen { reason: freeze.reason })
                }
                Ok(Plan::Reject) => Some(Refusal::Denied(Box::new((*decision).clone()))),
                Ok(Plan::Hold) => Some(Refusal::Unsupported(NEEDS_PEOPLE.to_owned())),
                Ok(Plan::Forward(_)) if is_list => Some(Refusal::Unsupported(LISTS_ALONE.to_owned())),
                // It is counted call by call.
                Ok(Plan::Forward(permit))
                    if permit.constraints().max_retries.is_some()
                        || !permit.constraints().fleet_limits().is_empty() =>
                {
                    Some(Refusal::Unsupported(LIMITED_ALONE.to_owned()))
                }
                Ok(Plan::Forward(permit)) => {
                    permits.push(permit);
                    None
                }
            };
            commands.push(HostCommand::Count(Metric::Decision(decision.verdict), 1));
            elements.push(Element { judged, decision, refusal });
        }
        commands.extend(shown(&elements, around));
        let Some(permit) = PermitSet::of_all(permits, elements.len()) else {
            commands.extend(refused_whole(&elements, around.now_ms));
            return (Phase::Ended, commands);
        };
        let leases = match take_all(&self.plugin, &delivery.principal, &permit, around) {
            Ok(leases) => leases,
            Err(rule_id) => {
                for element in &mut elements {
                    element.refusal = Some(Refusal::Busy { rule_id: rule_id.clone() });
                }
                commands.extend(refused_whole(&elements, around.now_ms));
                return (Phase::Ended, commands);
            }
        };
        let trails = elements.iter().map(|element| Trail::of(&self.config.policy, &element.judged.envelope));
        let mut trail = trails.reduce(Trail::and);
        if trail.as_mut().is_some_and(|trail| !trail.write(around.shared, around.now_ms)) {
            usage::give_back(around.shared, leases, around.now_ms);
            for element in &mut elements {
                element.refusal = Some(Refusal::CannotRemember);
            }
            commands.extend(refused_whole(&elements, around.now_ms));
            return (Phase::Ended, commands);
        }
        commands.extend(elements.iter().filter_map(|element| element.judged.cancellation(&self.config)));
        let mut entries: Vec<AuditEntry> = elements.iter().map(|element| *element.entry(around.now_ms)).collect();
        // One request carries all of them, so what one of them may not take along, none may.
        let mut edits = Vec::new();
        for edit in elements.iter().flat_map(|one| one.judged.edits(&self.config, permit.constraints(), false)) {
            if !edits.contains(&edit) {
                edits.push(edit);
            }
        }
        if entries.is_empty() {
            return (Phase::Ended, commands);
        }
        let first_entry = Box::new(entries.remove(0));
        let asked = Asked::all_of(asked);
        let Some(governing) =
            elements.first().map(|one| Governing::new(&self.plugin, &self.config, &one.judged.envelope))
        else {
            return (Phase::Ended, commands);
        };
        let constraints = elements.iter().fold(permit.constraints().clone(), |sum, element| {
            self.of_answer(&element.judged.envelope, &sum, around).into_owned()
        });
        let running = Running::new(&asked, governing, &constraints, leases, first_entry, around.now_ms)
            .beside(entries)
            .leaving_all(trail);
        let envelopes: Vec<_> = elements.into_iter().map(|element| element.judged.envelope).collect();
        self.overheard = Overheard::answer_to_all(&envelopes, &constraints).map(Box::new);
        let forward = Box::new(Forward { permit, edits, body: None });
        let (phase, run) = self.run_recorded(running, forward, envelopes, delivery.body_bytes, around);
        commands.extend(run);
        (phase, commands)
    }
}

impl Element {
    fn entry(&self, now_ms: u64) -> Box<AuditEntry> {
        let mut entry = self.judged.entry(EntryKind::Decision, &self.decision, now_ms);
        entry.detail = Some("in a batch".to_owned());
        entry
    }
}

/// A slot for each message under each of its limits, or the rule that has none left; then none is taken.
fn take_all(
    plugin: &str,
    who: &Principal,
    permit: &PermitSet,
    around: &mut Surroundings<'_>,
) -> Result<Vec<Lease>, String> {
    let mut leases = Vec::new();
    for one in permit.permits() {
        let holder = around.worker.ids.next_number();
        match usage::take(around.shared, &Taker { plugin, who, holder }, one.constraints(), around.now_ms) {
            Leased::All(taken) => leases.extend(taken),
            Leased::Full { rule_id } => {
                usage::give_back(around.shared, leases, around.now_ms);
                return Err(rule_id);
            }
        }
    }
    Ok(leases)
}

/// The strictest of the decisions stands for the request in the access log.
fn shown(elements: &[Element], around: &Surroundings<'_>) -> Vec<HostCommand> {
    let Some(strictest) = elements.iter().max_by_key(|element| element.decision.verdict) else { return Vec::new() };
    let mut commands = strictest.judged.shown(&strictest.decision);
    commands.extend(elements.iter().filter_map(|element| element.judged.line(&element.decision, around)));
    commands
}

/// Answers every message by itself: with its own refusal, or with that of the whole.
fn refused_whole(elements: &[Element], now_ms: u64) -> Vec<HostCommand> {
    let not_alone = Refusal::Unsupported(NOT_ALONE.to_owned());
    let mut commands = Vec::new();
    let mut replies = Vec::new();
    for element in elements {
        let mut entry = element.entry(now_ms);
        if matches!(element.refusal, Some(Refusal::Frozen { .. })) {
            entry.verdict = Some(Verdict::Deny);
        }
        entry.detail = Some(bounded(match &element.refusal {
            Some(Refusal::Unsupported(why)) => why,
            Some(Refusal::Frozen { reason }) => reason,
            Some(_) => "in a batch, which was refused",
            None => NOT_ALONE,
        }));
        commands.push(HostCommand::Record(entry));
        replies.push(element.refusal.as_ref().unwrap_or(&not_alone).reply(&element.judged.asked));
    }
    commands.push(HostCommand::Reply(refusal::batch(replies)));
    commands
}
