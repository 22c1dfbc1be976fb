//! A recording MCP server: keeps every head and the exact bytes of every body, and answers as it is told. The far side of
//! step 10.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Channel, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::probe;

/// One message as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The HTTP method.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// The version of HTTP it came by.
    pub version: Version,
    /// Every header, in order of arrival per name.
    pub headers: HeaderMap,
    /// The exact bytes of the body; what had come when `complete` is false.
    pub body: Bytes,
    /// The trailers, if any came.
    pub trailers: Option<HeaderMap>,
    /// Whether the body ended properly.
    pub complete: bool,
}

impl Received {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header as text, if it came exactly once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().ok(),
            _ => None,
        }
    }
}

/// How the server answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and a JSON text.
    Json { status: u16, body: String },
    /// A stream of events, each written after its pause.
    Sse { events: Vec<(Duration, String)> },
    /// The same with further headers.
    With { headers: Vec<(&'static str, String)>, answer: Box<Answer> },
    /// The same with another status.
    Status { status: u16, answer: Box<Answer> },
    /// A stream of events, each but the first written only when the gate is opened once more.
    Gated { events: Vec<String>, gate: Arc<Notify> },
    /// Status 200 with exactly these headers and this body.
    Http { headers: Vec<(&'static str, String)>, body: Bytes },
    /// The connection is closed (HTTP/1) or the stream reset (HTTP/2) without an answer.
    Drop,
}

impl Answer {
    /// A successful tool result with `text`, for the id of `message`.
    pub fn tool_result(message: &Received, text: &str) -> Self {
        let result = json!({"content": [{"type": "text", "text": text}], "isError": false});
        let id = message.json()["id"].clone();
        let body = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
        Self::Json { status: 200, body }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(self, name: &'static str, value: &str) -> Self {
        Self::With { headers: vec![(name, value.to_owned())], answer: Box::new(self) }
    }
}

type Script = Arc<dyn Fn(&Received) -> (Duration, Answer) + Send + Sync>;

#[derive(Default)]
struct Records {
    received: Vec<Received>,
    /// Messages whose answer is under way, and the most there ever were.
    at_once: usize,
    at_once_max: usize,
    script: Option<Script>,
}

/// A recording server on a loopback port, HTTP/1 and HTTP/2 alike. Gone when dropped.
pub struct Upstream {
    port: u16,
    records: Arc<Mutex<Records>>,
    accept: JoinHandle<()>,
}

impl Upstream {
    /// Starts a server on a port that the system chooses. It answers every message with a successful tool result.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let records = Arc::new(Mutex::new(Records::default()));
        let accept = tokio::spawn(accept(listener, Arc::clone(&records)));
        Ok(Self { port, records, accept })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on answers as `script` says, after the pause that it says.
    pub fn answer_with(&self, script: impl Fn(&Received) -> (Duration, Answer) + Send + Sync + 'static) {
        lock(&self.records).script = Some(Arc::new(script));
    }

    /// Every message so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.records).received.clone()
    }

    /// How many messages have arrived.
    pub fn count(&self) -> usize {
        lock(&self.records).received.len()
    }

    /// The most messages that were ever being answered at the same time.
    pub fn at_once_max(&self) -> usize {
        lock(&self.records).at_once_max
    }

    /// Waits until at least `count` messages have arrived, and returns all of them.
    pub async fn wait_for(&self, count: usize) -> anyhow::Result<Vec<Received>> {
        let what = format!("{count} messages at the server");
        probe::until(&what, probe::PATIENCE, async || Some(self.received()).filter(|received| received.len() >= count))
            .await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until aborted; the set of connections ends with it.
async fn accept(listener: TcpListener, records: Arc<Mutex<Records>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let records = Arc::clone(&records);
        connections.spawn(async move {
            let service = service_fn(move |message| serve(message, Arc::clone(&records)));
            // A broken connection is the client's affair, and often the point of a test.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    message: Request<Incoming>,
    records: Arc<Mutex<Records>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, std::io::Error> {
    let received = receive(message).await;
    let script = {
        let mut records = lock(&records);
        records.received.push(received.clone());
        records.at_once += 1;
        records.at_once_max = records.at_once_max.max(records.at_once);
        records.script.clone()
    };
    let (pause, answer) = match script {
        Some(script) => script(&received),
        None => (Duration::ZERO, Answer::tool_result(&received, "done")),
    };
    tokio::time::sleep(pause).await;
    lock(&records).at_once -= 1;
    written(answer)
}

fn written(answer: Answer) -> Result<Response<BoxBody<Bytes, Infallible>>, std::io::Error> {
    match answer {
        Answer::With { headers, answer } => {
            let mut answered = written(*answer)?;
            for (name, value) in headers {
                let value = hyper::header::HeaderValue::from_str(&value).map_err(std::io::Error::other)?;
                answered.headers_mut().append(name, value);
            }
            Ok(answered)
        }
        Answer::Status { status, answer } => {
            let mut answered = written(*answer)?;
            *answered.status_mut() = StatusCode::from_u16(status).map_err(std::io::Error::other)?;
            Ok(answered)
        }
        Answer::Json { status, body } => Ok(answered(status, "application/json", Full::from(body).boxed())),
        Answer::Sse { events } => Ok(answered(200, "text/event-stream", stream(events))),
        Answer::Gated { events, gate } => Ok(answered(200, "text/event-stream", gated(events, gate))),
        Answer::Http { headers, body } => {
            let mut answered = Response::new(Full::from(body).boxed());
            for (name, value) in headers {
                let value = hyper::header::HeaderValue::from_str(&value).map_err(std::io::Error::other)?;
                answered.headers_mut().insert(name, value);
            }
            Ok(answered)
        }
        Answer::Drop => Err(std::io::Error::other("told to drop the connection")),
    }
}

async fn receive(message: Request<Incoming>) -> Received {
    let (head, mut incoming) = message.into_parts();
    let mut body = Vec::new();
    let mut trailers = None;
    let complete = loop {
        match incoming.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    Received {
        method: head.method,
        path: head.uri.to_string(),
        version: head.version,
        headers: head.headers,
        body: body.into(),
        trailers,
        complete,
    }
}

fn stream(events: Vec<(Duration, String)>) -> BoxBody<Bytes, Infallible> {
    if events.is_empty() {
        return Empty::new().boxed();
    }
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for (pause, event) in events {
            tokio::time::sleep(pause).await;
            if sender.send_data(event.into()).await.is_err() {
                return;
            }
        }
    });
    body.boxed()
}

fn gated(events: Vec<String>, gate: Arc<Notify>) -> BoxBody<Bytes, Infallible> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for (index, event) in events.into_iter().enumerate() {
            if index > 0 {
                gate.notified().await;
            }
            if sender.send_data(event.into()).await.is_err() {
                return;
            }
        }
    });
    body.boxed()
}

fn answered(
    status: u16,
    content_type: &'static str,
    body: BoxBody<Bytes, Infallible>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let mut answered = Response::new(body);
    *answered.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let value = hyper::header::HeaderValue::from_static(content_type);
    answered.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    answered
}
