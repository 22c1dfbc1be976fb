//! Steps 5 to 7 and 10: one call from its sealing to its fate, and what its entries, its line and its forward say.

use std::borrow::Cow;
use std::sync::Arc;

use holdpoint_core::audit::payload::{Part, Salt};
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::candidate::{self, OtherDecision};
use holdpoint_core::config::{FilterConfig, Proof};
use holdpoint_core::decision::{AuditLevel, Constraints, Decision, PermitSet, Verdict};
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::{Call, CallEnvelope, SealError};
use holdpoint_core::freeze::Freeze;
use holdpoint_core::mcp::{McpMessage, MessageKind, Method, Target};

use super::beside;
use super::call_trace::CallTrace;
use super::callout::Callout;
use super::hold::Hold;
use super::overheard::Overheard;
use super::request::{Delivery, bounded, refuse, refused_line};
use super::response::{Governing, Replay, Running};
use super::{Exchange, Forward, HostCommand, OpenedSession, Phase, Surroundings};
use crate::audit_buffer::IS_KEPT;
use crate::candidate_table::{difference, may_name};
use crate::enforce::{self, HeaderEdit, Passage, Plan};
use crate::line::DecisionLine;
use crate::metrics::Metric;
use crate::past::{PastView, Trail};
use crate::refusal::{Asked, Refusal};
use crate::session::{self, SessionOwner, TaskOrigin};
use crate::usage::{self, Leased, Taker};

/// Most rules that one entry names; the digest of the basis stands for all of them.
const RULES_NAMED_MAX: usize = 32;

/// Room for what is done with most calls.
const COMMANDS_USUAL: usize = 12;

/// Headers that repeat a message, which a GET or a DELETE has none of; some clients send those of their last message.
const STALE_HEADERS: &[&str] = &["mcp-method", "mcp-name"];

/// Ends Envoy's wait for the end of an answer; 0 is no end. A stream is open for as long as its session.
const TIMEOUT_HEADER: &str = "x-envoy-upstream-rq-timeout-ms";

/// Why a call did not run that a rule looks back for.
pub(super) const CANNOT_REMEMBER: &str = "its marks could not be written to shared data";

/// What a client is told that answers a question which its server, as far as anybody knows, did not put.
const NOBODY_ASKED: &str = "no request of the server is open that this would answer";

impl Exchange {
    /// Step 5, and whether the session is its sender's own.
    pub(super) fn seal(
        &self,
        message: McpMessage,
        delivery: Delivery,
        around: &mut Surroundings<'_>,
    ) -> Result<Judged, Box<Unsealed>> {
        let mut asked = Asked::of(&message);
        let trace = CallTrace::of(&message, delivery.trace.as_ref(), &mut around.worker.ids)
            .or_else(|| self.config.audit.required.then(|| CallTrace::new(&mut around.worker.ids)));
        let server = self.config.policy.server_of(&delivery.route);
        let learned = server.and_then(|server| around.worker.definition_keys.learned(around.shared, server, &message));
        let call = Call {
            message,
            principal: delivery.principal,
            route: delivery.route,
            headers: delivery.headers,
            annotations: learned.map(|learned| learned.annotations).unwrap_or_default(),
            definition: learned.map(|learned| learned.definition),
        };
        let sealed = match self.config.policy.seal(call) {
            Ok(envelope) => self.as_answer(envelope, around),
            Err(unsealed) => Err(unsealed),
        };
        let envelope = match sealed {
            Ok(envelope) => envelope,
            Err((call, error)) => {
                let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
                entry.method = Some(call.message.method().as_str().to_owned());
                entry.principal = Some(call.principal.named());
                entry.detail = Some(bounded(&error.to_string()));
                let mut commands: Vec<HostCommand> = refused_line("unsupported", &entry, around).into_iter().collect();
                commands.push(HostCommand::RecordRefusal(Box::new(entry)));
                return Err(Box::new(Unsealed { commands, refusal: Refusal::Unsupported(error.to_string()) }));
            }
        };
        if *envelope.message().method() == Method::Response {
            let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
            entry.method = Some(envelope.method().to_owned());
            entry.server = Some(envelope.server().to_owned());
            entry.principal = Some(envelope.principal().named());
            entry.detail = Some(NOBODY_ASKED.to_owned());
            return Err(Box::new(Unsealed {
                commands: vec![HostCommand::RecordRefusal(Box::new(entry))],
                refusal: Refusal::Unsupported(NOBODY_ASKED.to_owned()),
            }));
        }
        let owner = || SessionOwner::new(envelope.server(), envelope.principal());
        let tasks: &[String] = match envelope.message().target() {
            Target::Task(id) => std::slice::from_ref(id),
            Target::Subscription { task_ids, .. } => task_ids,
            Target::None | Target::Tool(_) | Target::Resource(_) | Target::Prompt(_) | Target::Completion(_) => &[],
        };
        if tasks.iter().any(|id| session::is_anothers_task(around.shared, &owner(), id, around.now_ms)) {
            let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
            entry.method = Some(envelope.method().to_owned());
            entry.server = Some(envelope.server().to_owned());
            entry.principal = Some(envelope.principal().named());
            entry.detail = Some("a task of another principal".to_owned());
            return Err(Box::new(Unsealed {
                commands: vec![HostCommand::RecordRefusal(Box::new(entry))],
                refusal: Refusal::NoSuchTask,
            }));
        }
        let mcp_session = envelope.message().mcp_session_id().map(|id| Digest::of(id.as_bytes()));
        if let Some(named) = mcp_session {
            let owner = owner();
            let known = session::find(around.shared, &owner, named, around.now_ms);
            if let Some(known) = known {
                asked.note_session(envelope.message().era(), known.opens_urls);
            } else {
                let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
                entry.method = Some(envelope.method().to_owned());
                entry.server = Some(envelope.server().to_owned());
                entry.principal = Some(envelope.principal().named());
                entry.detail = Some("a session that this principal was not given".to_owned());
                let mut commands: Vec<HostCommand> = refused_line("session", &entry, around).into_iter().collect();
                commands.push(HostCommand::RecordRefusal(Box::new(entry)));
                return Err(Box::new(Unsealed { commands, refusal: Refusal::NoSuchSession }));
            }
        }
        Ok(Judged {
            envelope,
            asked,
            trace,
            mcp_session,
            salt: around.worker.ids.next_salt(),
            otherwise: None,
            body_bytes: delivery.body_bytes,
            has_trailers: delivery.has_trailers,
            body: None,
            round: None,
        })
    }

    /// A response is sealed again as the answer to what its server asked. One to which nothing is known stays what it is.
    #[expect(clippy::result_large_err, reason = "as of a seal: the refusal needs the call")]
    fn as_answer(
        &self,
        envelope: CallEnvelope,
        around: &mut Surroundings<'_>,
    ) -> Result<CallEnvelope, (Call, SealError)> {
        let message = envelope.message();
        let (MessageKind::Response, Some(id)) = (message.kind(), message.id()) else { return Ok(envelope) };
        let owner = SessionOwner::new(envelope.server(), envelope.principal());
        let asked = session::take_ask(around.shared, &owner, message.mcp_session_id(), id, around.now_ms);
        let Some(asked) = asked else { return Ok(envelope) };
        let call = envelope.into_call();
        self.config.policy.seal(Call { message: call.message.answering(asked), ..call })
    }

    /// Steps 6 and 7 for one message, by itself or in a batch: what the policy says, and what becomes of it unless an
    /// administrator has stopped it.
    pub(super) fn judge(
        &self,
        judged: &mut Judged,
        around: &mut Surroundings<'_>,
    ) -> (Arc<Decision>, Result<Plan, Box<Freeze>>) {
        let (decision, plan) = enforce::plan(self.config.policy.evaluate(&judged.envelope, &self.past(around)));
        if decision.verdict != Verdict::Allow {
            judged.asked.name_call(judged.envelope.call_digest().to_string());
        }
        judged.otherwise = self.try_candidate(&mut judged.envelope, &decision, around);
        let freeze = around.desk.freezes.stops(&judged.envelope);
        let plan = match freeze {
            Some(freeze) => Err(Box::new(freeze.clone())),
            None => Ok(plan),
        };
        (decision, plan)
    }

    /// Judges the call by the candidate too, if there is one, and counts what that would have decided otherwise.
    fn try_candidate(
        &self,
        envelope: &mut CallEnvelope,
        decision: &Decision,
        around: &mut Surroundings<'_>,
    ) -> Option<OtherDecision> {
        let candidate = self.config.candidate.as_ref()?;
        let other = candidate::judge(candidate, decision, envelope, &self.past(around));
        let wall_ms = around.worker.wall_ms(around.now_ms);
        let told = other.as_ref().map(|other| difference(envelope, decision, other, wall_ms));
        let pair = (decision.snapshot_id, candidate.id());
        around.desk.candidates.count(pair, told, &around.desk.source, wall_ms);
        other
    }

    /// What callers did before, as rules are told of it now.
    pub(super) fn past<'p>(&'p self, around: &'p mut Surroundings<'_>) -> PastView<'p> {
        PastView::new(&mut *around.shared, &self.plugin, around.now_ms)
    }

    /// What binds the answer to a call. A task's result is the answer to an earlier call, of which is known whether any rule
    /// limited it; if one did, or if that is not known, all that any rule asks of answers applies.
    pub(super) fn of_answer<'c>(
        &self,
        envelope: &CallEnvelope,
        constraints: &'c Constraints,
        around: &mut Surroundings<'_>,
    ) -> Cow<'c, Constraints> {
        let Target::Task(id) = envelope.message().target() else { return Cow::Borrowed(constraints) };
        let owner = SessionOwner::new(envelope.server(), envelope.principal());
        match session::task_origin(around.shared, &owner, id, around.now_ms) {
            Some(TaskOrigin::Unlimited) => Cow::Borrowed(constraints),
            Some(TaskOrigin::Limited) | None => {
                let all = self.config.policy.strictest_answer(envelope.principal(), envelope.server());
                Cow::Owned(constraints.united(&Constraints { output: all.output, ..Constraints::default() }))
            }
        }
    }

    pub(super) fn decide(&mut self, mut judged: Judged, around: &mut Surroundings<'_>) -> (Phase, Vec<HostCommand>) {
        let (decision, plan) = match self.judge(&mut judged, around) {
            (decision, Ok(plan)) => (decision, plan),
            (decision, Err(freeze)) => return (Phase::Ended, frozen(&judged, &decision, &freeze, around)),
        };
        let mut commands = Vec::with_capacity(COMMANDS_USUAL);
        commands.push(HostCommand::Count(Metric::Decision(decision.verdict), 1));
        commands.extend(judged.shown(&decision));
        commands.extend(judged.line(&decision, around));
        let phase = match plan {
            Plan::Reject => {
                let entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                commands.push(HostCommand::Record(entry));
                commands.extend(refuse(&Refusal::Denied(Box::new(Arc::unwrap_or_clone(decision))), &judged.asked));
                Phase::Ended
            }
            Plan::Forward(permit) => {
                let holder = around.worker.ids.next_number();
                let mut trail = Trail::of(&self.config.policy, &judged.envelope);
                let taker = Taker { plugin: &self.plugin, who: judged.envelope.principal(), holder };
                match usage::take(around.shared, &taker, permit.constraints(), around.now_ms) {
                    Leased::Full { rule_id } => {
                        let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        entry.detail = Some(format!("rule `{rule_id}` lets no more calls run now"));
                        commands.push(HostCommand::Record(entry));
                        commands.extend(refuse(&Refusal::Busy { rule_id }, &judged.asked));
                        Phase::Ended
                    }
                    Leased::All(leases) if !may_try(&judged, permit.constraints(), around) => {
                        usage::give_back(around.shared, leases, around.now_ms);
                        let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        entry.detail = Some("sent again more often than `max_retries` allows".to_owned());
                        commands.push(HostCommand::Record(entry));
                        let retries_max = permit.constraints().max_retries.unwrap_or_default();
                        commands.extend(refuse(&Refusal::TriedTooOften { retries_max }, &judged.asked));
                        Phase::Ended
                    }
                    Leased::All(leases) if !trail.write(around.shared, around.now_ms) => {
                        usage::give_back(around.shared, leases, around.now_ms);
                        let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        entry.detail = Some(CANNOT_REMEMBER.to_owned());
                        commands.push(HostCommand::Record(entry));
                        commands.extend(refuse(&Refusal::CannotRemember, &judged.asked));
                        Phase::Ended
                    }
                    Leased::All(leases) => {
                        let entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        if *judged.envelope.message().method() == Method::Initialize {
                            let envelope = &judged.envelope;
                            let owner = SessionOwner::new(envelope.server(), envelope.principal());
                            let opens_urls = envelope.message().session_opens_urls();
                            self.opens_session = Some(OpenedSession { owner, opens_urls });
                        }
                        commands.extend(judged.cancellation(&self.config));
                        self.overheard = Some(Box::new(Overheard::answer_to(&judged.envelope, permit.constraints())));
                        let tried = permit.constraints().max_retries.map(|_| judged.envelope.call_digest());
                        let governing = Governing::new(&self.plugin, &self.config, &judged.envelope);
                        let constraints = self.of_answer(&judged.envelope, permit.constraints(), around);
                        let running =
                            Running::new(&judged.asked, governing, &constraints, leases, entry, around.now_ms)
                                .trying(tried)
                                .leaving(trail)
                                .replaying(Replay::of_stream(&judged.envelope, &self.config.policy, around));
                        let body_bytes = judged.body_bytes;
                        let forward = judged.forward(&self.config, permit, false);
                        let envelopes = vec![judged.envelope];
                        let (phase, run) = self.run_counted(running, forward, envelopes, body_bytes, around);
                        commands.extend(run);
                        phase
                    }
                }
            }
            // Trailers are not part of what people are shown, and some servers read them as headers.
            Plan::Hold if judged.has_trailers => {
                let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                let why = "a call that needs an approval must not carry trailers";
                entry.detail = Some(why.to_owned());
                commands.push(HostCommand::Record(entry));
                commands.extend(refuse(&Refusal::Unsupported(why.to_owned()), &judged.asked));
                Phase::Ended
            }
            // People decide about people: for whom would an approver approve?
            Plan::Hold if judged.envelope.principal().is_anonymous() => {
                let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                let why = "this call needs an approval, and a caller without an identity cannot have one: authenticate";
                entry.detail = Some(why.to_owned());
                commands.push(HostCommand::Record(entry));
                commands.extend(refuse(&Refusal::Unsupported(why.to_owned()), &judged.asked));
                Phase::Ended
            }
            Plan::Hold => {
                let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                let ask = self.next_ask();
                let (hold, begun) = Hold::begin(judged, Arc::unwrap_or_clone(decision), &self.config, ask, around);
                entry.hold_id = Some(hold.id().to_owned());
                commands.push(HostCommand::Record(entry));
                commands.extend(begun);
                Phase::Held(Box::new(hold))
            }
        };
        (phase, commands)
    }
}

/// One call from its sealing to its end, with what its answers and entries need.
pub(super) struct Judged {
    pub(super) envelope: CallEnvelope,
    pub(super) asked: Asked,
    pub(super) trace: Option<CallTrace>,
    /// SHA-256 of the id of its session.
    pub(super) mcp_session: Option<Digest>,
    /// For what stands beside the entry of its decision.
    pub(super) salt: Salt,
    /// What the candidate would have decided, where that is not the same.
    pub(super) otherwise: Option<OtherDecision>,
    pub(super) body_bytes: u64,
    pub(super) has_trailers: bool,
    /// What is forwarded, where that is not the body as it came.
    pub(super) body: Option<Vec<u8>>,
    /// What this client was given when it was last told to come back.
    pub(super) round: Option<String>,
}

/// Why a message was not sealed, and what to do beside answering it so.
pub(super) struct Unsealed {
    pub(super) commands: Vec<HostCommand>,
    pub(super) refusal: Refusal,
}

impl Judged {
    /// Lets this one message go, under its permit.
    pub(super) fn forward(
        &mut self,
        config: &FilterConfig,
        permit: impl Into<PermitSet>,
        is_approved: bool,
    ) -> Box<Forward> {
        let permit = permit.into();
        let edits = self.edits(config, permit.constraints(), is_approved);
        Box::new(Forward { permit, edits, body: self.body.take() })
    }

    /// Of a client that takes one of its calls back: what the service is told, which knows whether that one is held.
    pub(super) fn cancellation(&self, config: &FilterConfig) -> Option<HostCommand> {
        if *self.envelope.message().method() != Method::NotificationsCancelled {
            return None;
        }
        let cancel_key = self.envelope.cancel_key()?;
        Some(HostCommand::Tell(Callout::cancel(&config.approval, cancel_key)))
    }

    /// What the access log and the filters behind this one are told.
    pub(super) fn shown(&self, decision: &Decision) -> Vec<HostCommand> {
        let mut commands = vec![
            HostCommand::FilterState("holdpoint.verdict", decision.verdict.as_str().to_owned()),
            HostCommand::FilterState("holdpoint.rule", decision.rule_id().to_owned()),
            HostCommand::FilterState("holdpoint.snapshot", decision.snapshot_id.text()),
        ];
        // For the RBAC filter behind this one, which lets the call through only on a route that says the same.
        if let Some(server) = &self.envelope.call().route.metadata_server {
            commands.push(HostCommand::FilterState("holdpoint.server", server.clone()));
        }
        commands
    }

    /// One structured line for the operator, if anybody reads it. Of a call that is allowed only at level debug: record and
    /// access log have it as well, and Envoy's logger flushes every line, which costs as much as judging does.
    pub(super) fn line(&self, decision: &Decision, around: &Surroundings<'_>) -> Option<HostCommand> {
        let is_routine = decision.verdict == Verdict::Allow;
        if !(if is_routine { around.worker.logs_debug } else { around.worker.logs_info }) {
            return None;
        }
        let verdict = match decision.verdict {
            Verdict::Allow if !decision.constraints.is_empty() => "allow_with_constraints",
            other => other.as_str(),
        };
        let principal = self.envelope.principal();
        // A call that runs at once never pays for its digest.
        let call = (!is_routine).then(|| self.envelope.call_digest().short());
        Some(HostCommand::Decided(DecisionLine::new(
            is_routine,
            &[
                ("verdict", Some(verdict)),
                ("rule", Some(decision.rule_id())),
                ("server", Some(self.envelope.server())),
                ("method", Some(self.envelope.method())),
                ("target", self.envelope.target()),
                ("issuer", Some(&principal.issuer)),
                ("subject", Some(&principal.subject)),
                ("agent", principal.agent_id.as_deref()),
                ("snapshot", Some(&decision.snapshot_id.short())),
                ("call", call.as_deref()),
                ("trace_id", self.trace.as_ref().map(|trace| trace.trace_id.as_str())),
            ],
        )))
    }

    /// An entry of the record with everything known of this call.
    pub(super) fn entry(&self, kind: EntryKind, decision: &Decision, now_ms: u64) -> Box<AuditEntry> {
        let mut entry = Box::new(AuditEntry::new(kind, now_ms));
        if !IS_KEPT {
            return entry;
        }
        entry.principal = Some(self.envelope.principal().named());
        entry.server = Some(self.envelope.server().to_owned());
        entry.method = Some(self.envelope.method().to_owned());
        entry.protocol_version = Some(self.envelope.message().era().as_str().to_owned());
        entry.mcp_session = self.mcp_session;
        entry.target = self.envelope.target().map(bounded);
        // By it the calls are found that a candidate would decide otherwise.
        let is_named = records_digest(decision) || self.otherwise.is_some() && may_name(decision);
        entry.call_digest = is_named.then(|| self.envelope.call_digest());
        entry.candidate.clone_from(&self.otherwise);
        let names_definition = self.envelope.is_pinned() || decision.verdict != Verdict::Allow;
        entry.definition = self.envelope.call().definition.filter(|_| names_definition);
        entry.verdict = Some(decision.verdict);
        entry.rule_ids = decision.reasons.iter().take(RULES_NAMED_MAX).map(|reason| reason.rule_id.clone()).collect();
        entry.snapshot_id = Some(decision.snapshot_id);
        entry.basis = Some(decision.basis);
        entry.observed.clone_from(&decision.observed);
        entry.audit = decision.audit;
        entry.constraints = (!decision.constraints.is_empty()).then(|| bounded(&decision.constraints.to_string()));
        if let Some(trace) = &self.trace {
            trace.note_in(&mut entry);
        }
        // The entry of a decision tells of the arguments, and no other does: each has a salt of its own.
        if kind == EntryKind::Decision
            && let Some(arguments) = beside::arguments(self.envelope.message())
        {
            beside::keep(&mut entry, decision.audit, Part::Arguments, arguments, self.salt);
        }
        entry
    }

    /// The header edits under which this call is forwarded.
    pub(super) fn edits(&self, config: &FilterConfig, constraints: &Constraints, is_approved: bool) -> Vec<HeaderEdit> {
        let names = || self.envelope.call().headers.iter().map(|(name, _)| name.as_str());
        let passage = Passage {
            is_approved,
            bound: self.envelope.bound_headers(),
            credential: self.envelope.credential(),
            stripped: &identity_headers(config),
        };
        let mut edits = enforce::header_edits(names(), constraints, &passage);
        let message = self.envelope.message();
        if message.kind() == MessageKind::Bodiless {
            let stale = STALE_HEADERS.iter().filter(|stale| names().any(|name| name == **stale));
            edits.extend(stale.map(|stale| HeaderEdit::Remove((*stale).to_owned())));
        }
        edits.extend(self.trace.as_ref().map(CallTrace::edit));
        if *message.method() == Method::StreamOpen && constraints.max_runtime_ms.is_none() {
            edits.push(HeaderEdit::Set(TIMEOUT_HEADER, "0".to_owned()));
        }
        edits
    }
}

/// Headers that say for whom a trusted client acts: to the server they would look like the gateway's own word.
fn identity_headers(config: &FilterConfig) -> Vec<&str> {
    let named = config.identity.iter().filter_map(|source| match &source.proof {
        Proof::Header { name, .. } => Some(name.as_str()),
        Proof::Jwt { .. } | Proof::MtlsUriSan => None,
    });
    named.collect()
}

/// Whether the record names the call by its digest. By default that of a call that runs at once does not: nobody looks
/// it up, and on a large body the digest costs several times what judging does. A rule's `audit: digest` asks for it.
fn records_digest(decision: &Decision) -> bool {
    match decision.audit {
        // A digest of few possible arguments tells them, so it is arguments to whoever may keep none.
        Some(AuditLevel::Metadata) => false,
        Some(AuditLevel::Digest | AuditLevel::Redacted | AuditLevel::Full) => true,
        None => decision.verdict != Verdict::Allow,
    }
}

/// Counts this try of a call that may only be repeated so often; an approved call is not asked, for it has an approval of
/// its own every time.
fn may_try(judged: &Judged, constraints: &Constraints, around: &mut Surroundings<'_>) -> bool {
    constraints.max_retries.is_none_or(|retries_max| {
        let who = judged.envelope.principal().name();
        usage::try_once(around.shared, who, judged.envelope.call_digest(), retries_max, around.now_ms)
    })
}

/// An administrator has stopped this, whatever the policy would say: recorded as the deny that it is.
fn frozen(judged: &Judged, decision: &Decision, freeze: &Freeze, around: &Surroundings<'_>) -> Vec<HostCommand> {
    let rule = format!("freeze:{}", freeze.id);
    let mut entry = judged.entry(EntryKind::Decision, decision, around.now_ms);
    entry.verdict = Some(Verdict::Deny);
    entry.rule_ids.insert(0, rule.clone());
    entry.detail = Some(bounded(&format!("stopped by {}: {}", freeze.by, freeze.reason)));
    let mut commands = vec![
        HostCommand::Count(Metric::Frozen, 1),
        HostCommand::FilterState("holdpoint.verdict", Verdict::Deny.as_str().to_owned()),
        HostCommand::FilterState("holdpoint.rule", rule),
        HostCommand::Record(entry),
    ];
    commands.extend(refuse(&Refusal::Frozen { reason: freeze.reason.clone() }, &judged.asked));
    commands
}
