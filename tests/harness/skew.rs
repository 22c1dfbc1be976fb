//! Between Envoy and the approval service: lets either of them appear as one of another version. Serves step 8.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use holdpoint_core::wire::WIRE_HEADER;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// Which version each side appears to speak; its own where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appearance {
    /// What the service hears the filter say.
    pub filter: Option<&'static str>,
    /// What the filter hears the service say.
    pub service: Option<&'static str>,
}

#[derive(Debug, Default)]
struct State {
    appearance: Appearance,
    /// Messages that went on with another version than they came with.
    changed: usize,
}

/// A proxy on a loopback port, HTTP/1 and HTTP/2 alike, that passes everything on but the version. Gone when dropped.
#[derive(Debug)]
pub struct Skew {
    port: u16,
    state: Arc<Mutex<State>>,
    accept: JoinHandle<()>,
}

impl Skew {
    /// Starts one before the service on this loopback port; at first it changes nothing.
    pub async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let http = reqwest::Client::builder().no_proxy().build()?;
        let accept = tokio::spawn(accept(listener, to, http, Arc::clone(&state)));
        Ok(Self { port, state, accept })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the two appear so to each other; counts anew.
    pub fn set(&self, appearance: Appearance) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { appearance, changed: 0 };
    }

    /// How many messages went on with another version than they came with, since the last `set`.
    pub fn changed(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).changed
    }
}

impl Drop for Skew {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, to: u16, http: reqwest::Client, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (http, state) = (http.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let service = service_fn(move |message| pass(message, to, http.clone(), Arc::clone(&state)));
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes one message on and its answer back; an error closes the connection, as a service that is away would.
async fn pass(
    message: Request<Incoming>,
    to: u16,
    http: reqwest::Client,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (mut head, body) = message.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let appearance = state.lock().unwrap_or_else(PoisonError::into_inner).appearance;
    let mut changed = appear(&mut head.headers, appearance.filter);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://127.0.0.1:{to}{path}");
    let answer = http.request(head.method, url).headers(head.headers).body(body).send().await;
    let answer = answer.map_err(std::io::Error::other)?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.map_err(std::io::Error::other)?;
    changed |= appear(&mut headers, appearance.service);
    if changed {
        state.lock().unwrap_or_else(PoisonError::into_inner).changed += 1;
    }
    let mut passed = Response::new(Full::from(body));
    *passed.status_mut() = status;
    *passed.headers_mut() = headers;
    Ok(passed)
}

/// Makes the version another one where it is said, and leaves out what belongs to the connection it came by. Whether anything
/// is another now.
fn appear(headers: &mut HeaderMap, version: Option<&'static str>) -> bool {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let (Some(version), Some(said)) = (version, headers.get_mut(WIRE_HEADER)) else { return false };
    let is_another = said.as_bytes() != version.as_bytes();
    *said = HeaderValue::from_static(version);
    is_another
}
