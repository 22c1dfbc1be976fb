//! Steps 2 to 4: from the request's headers to its messages. Identify, buffer, read.
//!
//! The principal is resolved before the body is buffered, so that nobody without an identity can make a worker keep
//! bodies for him.

use std::sync::Arc;

use holdpoint_core::audit::{AuditEntry, DETAIL_CHARS_MAX, EntryKind};
use holdpoint_core::config::Proof;
use holdpoint_core::envelope::RouteFacts;
use holdpoint_core::identity::Principal;
use holdpoint_core::json;
use holdpoint_core::mcp::{self, Malformed, McpMessage, OwnRound, Posted};
use holdpoint_core::trace_parent::TraceParent;

use super::judged::Unsealed;
use super::{Exchange, HostCommand, LogLevel, Phase, RequestHead, Surroundings};
use crate::identity::{self, CallerFacts, IdentityError};
use crate::line;
use crate::metrics::Metric;
use crate::refusal::{self, Asked, LocalReply, Refusal};
use crate::worker::Worker;

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
    principal: Arc<Principal>,
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
        let principal = match identity::resolve(&self.config.identity, &caller, &mut around.worker.known) {
            Ok(principal) => principal,
            // Only who sent nothing is anonymous: what is there and cannot be used is refused below.
            Err(IdentityError::Absent(_)) if head.route.judges_anonymous => Arc::new(Principal::anonymous()),
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

    /// Whether all that a part of the body asks for is to wait for the rest; takes note that it has come.
    pub fn keeps_part(&mut self, buffered_bytes: u64, worker: &mut Worker) -> bool {
        let Phase::AwaitingBody(waiting) = &mut self.phase else { return false };
        waiting.saw_body = true;
        worker.note_body(&self.plugin);
        buffered_bytes <= self.config.limits.body_bytes_max
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
            Posted::One(message) => self.on_message(*message, delivery, around),
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
        delivery: Delivery,
        around: &mut Surroundings<'_>,
    ) -> (Phase, Vec<HostCommand>) {
        let (message, body, round) = match self.without_own_round(message, &delivery) {
            Ok(parts) => parts,
            Err(unread) => {
                let (asked, why) = *unread;
                return (Phase::Ended, refuse(&Refusal::Unsupported(why), &asked));
            }
        };
        let asked = Asked::of(&message);
        match self.seal(message, delivery, around) {
            Ok(mut judged) => {
                (judged.body, judged.round) = (body, round);
                self.decide(judged, around)
            }
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

    pub(super) fn too_large(&self, waiting: &AwaitingBody, around: &Surroundings<'_>) -> (Phase, Vec<HostCommand>) {
        let reply = refusal::too_large(self.config.limits.body_bytes_max);
        malformed(&waiting.principal, &waiting.head, "body over `limits.body_bytes_max`", reply, around)
    }
}

/// A message without what Holdpoint itself had given its client, the body to forward where that differs from what came,
/// and the token of the round.
type Unwrapped = (McpMessage, Option<Vec<u8>>, Option<String>);

/// A request that cannot be delivered as it is, whom it acts for, and what is wrong with it.
type Undelivered = (RequestHead, Arc<Principal>, &'static str);

/// What one HTTP request gives every message in it.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) principal: Arc<Principal>,
    pub(super) route: RouteFacts,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) trace: Option<TraceParent>,
    pub(super) body_bytes: u64,
    pub(super) has_trailers: bool,
}

impl Delivery {
    /// The error gives back what it was given, with what is wrong with it.
    fn of(
        mut head: RequestHead,
        principal: Arc<Principal>,
        body_bytes: u64,
        has_trailers: bool,
    ) -> Result<Self, Box<Undelivered>> {
        let path = std::str::from_utf8(head.value(":path").unwrap_or_default()).map(str::to_owned);
        let Ok(path) = path else {
            return Err(Box::new((head, principal, "the path is not UTF-8")));
        };
        let route = RouteFacts {
            metadata_server: head.route.server.take(),
            host: head.value(":authority").and_then(|host| std::str::from_utf8(host).ok()).map(str::to_owned),
            path,
            cluster: head.cluster.take(),
        };
        let trace = head.trace_parent();
        let count = head.headers.len();
        let named = std::mem::take(&mut head.headers).into_iter();
        let headers: Vec<(String, Vec<u8>)> =
            named.filter_map(|(name, value)| Some((String::from_utf8(name).ok()?, value))).collect();
        if headers.len() != count {
            head.headers = headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            head.route.server = route.metadata_server;
            return Err(Box::new((head, principal, "a header name is not text")));
        }
        Ok(Self { principal, route, headers, trace, body_bytes, has_trailers })
    }
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

    fn trace_parent(&self) -> Option<TraceParent> {
        TraceParent::parse(std::str::from_utf8(self.value("traceparent")?).ok()?)
    }
}

/// Answers with a refusal and shows it in the access log.
pub(super) fn refuse(refusal: &Refusal, asked: &Asked) -> Vec<HostCommand> {
    vec![HostCommand::Reply(refusal.reply(asked))]
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
    entry.trace_id = head.trace_parent().map(|parent| parent.trace_id);
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
pub(super) fn refused_line(kind: &str, entry: &AuditEntry, around: &Surroundings<'_>) -> Option<HostCommand> {
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
    match text.len() <= DETAIL_CHARS_MAX {
        true => text.to_owned(),
        false => text.chars().take(DETAIL_CHARS_MAX).collect(),
    }
}
