//! One HTTP/1.1 connection on which a test writes exactly the bytes it wants and reads whole answers. The near side of
//! step 1, where a library would refuse to misbehave.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the other side may be silent before a test gives up, on a machine that is busy building.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Larger than any answer of a test.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A connection, and what has come on it that no answer has taken yet.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireAnswer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, trimmed values, in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Whether the other side says that it will close the connection.
    pub closes: bool,
}

impl WireAnswer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

impl Wire {
    /// Connects to a loopback port.
    pub async fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("nothing listens on port {port}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Writes bytes as they are, and meanwhile takes in what comes: who answers early may stop reading. That the other
    /// side no longer reads is no error, its answer says why.
    pub async fn write(&mut self, bytes: &[u8]) {
        let (mut incoming, mut outgoing) = self.stream.split();
        let mut rest = bytes;
        let mut piece = [0; 16 * 1024];
        while !rest.is_empty() {
            tokio::select! {
                wrote = outgoing.write(rest) => match wrote {
                    Ok(1..) => rest = rest.get(wrote.unwrap_or(0)..).unwrap_or_default(),
                    Ok(0) | Err(_) => return,
                },
                read = incoming.read(&mut piece) => match read {
                    Ok(read @ 1..) => self.unread.extend_from_slice(piece.get(..read).unwrap_or_default()),
                    Ok(0) | Err(_) => return,
                },
                () = tokio::time::sleep(SILENCE_MAX) => return,
            }
        }
    }

    /// Says that nothing more will be written.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next whole answer, those of class 1xx passed over; `None` when the connection ended before one began.
    pub async fn answer(&mut self) -> anyhow::Result<Option<WireAnswer>> {
        loop {
            let Some(head_end) = self.head_end().await? else { return Ok(None) };
            let head = String::from_utf8_lossy(&self.unread[..head_end]).into_owned();
            self.unread.drain(..head_end + 4);
            let mut lines = head.split("\r\n");
            let status: u16 = lines
                .next()
                .and_then(|line| line.split(' ').nth(1)?.parse().ok())
                .with_context(|| format!("not an answer: {head:?}"))?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let mut answer = WireAnswer { status, headers, body: Vec::new(), closes: false };
            let value = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
            let closes = value("connection").contains("close");
            let length: Option<usize> = value("content-length").parse().ok();
            let is_chunked = value("transfer-encoding").contains("chunked");
            answer.closes = closes;
            answer.body = match (is_chunked, length) {
                _ if matches!(status, 101 | 204 | 304) => Vec::new(),
                (true, _) => self.chunks().await?,
                (false, Some(length)) => self.take(length).await?,
                (false, None) => {
                    answer.closes = true;
                    while self.more().await? {}
                    std::mem::take(&mut self.unread)
                }
            };
            return Ok(Some(answer));
        }
    }

    /// What is left until the other side closes, in bytes.
    pub async fn rest(&mut self) -> anyhow::Result<Vec<u8>> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.unread))
    }

    async fn head_end(&mut self) -> anyhow::Result<Option<usize>> {
        loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Some(at));
            }
            if !self.more().await? {
                if self.unread.is_empty() {
                    return Ok(None);
                }
                bail!("the connection ended inside a head: {:?}", String::from_utf8_lossy(&self.unread));
            }
        }
    }

    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("not a chunk size: {line:?}"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            self.line().await?;
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..at]).into_owned();
                self.unread.drain(..at + 2);
                return Ok(line);
            }
            if !self.more().await? {
                bail!("the connection ended inside a body");
            }
        }
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.unread.len() < length {
            if !self.more().await? {
                bail!("the connection ended inside a body");
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Reads what comes next; false at the end of the connection.
    async fn more(&mut self) -> anyhow::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let read = tokio::time::timeout(SILENCE_MAX, self.stream.read(&mut piece)).await;
        let read = read.with_context(|| format!("silence for {SILENCE_MAX:?}"))?;
        // A reset is an end: the other side had unread bytes when it closed.
        let read = read.unwrap_or(0);
        self.unread.extend_from_slice(piece.get(..read).unwrap_or_default());
        if self.unread.len() > ANSWER_BYTES_MAX {
            bail!("an answer of more than {ANSWER_BYTES_MAX} bytes");
        }
        Ok(read > 0)
    }
}
