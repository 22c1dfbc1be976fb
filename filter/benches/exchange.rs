//! What one allowed call costs in the filter's own code, without any host: `cargo bench -p holdpoint-filter`. The bench
//! takes four numbers: how many calls, how many bytes of text one of them carries besides, how many tools the answer
//! lists (with any, the calls are `tools/list`, the first of which a worker has never seen the like of), and how many small
//! objects a call carries besides. With the word `answers` the text stands in the answers, with `events` those are event
//! streams. With the word `candidate` every call is judged a second time, by a policy that differs in what it does not ask
//! for.
#![expect(clippy::panic, reason = "no data path: a measurement without its subject is worth nothing")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use holdpoint_core::config::FilterConfig;
use holdpoint_filter::audit_buffer::{BatchAnswer, IS_KEPT};
use holdpoint_filter::definitions;
use holdpoint_filter::desk::Desk;
use holdpoint_filter::exchange::{
    AnswerFormat, Exchange, HostCommand, HostEvent, RequestHead, ResponseHead, RouteMetadata, Surroundings,
};
use holdpoint_filter::usage::{SharedData, Stored};
use holdpoint_filter::worker::Worker;
use serde_json::{Value, json};

const CONFIG: &str = include_str!("../../examples/quickstart/policy.yaml");

#[derive(Default)]
struct Shared(BTreeMap<String, (Vec<u8>, u32)>);

impl SharedData for Shared {
    fn load(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        Some(self.0.get(key).cloned().unwrap_or_default())
    }
    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        let entry = self.0.entry(key.to_owned()).or_default();
        if cas != 0 && entry.1 != cas {
            return Stored::Raced;
        }
        *entry = (value.to_vec(), entry.1 + 1);
        Stored::Done
    }
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn text(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, &field(3, value.as_bytes()))].concat())
}

fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, content)].concat())
}

fn metadata() -> Vec<u8> {
    let claims =
        [text("iss", "https://idp.example"), text("sub", "alice"), text("scope", "issues"), text("aud", "mcp")]
            .concat();
    let jwt = entry("jwt", &field(5, &claims));
    entry("envoy.filters.http.jwt_authn", &jwt)
}

fn head(metadata: &[u8]) -> RequestHead {
    let headers = [
        (":method", "POST"),
        (":path", "/mcp"),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-06-18"),
        ("user-agent", "bench-mesh"),
        ("content-length", "109"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "7c7f3f0e-8b0e-4b86-9a3a-1d8f2f4d0a5e"),
    ];
    RequestHead {
        headers: headers.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect(),
        dynamic_metadata: metadata.to_vec(),
        certificate: None,
        route: RouteMetadata { server: Some("tracker".to_owned()), ..RouteMetadata::default() },
        cluster: Some("tracker".to_owned()),
    }
}

/// The call of the mesh's bench; with more text or with small objects, like its larger ones: 830 objects are 62 KB.
fn body(text_bytes: usize, objects: usize) -> Vec<u8> {
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","arguments":{"project":"core""#;
    let prose = prose(text_bytes);
    let text = if prose.is_empty() { prose } else { format!(r#","text":"{prose}""#) };
    let object = |number| {
        let title = format!("Issue {number} of the project");
        format!(r#"{{"id":{number},"labels":["bug","ui"],"open":true,"title":"{title}"}}"#)
    };
    let objects = (0..objects).map(object).collect::<Vec<_>>().join(",");
    let known = if objects.is_empty() { objects } else { format!(r#","known":[{objects}]"#) };
    format!("{call}{text}{known}}}}}}}").into_bytes()
}

/// Its answer, with more text where answers are long.
fn answer(text_bytes: usize) -> Vec<u8> {
    let text = if text_bytes > 0 { prose(text_bytes) } else { "done".to_owned() };
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#).into_bytes()
}

fn prose(text_bytes: usize) -> String {
    "as ordinary as arguments are, ".chars().cycle().take(text_bytes).collect()
}

const LIST: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

/// The list of the mesh's bench: about 600 bytes a tool, every tenth of which nobody may call.
fn list_of_tools(count: usize) -> Vec<u8> {
    let tool = |number: usize| {
        let family = if number.is_multiple_of(10) { "delete" } else { "list" };
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
    json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string().into_bytes()
}

/// How many lists are timed one by one: after them nothing is new to the worker.
const FIRST: u32 = 2;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let calls: u32 = numbers.next().unwrap_or(100_000);
    let text_bytes = numbers.next().unwrap_or_default();
    let tools = numbers.next().unwrap_or_default();
    let objects = numbers.next().unwrap_or_default();
    let says = |word: &str| std::env::args().any(|arg| arg == word);
    let (body, mut answer) = match tools {
        0 if says("answers") => (body(0, 0), answer(text_bytes as usize)),
        0 => (body(text_bytes as usize, objects as usize), answer(0)),
        _ => (LIST.to_vec(), list_of_tools(tools as usize)),
    };
    let mut format = AnswerFormat::Json;
    if says("events") {
        answer = [b"event: message\ndata: ", answer.as_slice(), b"\n\n"].concat();
        format = AnswerFormat::EventStream;
    }
    let policy = CONFIG
        .split_once("\npolicy:\n")
        .map_or(String::new(), |(_, policy)| policy.replace("max_retries: 1", "max_retries: 2"));
    let text = if says("candidate") { format!("{CONFIG}candidate:\n{policy}") } else { CONFIG.to_owned() };
    let config = match FilterConfig::read(text.as_bytes()) {
        Ok(config) => Rc::new(config),
        Err(problems) => panic!("{problems}"),
    };
    let mut worker = Worker::new([1; 32], "gw".to_owned());
    let mut desk = Desk::new("gw/1".to_owned());
    worker.put_in_force("holdpoint", Rc::clone(&config));
    worker.logs_info = false;
    let mut shared = Shared::default();
    definitions::prepare(&mut shared);
    let plugin: Rc<str> = Rc::from("holdpoint");
    let metadata = metadata();
    let mut began = Instant::now();
    let mut first_us = Vec::new();
    let mut forwards = 0_u32;
    for call in 0..calls {
        if tools > 0 && call <= FIRST {
            first_us.extend((call > 0).then(|| began.elapsed().as_secs_f64() * 1e6));
            began = Instant::now();
        }
        let mut exchange = Exchange::new(Rc::clone(&plugin), Rc::clone(&config));
        let events = [
            HostEvent::RequestHead(head(&metadata)),
            HostEvent::RequestComplete { body: body.clone(), has_trailers: false },
            HostEvent::ResponseHead(ResponseHead { status: 200, format, has_body: true, ..ResponseHead::default() }),
            HostEvent::ResponsePart { bytes: answer.clone() },
            HostEvent::ResponseComplete,
            HostEvent::Closed,
        ];
        for event in events {
            let mut around =
                Surroundings { now_ms: 1_000_000, worker: &mut worker, desk: &mut desk, shared: &mut shared };
            for command in black_box(exchange.handle(event, &mut around)) {
                match command {
                    HostCommand::Forward(_) => forwards += 1,
                    HostCommand::Record(entry) => {
                        desk.audit.push(entry);
                        if desk.audit.len() >= 400 {
                            black_box(desk.audit.next_batch());
                            desk.audit.batch_answered(BatchAnswer::Acknowledged);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(forwards, calls, "every call is forwarded");
    let what = if IS_KEPT { "a call" } else { "a call, without the record" };
    let timed = if tools > 0 { calls.saturating_sub(FIRST) } else { calls };
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(timed.max(1));
    match &first_us[..] {
        [] => println!("{each:.2} µs {what}"),
        first => println!("{each:.2} µs {what} after the first {FIRST} ({first:.0?} µs)"),
    }
}
