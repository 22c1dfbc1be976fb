//! The load: a closed loop of whole HTTP/1.1 messages over keep-alive connections, on one thread.
//!
//! Bare sockets instead of an HTTP library, because on a small machine the generator's own work takes time from the
//! gateway it measures. The report shows how busy this thread was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateways::UPSTREAM_ANSWER;

/// Largest answer that is read, in bytes: the measured ones are a few hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where calls go, and the bytes of one.
#[derive(Clone)]
pub(crate) struct Target {
    /// A loopback port.
    pub(crate) port: u16,
    /// A whole HTTP/1.1 message.
    pub(crate) message: Arc<[u8]>,
}

/// What one run saw.
#[derive(Debug)]
pub(crate) struct Load {
    /// From the first byte written to the last byte read, in nanoseconds, in no order.
    pub(crate) latencies_ns: Vec<u64>,
    /// How long the run took.
    pub(crate) elapsed: Duration,
}

/// Calls over `connections` connections at once, each with its next call as soon as it has its answer, for `window`.
/// Fails at the first answer that is not the upstream's: a refused call would be counted as a fast one.
pub(crate) async fn run(target: &Target, connections: usize, window: Duration) -> anyhow::Result<Load> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(target.port).await?);
    }
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for mut connection in open {
        let message = Arc::clone(&target.message);
        loops.spawn(async move {
            let mut latencies_ns = Vec::new();
            while began.elapsed() < window {
                let sent = Instant::now();
                let answer = connection.call(&message).await?;
                latencies_ns.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
                if answer.body != UPSTREAM_ANSWER.as_bytes() {
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

/// Sends one message over a connection of its own.
pub(crate) async fn call_once(target: &Target) -> anyhow::Result<Answer> {
    let mut connection = Connection::open(target.port).await?;
    connection.call(&target.message).await
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("the gateway takes no connection")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
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

/// The answer in `bytes`, or `None` while some of it is missing. Only answers with a `content-length` are understood:
/// Envoy gives its own answers one.
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
    let body_bytes = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    let (Some(status), Some(body_bytes)) = (status, body_bytes) else {
        bail!("the answer has no status or no content-length: {head}");
    };
    if body.len() > body_bytes {
        bail!("the gateway sent more than one answer");
    }
    let whole = body.len() == body_bytes;
    Ok(whole.then(|| Answer { status, body: body.to_vec() }))
}
