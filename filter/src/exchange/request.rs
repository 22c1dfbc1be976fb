//! Steps 2 to 7: from the request's headers to its fate. Identify, buffer, read, seal, decide, enforce.
//!
//! The principal is resolved before the body is buffered, so that nobody without an identity can make a worker keep
//! bodies for him.

use std::collections::BTreeSet;

use holdpoint_core::audit::{AuditEntry, DETAIL_CHARS_MAX, EntryKind};
use holdpoint_core::config::{FilterConfig, Proof};
use holdpoint_core::decision::{AuditLevel, Constraints, Decision, Verdict};
use holdpoint_core::envelope::{Annotations, Call, CallEnvelope, RouteFacts};
use holdpoint_core::freeze::Freeze;
use holdpoint_core::identity::Principal;
use holdpoint_core::json;
use holdpoint_core::mcp::{self, MessageKind};
use holdpoint_core::policy::NoUsage;

use super::hold::Hold;
use super::response::Running;
use super::{Exchange, Forward, HostCommand, LogLevel, Phase, RequestHead, Surroundings};
use crate::enforce::{self, Passage, Plan};
use crate::identity::{self, CallerFacts, IdentityError};
use crate::metrics::Metric;
use crate::refusal::{self, Asked, LocalReply, Refusal};
use crate::usage::{self, Leased};

/// Most rules that one entry names; the digest of the basis stands for all of them.
const RULES_NAMED_MAX: usize = 32;

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
            return (Phase::Passing, vec![HostCommand::Count(Metric::Passthrough, 1), HostCommand::Continue]);
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
                let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
                entry.server = head.route.server;
                entry.detail = Some(error.to_string());
                return (
                    Phase::Ended,
                    vec![
                        HostCommand::Count(Metric::Unidentified, 1),
                        HostCommand::FilterState("holdpoint.verdict", "unidentified".to_owned()),
                        HostCommand::RecordRefusal(Box::new(entry)),
                        HostCommand::Reply(refusal::unidentified(&error.to_string(), takes_tokens)),
                    ],
                );
            }
        };
        if head.value(":method") != Some(b"POST") {
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
        let limits = json::Limits { depth_max: self.config.limits.depth_max, ..json::Limits::default() };
        let read = mcp::read(
            &mcp::Head {
                method: head.value(":method").unwrap_or_default(),
                path: head.value(":path").unwrap_or_default(),
                headers: &head.headers,
            },
            body,
            &limits,
        );
        let message = match read {
            Ok(message) => message,
            Err(found) => return malformed(&principal, &head, &found.detail, refusal::malformed(&found), around),
        };
        let Ok(path) = std::str::from_utf8(head.value(":path").unwrap_or_default()) else {
            let reply = refusal::broken("the path is not UTF-8");
            return malformed(&principal, &head, "the path is not UTF-8", reply, around);
        };
        let route = RouteFacts {
            metadata_server: head.route.server.clone(),
            host: head.value(":authority").and_then(|host| std::str::from_utf8(host).ok()).map(str::to_owned),
            path: path.to_owned(),
            cluster: head.cluster.clone(),
        };
        let asked = Asked::of(&message);
        if message.kind() == MessageKind::Response {
            // Servers are given no stream on which they could have asked, so nothing can be answered to them.
            let why = "answers to server-initiated requests are not supported on a governed route";
            return (Phase::Ended, refuse(&Refusal::Unsupported(why.to_owned()), &asked));
        }
        let trace_id = head.trace_id();
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in head.headers {
            match String::from_utf8(name) {
                Ok(name) => headers.push((name, value)),
                Err(_) => {
                    return (Phase::Ended, vec![HostCommand::Reply(refusal::broken("a header name is not text"))]);
                }
            }
        }
        // No list of this server has been read here yet; an absent hint tightens nothing.
        let call = Call { message, principal, route, headers, annotations: Annotations::default() };
        let envelope = match self.config.policy.seal(call) {
            Ok(envelope) => envelope,
            Err((call, error)) => {
                let mut entry = AuditEntry::new(EntryKind::Refusal, around.now_ms);
                entry.method = Some(call.message.method().as_str().to_owned());
                entry.principal = Some(call.principal.named());
                entry.detail = Some(bounded(&error.to_string()));
                let mut commands = vec![
                    HostCommand::RecordRefusal(Box::new(entry)),
                    HostCommand::Log(LogLevel::Warn, format!("refused: {error}")),
                ];
                commands.extend(refuse(&Refusal::Unsupported(error.to_string()), &asked));
                return (Phase::Ended, commands);
            }
        };
        let judged = Judged { envelope, asked, trace_id, body_bytes, has_trailers };
        self.decide(judged, around)
    }

    /// Steps 6 and 7.
    fn decide(&mut self, mut judged: Judged, around: &mut Surroundings<'_>) -> (Phase, Vec<HostCommand>) {
        let evaluated = self.config.policy.evaluate(&judged.envelope, &NoUsage);
        if let Some(freeze) = around.worker.freezes.stops(&judged.envelope) {
            return (Phase::Ended, frozen(&judged, evaluated.decision, &freeze.clone(), around));
        }
        let (decision, plan) = enforce::plan(evaluated);
        if decision.verdict != Verdict::Allow {
            judged.asked = judged.asked.with_call_digest(judged.envelope.call_digest().to_string());
        }
        let mut commands = vec![
            HostCommand::Count(Metric::Decision(decision.verdict), 1),
            HostCommand::FilterState("holdpoint.verdict", decision.verdict.as_str().to_owned()),
            HostCommand::FilterState("holdpoint.rule", decision.rule_id().to_owned()),
            HostCommand::FilterState("holdpoint.snapshot", decision.snapshot_id.to_string()),
            HostCommand::Log(LogLevel::Info, line(&judged, &decision)),
        ];
        // For the RBAC filter behind this one, which lets the call through only on a route that says the same.
        if let Some(server) = &judged.envelope.call().route.metadata_server {
            commands.push(HostCommand::FilterState("holdpoint.server", server.clone()));
        }
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
                        entry.detail = Some(format!("no free slot under rule `{rule_id}`"));
                        commands.push(HostCommand::Record(Box::new(entry)));
                        commands.extend(refuse(&Refusal::Busy { rule_id }, &judged.asked));
                        Phase::Ended
                    }
                    Leased::All(leases) => {
                        let entry = judged.entry(EntryKind::Decision, &decision, around.now_ms);
                        let edits = judged.edits(&self.config, permit.constraints(), false);
                        let running = Running::new(&judged.asked, permit.constraints(), leases, entry, around.now_ms);
                        commands.extend(running.renewal());
                        commands.push(HostCommand::Forward(Forward { permit, edits }));
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
}

impl Judged {
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
        entry.trace_id.clone_from(&self.trace_id);
        entry
    }

    /// The header edits under which this call is forwarded.
    pub(super) fn edits(
        &self,
        config: &FilterConfig,
        constraints: &Constraints,
        is_approved: bool,
    ) -> Vec<enforce::HeaderEdit> {
        let names = self.envelope.call().headers.iter().map(|(name, _)| name.as_str());
        let passage =
            Passage { is_approved, bound: self.envelope.bound_headers(), stripped: &identity_headers(config) };
        enforce::header_edits(names, constraints, &passage)
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
    let commands = vec![
        HostCommand::Count(Metric::Malformed, 1),
        HostCommand::FilterState("holdpoint.verdict", "malformed".to_owned()),
        HostCommand::RecordRefusal(Box::new(entry)),
        HostCommand::Reply(reply),
    ];
    (Phase::Ended, commands)
}

/// One structured line per decision. Names only: arguments never reach the log.
fn line(judged: &Judged, decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Allow if !decision.constraints.is_empty() => "allow_with_constraints",
        other => other.as_str(),
    };
    serde_json::json!({
        "event": "decision",
        "verdict": verdict,
        "rule": decision.rule_id(),
        "server": judged.envelope.server(),
        "method": judged.envelope.method(),
        "target": judged.envelope.target(),
        "subject": judged.envelope.principal().subject,
        "call": (decision.verdict != Verdict::Allow).then(|| judged.envelope.call_digest().short()),
        "snapshot": decision.snapshot_id.short(),
        "trace_id": judged.trace_id,
    })
    .to_string()
}

fn bounded(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}
