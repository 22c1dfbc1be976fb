//! Step 11: reads one message of a server: what it lists, what it asks of the client, whether it is an error. Nothing is
//! decided here; what must change is noted as edits by span.

mod list;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;

use super::near_key;
use crate::edits::Edits;
use crate::envelope::Offered;
use crate::json::{self, Document, Kind, ReadError, Value};

pub use list::Listed;
pub use scan::Scanner;

/// Keys of a result that lists or asks.
const RESULT: &[&str] = &["tools", "resources", "resourceTemplates", "prompts", "cacheScope", INPUT_REQUESTS];

/// The member under which a result asks the client for input (2026-07-28).
pub const INPUT_REQUESTS: &str = "inputRequests";

/// More values than a client's message may have: a list of a thousand tools has schemas.
const NODES_MAX: u32 = 2_000_000;
const DEPTH_MAX: u32 = 128;

/// Why a message of a server cannot be governed. It is not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerError {
    Json(ReadError),
    /// Two readers could take it for two things.
    Shape(String),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Shape(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for AnswerError {}

/// What a server asks of the client.
#[derive(Clone, Copy, Debug)]
pub struct ServerRequest<'d> {
    pub method: &'d str,
    /// The id as its JSON text; nothing where it stands in `inputRequests`.
    pub id_raw: Option<&'d str>,
    pub params: Option<Value<'d>>,
}

/// One JSON text of a server: a message, or several in a batch.
#[derive(Debug)]
pub struct Answer {
    document: Document,
}

impl Answer {
    /// Reads strictly: what two readers could understand differently cannot be governed.
    pub fn read(bytes: Vec<u8>) -> Result<Self, AnswerError> {
        let limits = json::Limits { depth_max: DEPTH_MAX, nodes_max: NODES_MAX, ..json::Limits::default() };
        let document = Document::read(bytes, &limits).map_err(AnswerError::Json)?;
        let answer = Self { document };
        for message in answer.messages() {
            check(message)?;
        }
        Ok(answer)
    }

    /// Every message in it.
    pub fn messages(&self) -> Vec<Value<'_>> {
        let root = self.document.root();
        match root.kind() {
            Kind::Array => root.elements().collect(),
            Kind::Null | Kind::Bool | Kind::Number | Kind::String | Kind::Object => vec![root],
        }
    }

    /// The one message that it is; nothing for a batch.
    pub fn sole(&self) -> Option<Value<'_>> {
        Some(self.document.root()).filter(|root| root.kind() == Kind::Object)
    }

    /// Its text.
    pub fn bytes(&self) -> &[u8] {
        self.document.bytes()
    }

    /// Notes what to take out of every list in it so that only entries stay for which `may_show` says so; answers how
    /// many are hidden. A list made for one caller is nobody else's: `cacheScope` becomes `private`.
    pub fn hide(&self, may_show: &mut dyn FnMut(Offered<'_>, Value<'_>) -> bool, edits: &mut Edits) -> u32 {
        let results = self.messages().into_iter().filter_map(|message| message.get("result"));
        results.map(|result| list::hide(result, may_show, edits)).sum()
    }

    /// Whether any message is a JSON-RPC error or a result with `isError`.
    pub fn says_error(&self) -> bool {
        self.messages().into_iter().any(|message| {
            let is_error = message.get("result").and_then(|result| result.get("isError"));
            message.get("error").is_some() || is_error.and_then(|flag| flag.as_bool()) == Some(true)
        })
    }

    /// Whether any message answers something.
    pub fn is_response(&self) -> bool {
        self.messages().into_iter().any(|message| message.get("result").is_some() || message.get("error").is_some())
    }
}

/// Every list in this result.
pub fn lists(result: Value<'_>) -> impl Iterator<Item = Listed<'_>> {
    list::listed(result)
}

/// The request that this message is, if it is one.
pub fn server_request<'d>(message: Value<'d>) -> Option<ServerRequest<'d>> {
    let id = message.get("id")?;
    let method = message.get("method")?;
    Some(ServerRequest { method: plain(method), id_raw: Some(id.raw()), params: message.get("params") })
}

/// What the result in this message asks for, by key.
pub fn input_requests<'d>(message: Value<'d>) -> Vec<ServerRequest<'d>> {
    let requests = message.get("result").and_then(|result| result.get(INPUT_REQUESTS));
    let of = |request: Value<'d>| ServerRequest {
        method: request.get("method").map_or("", plain),
        id_raw: None,
        params: request.get("params"),
    };
    requests.into_iter().flat_map(|requests| requests.members().map(move |(_, request)| of(request))).collect()
}

/// A method as it stands in the text. One that is written with escapes is nobody's method: it stays unknown.
fn plain(method: Value<'_>) -> &str {
    let raw = method.raw();
    raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or("")
}

fn check(message: Value<'_>) -> Result<(), AnswerError> {
    let refuse =
        |object, keys| near_key::refuse(object, keys).map_err(|malformed| AnswerError::Shape(malformed.detail));
    refuse(message, near_key::TOP_LEVEL)?;
    match message.get("result") {
        Some(result) => refuse(result, RESULT),
        None => Ok(()),
    }
}
