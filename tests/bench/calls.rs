//! The calls that are sent and what their answers are: built once, so that sending and checking cost little else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

/// The tool that the quickstart's policy denies, and so does every other variant that judges.
pub(crate) const DENIED_TOOL: &str = "delete_project";

/// What the upstream answers to every tool call.
pub(crate) const UPSTREAM_ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#;

/// One of so many tools of a list may be called by nobody.
const HIDDEN_ONE_OF: usize = 10;

/// How many callers take turns where they do: some times as many as the filter keeps in mind.
pub(crate) const CALLERS: usize = 1_000;

/// What callers call who take turns; names of one length, and as [`PROJECT`] it stands once in a message.
const TOOLS: [&str; 4] = ["list_issues", "list_labels", "list_boards", "list_people"];

/// What the small call asks for. In turns it is another each time, of the same length.
const PROJECT: &str = "core";

/// What is called, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An everyday call of about 109 bytes, the same each time.
    Small,
    /// The same size, but of many callers in turn, each with a token of its own, to one of several tools, and never with
    /// the same arguments: whatever remembers what came before gains nothing.
    Callers,
    /// A call with about 4 KB of small objects among its arguments.
    Medium,
    /// The same with about 62 KB.
    Large,
    /// A call that carries a file of about a megabyte as one text. Of small objects so many would be refused: the
    /// filter's reader bounds how many values one message may have.
    Huge,
    /// The small call, answered by an event stream of one event.
    Events,
    /// A list of ten tools.
    Tools10,
    /// A list of a hundred tools.
    Tools100,
    /// A list of a thousand tools.
    Tools1000,
}

impl Kind {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 9] = [
        Self::Small,
        Self::Callers,
        Self::Medium,
        Self::Large,
        Self::Huge,
        Self::Events,
        Self::Tools10,
        Self::Tools100,
        Self::Tools1000,
    ];

    /// Its word in the JSON report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Callers => "small, 1,000 callers in turn",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Huge => "huge",
            Self::Events => "small, answered by an event stream",
            Self::Tools10 => "list of 10 tools",
            Self::Tools100 => "list of 100 tools",
            Self::Tools1000 => "list of 1,000 tools",
        }
    }

    /// Its path, by which the upstream knows what to answer.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Small | Self::Callers | Self::Medium | Self::Large | Self::Huge => "/mcp",
            Self::Events => "/events",
            Self::Tools10 => "/tools-10",
            Self::Tools100 => "/tools-100",
            Self::Tools1000 => "/tools-1000",
        }
    }

    /// The type of its answer.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Small
            | Self::Callers
            | Self::Medium
            | Self::Large
            | Self::Huge
            | Self::Tools10
            | Self::Tools100
            | Self::Tools1000 => "application/json",
        }
    }

    /// How many tools its answer lists.
    pub(crate) fn tools(self) -> Option<usize> {
        match self {
            Self::Small | Self::Callers | Self::Medium | Self::Large | Self::Huge | Self::Events => None,
            Self::Tools10 => Some(10),
            Self::Tools100 => Some(100),
            Self::Tools1000 => Some(1_000),
        }
    }

    /// How many callers take turns. One alone repeats its call.
    pub(crate) fn callers(self) -> usize {
        if self == Self::Callers { CALLERS } else { 1 }
    }

    /// What the upstream answers.
    pub(crate) fn answer(self) -> String {
        match (self.tools(), self) {
            (Some(count), _) => list_of_tools(count),
            (None, Self::Events) => format!("event: message\ndata: {UPSTREAM_ANSWER}\n\n"),
            (None, _) => UPSTREAM_ANSWER.to_owned(),
        }
    }

    fn body(self) -> String {
        if self.tools().is_some() {
            return r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#.to_owned();
        }
        match self {
            Self::Medium => call_of_objects(4_000),
            Self::Large => call_of_objects(62_000),
            Self::Huge => call("list_issues", &json!({"project": PROJECT, "file": file(900_000)})),
            Self::Small | Self::Callers | Self::Events | Self::Tools10 | Self::Tools100 | Self::Tools1000 => {
                call(TOOLS[0], &json!({"project": PROJECT}))
            }
        }
    }
}

/// One message, ready to be sent either way.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The bytes of a whole HTTP/1.1 message.
    pub(crate) http1: Arc<[u8]>,
    /// The same for HTTP/2, whose bytes depend on the connection.
    pub(crate) http2: Request<Full<Bytes>>,
}

/// What is sent, one message after the other, by whoever of the load comes next.
#[derive(Clone)]
pub(crate) enum Script {
    /// The same again and again.
    Same(Arc<Message>),
    /// Each another.
    InTurn(Arc<InTurn>),
}

impl Script {
    /// The bytes of the next message over HTTP/1.1.
    pub(crate) fn http1(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Same(message) => Cow::Borrowed(&message.http1),
            Self::InTurn(callers) => Cow::Owned(callers.http1()),
        }
    }

    /// The next message over HTTP/2.
    pub(crate) fn http2(&self) -> Request<Full<Bytes>> {
        match self {
            Self::Same(message) => message.http2.clone(),
            Self::InTurn(callers) => callers.http2(),
        }
    }
}

/// Callers of the small call who take turns, so that all others call before one comes again.
pub(crate) struct InTurn {
    /// One of each.
    messages: Vec<Message>,
    body: Vec<u8>,
    /// How many bytes before the end of a message the tool and the project stand.
    tool_from_end: usize,
    project_from_end: usize,
    next: AtomicUsize,
}

impl InTurn {
    /// The bearers of these tokens.
    pub(crate) fn new(tokens: &[String]) -> anyhow::Result<Self> {
        ensure!(!tokens.is_empty(), "nobody takes turns");
        let body = Kind::Callers.body();
        let from_end = |text: &str| body.rfind(text).map_or(0, |at| body.len() - at);
        let messages: Vec<Message> =
            tokens.iter().map(|token| message(Kind::Callers.path(), &body, token)).collect::<Result<_, _>>()?;
        let (tool_from_end, project_from_end) = (from_end(TOOLS[0]), from_end(PROJECT));
        Ok(Self { messages, body: body.into_bytes(), tool_from_end, project_from_end, next: AtomicUsize::new(0) })
    }

    fn http1(&self) -> Vec<u8> {
        let (message, number) = self.take();
        self.varied(message.http1.to_vec(), number)
    }

    fn http2(&self) -> Request<Full<Bytes>> {
        let (message, number) = self.take();
        let (head, _) = message.http2.clone().into_parts();
        Request::from_parts(head, Full::from(self.varied(self.body.clone(), number)))
    }

    fn take(&self) -> (&Message, usize) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (&self.messages[number % self.messages.len()], number)
    }

    /// The message with the tool and the project of this turn. A caller's tool is the next one each time, and no project
    /// comes again within 1.6 million calls.
    fn varied(&self, mut message: Vec<u8>, number: usize) -> Vec<u8> {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut put = |from_end: usize, text: &[u8]| {
            let at = message.len() - from_end;
            message[at..at + text.len()].copy_from_slice(text);
        };
        put(self.tool_from_end, TOOLS[(number + number / self.messages.len()) % TOOLS.len()].as_bytes());
        let mut rest = number;
        let project = [(); PROJECT.len()].map(|()| {
            let letter = LETTERS[rest % LETTERS.len()];
            rest /= LETTERS.len();
            letter
        });
        put(self.project_from_end, &project);
        message
    }
}

/// The messages of this run, with the callers' tokens in them.
pub(crate) struct Calls {
    allowed: BTreeMap<Kind, Script>,
    denied: Script,
}

impl Calls {
    /// Calls of the bearer of `token`, and of those of `tokens` in turn.
    pub(crate) fn new(token: &str, tokens: &[String]) -> anyhow::Result<Self> {
        let mut allowed = BTreeMap::new();
        for kind in Kind::ALL {
            let script = match kind {
                Kind::Callers => Script::InTurn(Arc::new(InTurn::new(tokens)?)),
                _ => Script::Same(Arc::new(message(kind.path(), &kind.body(), token)?)),
            };
            allowed.insert(kind, script);
        }
        let denied = message(Kind::Small.path(), &call(DENIED_TOOL, &json!({"project": PROJECT})), token)?;
        Ok(Self { allowed, denied: Script::Same(Arc::new(denied)) })
    }

    /// A call that the quickstart's policy allows.
    pub(crate) fn allowed(&self, kind: Kind) -> Script {
        self.allowed[&kind].clone()
    }

    /// A call that the quickstart's policy denies, and so does every other variant that judges.
    pub(crate) fn denied(&self) -> Script {
        self.denied.clone()
    }
}

/// The small call of the bearer of `token`.
pub(crate) fn small(token: &str) -> anyhow::Result<Script> {
    Ok(Script::Same(Arc::new(message(Kind::Small.path(), &Kind::Small.body(), token)?)))
}

/// The size of a call's body and of its answer as the upstream gives it, in bytes.
pub(crate) fn body_bytes(kind: Kind) -> (usize, usize) {
    (kind.body().len(), kind.answer().len())
}

fn call_of_objects(about_bytes: usize) -> String {
    let entry = |number: usize| json!({"id": number, "title": format!("Issue {number} of the project"), "open": true, "labels": ["bug", "ui"]});
    let mut issues: Vec<Value> = Vec::new();
    let mut bytes = 0;
    while bytes < about_bytes {
        let issue = entry(issues.len());
        bytes += issue.to_string().len() + 1;
        issues.push(issue);
    }
    call(TOOLS[0], &json!({"project": PROJECT, "known": issues}))
}

/// Lines of text as of a source file: with quotes and ends of lines, which JSON writes as escapes (a tenth more bytes).
fn file(about_bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < about_bytes {
        text += "    assert_eq!(list(\"core\").await?, [\"one\", \"two\"], \"the order of a list is that of its server\");\n";
    }
    text
}

/// About 600 bytes a tool, as servers of today describe them; `list_…` may be called by everybody, `delete_…` by nobody.
fn list_of_tools(count: usize) -> String {
    let tool = |number: usize| {
        let family = if number.is_multiple_of(HIDDEN_ONE_OF) { "delete" } else { "list" };
        json!({
            "name": format!("{family}_thing_{number}"),
            "title": format!("Things of kind {number}"),
            "description": format!("Works on the things of kind {number} in one project. Takes the project's short name and, where there are many, a cursor from the answer before; gives names, owners and states, newest first."),
            "inputSchema": {
                "type": "object",
                "properties": {
                    "project": {"type": "string", "description": "The short name of the project"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "description": "How many at most"},
                    "cursor": {"type": "string", "description": "Where the answer before ended"},
                },
                "required": ["project"],
            },
            "annotations": {"readOnlyHint": family == "list", "openWorldHint": false},
        })
    };
    let tools: Vec<Value> = (0..count).map(tool).collect();
    json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string()
}

/// How many of so many tools a caller sees through a filter that governs lists.
pub(crate) fn visible(count: usize) -> usize {
    count - count.div_ceil(HIDDEN_ONE_OF)
}

/// The name first, as SDKs write it: a reader that stops at the name gains from it.
fn call(tool: &str, arguments: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#)
}

/// A message with this body, of the bearer of `token`.
pub(crate) fn message(path: &str, body: &str, token: &str) -> anyhow::Result<Message> {
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json, text/event-stream".to_owned()),
        ("mcp-protocol-version", "2025-06-18".to_owned()),
        ("user-agent", "bench-mesh".to_owned()),
    ];
    let mut http1 = format!("POST {path} HTTP/1.1\r\nhost: gateway\r\n");
    let mut http2 = Request::post(format!("http://gateway{path}"));
    for (name, value) in headers {
        http1 += &format!("{name}: {value}\r\n");
        http2 = http2.header(name, value);
    }
    http1 += &format!("content-length: {}\r\n\r\n{body}", body.len());
    Ok(Message { http1: Arc::from(http1.into_bytes()), http2: http2.body(Full::from(body.to_owned()))? })
}
