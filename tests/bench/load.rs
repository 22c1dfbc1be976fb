//! The load: a closed loop of whole messages, on one thread: over so many HTTP/1.1 connections, or over as many streams
//! of one HTTP/2 connection.
//!
//! HTTP/1.1 over bare sockets instead of an HTTP library, because on a small machine the generator's own work takes time
//! from the gateway it measures. The report shows how busy this thread was, and how far it comes with no gateway at all.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::calls::Script;

/// Largest answer that is read, in bytes: a list of a thousand tools has less than one megabyte.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How clients speak to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wire {
    /// Each call that is under way has a connection of its own.
    Http1,
    /// All calls share one connection.
    Http2,
}

impl Wire {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// Its word in tables and JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Where calls go, and what one of them is.
#[derive(Clone)]
pub(crate) struct Target {
    /// A loopback port.
    pub(crate) port: u16,
    /// What is sent.
    pub(crate) script: Script,
    /// Over what.
    pub(crate) wire: Wire,
    /// The body that must come back.
    pub(crate) answer: Bytes,
}

/// What one run saw.
#[derive(Debug)]
pub(crate) struct Load {
    /// From the first byte written to the last byte read, in nanoseconds, in no order.
    pub(crate) latencies_ns: Vec<u64>,
    /// How long the run took.
    pub(crate) elapsed: Duration,
}

/// Keeps `at_once` calls under way, each followed by the next one as soon as it has its answer, for `window`.
/// Fails at the first answer that is not the expected one: a refused call would be counted as a fast one.
pub(crate) async fn run(target: &Target, at_once: usize, window: Duration) -> anyhow::Result<Load> {
    let mut open = Vec::new();
    match target.wire {
        Wire::Http1 => {
            for _ in 0..at_once {
                open.push(Lane::Http1(Connection::open(target.port).await?, target.script.clone()));
            }
        }
        Wire::Http2 => {
            let shared = http2(target.port).await?;
            open.extend((0..at_once).map(|_| Lane::Http2(shared.clone(), target.script.clone())));
        }
    }
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for mut lane in open {
        let wanted = target.answer.clone();
        loops.spawn(async move {
            let mut latencies_ns = Vec::new();
            while began.elapsed() < window {
                let sent = Instant::now();
                let answer = lane.call().await?;
                latencies_ns.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
                if answer.body != wanted {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    bail!("an allowed call was answered with {}: {body}", answer.status);
                }
            }
            Ok(latencies_ns)
        });
    }
    let mut latencies_ns = Vec::new();
    while let Some(finished) = loops.join_next().await {
        latencies_ns.append(&mut finished??);
    }
    Ok(Load { latencies_ns, elapsed: began.elapsed() })
}

/// Sends the next message over a connection of its own.
pub(crate) async fn call_once(port: u16, script: &Script, wire: Wire) -> anyhow::Result<Answer> {
    let mut lane = match wire {
        Wire::Http1 => Lane::Http1(Connection::open(port).await?, script.clone()),
        Wire::Http2 => Lane::Http2(http2(port).await?, script.clone()),
    };
    lane.call().await
}

/// Sends the next `count` messages, one after the other, and looks at no answer.
pub(crate) async fn call_in_turn(port: u16, script: &Script, count: usize) -> anyhow::Result<()> {
    let mut lane = Lane::Http1(Connection::open(port).await?, script.clone());
    for _ in 0..count {
        lane.call().await?;
    }
    Ok(())
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Bytes,
}

/// A way to the gateway, and what is sent there.
enum Lane {
    Http1(Connection, Script),
    Http2(SendRequest<Full<Bytes>>, Script),
}

impl Lane {
    async fn call(&mut self) -> anyhow::Result<Answer> {
        match self {
            Self::Http1(connection, script) => connection.call(&script.http1()).await,
            Self::Http2(sender, script) => {
                let answer = sender.send_request(script.http2()).await.context("the gateway gives no answer")?;
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
                Ok(Answer { status, body })
            }
        }
    }
}

async fn socket(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.context("the gateway takes no connection")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn http2(port: u16) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket(port).await?));
    let (sender, connection) = handshake.await.context("the gateway speaks no HTTP/2")?;
    // It ends with its senders; what breaks shows in their calls.
    tokio::spawn(connection);
    Ok(sender)
}

/// One keep-alive connection of HTTP/1.1.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        Ok(Self { stream: socket(port).await?, buffer: Vec::with_capacity(4096) })
    }

    /// Sends one message and waits for its whole answer.
    pub(crate) async fn call(&mut self, message: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(message).await.context("the gateway closed the connection")?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await.context("the gateway reset the connection")? == 0 {
                bail!("the gateway closed the connection in the middle of an answer");
            }
            if let Some(answer) = whole(&self.buffer)? {
                return Ok(answer);
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                bail!("an answer of more than {ANSWER_BYTES_MAX} bytes is not one of ours");
            }
        }
    }
}

/// The answer in `bytes`, or `None` while some of it is missing. Its length is either told by a `content-length`, as
/// Envoy does for answers of its own, or by chunks, as for those that a filter has changed.
pub(crate) fn whole(bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
    const HEAD_END: &[u8] = b"\r\n\r\n";
    let Some(head_bytes) = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END) else {
        return Ok(None);
    };
    let (head, rest) = bytes.split_at(head_bytes);
    let body = rest.get(HEAD_END.len()..).unwrap_or_default();
    let head = std::str::from_utf8(head).context("the head of the answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let Some(status) = status else { bail!("the answer has no status: {head}") };
    let headers = || lines.clone().filter_map(|line| line.split_once(':'));
    let header =
        |name: &str| headers().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    if header("transfer-encoding") == Some("chunked") {
        // Most pieces of a long answer are not its last one: only then is it worth to go through it.
        if !body.ends_with(b"0\r\n\r\n") {
            return Ok(None);
        }
        return Ok(unchunked(body)?.map(|body| Answer { status, body: body.into() }));
    }
    let Some(body_bytes) = header("content-length").and_then(|value| value.parse::<usize>().ok()) else {
        bail!("the answer does not tell its length: {head}");
    };
    if body.len() > body_bytes {
        bail!("the gateway sent more than one answer");
    }
    let whole = body.len() == body_bytes;
    Ok(whole.then(|| Answer { status, body: Bytes::copy_from_slice(body) }))
}

/// The text in these chunks, or `None` while the last one is missing.
fn unchunked(mut rest: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    const LINE_END: &[u8] = b"\r\n";
    let mut text = Vec::with_capacity(rest.len());
    loop {
        let Some(line_bytes) = rest.windows(LINE_END.len()).position(|window| window == LINE_END) else {
            return Ok(None);
        };
        let size = rest.get(..line_bytes).and_then(|size| std::str::from_utf8(size).ok());
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).context("a chunk without a size")?;
        let begin = line_bytes + LINE_END.len();
        let (Some(chunk), Some(after)) = (rest.get(begin..begin + size), rest.get(begin + size + LINE_END.len()..))
        else {
            return Ok(None);
        };
        if size == 0 {
            if !after.is_empty() {
                bail!("the gateway sent more than one answer");
            }
            return Ok(Some(text));
        }
        text.extend_from_slice(chunk);
        rest = after;
    }
}
