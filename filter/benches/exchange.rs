//! What one allowed call costs in the filter's own code, without any host: `cargo bench -p holdpoint-filter`. The bench
//! takes two numbers: how many calls, and how many bytes of text one of them carries besides.
#![expect(clippy::panic, reason = "no data path: a measurement without its subject is worth nothing")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use holdpoint_core::config::FilterConfig;
use holdpoint_filter::audit_buffer::{BatchAnswer, IS_KEPT};
use holdpoint_filter::desk::Desk;
use holdpoint_filter::exchange::{
    AnswerFormat, Exchange, HostCommand, HostEvent, RequestHead, ResponseHead, RouteMetadata, Surroundings,
};
use holdpoint_filter::usage::{SharedData, Stored};
use holdpoint_filter::worker::Worker;

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

/// The call of the mesh's bench; with more text, like its larger ones.
fn body(text_bytes: usize) -> Vec<u8> {
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","arguments":{"project":"core""#;
    let prose = "as ordinary as arguments are, ".chars().cycle().take(text_bytes).collect::<String>();
    let text = if prose.is_empty() { prose } else { format!(r#","text":"{prose}""#) };
    format!("{call}{text}}}}}}}").into_bytes()
}
const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let calls: u32 = numbers.next().unwrap_or(100_000);
    let body = body(numbers.next().unwrap_or_default() as usize);
    let config = match FilterConfig::read(CONFIG.as_bytes()) {
        Ok(config) => Rc::new(config),
        Err(problems) => panic!("{problems}"),
    };
    let mut worker = Worker::new([1; 32], "gw".to_owned());
    let mut desk = Desk::new("gw/1".to_owned());
    worker.put_in_force("holdpoint", Rc::clone(&config));
    worker.logs_info = false;
    let mut shared = Shared::default();
    let plugin: Rc<str> = Rc::from("holdpoint");
    let metadata = metadata();
    let began = Instant::now();
    let mut forwards = 0_u32;
    for _ in 0..calls {
        let mut exchange = Exchange::new(Rc::clone(&plugin), Rc::clone(&config));
        let events = [
            HostEvent::RequestHead(head(&metadata)),
            HostEvent::RequestComplete { body: body.clone(), has_trailers: false },
            HostEvent::ResponseHead(ResponseHead {
                status: 200,
                format: AnswerFormat::Json,
                has_body: true,
                ..ResponseHead::default()
            }),
            HostEvent::ResponsePart { bytes: ANSWER.to_vec() },
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
    println!("{:.2} µs {what}", began.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
}
