//! Connections that say nothing, that are too many, and that stand idle are ended; one that is being answered is not.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SHORT: Patience = Patience {
    head_max: Duration::from_millis(200),
    idle_max: Duration::from_millis(200),
    look_every: Duration::from_millis(20),
    ping_every: Duration::from_millis(50),
    pong_max: Duration::from_millis(50),
};
/// A busy machine takes its time.
const SOON: Duration = Duration::from_secs(60);

struct Door {
    at: SocketAddr,
    metrics: Arc<Metrics>,
    release: watch::Sender<bool>,
    _stop: watch::Sender<bool>,
}

/// A server whose `/slow` answers when it is let.
async fn door(connections_max: usize, patience: Patience) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let (release, released) = watch::channel(false);
    let slow = move || {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            "late"
        }
    };
    let router = Router::new().route("/", get(|| async { "here" })).route("/slow", get(slow));
    let metrics = Arc::new(Metrics::default());
    tokio::spawn(accept(listener, router, Arc::clone(&metrics), connections_max, patience, stopping));
    Door { at, metrics, release, _stop: stop }
}

impl Door {
    async fn knock(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }
}

/// Reads until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is reset is closed as well.
    let _ = timeout(SOON, stream.read_to_end(&mut text)).await.expect("the connection is closed");
    String::from_utf8_lossy(&text).into_owned()
}

async fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn connection_that_says_nothing_or_half_a_head_is_closed() {
    let door = door(10, SHORT).await;
    let mut silent = door.knock().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut half = door.knock().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    assert!(!rest(&mut half).await.contains("200 OK"));
    // An HTTP/2 client that never sends more than its greeting.
    let mut greeting = door.knock().await;
    greeting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    rest(&mut greeting).await;
}

#[tokio::test]
async fn idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not() {
    let door = door(10, SHORT).await;
    let mut idle = door.knock().await;
    ask(&mut idle, "/").await;
    assert!(rest(&mut idle).await.ends_with("here"));
    let mut waiting = door.knock().await;
    ask(&mut waiting, "/slow").await;
    // Another one comes and goes meanwhile: many times as long as an idle one may last.
    for _ in 0..5 {
        let mut other = door.knock().await;
        rest(&mut other).await;
    }
    door.release.send_replace(true);
    assert!(rest(&mut waiting).await.ends_with("late"));
}

#[tokio::test]
async fn connection_beyond_the_cap_is_closed_at_once_and_counted() {
    let door = door(1, Patience { head_max: SOON, ..Patience::default() }).await;
    let mut first = door.knock().await;
    ask(&mut first, "/").await;
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    assert_eq!(rest(&mut door.knock().await).await, "");
    let text = door.metrics.text(&Default::default(), 0, &[], 0).unwrap();
    assert!(text.contains("holdpoint_limited_total{limit=\"connections\"} 1"), "{text}");
    assert!(text.contains("holdpoint_connections 1"), "{text}");
    drop(first);
    let deadline = Instant::now() + SOON;
    loop {
        let mut next = door.knock().await;
        ask(&mut next, "/").await;
        if next.read_exact(&mut byte).await.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "the seat of who left is free again");
    }
}
