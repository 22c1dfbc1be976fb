//! A small HTTP server on a thread of its own, for what stands beside a gateway: its time on a processor can be told apart.

use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::mpsc;
use std::thread;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::process_usage;

/// What such a server answers.
pub(crate) type Answered = Response<BoxBody<Bytes, Infallible>>;

/// A server on a loopback port, HTTP/1 and HTTP/2 alike. Ends when dropped.
pub(crate) struct Served {
    port: u16,
    thread_id: Option<i32>,
    _stop: oneshot::Sender<()>,
}

impl Served {
    /// Starts it on a port that the system chooses; `answer` is asked for every message.
    pub(crate) fn start<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = Answered> + Send + 'static,
    {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            let _ = tell.send(process_usage::own_thread_id());
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, answer) => {}
                }
            });
        });
        let thread_id = told.recv().context("the thread of a server beside the gateway is gone")?;
        Ok(Self { port, thread_id, _stop: stop })
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its time on a processor so far, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        process_usage::thread_cpu_ns(self.thread_id?)
    }
}

async fn accept<F>(listener: StdListener, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static)
where
    F: Future<Output = Answered> + Send + 'static,
{
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        // Without this, answers of several pieces wait for the other side's acknowledgements.
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        // What a broken connection loses shows in the report, or fails the run.
        tokio::spawn(async move {
            let service = service_fn(move |message| {
                let answering = answer(message);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
