//! Serves the issue tracker over Streamable HTTP on loopback. The far side of step 10.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::recorder::{self, Recorder};
use crate::tracker::Tracker;

/// How long a session may be silent. By its default of five minutes this server would end it while a call of it waits for
/// people at the gateway, and the call, once approved, would be one of a dead session.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// A running server. Gone when dropped.
#[derive(Debug)]
pub struct McpServer {
    port: u16,
    tracker: Tracker,
    recorder: Recorder,
    serving: JoinHandle<()>,
}

impl McpServer {
    /// Starts on a loopback port; 0 lets the system choose. Fails when the port is taken.
    pub async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let port = listener.local_addr()?.port();
        let tracker = Tracker::default();
        let recorder = Recorder::default();

        let served = tracker.clone();
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE_MAX);
        let service = StreamableHttpService::new(
            move || Ok(served.clone()),
            sessions.into(),
            StreamableHttpServerConfig::default(),
        );
        let app = Router::new()
            .nest_service("/mcp", service)
            .layer(middleware::from_fn_with_state(recorder.clone(), recorder::record));
        let serving = tokio::spawn(async move {
            // Accepting on a bound loopback socket goes on until the task is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { port, tracker, recorder, serving })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its own address, past any gateway.
    pub fn mcp_url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// What the tools changed.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// What reached the server.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
