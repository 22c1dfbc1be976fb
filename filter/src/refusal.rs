//! Step 7: every way to say no, or not yet, and how it looks to the client. One table for all of it.
//!
//! A policy answer is never an HTTP error: some clients lose their whole connection on 4xx. A refused `tools/call` is
//! a tool result with `isError: true` and a sentence the model can act on; other methods get a JSON-RPC error with a
//! code outside the reserved range. Nothing here looks like success.

use holdpoint_core::approval::{ApprovalStatus, ComeBack, RanBefore};
use holdpoint_core::decision::Decision;
use holdpoint_core::digest::Digest;
use holdpoint_core::mcp::{Era, Malformed, McpMessage, MessageKind, Method, OWN_KEY_PREFIX};
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// JSON-RPC code of a denial: outside -32768..-32000, which JSON-RPC and MCP keep for themselves.
pub const CODE_DENIED: i32 = -31_001;
/// JSON-RPC code of "waits for an approval, repeat the call".
pub const CODE_PENDING: i32 = -31_002;
/// JSON-RPC code of "the approval service cannot be reached, nothing ran".
pub const CODE_UNAVAILABLE: i32 = -31_003;
/// JSON-RPC code of a limit that is reached for now.
pub const CODE_LIMITED: i32 = -31_004;
/// What servers answer with the status 404 of a dead session.
const CODE_NO_SESSION: i32 = -32_001;
/// MCP 2025-11-25's "the user has to open a URL first".
const CODE_WANTS_URL: i32 = -32_042;
/// JSON-RPC's own "invalid params", which MCP answers for an unknown tool, resource or prompt.
const CODE_INVALID_PARAMS: i32 = -32_602;

/// Where a refusal's machine-readable part stands.
const META_KEY: &str = "holdpoint.dev/decision";

/// What Envoy sends instead of forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Shows in Envoy's response code details; one word of a fixed set.
    pub details: &'static str,
}

/// What of a message an answer needs.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Verbatim JSON text of the id; `None` for notifications.
    id: Option<String>,
    is_tool_call: bool,
    is_modern: bool,
    target: Option<String>,
    call_digest: Option<String>,
    /// The answer may send its client away to come back: a 2026-07-28 request of a method that has such rounds.
    may_come_back: bool,
    /// This very message, or before 2026-07-28 the session's beginning, says that its client opens URLs for its user.
    opens_urls: bool,
    /// A GET or DELETE: nothing but an HTTP status tells its client no.
    is_bodiless: bool,
    /// The messages of a batch, each by itself; empty for one that came alone.
    batch: Vec<Asked>,
}

impl Asked {
    /// The digest of the judged call, where it was made.
    pub fn call_digest(&self) -> Option<&str> {
        self.call_digest.as_deref()
    }

    /// Takes from a message what its answer will need.
    pub fn of(message: &McpMessage) -> Self {
        Self {
            id: match message.kind() {
                MessageKind::Request => message.id_raw().map(str::to_owned),
                MessageKind::Notification | MessageKind::Response | MessageKind::Bodiless => None,
            },
            is_tool_call: *message.method() == Method::ToolsCall,
            is_modern: message.era() == Era::V2026_07_28,
            target: message.target().name().map(str::to_owned),
            call_digest: None,
            may_come_back: message.era() == Era::V2026_07_28
                && message.kind() == MessageKind::Request
                && matches!(message.method(), Method::ToolsCall | Method::ResourcesRead | Method::PromptsGet),
            opens_urls: message.declares_url_elicitation(),
            is_bodiless: message.kind() == MessageKind::Bodiless,
            batch: Vec::new(),
        }
    }

    /// Notes what the client said of itself when its session began. Only 2025-11-25 has an answer for who opens URLs.
    pub fn note_session(&mut self, era: Era, opens_urls: bool) {
        self.opens_urls |= opens_urls && era == Era::V2025_11_25;
    }

    /// Verbatim JSON text of the request's id; `None` for what has none, or several.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether its client expects an answer: a notification or a bodiless request has none to be put in a place.
    pub fn is_answered(&self) -> bool {
        self.id.is_some() || !self.batch.is_empty()
    }

    /// All messages of one batch, which get the same answer.
    pub fn all_of(batch: Vec<Self>) -> Self {
        Self {
            id: None,
            is_tool_call: false,
            is_modern: false,
            target: None,
            call_digest: None,
            may_come_back: false,
            opens_urls: false,
            is_bodiless: false,
            batch,
        }
    }

    /// Names the judged call in the machine-readable part.
    pub fn name_call(&mut self, digest: String) {
        self.call_digest = Some(digest);
    }
}

/// Why a governed call does not run, or not yet.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The policy says no.
    Denied(Box<Decision>),
    /// An administrator has stopped the server, the tool or the caller.
    Frozen { reason: String },
    /// People said no, or did not say yes in time, or took it back.
    NotApproved { status: ApprovalStatus, approval_id: String, reason: Option<String>, by: Option<String> },
    /// Waits for people: the same call, repeated, finds its request.
    Pending {
        approval_id: String,
        reason: String,
        ran_before: Option<RanBefore>,
        /// With the whole `requestState` as its token.
        come_back: Option<ComeBack>,
    },
    /// Approved, but every slot is taken: the same call, repeated, finds its grant.
    ApprovedButBusy { approval_id: String, rule_id: String },
    /// A limit of the policy is reached now.
    Busy { rule_id: String },
    /// The same call has been tried as often as the policy allows, and none of the tries succeeded.
    TriedTooOften { retries_max: u32 },
    /// So many requests of this caller wait already.
    TooManyPending,
    /// What this call means for later ones cannot be written down.
    CannotRemember,
    /// The service cannot be reached, or answered what cannot be trusted.
    Unavailable,
    /// Filter and service speak wire versions that are too far apart.
    WireApart,
    /// Every call must be recorded before it runs (`audit.required`), and this one could not be.
    NotRecorded,
    /// A limit holds for all gateways, and nobody said that there is a place under it.
    LimitUnknown,
    /// The task is another principal's: to this one it does not exist.
    NoSuchTask,
    /// Its session is not one that its sender was given, whether or not there is one.
    NoSuchSession,
    /// The call does not fit the catalogue, or asks for what this version does not govern.
    Unsupported(String),
    /// The call ran longer than the policy allows; it was ended and may have had effects.
    OutOfTime { max_runtime_ms: u64 },
    /// The connection to the server ended before its answer began; the call may have had effects.
    ServerBrokeOff,
    /// The server cannot be reached: the call did not get there.
    ServerAway,
    /// The server's answer is longer than the policy, or the gateway, lets through.
    AnswerTooLong { bytes_max: u64 },
    /// The server's answer cannot be read, so nobody can tell what is in it.
    AnswerUnreadable(String),
    /// The server's answer holds what the policy denies.
    AnswerDenied(String),
}

impl Refusal {
    /// The sentence for the model, and for people who read the transcript.
    pub fn sentence(&self) -> String {
        match self {
            Self::Denied(decision) => {
                let first = decision.reasons.first();
                let remediation = first.and_then(|reason| reason.remediation.as_deref());
                let sentence = format!("Denied by policy rule `{}`: {}.", decision.rule_id(), bare(decision.reason()));
                match remediation {
                    Some(remediation) => format!("{sentence} {}.", bare(remediation)),
                    None => format!("{sentence} Repeating the call will not change this."),
                }
            }
            Self::Frozen { reason } => format!(
                "Not run: an administrator has stopped this ({}). Do not repeat the call before the stop is lifted.",
                bare(reason)
            ),
            Self::NotApproved { status, approval_id, reason, by } => {
                let by = by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                let why = reason.as_deref().map(|reason| format!(": {}", bare(reason))).unwrap_or_default();
                match status {
                    ApprovalStatus::Denied => {
                        format!("Not run: approval {approval_id} was denied{by}{why}. Do not repeat the call as it is.")
                    }
                    ApprovalStatus::Expired => format!(
                        "Not run: nobody decided approval {approval_id} in time. Repeat the same call to ask again."
                    ),
                    ApprovalStatus::Pending
                    | ApprovalStatus::Approved
                    | ApprovalStatus::Withdrawn
                    | ApprovalStatus::Superseded
                    | ApprovalStatus::Consumed
                    | ApprovalStatus::Lapsed
                    | ApprovalStatus::Revoked => format!(
                        "Not run: approval {approval_id} is {status}{by}{why}. Repeat the same call to ask again."
                    ),
                }
            }
            Self::Pending { approval_id, reason, ran_before, .. } => {
                let earlier = ran_before.as_ref().map_or_else(String::new, |ran| {
                    format!(
                        " An identical call already ran (approval {}, outcome {}): do not repeat it by mistake.",
                        ran.approval_id,
                        ran.outcome.as_str()
                    )
                });
                format!(
                    "Not run yet: waiting for human approval {approval_id} ({}). Repeat the same call, unchanged, to \
                     find out whether it was approved.{earlier}",
                    bare(reason)
                )
            }
            Self::ApprovedButBusy { approval_id, rule_id } => format!(
                "Not run yet: approval {approval_id} was given, but rule `{rule_id}` lets no more calls run \
                 right now. Repeat the same call, unchanged."
            ),
            Self::Busy { rule_id } => {
                format!("Not run: rule `{rule_id}` lets no more calls run right now. Repeat the call later.")
            }
            Self::TriedTooOften { retries_max } => format!(
                "Not run: this very call was tried {} times without success, and the policy lets it be repeated \
                 {retries_max} times. Change the call, or ask a person.",
                retries_max.saturating_add(1)
            ),
            Self::TooManyPending => {
                "Not run: too many of your calls wait for approval already. Wait until some are decided.".to_owned()
            }
            Self::CannotRemember => {
                "Not run: a rule looks back at calls like this one, and it cannot be written down now. Try again later."
                    .to_owned()
            }
            Self::Unavailable => {
                "Not run: the approval service is unavailable, and this call must not run without it. Try again later."
                    .to_owned()
            }
            Self::WireApart => {
                "Not run: the gateway and the approval service are of versions that are too far apart, and this call must not \
                 run without both. Repeating it will not change this: an operator has to upgrade one of them."
                    .to_owned()
            }
            Self::NotRecorded => {
                "Not run: every call has to be recorded first, and the record cannot be reached. Try again later."
                    .to_owned()
            }
            Self::LimitUnknown => {
                "Not run: a limit holds for this call over all gateways, and the service that counts is unavailable. Try \
                 again later."
                    .to_owned()
            }
            Self::NoSuchTask => "There is no such task.".to_owned(),
            Self::NoSuchSession => "There is no such session: initialize again.".to_owned(),
            Self::Unsupported(why) => format!("Not run: {}.", bare(why)),
            Self::OutOfTime { max_runtime_ms } => format!(
                "Ended after {max_runtime_ms} ms, the longest this call may run. Do not assume that it had no effect: \
                 check before you repeat it."
            ),
            Self::ServerBrokeOff => {
                "The server broke off before it answered. Do not assume that the call had no effect: \
                                     check before you repeat it."
                    .to_owned()
            }
            Self::ServerAway => "Not run: the server cannot be reached. Try again later.".to_owned(),
            Self::AnswerTooLong { bytes_max } => format!(
                "The call ran, but its answer has more than {bytes_max} bytes and was not delivered. Ask for less."
            ),
            Self::AnswerUnreadable(why) => {
                format!("The call ran, but its answer was not delivered: {}.", bare(why))
            }
            Self::AnswerDenied(why) => format!("The call ran, but its answer was not delivered: {}.", bare(why)),
        }
    }

    /// (JSON-RPC code, word for machines, whether the same call may be repeated).
    fn class(&self) -> (i32, &'static str, bool) {
        match self {
            Self::Denied(_) => (CODE_DENIED, "denied", false),
            Self::Frozen { .. } => (CODE_DENIED, "frozen", false),
            Self::NotApproved { status, .. } => match status {
                ApprovalStatus::Denied => (CODE_DENIED, "approval_denied", false),
                ApprovalStatus::Expired => (CODE_PENDING, "approval_expired", true),
                ApprovalStatus::Pending
                | ApprovalStatus::Approved
                | ApprovalStatus::Withdrawn
                | ApprovalStatus::Superseded
                | ApprovalStatus::Consumed
                | ApprovalStatus::Lapsed
                | ApprovalStatus::Revoked => (CODE_PENDING, "approval_void", true),
            },
            Self::Pending { .. } => (CODE_PENDING, "pending", true),
            Self::ApprovedButBusy { .. } => (CODE_LIMITED, "approved_but_busy", true),
            Self::Busy { .. } => (CODE_LIMITED, "busy", true),
            Self::TriedTooOften { .. } => (CODE_LIMITED, "tried_too_often", false),
            Self::TooManyPending => (CODE_LIMITED, "too_many_pending", true),
            Self::CannotRemember => (CODE_LIMITED, "cannot_remember", true),
            Self::Unavailable => (CODE_UNAVAILABLE, "unavailable", true),
            Self::WireApart => (CODE_UNAVAILABLE, "wire_version", false),
            Self::NotRecorded => (CODE_UNAVAILABLE, "not_recorded", true),
            Self::LimitUnknown => (CODE_UNAVAILABLE, "limit_unknown", true),
            Self::NoSuchTask => (CODE_INVALID_PARAMS, "no_such_task", false),
            Self::NoSuchSession => (CODE_NO_SESSION, "no_such_session", false),
            Self::Unsupported(_) => (CODE_DENIED, "unsupported", false),
            Self::OutOfTime { .. } => (CODE_LIMITED, "out_of_time", false),
            Self::ServerBrokeOff => (CODE_UNAVAILABLE, "server_broke_off", false),
            Self::ServerAway => (CODE_UNAVAILABLE, "server_away", true),
            Self::AnswerTooLong { .. } => (CODE_LIMITED, "answer_too_long", false),
            Self::AnswerUnreadable(_) => (CODE_UNAVAILABLE, "answer_unreadable", false),
            Self::AnswerDenied(_) => (CODE_DENIED, "answer_denied", false),
        }
    }

    fn approval_id(&self) -> Option<&str> {
        match self {
            Self::NotApproved { approval_id, .. }
            | Self::Pending { approval_id, .. }
            | Self::ApprovedButBusy { approval_id, .. } => Some(approval_id),
            Self::Denied(_)
            | Self::Frozen { .. }
            | Self::Busy { .. }
            | Self::TriedTooOften { .. }
            | Self::TooManyPending
            | Self::CannotRemember
            | Self::Unavailable
            | Self::WireApart
            | Self::NotRecorded
            | Self::LimitUnknown
            | Self::NoSuchTask
            | Self::NoSuchSession
            | Self::Unsupported(_)
            | Self::OutOfTime { .. }
            | Self::ServerBrokeOff
            | Self::ServerAway
            | Self::AnswerTooLong { .. }
            | Self::AnswerUnreadable(_)
            | Self::AnswerDenied(_) => None,
        }
    }

    /// A JSON-RPC error that says it, for the request whose id has this JSON text, where nothing else is known of it.
    pub fn error_for(&self, id: &str) -> String {
        let (code, word, may_repeat) = self.class();
        let data = json!({META_KEY: {"status": word, "may_repeat": may_repeat}});
        json_rpc(200, id, ("error", json!({"code": code, "message": self.sentence(), "data": data})), word).body
    }

    /// The answer to `asked`.
    pub fn reply(&self, asked: &Asked) -> LocalReply {
        // Not a policy answer: clients know the status 404 alone, and initialize again.
        if matches!(self, Self::NoSuchSession) {
            let id = asked.id.as_deref().unwrap_or("null");
            let error = json!({"code": CODE_NO_SESSION, "message": self.sentence()});
            return json_rpc(404, id, ("error", error), "no_such_session");
        }
        if !asked.batch.is_empty() {
            return batch(asked.batch.iter().map(|one| self.reply(one)).collect());
        }
        let (code, word, may_repeat) = self.class();
        if asked.is_bodiless {
            // To every client this means "no stream here", and it goes on by POST.
            let error = json!({"code": code, "message": self.sentence()});
            return not_by_this_method(json_rpc(405, "null", ("error", error), word));
        }
        let Some(id) = &asked.id else {
            // A notification has no answer; 202 tells the client no more than that it arrived.
            return LocalReply { status: 202, headers: Vec::new(), body: String::new(), details: word };
        };
        if let Self::Denied(decision) = self
            && decision.conceal
        {
            return unknown_target(id, asked);
        }
        if matches!(self, Self::NoSuchTask) {
            return unknown_target(id, asked);
        }
        if let Self::Pending { come_back: Some(come_back), .. } = self
            && asked.may_come_back
        {
            return sent_away(id, asked, come_back, &self.sentence());
        }
        if let Self::Pending { come_back: Some(ComeBack { status_url: Some(url), .. }), .. } = self
            && asked.opens_urls
        {
            return wants_url(id, url, &self.sentence());
        }
        let sentence = self.sentence();
        let mut facts = json!({"status": word, "may_repeat": may_repeat});
        if let (Self::Denied(decision), Some(facts)) = (self, facts.as_object_mut()) {
            facts.insert("rule".to_owned(), json!(decision.rule_id()));
            facts.insert("snapshot".to_owned(), json!(decision.snapshot_id));
        }
        if let Some(facts) = facts.as_object_mut() {
            if let Some(approval_id) = self.approval_id() {
                facts.insert("approval_id".to_owned(), json!(approval_id));
            }
            if let Some(digest) = &asked.call_digest {
                facts.insert("call_digest".to_owned(), json!(digest));
            }
        }
        let answer = if asked.is_tool_call {
            let mut result = json!({
                "content": [{"type": "text", "text": sentence}],
                "isError": true,
                "_meta": {META_KEY: facts},
            });
            if asked.is_modern
                && let Some(result) = result.as_object_mut()
            {
                result.insert("resultType".to_owned(), json!("complete"));
            }
            ("result", result)
        } else {
            ("error", json!({"code": code, "message": sentence, "data": {META_KEY: facts}}))
        };
        json_rpc(200, id, answer, word)
    }
}

/// The answer that lets a 2026-07-28 client come back by itself with the same call. Only such a client gets it: to an
/// older one it would look like success.
fn sent_away(id: &str, asked: &Asked, come_back: &ComeBack, sentence: &str) -> LocalReply {
    let mut result = json!({"resultType": "input_required", "requestState": come_back.token});
    if let (true, Some(url), Some(result)) = (asked.opens_urls, &come_back.status_url, result.as_object_mut()) {
        let params = json!({"mode": "url", "message": sentence, "url": url});
        let key = format!("{OWN_KEY_PREFIX}approval");
        result.insert("inputRequests".to_owned(), json!({key: {"method": "elicitation/create", "params": params}}));
    }
    json_rpc(200, id, ("result", result), "pending")
}

/// The answer by which a 2025-11-25 client shows its user a page and then repeats the call. The address is another one
/// each time: some clients give up on one that they have opened before.
fn wants_url(id: &str, url: &str, sentence: &str) -> LocalReply {
    let elicitation_id = Digest::of(url.as_bytes()).to_string();
    let elicitation = json!({"mode": "url", "elicitationId": elicitation_id, "url": url, "message": sentence});
    let error = json!({"code": CODE_WANTS_URL, "message": sentence, "data": {"elicitations": [elicitation]}});
    json_rpc(200, id, ("error", error), "pending")
}

/// The answer a server gives that never heard of the target.
fn unknown_target(id: &str, asked: &Asked) -> LocalReply {
    let kind = if asked.is_tool_call { "tool" } else { "target" };
    let message = format!("Unknown {kind}: {}", asked.target.as_deref().unwrap_or_default());
    json_rpc(200, id, ("error", json!({"code": CODE_INVALID_PARAMS, "message": message})), "denied")
}

/// The answer to a batch: those of its messages that get one, in their order.
pub fn batch(replies: Vec<LocalReply>) -> LocalReply {
    let details = replies.first().map_or("denied", |first| first.details);
    let bodies: Vec<&str> = replies.iter().map(|reply| reply.body.as_str()).filter(|body| !body.is_empty()).collect();
    if bodies.is_empty() {
        return LocalReply { status: 202, headers: Vec::new(), body: String::new(), details };
    }
    LocalReply {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body: format!("[{}]", bodies.join(",")),
        details,
    }
}

/// The answer to what could not be read as MCP, with the status and code of its era.
pub fn malformed(found: &Malformed) -> LocalReply {
    let id = found.id.as_deref().unwrap_or("null");
    let mut error = json!({"code": found.code, "message": found.detail});
    if let (Some(requested), Some(error)) = (&found.requested_version, error.as_object_mut()) {
        // Clients choose their next try from this list; only messages with an envelope get it.
        let data = json!({"supported": [Era::V2026_07_28.as_str()], "requested": requested});
        error.insert("data".to_owned(), data);
    }
    let reply = json_rpc(found.status, id, ("error", error), "malformed");
    if found.status == 405 { not_by_this_method(reply) } else { reply }
}

/// The answer to a caller without a verified identity. Authentication, unlike policy, is HTTP's own matter.
/// `takes_tokens` says that a bearer token would help.
pub fn unidentified(why: &str, takes_tokens: bool) -> LocalReply {
    let mut reply = json_rpc(401, "null", ("error", json!({"code": CODE_DENIED, "message": why})), "unidentified");
    if takes_tokens {
        reply.headers.push(("www-authenticate", "Bearer".to_owned()));
    }
    reply
}

/// The answer to an HTTP method that carries nothing of MCP.
pub fn method_not_allowed() -> LocalReply {
    let message = "this route takes MCP by POST, GET and DELETE";
    let error = json!({"code": CODE_DENIED, "message": message});
    not_by_this_method(json_rpc(405, "null", ("error", error), "method_not_allowed"))
}

fn not_by_this_method(mut reply: LocalReply) -> LocalReply {
    reply.headers.push(("allow", "POST".to_owned()));
    reply
}

/// The answer to a body over the limit.
pub fn too_large(body_bytes_max: u64) -> LocalReply {
    let message = format!("the body is larger than {body_bytes_max} bytes (`limits.body_bytes_max`)");
    json_rpc(413, "null", ("error", json!({"code": CODE_DENIED, "message": message})), "too_large")
}

/// The answer when no part of a body arrived in time: most likely the plugin setting that lets the filter see bodies
/// before it releases the headers is missing.
pub fn no_body(body_wait_ms: u64) -> LocalReply {
    let message = format!(
        "no body reached the holdpoint filter within {body_wait_ms} ms: set `allow_on_headers_stop_iteration: true` in \
         its PluginConfig (Envoy 1.35 or later), or send the body sooner"
    );
    json_rpc(500, "null", ("error", json!({"code": CODE_UNAVAILABLE, "message": message})), "no_body")
}

/// The answer when the filter cannot do its work at all.
pub fn broken(what: &str) -> LocalReply {
    let message = format!("holdpoint cannot judge this request: {what}");
    json_rpc(500, "null", ("error", json!({"code": CODE_UNAVAILABLE, "message": message})), "broken")
}

/// One JSON-RPC answer. `id` is verbatim JSON text.
fn json_rpc(status: u16, id: &str, (member, content): (&str, Value), details: &'static str) -> LocalReply {
    LocalReply {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        body: format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{content}}}"#),
        details,
    }
}

/// A sentence of a policy or a person, without its closing full stop, so that it can stand inside another one.
fn bare(sentence: &str) -> &str {
    sentence.trim().trim_end_matches('.')
}
