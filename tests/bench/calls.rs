//! The calls that are sent, as the bytes of whole HTTP/1.1 messages: built once, so that sending costs nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

/// How large the body of a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BodySize {
    /// An everyday call of about 109 bytes.
    Small,
    /// A call with about 4 KB of small objects among its arguments.
    Medium,
    /// The same with about 62 KB.
    Large,
    /// A call with about a megabyte of long texts: of small objects, so many would be refused.
    Huge,
}

impl BodySize {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Small, Self::Medium, Self::Large, Self::Huge];
    /// Those that tell most.
    pub(crate) const TELLING: [Self; 2] = [Self::Small, Self::Large];

    /// Its word in the JSON report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Huge => "huge",
        }
    }
}

/// The messages of this run, with the caller's token in them.
pub(crate) struct Calls {
    allowed: BTreeMap<BodySize, Arc<[u8]>>,
    denied: Arc<[u8]>,
}

impl Calls {
    /// Calls of the bearer of `token`.
    pub(crate) fn new(token: &str) -> Self {
        Self {
            allowed: BodySize::ALL.map(|size| (size, message(&body(size), token))).into(),
            denied: message(&call("delete_project", &json!({"project": "core"})), token),
        }
    }

    /// A call that the quickstart's policy allows.
    pub(crate) fn allowed(&self, size: BodySize) -> Arc<[u8]> {
        Arc::clone(&self.allowed[&size])
    }

    /// A call that the quickstart's policy denies, and so does the native variant.
    pub(crate) fn denied(&self) -> Arc<[u8]> {
        Arc::clone(&self.denied)
    }

    /// The size of an allowed call's body in bytes.
    pub(crate) fn body_bytes(&self, size: BodySize) -> usize {
        body(size).len()
    }
}

fn body(size: BodySize) -> String {
    let (about_bytes, title_chars) = match size {
        BodySize::Small => return call("list_issues", &json!({"project": "core"})),
        BodySize::Medium => (4_000, 0),
        BodySize::Large => (62_000, 0),
        BodySize::Huge => (1_000_000, 2_000),
    };
    let more = "x".repeat(title_chars);
    let entry = |number: usize| json!({"id": number, "title": format!("Issue {number} of the project{more}"), "open": true, "labels": ["bug", "ui"]});
    let mut issues: Vec<Value> = Vec::new();
    let mut bytes = 0;
    while bytes < about_bytes {
        let issue = entry(issues.len());
        bytes += issue.to_string().len() + 1;
        issues.push(issue);
    }
    call("list_issues", &json!({"project": "core", "known": issues}))
}

/// The name first, as SDKs write it: a reader that stops at the name gains from it.
fn call(tool: &str, arguments: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#)
}

/// A whole message with this body, of the bearer of `token`.
pub(crate) fn message(body: &str, token: &str) -> Arc<[u8]> {
    let text = format!(
        "POST /mcp HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-06-18\r\nuser-agent: bench-mesh\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Arc::from(text.into_bytes())
}
