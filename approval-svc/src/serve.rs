//! Wires the service together and runs it: listener, sweep, checkpoints, and an end that leaves nobody hanging.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::approvals::Approvals;
use crate::data_dir;
use crate::delegations::Delegations;
use crate::freezes::Freezes;
use crate::keys::ServiceSigner;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::router::{App, router};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::sqlite::{SqliteStore, machine_clock};
use crate::waiters::Waiters;

/// Every held call is a stream of its own, and a gateway holds thousands.
const STREAMS_PER_CONNECTION_MAX: u32 = 16_384;
const SWEEP_EVERY: Duration = Duration::from_millis(500);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// What is still being answered when the service is told to stop gets this long.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HEADER_READ_MAX: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT. `ready` hears the address that was bound and the public key.
pub async fn serve(settings: Settings, ready: impl FnOnce(SocketAddr, &str)) -> anyhow::Result<()> {
    data_dir::create(&settings.data_dir)?;
    let signer = Arc::new(ServiceSigner::load_or_create(&settings.data_dir)?);
    let file = data_dir::create_database(&settings.data_dir)?;
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&file, machine_clock()).await.with_context(|| format!("cannot open `{}`", file.display()))?,
    );
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("cannot listen on {}: is another service there? choose another with `--listen`", settings.listen)
    })?;
    // Only links that `holdpoint login` prints depend on it, so a full disk does not keep the service from starting.
    if let Err(error) = data_dir::note_address(&settings.data_dir, listener.local_addr()?) {
        tracing::warn!(%error, "where the service listens could not be noted: give `holdpoint login` its `--url`");
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let (stop, stopping) = watch::channel(false);
    let limits = Limits {
        pending_per_principal_max: settings.pending_per_principal_max,
        arguments_keep_ms: settings.arguments_keep_ms,
    };
    let mut app = wire(store, Arc::clone(&signer), limits, stopping.clone());
    app.approvals.public_url = settings.public_url.as_deref().map(Arc::from);
    ready(listener.local_addr()?, &signer.public());
    let background = [
        tokio::spawn(sweep(app.approvals.clone(), stopping.clone())),
        tokio::spawn(sign_checkpoints(app.ledger.clone(), stopping.clone())),
    ];
    let accepting = tokio::spawn(accept(listener, router(app), stopping));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping: whoever waits is answered with what there is");
    stop.send_replace(true);
    accepting.await?;
    for task in background {
        task.await?;
    }
    Ok(())
}

/// What bounds approvals.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pending approvals that one principal may have.
    pub pending_per_principal_max: u64,
    /// How long arguments are kept after their approval has ended.
    pub arguments_keep_ms: u64,
}

/// Everything the handlers need, over this store.
pub fn wire(store: Arc<dyn Store>, signer: Arc<ServiceSigner>, limits: Limits, stopping: watch::Receiver<bool>) -> App {
    let waiters = Waiters::default();
    let metrics = Arc::new(Metrics::default());
    let ledger = Ledger::new(Arc::clone(&store), Arc::clone(&signer), waiters.clone(), Arc::clone(&metrics));
    let freezes = Freezes::new(Arc::clone(&store), ledger.clone(), Arc::clone(&signer));
    let approvals = Approvals {
        store: Arc::clone(&store),
        ledger: ledger.clone(),
        signer,
        waiters,
        pending_max: limits.pending_per_principal_max,
        arguments_keep_ms: limits.arguments_keep_ms,
        public_url: None,
        stopping,
    };
    let delegations = Delegations::new(Arc::clone(&store), ledger.clone());
    App { store, approvals, delegations, freezes, ledger, metrics }
}

/// Takes connections until told to stop, then lets those that are open end.
async fn accept(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, router.clone(), stopping.clone()));
            }
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

/// HTTP/1.1 or HTTP/2 with prior knowledge, as the client begins.
async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    // A decision must not wait for a full packet.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = stopping.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn sweep(approvals: Approvals, mut stopping: watch::Receiver<bool>) {
    let mut tick = interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.changed() => return,
        }
        if let Err(error) = approvals.sweep().await {
            tracing::error!(%error, "expired approvals could not be closed; trying again");
        }
        if let Err(error) = approvals.erase().await {
            tracing::error!(%error, "old arguments could not be erased; trying again");
        }
    }
}

async fn sign_checkpoints(ledger: Ledger, mut stopping: watch::Receiver<bool>) {
    let mut tick = interval(CHECKPOINT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = tick.tick() => false,
            _ = stopping.changed() => true,
        };
        if let Err(error) = ledger.sign_checkpoint().await {
            tracing::error!(%error, "the log's head could not be signed; trying again");
        }
        if last {
            return;
        }
    }
}
