//! What must hold for any bytes whatever, one function per fuzz target. Steps 1 to 6.
//!
//! The fuzz crate runs these for hours on bytes that nobody thought of; `cargo test` replays what that found. Each function
//! panics when its promise is broken, and otherwise says nothing.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use holdpoint_core::config::FilterConfig;
use holdpoint_core::decision::Verdict;
use holdpoint_core::envelope::{Annotations, Call, RouteFacts};
use holdpoint_core::identity::{ActorType, Principal};
use holdpoint_core::json::{Document, Kind, Limits, ReadError, Value, canonical};
use holdpoint_core::mcp::sse::{Event, Splitter};
use holdpoint_core::mcp::{self, Head, MessageKind, Posted, Target};
use holdpoint_core::policy::NoUsage;
use holdpoint_core::yaml;
use holdpoint_filter::identity::{self, CallerFacts, Known, metadata};

// The codec of the ABI's header lists is part of the wasm-only side; it is plain code.
#[path = "../../filter/src/host/pairs.rs"]
mod pairs;

/// A name, and what is run on any bytes.
pub(crate) type Check = (&'static str, fn(&[u8]));

/// The targets by name.
pub(crate) const TARGETS: &[Check] = &[
    ("json", json),
    ("message", message),
    ("pairs", pairs),
    ("metadata", metadata),
    ("yaml", yaml),
    ("config", config),
    ("sse", sse),
];

/// The JSON reader accepts nothing that serde_json refuses, agrees on everything it accepts, and refuses alone only what
/// it refuses on purpose. The canonical form says the same value, and is its own canonical form.
pub(crate) fn json(bytes: &[u8]) {
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    match Document::read(bytes.to_vec(), &Limits::default()) {
        Ok(document) => {
            let theirs = theirs.expect("accepted alone");
            assert!(plain(document.root()) == theirs, "read differently");
            assert_eq!(document.bytes(), bytes);
            let mut canonical = String::new();
            canonical::write(document.root(), &mut canonical);
            let again = Document::read(canonical.clone().into_bytes(), &Limits::default()).expect("canonical is JSON");
            assert!(plain(again.root()) == theirs, "canonical says another value");
            let mut twice = String::new();
            canonical::write(again.root(), &mut twice);
            assert_eq!(twice, canonical);
        }
        Err(
            ReadError::DuplicateKey { .. }
            | ReadError::SpecialKey { .. }
            | ReadError::TooDeep { .. }
            | ReadError::NumberTooLong { .. }
            | ReadError::TooManyNodes { .. },
        ) => {}
        Err(error) => assert!(theirs.is_err(), "refused alone: {error}"),
    }
}

/// The value as serde_json would have it; numbers are left to serde_json itself. Deep only as the limit lets it be.
fn plain(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool => value.as_bool().expect("a boolean").into(),
        Kind::Number => serde_json::from_str(value.number_text().expect("a number")).expect("serde_json reads it"),
        Kind::String => value.as_str().expect("a string").into(),
        Kind::Array => value.elements().map(plain).collect(),
        Kind::Object => value.members().map(|(key, value)| (key.into_owned(), plain(value))).collect(),
    }
}

/// A message that is read says what a second reader finds in the same bytes, however that one treats case; and what the
/// policy denies stays denied. The input is header lines, an empty line, then the body.
pub(crate) fn message(bytes: &[u8]) {
    let (head, body) = match bytes.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (&[][..], bytes),
    };
    let mut headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
    for line in head.split(|byte| *byte == b'\n') {
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            headers.push((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()));
        }
    }
    let head = Head { method: b"POST", path: b"/mcp", headers: &headers };
    let messages = match mcp::read_posted(&head, body.to_vec(), &Limits::default()) {
        Ok(Posted::One(message)) => vec![*message],
        Ok(Posted::Batch(messages)) => messages,
        Err(error) => {
            assert!(error.detail.len() < 2_000, "an error that echoes its sender: {}", error.detail.len());
            if let Some(id) = &error.id {
                serde_json::from_str::<serde_json::Value>(id).expect("the id of an error is JSON");
            }
            return;
        }
    };
    let second: serde_json::Value = serde_json::from_slice(body).expect("accepted alone");
    let seconds = second.as_array().cloned().unwrap_or_else(|| vec![second.clone()]);
    assert_eq!(seconds.len(), messages.len(), "a message that nobody judged");
    for (message, second) in messages.into_iter().zip(&seconds) {
        consistent(&message, second);
        judge(message);
    }
}

/// One message says what a second reader finds in the same bytes.
fn consistent(message: &mcp::McpMessage, second: &serde_json::Value) {
    let without_case = |object: &serde_json::Value, key: &str| -> Vec<serde_json::Value> {
        let members = object.as_object().into_iter().flatten();
        members.filter(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.clone()).collect()
    };
    assert!(second.is_object());
    for key in ["jsonrpc", "id", "method", "params", "result", "error"] {
        assert!(without_case(second, key).len() <= 1, "two keys are `{key}` to a reader without case");
        assert_eq!(without_case(second, key).first(), second.get(key), "only a near name of `{key}`");
    }
    match message.kind() {
        MessageKind::Response => assert!(second.get("method").is_none()),
        MessageKind::Request => {
            assert_eq!(second["method"], message.method().as_str());
            assert!(second["id"].is_string() || second["id"].is_i64(), "id {}", second["id"]);
        }
        MessageKind::Notification => {
            assert_eq!(second["method"], message.method().as_str());
            assert!(second.get("id").is_none());
        }
        MessageKind::Bodiless => panic!("a POST without a body"),
    }
    let params = &second["params"];
    match message.target() {
        Target::Tool(name) | Target::Prompt(name) => assert_eq!(without_case(params, "name"), [name.as_str()]),
        Target::Resource(uri) => assert_eq!(without_case(params, "uri"), [uri.as_str()]),
        Target::Task(id) => assert_eq!(without_case(params, "taskId"), [id.as_str()]),
        Target::None | Target::Completion(_) | Target::Subscription { .. } => {}
    }
    let _ = format!("{message:?}");
    let own: serde_json::Value = serde_json::from_slice(message.document().bytes()).expect("its own text is JSON");
    assert_eq!(own, *second);
}

/// Seals and judges under the quickstart's policy.
fn judge(message: mcp::McpMessage) {
    let denied = *message.target() == Target::Tool("delete_project".to_owned());
    let principal = Principal {
        issuer: "https://idp.example".to_owned(),
        subject: "agent-7".to_owned(),
        agent_id: None,
        actor_type: ActorType::Agent,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    };
    let route = RouteFacts { metadata_server: Some("tracker".to_owned()), ..RouteFacts::default() };
    let call = Call {
        message,
        principal: principal.into(),
        route,
        headers: Vec::new(),
        annotations: Annotations::default(),
        definition: None,
    };
    let Ok(envelope) = quickstart().policy.seal(call) else { return };
    let evaluated = quickstart().policy.evaluate(&envelope, &NoUsage);
    assert!(!denied || evaluated.decision.verdict == Verdict::Deny, "a denied tool: {:?}", evaluated.decision.verdict);
    assert_eq!(evaluated.decision.verdict == Verdict::Allow, evaluated.permit.is_some());
}

fn quickstart() -> &'static FilterConfig {
    static CONFIG: OnceLock<FilterConfig> = OnceLock::new();
    let text = include_bytes!("../../examples/quickstart/policy.yaml");
    CONFIG.get_or_init(|| FilterConfig::read(text).expect("the quickstart's policy"))
}

/// A list that the host gave is read without surprise, and written again it reads the same.
pub(crate) fn pairs(bytes: &[u8]) {
    let Some(read) = pairs::read(bytes) else { return };
    let total: usize = read.iter().map(|(name, value)| name.len() + value.len()).sum();
    // Lengths may overlap nothing: every byte of the list is in one name or value at most.
    assert!(total <= bytes.len() && read.len() <= bytes.len());
    let text: Option<Vec<(&str, &str)>> = read
        .iter()
        .map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
        .collect();
    if let Some(text) = text {
        assert_eq!(pairs::read(&pairs::write(&text)).expect("what was written"), read);
    }
}

/// Whatever stands in the metadata, an identity comes out of it bounded or not at all.
pub(crate) fn metadata(bytes: &[u8]) {
    let _ = metadata::namespace(bytes, "holdpoint");
    let facts = CallerFacts { headers: &[], dynamic_metadata: bytes, certificate: None };
    if let Ok(principal) = identity::resolve(&quickstart().identity, &facts, &mut Known::default()) {
        assert!(!principal.issuer.is_empty() && !principal.subject.is_empty());
        assert!(principal.issuer.len() <= 512 && principal.subject.len() <= 512);
        assert!(principal.groups.len() <= 1_000 && principal.scopes.len() <= 1_000);
    }
}

/// The YAML reader never takes one text for two documents: no mapping holds a key twice, and JSON means what JSON means.
pub(crate) fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let limits = yaml::Limits { text_bytes_max: 65_536, depth_max: 64, nodes_max: 20_000 };
    match yaml::read(text, &limits) {
        Ok(node) => {
            distinct(&node);
            let plain = yaml::to_json(&node);
            // Numbers keep their text here and not there.
            if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(text)
                && theirs.is_object()
            {
                assert_eq!(shape(&plain), shape(&theirs));
            }
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}

fn distinct(node: &yaml::Node) {
    match &node.kind {
        yaml::Kind::Map(entries) => {
            let keys: BTreeSet<&str> = entries.iter().filter_map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys.len(), entries.len(), "a key twice, or a key that is no string");
            entries.iter().for_each(|(_, value)| distinct(value));
        }
        yaml::Kind::Seq(items) => items.iter().for_each(distinct),
        yaml::Kind::Null | yaml::Kind::Bool(_) | yaml::Kind::Int(_) | yaml::Kind::Float(_) | yaml::Kind::Str(_) => {}
    }
}

/// The value with every number made 0.
fn shape(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(_) => 0.into(),
        serde_json::Value::Array(items) => items.iter().map(shape).collect(),
        serde_json::Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        other => other.clone(),
    }
}

/// A configuration is taken or refused with sentences, whatever it is.
pub(crate) fn config(bytes: &[u8]) {
    if bytes.len() > 65_536 {
        return;
    }
    match FilterConfig::read(bytes) {
        Ok(config) => {
            let again = FilterConfig::read(bytes).expect("read once");
            assert_eq!(config.policy.id(), again.policy.id());
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

/// Longest event of [`sse`], in bytes.
const EVENT_BYTES_MAX: usize = 256;

/// A stream of events loses no byte and says the same in whatever pieces it comes; what is rewritten of an event keeps its
/// data. The input's first byte is the length of the pieces, the rest is the stream.
pub(crate) fn sse(bytes: &[u8]) {
    let Some((length, stream)) = bytes.split_first() else { return };
    let whole = events(stream, stream.len().max(1));
    let pieces = events(stream, usize::from(*length).max(1));
    // Right at the limit it matters whether the line feed of a CRLF still belongs to an event or begins the next one.
    let (Some(whole), Some(pieces)) = (&whole, &pieces) else { return };
    let raw = |events: &[Event]| events.iter().flat_map(|event| event.raw().to_vec()).collect::<Vec<u8>>();
    assert_eq!(raw(whole), stream, "bytes are lost");
    assert_eq!(raw(pieces), stream, "bytes are lost between pieces");
    // A line feed that comes apart from its carriage return begins the next event, where it says nothing.
    let data = |events: &[Event]| events.iter().filter_map(Event::data).collect::<Vec<_>>();
    assert_eq!(data(whole), data(pieces), "the pieces say something else");
    for event in whole {
        assert_eq!(event.clone().without_id().data(), event.data(), "without its id it says something else");
        assert!(!has_id(&event.clone().without_id()), "the id is still there");
        let plain = event.clone().for_every_reader();
        assert_eq!(plain.clone().for_every_reader(), plain, "a second time finds more");
        if event.data().is_some() {
            // As the filter does: it may be the first event that its client sees, whatever came before it.
            let changed = Splitter::new(usize::MAX).push(&plain.with_data(b"{}")).expect("no limit");
            assert_eq!(changed.iter().filter_map(Event::data).collect::<Vec<_>>(), [b"{}".to_vec()]);
        }
    }
}

/// The events of a stream that comes in pieces of that length; `None` when one is too long.
fn events(stream: &[u8], length: usize) -> Option<Vec<Event>> {
    let mut splitter = Splitter::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    for piece in stream.chunks(length) {
        events.extend(splitter.push(piece).ok()?);
    }
    events.extend(splitter.finish());
    Some(events)
}

fn has_id(event: &Event) -> bool {
    let lines = event.raw().split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.into_iter().any(|line| line == b"id" || line.starts_with(b"id:"))
}
