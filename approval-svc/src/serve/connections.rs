//! Takes connections, so many at most, and ends those that are silent, idle or dead.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::{self, Next};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::limits::Peer;
use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// Every held call is a stream of its own, and a gateway holds thousands.
const STREAMS_PER_CONNECTION_MAX: u32 = 16_384;
/// What is still being answered when the service is told to stop gets this long.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the start of a connection, or of a head, to the end of the head.
    pub head_max: Duration,
    /// Between two requests.
    pub idle_max: Duration,
    /// Between two looks at a connection, and how long one that was told to end may take.
    pub look_every: Duration,
    /// Silence after which the far end of HTTP/2 is asked whether it lives.
    pub ping_every: Duration,
    /// How long it may take to say so.
    pub pong_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(600),
            look_every: Duration::from_secs(5),
            ping_every: Duration::from_secs(20),
            pong_max: Duration::from_secs(10),
        }
    }
}

/// Takes connections until told to stop, then lets those that are open end.
pub(super) async fn accept(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    connections_max: usize,
    patience: Patience,
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok((stream, from)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(seat) => {
                    let seat = Seat::take(seat, Arc::clone(&metrics));
                    connections.spawn(connection(stream, from, router.clone(), patience, stopping.clone(), seat));
                }
                // Closed at once: a client that is told so tries elsewhere or again, one in a queue waits for nothing.
                Err(_) => metrics.refused("connections"),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = timeout(DRAIN_MAX, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut off");
    }
}

/// One of the connections that there is room for.
struct Seat {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    fn take(permit: OwnedSemaphorePermit, metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self { metrics, _permit: permit }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

/// HTTP/1.1 or HTTP/2 with prior knowledge, as the client begins.
async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    patience: Patience,
    mut stopping: watch::Receiver<bool>,
    _seat: Seat,
) {
    // A decision must not wait for a full packet.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let activity = Activity::new();
    let (peer, watched) = (Peer::new(from.ip()), activity.clone());
    let router = router.layer(middleware::from_fn(move |mut request: Request, next: Next| {
        let busy = watched.begin();
        request.extensions_mut().insert(peer);
        async move { next.run(request).await.map(|body| Body::new(Watched { body, _busy: busy })) }
    }));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.head_max);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    http2.keep_alive_interval(patience.ping_every).keep_alive_timeout(patience.pong_max);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let mut look = interval(patience.look_every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_closing = false;
    let ended = loop {
        tokio::select! {
            ended = serving.as_mut() => break ended,
            _ = stopping.changed() => {
                serving.as_mut().graceful_shutdown();
                break serving.await;
            }
            _ = look.tick() => match activity.stands(&patience) {
                Stands::Busy => {}
                Stands::Silent => return,
                // The second look after it was told to end: it does not.
                Stands::Idle if is_closing => return,
                Stands::Idle => {
                    serving.as_mut().graceful_shutdown();
                    is_closing = true;
                }
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What a connection does.
#[derive(Debug)]
enum Stands {
    Busy,
    /// Nothing was ever asked.
    Silent,
    /// Nothing has been asked for long.
    Idle,
}

/// What is being answered on one connection, and since when nothing is.
#[derive(Clone)]
struct Activity(Arc<Mutex<Counts>>);

struct Counts {
    answering: u64,
    is_new: bool,
    since: Instant,
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Counts { answering: 0, is_new: true, since: Instant::now() })))
    }

    fn begin(&self) -> Busy {
        let mut counts = self.counts();
        counts.answering += 1;
        counts.is_new = false;
        Busy(self.clone())
    }

    fn stands(&self, patience: &Patience) -> Stands {
        let counts = self.counts();
        let quiet = counts.since.elapsed();
        match (counts.answering, counts.is_new) {
            (0, true) if quiet > patience.head_max => Stands::Silent,
            (0, false) if quiet > patience.idle_max => Stands::Idle,
            _ => Stands::Busy,
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that is being answered.
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.answering = counts.answering.saturating_sub(1);
        counts.since = Instant::now();
    }
}

/// The body of an answer, which may be a stream of hours: until its end the connection is not idle.
struct Watched {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
