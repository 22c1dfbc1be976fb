//! Step 3: the rounds that Holdpoint itself has with a client, kept apart by span from those of the client's server.
//!
//! Where Holdpoint asks a 2026-07-28 client to come back, it gives it a `requestState` that wraps what the server had given
//! it, and asks under keys of its own. Whatever comes back is taken out again before anything is judged or forwarded.

use super::malformed::{Malformed, MalformedKind};
use super::message::McpMessage;
use crate::digest::{hex_decode, hex_encode};
use crate::json::{Document, Kind, Limits, Value};

/// How the keys begin under which Holdpoint asks, in `inputRequests`.
pub const OWN_KEY_PREFIX: &str = "holdpoint.dev/";

/// How a wrapped state begins; three parts in hex follow, between full stops.
const STATE_PREFIX: &str = "holdpoint.dev/1.";

/// What came back of a round of Holdpoint's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRound {
    /// What [`wrap`] was given. The client may have made it up.
    pub token: Option<String>,
    /// The client's answers under Holdpoint's own keys: key and JSON text. They prove nothing.
    pub answers: Vec<(String, String)>,
    /// The message as the server is to get it: with what the server itself had asked and was answered, without the rest.
    pub body: Vec<u8>,
}

/// The `requestState` for a client that is to come back with `message`: names the round by `token`, and keeps what the
/// message carried of its server's own rounds.
pub fn wrap(token: &str, message: &McpMessage) -> String {
    let raw = |value: Option<Value<'_>>| hex_encode(value.map_or("", |value| value.raw()).as_bytes());
    let (state, responses) = (raw(message.request_state()), raw(message.input_responses()));
    format!("{STATE_PREFIX}{}.{state}.{responses}", hex_encode(token.as_bytes()))
}

impl OwnRound {
    /// What `message` carries of Holdpoint's own rounds; nothing when it carries none, and goes on as it is.
    pub fn of(message: &McpMessage) -> Result<Option<Self>, Malformed> {
        let Some(params) = message.params() else { return Ok(None) };
        // Most messages are no later round of anything.
        if message.request_state().is_none() && message.input_responses().is_none() {
            return Ok(None);
        }
        Self::of_later_round(message, params)
    }

    #[inline(never)]
    fn of_later_round(message: &McpMessage, params: Value<'_>) -> Result<Option<Self>, Malformed> {
        let wrapped = match message.request_state().and_then(|state| state.as_str()) {
            Some(state) => state.strip_prefix(STATE_PREFIX).map(Wrapped::read).transpose()?,
            None => None,
        };
        let is_own = |key: &Value<'_>| key.as_str().is_some_and(|key| key.starts_with(OWN_KEY_PREFIX));
        let responses = message.input_responses().into_iter().flat_map(|all| all.members().with_key_values());
        let (own, others): (Vec<_>, Vec<_>) = responses.partition(|(key, _)| is_own(key));
        if wrapped.is_none() && own.is_empty() {
            return Ok(None);
        }
        let kept = wrapped.as_ref().and_then(|wrapped| wrapped.responses.as_deref());
        if kept.is_some() && !others.is_empty() {
            return Err(refused("`inputResponses` answers more than this `requestState` asked"));
        }
        let text = std::str::from_utf8(message.document().bytes()).unwrap_or_default();
        let span =
            |(key, value): &(Value<'_>, Value<'_>)| text.get(key.span().start..value.span().end).unwrap_or_default();
        let others: Vec<&str> = others.iter().map(span).collect();
        let responses = match kept {
            Some(kept) => Some(kept.to_owned()),
            None => (!others.is_empty()).then(|| format!("{{{}}}", others.join(","))),
        };
        let mut members = Vec::new();
        for member in params.members().with_key_values() {
            let (key, _) = &member;
            if key.is_str("requestState") && wrapped.is_some() || key.is_str("inputResponses") {
                continue;
            }
            members.push(span(&member).to_owned());
        }
        if let Some(state) = wrapped.as_ref().and_then(|wrapped| wrapped.state.as_ref()) {
            members.push(format!(r#""requestState":{state}"#));
        }
        if let Some(responses) = responses {
            members.push(format!(r#""inputResponses":{responses}"#));
        }
        let around = params.span();
        let (before, after) =
            (text.get(..around.start).unwrap_or_default(), text.get(around.end..).unwrap_or_default());
        let answers =
            own.iter().map(|(key, value)| (key.as_str().unwrap_or_default().into_owned(), value.raw().to_owned()));
        Ok(Some(Self {
            answers: answers.collect(),
            body: format!("{before}{{{}}}{after}", members.join(",")).into_bytes(),
            token: wrapped.map(|wrapped| wrapped.token),
        }))
    }
}

/// A state that [`wrap`] wrote, or that somebody wrote who wants it to look so.
struct Wrapped {
    token: String,
    /// JSON text of a string.
    state: Option<String>,
    /// JSON text of an object.
    responses: Option<String>,
}

impl Wrapped {
    fn read(parts: &str) -> Result<Self, Malformed> {
        let unreadable = || refused("this `requestState` is not as it was given; call again without it");
        let text =
            |part: &str| hex_decode(part).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unreadable);
        let json = |part: &str, kind: Kind| {
            let text = text(part)?;
            if text.is_empty() {
                return Ok(None);
            }
            let document = Document::read(text.clone().into_bytes(), &Limits::default()).map_err(|_| unreadable())?;
            if document.root().kind() == kind { Ok(Some(text)) } else { Err(unreadable()) }
        };
        let mut parts = parts.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(token), Some(state), Some(responses), None) => Ok(Self {
                token: text(token)?,
                state: json(state, Kind::String)?,
                responses: json(responses, Kind::Object)?,
            }),
            _ => Err(unreadable()),
        }
    }
}

fn refused(detail: &str) -> Malformed {
    Malformed::new(MalformedKind::Params, detail)
}
