//! Step 11: what the answers of one exchange are judged by, and what becomes of one message of them.

use std::rc::Rc;
use std::sync::Arc;

use holdpoint_core::config::FilterConfig;
use holdpoint_core::decision::OutputLimits;
use holdpoint_core::definition::{Definition, DefinitionKind};
use holdpoint_core::edits::Edits;
use holdpoint_core::envelope::{CallEnvelope, Offered};
use holdpoint_core::identity::Principal;
use holdpoint_core::json::Value;
use holdpoint_core::mcp::answer::{self, Answer, AnswerError, ServerRequest};
use holdpoint_core::mcp::{Method, MethodClass};
use holdpoint_core::redact::Redaction;
use serde_json::json;

use super::listed::AskedPage;
use super::observed::Observed;
use super::replay::Replay;
use crate::exchange::{Callout, HostCommand, Surroundings};
use crate::lists::Found;
use crate::past::PastView;
use crate::refusal::{Asked, CODE_DENIED};
use crate::session::SessionOwner;

/// Longest method of a server that a refusal repeats, in characters: the model reads it, and the server chose it.
const METHOD_CHARS_MAX: usize = 64;

fn denied_request(method: &str, why: &str) -> String {
    let method: String = method.chars().filter(|char| char.is_ascii_graphic()).take(METHOD_CHARS_MAX).collect();
    format!("the server asked for `{method}`: {why}")
}

/// Under whose rules an answer stands.
pub(in crate::exchange) struct Governing {
    /// Whose past rules are told of.
    plugin: Rc<str>,
    pub(super) config: Rc<FilterConfig>,
    pub(super) principal: Arc<Principal>,
    pub(super) server: String,
    pub(super) asked_page: AskedPage,
    /// Lists are filtered.
    lists: bool,
    pub(super) is_modern: bool,
    /// Where the server can be told something beside the answer.
    upstream: Upstream,
    pub(super) redaction: Redaction,
    /// The session, of messages that have one.
    mcp_session_id: Option<String>,
    /// Whether the outcome is told by the message and not by the status alone.
    pub(super) reads_outcome: bool,
}

/// The way back to a server, as its request went.
#[derive(Clone)]
struct Upstream {
    authority: String,
    path: String,
    headers: Vec<(&'static str, String)>,
}

/// Headers of a request that its server needs to see again to know whose session is meant. No credentials: they stay at
/// the gateway.
const SESSION_HEADERS: &[&str] = &["mcp-session-id", "mcp-protocol-version"];

/// What becomes of one message.
pub(super) enum Judged {
    /// It goes on as it came.
    Passes,
    /// It goes on with this text.
    Changed(Vec<u8>),
    /// It does not go on; the server is told so.
    Dropped(Vec<HostCommand>),
    /// Nothing of the answer may go on.
    Refused(String),
}

impl Governing {
    /// For the answer to this call.
    pub(in crate::exchange) fn new(plugin: &Rc<str>, config: &Rc<FilterConfig>, envelope: &CallEnvelope) -> Self {
        let call = envelope.call();
        let upstream = Upstream {
            authority: call.route.host.clone().unwrap_or_default(),
            path: call.route.path.clone(),
            headers: SESSION_HEADERS
                .iter()
                .filter_map(|wanted| {
                    let (_, value) = call.headers.iter().find(|(name, _)| name == wanted)?;
                    Some((*wanted, String::from_utf8(value.clone()).ok()?))
                })
                .collect(),
        };
        Self {
            plugin: Rc::clone(plugin),
            config: Rc::clone(config),
            principal: Arc::clone(&envelope.call().principal),
            server: envelope.server().to_owned(),
            asked_page: AskedPage::of(envelope),
            lists: lists(envelope.message().method()),
            is_modern: envelope.message().era().is_modern(),
            upstream,
            redaction: Redaction::default(),
            mcp_session_id: envelope.message().mcp_session_id().map(str::to_owned),
            reads_outcome: false,
        }
    }

    /// The same, with what the call's constraints ask.
    pub(super) fn under(mut self, output: &OutputLimits, reads_outcome: bool) -> Self {
        self.redact(output);
        self.reads_outcome = reads_outcome;
        self
    }

    /// From now on what `output` takes out is taken out.
    pub(super) fn redact(&mut self, output: &OutputLimits) {
        self.redaction = Redaction::new(output);
    }

    /// What this answer, under these limits, is to a stream that is asked for again.
    pub(super) fn replay(&self, own: &OutputLimits, until_ms: Option<u64>) -> Option<Replay> {
        let mcp_session_id = self.mcp_session_id.as_deref()?;
        let strictest = self.config.policy.strictest_answer(&self.principal, &self.server);
        let owner = SessionOwner::new(&self.server, &self.principal);
        Replay::of_call(owner, mcp_session_id, &strictest, own, until_ms)
    }

    /// Whether nothing may pass that was not read.
    pub(super) fn must_read(&self) -> bool {
        self.lists || !self.redaction.is_empty()
    }

    /// Whether the events of an answer may keep the ids by which a client could ask for them again, where nothing is known
    /// of a session: then nothing would be taken out any more.
    pub(super) fn may_be_resumed(&self) -> bool {
        self.redaction.is_empty()
    }

    pub(super) fn answer_bytes_max(&self) -> usize {
        usize::try_from(self.config.limits.answer_bytes_max).unwrap_or(usize::MAX)
    }

    /// Judges one text of the server: a message, or several.
    pub(super) fn judge(&self, text: Vec<u8>, observed: &mut Observed, around: &mut Surroundings<'_>) -> Judged {
        let found = if self.lists { around.worker.lists.find(&text) } else { None };
        if let Some(found) = &found
            && let Some(judged) = self.recall(&text, found, observed, around)
        {
            return judged;
        }
        let answer = match Answer::read(text) {
            Ok(answer) => answer,
            Err(error) => return unreadable(&error),
        };
        observed.note_message(&answer);
        if !answer.is_response() {
            return self.judge_read(answer, found, observed, around);
        }
        observed.deliver(answer.bytes());
        let judged = self.judge_read(answer, found, observed, around);
        match &judged {
            Judged::Passes => {}
            Judged::Changed(text) => observed.deliver(text),
            Judged::Dropped(_) | Judged::Refused(_) => observed.withhold(),
        }
        judged
    }

    fn judge_read(
        &self,
        answer: Answer,
        found: Option<Found>,
        observed: &mut Observed,
        around: &mut Surroundings<'_>,
    ) -> Judged {
        let mut told = Vec::new();
        for message in answer.messages() {
            if let Some(asked) = answer::server_request(message)
                && let Some(why) = self.denies(&asked, observed, around)
            {
                told.extend(self.answer_server(&asked, &why));
                if answer.messages().len() > 1 {
                    return Judged::Refused(denied_request(asked.method, &why));
                }
                return Judged::Dropped(told);
            }
            for asked in answer::input_requests(message) {
                if let Some(why) = self.denies(&asked, observed, around) {
                    return Judged::Refused(denied_request(asked.method, &why));
                }
            }
        }
        let mut edits = Edits::default();
        let mut hidden = 0;
        if self.lists {
            let again = answer.messages().into_iter().map(|message| self.learn(message, found.as_ref(), around));
            let again = again.last().flatten();
            hidden = self.hide(&answer, &mut edits);
            if let Some(again) = again {
                self.remember_list(&answer, &again, &edits, hidden, around);
            }
        }
        observed.note_changes(hidden, 0);
        if self.redaction.is_empty() {
            return changed(answer.bytes(), edits);
        }
        // What is hidden may hold what is redacted: one after the other.
        let answer = match changed(answer.bytes(), edits) {
            Judged::Passes => answer,
            Judged::Changed(text) => match Answer::read(text) {
                Ok(answer) => answer,
                Err(error) => return unreadable(&error),
            },
            other @ (Judged::Dropped(_) | Judged::Refused(_)) => return other,
        };
        let was_changed = hidden > 0;
        let mut edits = Edits::default();
        for message in answer.messages() {
            for member in ["result", "error", "params"].into_iter().filter_map(|name| message.get(name)) {
                self.redaction.value(member, &mut edits);
            }
        }
        observed.note_changes(0, edits.len());
        match changed(answer.bytes(), edits) {
            Judged::Passes if was_changed => Judged::Changed(answer.bytes().to_vec()),
            judged => judged,
        }
    }

    fn hide(&self, answer: &Answer, edits: &mut Edits) -> u32 {
        let policy = &self.config.policy;
        let mut onlooker = policy.onlooker(&self.principal, &self.server);
        let may_show = |offered: Offered<'_>, entry: Value<'_>| {
            let is_pinned_away = match offered {
                Offered::Tool(name) if policy.pins(&self.server, name) => {
                    let definition = Definition::read(DefinitionKind::Tool, name, entry);
                    policy.pin_denies(&self.server, name, definition.digest)
                }
                Offered::Tool(_) | Offered::Resource(_) | Offered::ResourceTemplate(_) | Offered::Prompt(_) => false,
            };
            !is_pinned_away && onlooker.may_ever(offered)
        };
        answer.hide(&mut { may_show }, edits)
    }

    /// Why the server may not ask this; nothing when it may.
    fn denies(
        &self,
        asked: &ServerRequest<'_>,
        observed: &mut Observed,
        around: &mut Surroundings<'_>,
    ) -> Option<String> {
        let past = PastView::new(&mut *around.shared, &self.plugin, around.now_ms);
        let (principal, server) = (&self.principal, &self.server);
        let decision = self.config.policy.judge_server_request(principal, server, asked.method, asked.params, &past);
        if decision.is_allowed {
            return None;
        }
        observed.note_denied(asked.method, &decision.rule_id);
        Some(format!("denied by policy rule `{}`: {}", decision.rule_id, decision.reason))
    }

    /// Answers the server's request in the client's place, so that it does not wait for an answer that never comes.
    fn answer_server(&self, asked: &ServerRequest<'_>, why: &str) -> Option<HostCommand> {
        let id = asked.id_raw?;
        let error = json!({"code": CODE_DENIED, "message": why});
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
        Some(HostCommand::Tell(self.to_server(message)))
    }

    /// Tells a server of the older eras that its call was given up: there a closed connection is no cancellation.
    pub(super) fn cancel_at_server(&self, asked: &Asked) -> Option<Callout> {
        let id = asked.id().filter(|_| !self.is_modern)?;
        Some(self.to_server(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"the policy's time limit is over"}}}}"#
        )))
    }

    fn to_server(&self, message: String) -> Callout {
        let Upstream { authority, path, headers } = self.upstream.clone();
        Callout::to_server(authority, path, headers, message.into_bytes())
    }
}

/// Whether a method's answers may list what a server offers. On a stream of its own a server may answer again what was
/// asked elsewhere.
fn lists(method: &Method) -> bool {
    method.class() == MethodClass::List || *method == Method::StreamOpen
}

/// What `edits` make of a text of the server.
pub(super) fn changed(text: &[u8], edits: Edits) -> Judged {
    if edits.is_empty() {
        return Judged::Passes;
    }
    match edits.apply(text) {
        Some(text) => Judged::Changed(text),
        None => Judged::Refused("its parts overlap".to_owned()),
    }
}

fn unreadable(error: &AnswerError) -> Judged {
    Judged::Refused(format!("it cannot be read: {error}"))
}
