//! Stands in for the approval service's record (step 12): acknowledges every batch and keeps nothing.
//!
//! The real service would write to a disk on the same two cores; what the filter does to send its record is measured,
//! what the service does with it is not.

use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A sink on a loopback port, on a thread of its own. Ends when dropped.
pub(crate) struct RecordSink {
    port: u16,
    _stop: oneshot::Sender<()>,
}

impl RecordSink {
    /// Starts it on a port that the system chooses.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener) => {}
                }
            });
        });
        Ok(Self { port, _stop: stop })
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: StdListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        // A broken connection shows as lost entries in the report.
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            let _ = connection.serve_connection(TokioIo::new(stream), service_fn(acknowledge)).await;
        });
    }
}

async fn acknowledge(batch: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = batch.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    Ok(Response::new(Full::from("{}")))
}
