//! What happens to approvals, as it happens: the service's events, through lost connections.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;

use crate::cli::client::{Client, EventsError, root_cause};

/// News that may wait for a slow reader.
const NEWS_MAX: usize = 256;
/// Longest line of the stream; ours are some hundred bytes.
const LINE_BYTES_MAX: usize = 65_536;
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Something that whoever watches has to know.
#[derive(Debug)]
pub(super) enum News {
    /// A connection stands. What was read before may have changed meanwhile.
    Up,
    Happened(Happening),
    /// More happened than can be told: read everything anew.
    Reload,
    /// The connection is gone; another one is tried after this time.
    Down {
        why: String,
        again_in: Duration,
    },
    /// It will never work with this token.
    Refused(String),
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Happening {
    pub(super) seq: u64,
    /// The word of the audit entry that reports it.
    pub(super) kind: String,
    pub(super) approval_id: String,
    #[serde(default)]
    pub(super) status: Option<String>,
}

/// Follows the events until nobody listens any more.
pub(super) fn follow(client: Client) -> mpsc::Receiver<News> {
    let (sender, receiver) = mpsc::channel(NEWS_MAX);
    tokio::spawn(async move {
        // Ends by the error that sending to nobody is.
        let _ = follow_on(&client, &sender).await;
    });
    receiver
}

async fn follow_on(client: &Client, to: &mpsc::Sender<News>) -> Result<(), mpsc::error::SendError<News>> {
    let mut last_seen = None;
    let mut pause = RETRY_MIN;
    loop {
        let why = match client.events(last_seen).await {
            Err(EventsError::Refused(why)) => return to.send(News::Refused(why)).await,
            Err(EventsError::Lost(why)) => why,
            Ok(mut response) => {
                to.send(News::Up).await?;
                pause = RETRY_MIN;
                let mut parser = Parser::default();
                loop {
                    match response.chunk().await {
                        Ok(Some(bytes)) => {
                            for news in parser.push(&bytes) {
                                if let News::Happened(happening) = &news {
                                    last_seen = Some(happening.seq);
                                }
                                to.send(news).await?;
                            }
                            if parser.is_lost() {
                                break "the stream makes no sense".to_owned();
                            }
                        }
                        Ok(None) => break "the service ended the stream".to_owned(),
                        Err(error) => break root_cause(&error),
                    }
                }
            }
        };
        to.send(News::Down { why, again_in: pause }).await?;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = to.closed() => return Ok(()),
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Server-sent events out of whatever pieces they come in.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    event: String,
    data: String,
    lost: bool,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Vec<News> {
        let mut news = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => news.extend(self.take_line()),
                // Our service ends lines with a line feed alone, a proxy may not.
                b'\r' => {}
                _ if self.line.len() >= LINE_BYTES_MAX => self.lost = true,
                byte => self.line.push(*byte),
            }
        }
        news
    }

    /// Whether the stream cannot be one of ours.
    fn is_lost(&self) -> bool {
        self.lost
    }

    fn take_line(&mut self) -> Option<News> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        if line.is_empty() {
            let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            return match event.as_str() {
                "approval" => serde_json::from_str(&data).ok().map(News::Happened),
                "reload" => Some(News::Reload),
                _ => None,
            };
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.event = value.to_owned(),
            "data" if self.data.len() + value.len() <= LINE_BYTES_MAX => self.data.push_str(value),
            "data" => self.lost = true,
            // Heartbeats are comments; the number of an event stands in its data too.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_out_of_any_pieces() {
        let stream = b": heartbeat\n\nid: 7\nevent: approval\ndata: {\"seq\":7,\"kind\":\"review\",\"approval_id\":\"a\",\"status\":\"approve\"}\n\nevent: reload\r\ndata: {}\r\n\r\nevent: other\ndata: x\n\n";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let news: Vec<News> = stream.chunks(size).flat_map(|piece| parser.push(piece)).collect();
            assert!(
                matches!(&news[..], [News::Happened(happened), News::Reload] if happened.seq == 7 && happened.kind == "review"),
                "in pieces of {size}: {news:?}"
            );
            assert!(!parser.is_lost());
        }
    }

    #[test]
    fn line_without_end_is_not_kept() {
        let mut parser = Parser::default();
        parser.push(&[b'x'; LINE_BYTES_MAX + 1]);
        assert!(parser.is_lost());
    }
}
