//! Steps 2 to 7: from the request's headers to its fate. Identify, buffer, read, seal, decide, enforce.
//!
//! The principal is resolved before the body is buffered, so that nobody without an identity can make a worker keep
//! bodies for him.

use std::collections::BTreeSet;

use holdpoint_core::audit::{AuditEntry, DETAIL_CHARS_MAX, EntryKind};
use holdpoint_core::config::{FilterConfig, Proof};
use holdpoint_core::decision::{AuditLevel, Constraints, Decision, PermitSet, Verdict};
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::{Annotations, Call, CallEnvelope, RouteFacts, SealError};
use holdpoint_core::freeze::Freeze;
use holdpoint_core::identity::Principal;
use holdpoint_core::json;
use holdpoint_core::mcp::{self, Malformed, McpMessage, MessageKind, Method, OwnRound, Posted, Target};
use holdpoint_core::policy::NoUsage;

use super::callout::Callout;
use super::hold::Hold;
use super::overheard::Overheard;
use super::response::{Governing, Running};
use super::{Exchange, Forward, HostCommand, LogLevel, Phase, RequestHead, Surroundings};
use crate::enforce::{self, HeaderEdit, Passage, Plan};
use crate::identity::{self, CallerFacts, IdentityError};
use crate::line::{self, DecisionLine};
use crate::metrics::Metric;
use crate::refusal::{self, Asked, LocalReply, Refusal};
use crate::session::{self, SessionOwner};
use crate::usage::{self, Leased};

/// Most rules that one entry names; the digest of the basis stands for all of them.
const RULES_NAMED_MAX: usize = 32;

/// Headers that repeat a message, which a GET or a DELETE has none of; some clients send those of their last message.
const STALE_HEADERS: &[&str] = &["mcp-method", "mcp-name"];

/// Ends Envoy's wait for the end of an answer; 0 is no end. A stream is open for as long as its session.
const TIMEOUT_HEADER: &str = "x-envoy-upstream-rq-timeout-ms";

/// What a client is told that answers a question which its server, as far as anybody knows, did not put.
const NOBODY_ASKED: &str = "no request of the server is open that this would answer";

/// What the route's metadata in namespace `holdpoint` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMetadata {
    /// The catalogue's name for this route.
    pub server: Option<String>,
    /// The route is not governed.
    pub passthrough: bool,
    /// The route says `anonymous: judged`: callers who prove nothing are judged as one anonymous principal.
    pub judges_anonymous: bool,
}

/// A request whose headers are held until its body is judged.
pub(super) struct AwaitingBody {
    head: RequestHead,
    principal: Principal,
    began_at_ms: u64,
    saw_body: bool,
}

impl Exchange {
    pub(super) fn on_head(&mut self, head: RequestHead, around: &mut Surroundings<'_>) -> (Phase, Vec<HostCommand>) {
        if head.route.passthrough {
            let mut commands = vec![HostCommand::Count(Metric::Passthrough, 1)];
            if head.looks_like_mcp() {
                commands.push(HostCommand::Count(Metric::PassthroughMcp, 1));
            }
            commands.push(HostCommand::Continue);
            return (Phase::Passing, commands);
        }
        let caller = CallerFacts {
            headers: &head.headers,
            dynamic_metadata: &head.dynamic_metadata,
            certificate: head.certificate.as_ref(),
        };
        let principal = match identity::resolve(&self.config.identity, &caller) {
            Ok(principal) => principal,
            // Only who sent nothing is anonymous: what is there and cannot be used is refused below.
            Err(IdentityError::Absent(_)) if head.route.judges_anonymous => Principal::anonymous(),
            Err(error) => {
                let takes_tokens = self.config.identity.iter().any(|source| matches!(source.proof, Proof::Jwt { .. }));
                let why = error.to_string();
                let mut commands = vec![
                    HostCommand::Count(Metric::Unidentified, 1),
                    HostCommand::FilterState("holdpoint.verdict", "unidentified".to_owned()),
                    HostCommand::Reply(refusal::unidentified(&why, takes_tokens)),
                ];
                let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
                entry.server = head.route.server;
                entry.detail = Some(why);
                commands.extend(refused_line("unidentified", &entry, around));
                commands.push(HostCommand::RecordRefusal(Box::new(entry)));
                return (Phase::Ended, commands);
            }
        };
        if !matches!(head.value(":method"), Some(b"POST" | b"GET" | b"DELETE")) {
            return (Phase::Ended, vec![HostCommand::Reply(refusal::method_not_allowed())]);
        }
        let waiting = AwaitingBody { head, principal, began_at_ms: around.now_ms, saw_body: false };
        let mut commands = vec![HostCommand::Pause];
        // Only until the first body proves that Envoy delivers them: afterwards a slow body is Envoy's
        // `request_timeout`'s matter, and a wake-up for every request would cost more than judging it.
        if !around.worker.bodies_arrive(&self.plugin) {
            commands.push(HostCommand::WakeAt(around.now_ms.saturating_add(self.config.limits.body_wait_ms)));
        }
        (Phase::AwaitingBody(Box::new(waiting)), commands)
    }

    pub(super) fn on_part(
        &self,
        mut waiting: Box<AwaitingBody>,
        buffered_bytes: u64,
        around: &mut Surroundings<'_>,
    ) -> (Phase, Vec<HostCommand>) {
        waiting.saw_body = true;
        around.worker.note_body(&self.plugin);
        if buffered_bytes > self.config.limits.body_bytes_max {
            return self.too_large(&waiting, around);
        }
        (Phase::AwaitingBody(waiting), vec![HostCommand::Pause])
    }

    pub(super) fn on_body_wait_over(
        &self,
        waiting: Box<AwaitingBody>,
        around: &mut Surroundings<'_>,
    ) -> (Phase, Vec<HostCommand>) {
        let body_wait_ms = self.config.limits.body_wait_ms;
        if waiting.saw_body || around.now_ms < waiting.began_at_ms.saturating_add(body_wait_ms) {
            return (Phase::AwaitingBody(waiting), Vec::new());
        }
        let reply = refusal::no_body(body_wait_ms);
        let line = format!("refused: {}", reply.body);
        (Phase::Ended, vec![HostCommand::Log(LogLevel::Error, line), HostCommand::Reply(reply)])
    }

    pub(super) fn on_complete(
        &mut self,
        waiting: AwaitingBody,
        body: Vec<u8>,
        has_trailers: bool,
        around: &mut Surroundings<'_>,
    ) -> (Phase, Vec<HostCommand>) {
        let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        // A request without a body ends with its headers, and proves nothing.
        if body_bytes > 0 {
            around.worker.note_body(&self.plugin);
        }
        if body_bytes > self.config.limits.body_bytes_max {
            return self.too_large(&waiting, around);
        }
        let AwaitingBody { head, principal, .. } = waiting;
        let posted = match self.read(&head, body, has_trailers) {
            Ok(posted) => posted,
            Err(found) => return malformed(&principal, &head, &found.detail, refusal::malformed(&found), around),
        };
        let delivery = match Delivery::of(head, principal, body_bytes, has_trailers) {
            Ok(delivery) => delivery,
            Err(undelivered) => {
                let (head, principal, why) = *undelivered;
                return malformed(&principal, &head, why, refusal::broken(why), around);
            }
        };
        match posted {
            Posted::One(message) => self.on_message(*message, &delivery, around),
            Posted::Batch(messages) => self.on_batch(messages, &delivery, around),
        }
    }

    /// Step 3.
    fn read(&self, head: &RequestHead, body: Vec<u8>, has_trailers: bool) -> Result<Posted, Malformed> {
        let limits = json::Limits { depth_max: self.config.limits.depth_max, ..json::Limits::default() };
        let head = mcp::Head {
            method: head.value(":method").unwrap_or_default(),
            path: head.value(":path").unwrap_or_default(),
            headers: &head.headers,
        };
        if head.method == b"POST" {
            return mcp::read_posted(&head, body, &limits);
        }
        mcp::read_bodiless(&head, !body.is_empty() || has_trailers).map(|message| Posted::One(Box::new(message)))
    }

    fn on_message(
        &mut self,
        message: McpMessage,
        delivery: &Delivery,
        around: &mut Surroundings<'_>,
    ) -> (Phase, Vec<HostCommand>) {
        let (message, body, round) = match self.without_own_round(message, delivery) {
            Ok(parts) => parts,
            Err(unread) => {
                let (asked, why) = *unread;
                return (Phase::Ended, refuse(&Refusal::Unsupported(why), &asked));
            }
        };
        let asked = Asked::of(&message);
        match self.seal(message, delivery, around) {
            Ok(judged) => self.decide(Judged { body, round, ..judged }, around),
            Err(unsealed) => {
                let Unsealed { mut commands, refusal } = *unsealed;
                commands.extend(refuse(&refusal, &asked));
                (Phase::Ended, commands)
            }
        }
    }

    /// Takes out of a message what it carries of rounds that Holdpoint itself had with this client, and reads the rest
    /// anew: only what the server gets is judged. Answers the body to forward where it is not the one that came.
    fn without_own_round(&self, message: McpMessage, delivery: &Delivery) -> Result<Unwrapped, Box<(Asked, String)>> {
        let own = match OwnRound::of(&message) {
            Ok(None) => return Ok((message, None, None)),
            Ok(Some(own)) => own,
            Err(found) => return Err(Box::new((Asked::of(&message), found.detail))),
        };
        if delivery.has_trailers {
            return Err(Box::new((Asked::of(&message), "a later round of a call must not carry trailers".to_owned())));
        }
        let headers: Vec<(Vec<u8>, Vec<u8>)> =
            delivery.headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect();
        let head = mcp::Head { method: b"POST", path: delivery.route.path.as_bytes(), headers: &headers };
        let limits = json::Limits { depth_max: self.config.limits.depth_max, ..json::Limits::default() };
        match mcp::read(&head, own.body.clone(), &limits) {
            Ok(rest) => Ok((rest, Some(own.body), own.token)),
            Err(found) => Err(Box::new((Asked::of(&message), found.detail))),
        }
    }

    /// Step 5, and whether the session is its sender's own.
    pub(super) fn seal(
        &self,
        message: McpMessage,
        delivery: &Delivery,
        around: &mut Surroundings<'_>,
    ) -> Result<Judged, Box<Unsealed>> {
        let asked = Asked::of(&message);
        let call = Call {
            message,
            principal: delivery.principal.clone(),
            route: delivery.route.clone(),
            headers: delivery.headers.clone(),
            // No list of this server has been read here yet; an absent hint tightens nothing.
            annotations: Annotations::default(),
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
        if let Some(id) = envelope.message().mcp_session_id() {
            let owner = owner();
            if !session::is_owned(around.shared, &owner, Digest::of(id.as_bytes()), around.now_ms) {
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
            trace_id: delivery.trace_id.clone(),
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
        around: &Surroundings<'_>,
    ) -> (Decision, Result<Plan, Box<Freeze>>) {
        let (decision, plan) = enforce::plan(self.config.policy.evaluate(&judged.envelope, &NoUsage));
        if decision.verdict != Verdict::Allow {
            judged.asked.name_call(judged.envelope.call_digest().to_string());
        }
        let freeze = around.worker.freezes.stops(&judged.envelope);
        let plan = match freeze {
            Some(freeze) => Err(Box::new(freeze.clone())),
            None => Ok(plan),
        };
        (decision, plan)
    }

    fn decide(&mut self, mut judged: Judged, around: &mut Surroundings<'_>) -> (Phase, Vec<HostCommand>) {
        let (decision, plan) = match self.judge(&mut judged, around) {
            (decision, Ok(plan)) => (decision, plan),
            (decision, Err(freeze)) => return (Phase::Ended, frozen(&judged, decision, &freeze, around)),
        };
        let mut commands = vec![HostCommand::Count(Metric::Decision(decision.verdict), 1)];
        commands.extend(judged.shown(&decision));
        commands.extend(judged.line(&decision, around));
        let phase = match plan {
            Plan::Reject => {
                let entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                commands.push(HostCommand::Record(Box::new(entry)));
                commands.extend(refuse(&Refusal::Denied(Box::new(decision)), &judged.asked));
                Phase::Ended
            }
            Plan::Forward(permit) => {
                let holder = around.worker.ids.next_number();
                match usage::take(around.shared, permit.constraints(), holder, around.now_ms) {
                    Leased::Full { rule_id } => {
                        let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        entry.detail = Some(format!("rule `{rule_id}` lets no more calls run now"));
                        commands.push(HostCommand::Record(Box::new(entry)));
                        commands.extend(refuse(&Refusal::Busy { rule_id }, &judged.asked));
                        Phase::Ended
                    }
                    Leased::All(leases) if !may_try(&judged, permit.constraints(), around) => {
                        usage::give_back(around.shared, leases, around.now_ms);
                        let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        entry.detail = Some("sent again more often than `max_retries` allows".to_owned());
                        commands.push(HostCommand::Record(Box::new(entry)));
                        let retries_max = permit.constraints().max_retries.unwrap_or_default();
                        commands.extend(refuse(&Refusal::TriedTooOften { retries_max }, &judged.asked));
                        Phase::Ended
                    }
                    Leased::All(leases) => {
                        let entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        if *judged.envelope.message().method() == Method::Initialize {
                            let envelope = &judged.envelope;
                            self.opens_session = Some(SessionOwner::new(envelope.server(), envelope.principal()));
                        }
                        commands.extend(judged.cancellation(&self.config));
                        self.overheard = Some(Box::new(Overheard::answer_to(&judged.envelope)));
                        let tried = permit.constraints().max_retries.map(|_| judged.envelope.call_digest());
                        let governing = Governing::new(&self.config, &judged.envelope);
                        let constraints = permit.constraints();
                        let running = Running::new(&judged.asked, governing, constraints, leases, entry, around.now_ms)
                            .trying(tried);
                        commands.extend(running.alarms());
                        commands.push(HostCommand::Forward(judged.forward(&self.config, permit, false)));
                        Phase::Running(Box::new(running))
                    }
                }
            }
            // Trailers are not part of what people are shown, and some servers read them as headers.
            Plan::Hold if judged.has_trailers => {
                let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                let why = "a call that needs an approval must not carry trailers";
                entry.detail = Some(why.to_owned());
                commands.push(HostCommand::Record(Box::new(entry)));
                commands.extend(refuse(&Refusal::Unsupported(why.to_owned()), &judged.asked));
                Phase::Ended
            }
            // People decide about people: for whom would an approver approve?
            Plan::Hold if judged.envelope.principal().is_anonymous() => {
                let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                let why = "this call needs an approval, and a caller without an identity cannot have one: authenticate";
                entry.detail = Some(why.to_owned());
                commands.push(HostCommand::Record(Box::new(entry)));
                commands.extend(refuse(&Refusal::Unsupported(why.to_owned()), &judged.asked));
                Phase::Ended
            }
            Plan::Hold => {
                let entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                commands.push(HostCommand::Record(Box::new(entry)));
                let ask = self.next_ask();
                let (hold, begun) = Hold::begin(judged, decision, &self.config, ask, around);
                commands.extend(begun);
                Phase::Held(Box::new(hold))
            }
        };
        (phase, commands)
    }

    fn too_large(&self, waiting: &AwaitingBody, around: &Surroundings<'_>) -> (Phase, Vec<HostCommand>) {
        let reply = refusal::too_large(self.config.limits.body_bytes_max);
        malformed(&waiting.principal, &waiting.head, "body over `limits.body_bytes_max`", reply, around)
    }
}

/// One call from its sealing to its end, with what its answers and entries need.
pub(super) struct Judged {
    pub(super) envelope: CallEnvelope,
    pub(super) asked: Asked,
    pub(super) trace_id: Option<String>,
    pub(super) body_bytes: u64,
    has_trailers: bool,
    /// What is forwarded, where that is not the body as it came.
    body: Option<Vec<u8>>,
    /// What this client was given when it was last told to come back.
    pub(super) round: Option<String>,
}

/// A message without what Holdpoint itself had given its client, the body to forward where that differs from what came,
/// and the token of the round.
type Unwrapped = (McpMessage, Option<Vec<u8>>, Option<String>);

/// Why a message was not sealed, and what to do beside answering it so.
pub(super) struct Unsealed {
    pub(super) commands: Vec<HostCommand>,
    pub(super) refusal: Refusal,
}

/// What one HTTP request gives every message in it.
pub(super) struct Delivery {
    principal: Principal,
    route: RouteFacts,
    headers: Vec<(String, Vec<u8>)>,
    trace_id: Option<String>,
    body_bytes: u64,
    has_trailers: bool,
}

impl Delivery {
    /// The error gives back what it was given, with what is wrong with it.
    fn of(
        mut head: RequestHead,
        principal: Principal,
        body_bytes: u64,
        has_trailers: bool,
    ) -> Result<Self, Box<(RequestHead, Principal, &'static str)>> {
        let Ok(path) = std::str::from_utf8(head.value(":path").unwrap_or_default()) else {
            return Err(Box::new((head, principal, "the path is not UTF-8")));
        };
        let route = RouteFacts {
            metadata_server: head.route.server.clone(),
            host: head.value(":authority").and_then(|host| std::str::from_utf8(host).ok()).map(str::to_owned),
            path: path.to_owned(),
            cluster: head.cluster.clone(),
        };
        if head.headers.iter().any(|(name, _)| std::str::from_utf8(name).is_err()) {
            return Err(Box::new((head, principal, "a header name is not text")));
        }
        let trace_id = head.trace_id();
        let named = std::mem::take(&mut head.headers).into_iter();
        let headers = named.filter_map(|(name, value)| Some((String::from_utf8(name).ok()?, value))).collect();
        Ok(Self { principal, route, headers, trace_id, body_bytes, has_trailers })
    }
}

impl Judged {
    /// Lets this one message go, under its permit.
    pub(super) fn forward(self, config: &FilterConfig, permit: impl Into<PermitSet>, is_approved: bool) -> Forward {
        let permit = permit.into();
        let edits = self.edits(config, permit.constraints(), is_approved);
        Forward { permit, edits, body: self.body }
    }

    /// Of a client that takes one of its calls back: what the service is told, which knows whether that one is held.
    pub(super) fn cancellation(&self, config: &FilterConfig) -> Option<HostCommand> {
        let is_one = *self.envelope.message().method() == Method::NotificationsCancelled;
        let cancel_key = self.envelope.cancel_key().filter(|_| is_one)?;
        Some(HostCommand::Tell(Callout::cancel(&config.approval, cancel_key)))
    }

    /// What the access log and the filters behind this one are told.
    pub(super) fn shown(&self, decision: &Decision) -> Vec<HostCommand> {
        let mut commands = vec![
            HostCommand::FilterState("holdpoint.verdict", decision.verdict.as_str().to_owned()),
            HostCommand::FilterState("holdpoint.rule", decision.rule_id().to_owned()),
            HostCommand::FilterState("holdpoint.snapshot", decision.snapshot_id.to_string()),
        ];
        // For the RBAC filter behind this one, which lets the call through only on a route that says the same.
        if let Some(server) = &self.envelope.call().route.metadata_server {
            commands.push(HostCommand::FilterState("holdpoint.server", server.clone()));
        }
        commands
    }

    /// One structured line for the operator, if anybody reads it.
    pub(super) fn line(&self, decision: &Decision, around: &Surroundings<'_>) -> Option<HostCommand> {
        if !around.worker.logs_info {
            return None;
        }
        let verdict = match decision.verdict {
            Verdict::Allow if !decision.constraints.is_empty() => "allow_with_constraints",
            other => other.as_str(),
        };
        let principal = self.envelope.principal();
        // A call that runs at once never pays for its digest.
        let call = (decision.verdict != Verdict::Allow).then(|| self.envelope.call_digest().short());
        Some(HostCommand::Decided(DecisionLine::new(&[
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
            ("trace_id", self.trace_id.as_deref()),
        ])))
    }

    /// An entry of the record with everything known of this call.
    pub(super) fn entry(&self, kind: EntryKind, decision: &Decision, now_ms: u64) -> AuditEntry {
        let mut entry = AuditEntry::new(kind, now_ms);
        entry.principal = Some(self.envelope.principal().named());
        entry.server = Some(self.envelope.server().to_owned());
        entry.method = Some(self.envelope.method().to_owned());
        entry.target = self.envelope.target().map(bounded);
        entry.call_digest = records_digest(decision).then(|| self.envelope.call_digest());
        entry.verdict = Some(decision.verdict);
        entry.rule_ids = decision.reasons.iter().take(RULES_NAMED_MAX).map(|reason| reason.rule_id.clone()).collect();
        entry.snapshot_id = Some(decision.snapshot_id);
        entry.basis = Some(decision.basis);
        entry.observed.clone_from(&decision.observed);
        entry.audit = decision.audit;
        entry.constraints = (!decision.constraints.is_empty()).then(|| bounded(&decision.constraints.to_string()));
        entry.trace_id.clone_from(&self.trace_id);
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
        if *message.method() == Method::StreamOpen && constraints.max_runtime_ms.is_none() {
            edits.push(HeaderEdit::Set(TIMEOUT_HEADER, "0".to_owned()));
        }
        edits
    }
}

/// Headers that say for whom a trusted client acts: to the server they would look like the gateway's own word.
fn identity_headers(config: &FilterConfig) -> BTreeSet<&str> {
    let named = config.identity.iter().filter_map(|source| match &source.proof {
        Proof::Header { name, .. } => Some(name.as_str()),
        Proof::Jwt { .. } | Proof::MtlsUriSan => None,
    });
    named.collect()
}

impl RequestHead {
    /// The first value of a header.
    fn value(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(one, _)| one == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// Whether a client of MCP may have sent this.
    fn looks_like_mcp(&self) -> bool {
        let names_mcp = self.headers.iter().any(|(name, _)| name.starts_with(b"mcp-"));
        let accepts = self.value("accept").unwrap_or_default();
        let takes = |essence: &[u8]| accepts.windows(essence.len()).any(|part| part.eq_ignore_ascii_case(essence));
        // What every client of Streamable HTTP must accept, and hardly anybody else does.
        names_mcp || (takes(b"application/json") && takes(b"text/event-stream"))
    }

    /// The trace id of a W3C `traceparent` header (version-traceid-parentid-flags).
    fn trace_id(&self) -> Option<String> {
        let text = std::str::from_utf8(self.value("traceparent")?).ok()?;
        let id = text.split('-').nth(1)?;
        let is_trace_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_trace_id.then(|| id.to_owned())
    }
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
        usage::try_once(around.shared, judged.envelope.call_digest(), retries_max, around.now_ms)
    })
}

/// Answers with a refusal and shows it in the access log.
pub(super) fn refuse(refusal: &Refusal, asked: &Asked) -> Vec<HostCommand> {
    vec![HostCommand::Reply(refusal.reply(asked))]
}

/// An administrator has stopped this, whatever the policy would say: recorded as the deny that it is.
fn frozen(judged: &Judged, decision: Decision, freeze: &Freeze, around: &Surroundings<'_>) -> Vec<HostCommand> {
    let rule = format!("freeze:{}", freeze.id);
    let mut entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
    entry.verdict = Some(Verdict::Deny);
    entry.rule_ids.insert(0, rule.clone());
    entry.detail = Some(bounded(&format!("stopped by {}: {}", freeze.by, freeze.reason)));
    let mut commands = vec![
        HostCommand::Count(Metric::Frozen, 1),
        HostCommand::FilterState("holdpoint.verdict", Verdict::Deny.as_str().to_owned()),
        HostCommand::FilterState("holdpoint.rule", rule),
        HostCommand::Record(Box::new(entry)),
    ];
    commands.extend(refuse(&Refusal::Frozen { reason: freeze.reason.clone() }, &judged.asked));
    commands
}

fn malformed(
    principal: &Principal,
    head: &RequestHead,
    detail: &str,
    reply: LocalReply,
    around: &Surroundings<'_>,
) -> (Phase, Vec<HostCommand>) {
    let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
    entry.principal = Some(principal.named());
    entry.server.clone_from(&head.route.server);
    entry.detail = Some(bounded(detail));
    entry.trace_id = head.trace_id();
    let mut commands = vec![
        HostCommand::Count(Metric::Malformed, 1),
        HostCommand::FilterState("holdpoint.verdict", "malformed".to_owned()),
        HostCommand::Reply(reply),
    ];
    commands.extend(refused_line("malformed", &entry, around));
    commands.push(HostCommand::RecordRefusal(Box::new(entry)));
    (Phase::Ended, commands)
}

/// One structured line for a message that was refused before any rule; `kind` is of a fixed set.
fn refused_line(kind: &str, entry: &AuditEntry, around: &Surroundings<'_>) -> Option<HostCommand> {
    let principal = entry.principal.as_ref();
    around.worker.logs_info.then(|| {
        let text = line::text(
            "refusal",
            &[
                ("kind", Some(kind)),
                ("server", entry.server.as_deref()),
                ("method", entry.method.as_deref()),
                ("issuer", principal.map(|principal| principal.issuer.as_str())),
                ("subject", principal.map(|principal| principal.subject.as_str())),
                ("detail", entry.detail.as_deref()),
                ("trace_id", entry.trace_id.as_deref()),
            ],
        );
        HostCommand::Log(LogLevel::Info, text)
    })
}

pub(super) fn bounded(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}
