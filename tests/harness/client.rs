//! A raw HTTP client that sends exactly what a test says, well-formed or not. The near side of step 1.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Channel, Full, combinators::BoxBody};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinHandle};

/// One HTTP message to send.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// The method, `POST` for MCP.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Headers in order, repeated names included; values may be any bytes that HTTP allows.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The pieces of the body.
    pub body: HttpBody,
    /// Whether to speak HTTP/2 (with prior knowledge) instead of HTTP/1.1.
    pub http2: bool,
}

/// How a body is sent.
#[derive(Debug, Clone)]
pub enum HttpBody {
    /// All at once, with its length.
    Whole(Vec<u8>),
    /// In pieces, each after its pause, without a length; then trailers, if there are any.
    Pieces { pieces: Vec<(Duration, Vec<u8>)>, trailers: Vec<(String, String)> },
}

/// What came back.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// From the first byte sent to the last byte received.
    pub elapsed: Duration,
}

impl HttpAnswer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON-RPC message in the body, be it plain JSON or the last event of a stream; null if there is none.
    pub fn json(&self) -> Value {
        let text = self.text();
        let last_event =
            text.lines().filter_map(|line| line.strip_prefix("data:")).rfind(|data| !data.trim().is_empty());
        serde_json::from_str(last_event.unwrap_or(&text)).unwrap_or(Value::Null)
    }
}

impl HttpCall {
    /// A POST of `body` to `/mcp` with the headers that every MCP client sends.
    pub fn post(body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/mcp".to_owned(),
            headers: Vec::new(),
            body: HttpBody::Whole(body.into()),
            http2: false,
        }
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
    }

    /// A request by HTTP alone to `/mcp`: a GET that asks for a stream, a DELETE that ends a session.
    pub fn bodiless(method: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: "/mcp".to_owned(),
            headers: Vec::new(),
            body: HttpBody::Whole(Vec::new()),
            http2: false,
        }
        .header("accept", "text/event-stream")
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same without any header of that name.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self
    }

    /// The same with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// The same over HTTP/2.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// The same with its body sent in one piece without a length, and `trailers` after it.
    #[must_use]
    pub fn with_trailers(mut self, trailers: &[(&str, &str)]) -> Self {
        let whole = match self.body {
            HttpBody::Whole(bytes) => vec![(Duration::ZERO, bytes)],
            HttpBody::Pieces { pieces, .. } => pieces,
        };
        let trailers = trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.body = HttpBody::Pieces { pieces: whole, trailers };
        self
    }

    /// The same with its body sent in pieces of `piece_bytes`, each after `pause`, without a length.
    #[must_use]
    pub fn in_pieces(mut self, piece_bytes: usize, pause: Duration) -> Self {
        let body = self.body_bytes();
        let pieces = body.chunks(piece_bytes).map(|piece| (pause, piece.to_vec())).collect();
        self.body = HttpBody::Pieces { pieces, trailers: Vec::new() };
        self
    }

    /// The bytes of its body, however they are sent.
    pub fn body_bytes(&self) -> Vec<u8> {
        match &self.body {
            HttpBody::Whole(bytes) => bytes.clone(),
            HttpBody::Pieces { pieces, .. } => pieces.iter().flat_map(|(_, piece)| piece.clone()).collect(),
        }
    }

    /// Sends it to a loopback port over a connection of its own and waits for the whole answer.
    pub async fn send(self, port: u16) -> anyhow::Result<HttpAnswer> {
        self.begin(port).await?.answer().await
    }

    /// Sends it over TLS, as the client whose certificate `client` carries. Fails when the handshake does.
    pub async fn send_tls(self, port: u16, client: &reqwest::Client) -> anyhow::Result<HttpAnswer> {
        let started = Instant::now();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value)?);
        }
        let url = format!("https://127.0.0.1:{port}{}", self.path);
        let method = self.method.parse()?;
        let answer = client.request(method, url).headers(headers).body(self.body_bytes()).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(HttpAnswer { status, headers, body: answer.bytes().await?, elapsed: started.elapsed() })
    }

    /// Sends it and returns at once, so that a test can watch it wait, or walk away.
    pub async fn begin(self, port: u16) -> anyhow::Result<InFlight> {
        let started = Instant::now();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("nothing listens on port {port}"))?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let message = self.message(port)?;
        let (connection, answer): (_, JoinHandle<anyhow::Result<HttpAnswer>>) = if self.http2 {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let connection = tokio::spawn(async move {
                let _ = connection.await;
            });
            let answer = tokio::spawn(async move { collect(sender.send_request(message).await?, started).await });
            (connection, answer)
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            let connection = tokio::spawn(async move {
                let _ = connection.await;
            });
            let answer = tokio::spawn(async move { collect(sender.send_request(message).await?, started).await });
            (connection, answer)
        };
        Ok(InFlight { connection: connection.abort_handle(), answer })
    }

    fn message(&self, port: u16) -> anyhow::Result<Request<BoxBody<Bytes, Infallible>>> {
        let authority = format!("127.0.0.1:{port}");
        let uri = if self.http2 { format!("http://{authority}{}", self.path) } else { self.path.clone() };
        let mut message = Request::builder().method(self.method.as_str()).uri(uri);
        let names_host = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if !self.http2 && !names_host {
            message = message.header("host", &authority);
        }
        for (name, value) in &self.headers {
            message = message.header(name, HeaderValue::from_bytes(value)?);
        }
        Ok(message.body(self.body.clone().boxed()?)?)
    }
}

impl HttpBody {
    fn boxed(self) -> anyhow::Result<BoxBody<Bytes, Infallible>> {
        let (pieces, trailers) = match self {
            Self::Whole(bytes) => return Ok(Full::from(bytes).boxed()),
            Self::Pieces { pieces, trailers } => (pieces, trailers),
        };
        let mut trailer_map = HeaderMap::new();
        for (name, value) in trailers {
            trailer_map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(&value)?);
        }
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        tokio::spawn(async move {
            for (pause, piece) in pieces {
                tokio::time::sleep(pause).await;
                if sender.send_data(piece.into()).await.is_err() {
                    return;
                }
            }
            if !trailer_map.is_empty() {
                let _ = sender.send_trailers(trailer_map).await;
            }
        });
        Ok(body.boxed())
    }
}

async fn collect(answer: hyper::Response<hyper::body::Incoming>, started: Instant) -> anyhow::Result<HttpAnswer> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.context("the answer broke off")?.to_bytes();
    Ok(HttpAnswer { status: head.status, headers: head.headers, body, elapsed: started.elapsed() })
}

/// A call whose answer has not been read yet. Dropping it leaves the call running; `abandon` is what a client does.
#[derive(Debug)]
pub struct InFlight {
    connection: AbortHandle,
    answer: JoinHandle<anyhow::Result<HttpAnswer>>,
}

impl InFlight {
    /// Waits for the whole answer.
    pub async fn answer(self) -> anyhow::Result<HttpAnswer> {
        self.answer.await?
    }

    /// Whether the answer is there already.
    pub fn is_answered(&self) -> bool {
        self.answer.is_finished()
    }

    /// Leaves: closes the connection without reading an answer.
    pub fn abandon(self) {
        self.answer.abort();
        self.connection.abort();
    }
}

/// Sends bytes that no HTTP library would send, and returns what came back until the other side closed or `within` passed.
pub async fn send_raw(port: u16, bytes: &[u8], within: Duration) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    let until_closed = tokio::time::timeout(within, stream.read_to_end(&mut answer)).await;
    if let Ok(read) = until_closed {
        read?;
    }
    Ok(answer)
}

/// A `tools/call` as a client of 2025-11-25 sends it: id 1, `arguments` verbatim.
pub fn tools_call(name: &str, arguments: &str, token: &str) -> HttpCall {
    let name = json!(name);
    HttpCall::post(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{name},"arguments":{arguments}}}}}"#
    ))
    .header("mcp-protocol-version", "2025-11-25")
    .bearer(token)
}

/// The same as a client of 2026-07-28 sends it, with the headers that repeat the body.
pub fn tools_call_modern(name: &str, arguments: &str, token: &str) -> HttpCall {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"harness","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let quoted = json!(name);
    HttpCall::post(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{quoted},"arguments":{arguments},"_meta":{meta}}}}}"#
    ))
    .header("mcp-protocol-version", "2026-07-28")
    .header("mcp-method", "tools/call")
    .header("mcp-name", name)
    .bearer(token)
}
