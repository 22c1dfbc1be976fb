//! Wires the service together and runs it: listener, sweep, checkpoints, and an end that leaves nobody hanging.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::approvals::Approvals;
use crate::approvals::remembered::Remembered;
use crate::data_dir;
use crate::delegations::Delegations;
use crate::freezes::Freezes;
use crate::inventory::Inventory;
use crate::keys::ServiceSigner;
use crate::leases::Lease;
use crate::ledger::Ledger;
use crate::ledger::payloads::PayloadsKeep;
use crate::limits;
use crate::metrics::Metrics;
use crate::notify::Notify;
use crate::notify::courier::Courier;
use crate::oidc::Oidc;
use crate::otlp::push::Push;
use crate::otlp::requests::RequestSpans;
use crate::replicas::Replicas;
use crate::revocations::Revocations;
use crate::router::{App, Parts, router};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::sql::machine_clock;
use crate::store::{postgres, sqlite};
use crate::supervise::{Pace, Tasks, cause};
use crate::trail::Trail;
use crate::waiters::Waiters;

mod connections;
#[cfg(test)]
mod tests;

const SWEEP_EVERY: Duration = Duration::from_millis(500);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT. `ready` hears the address that was bound and the public key.
pub async fn serve(settings: Settings, ready: impl FnOnce(SocketAddr, &str)) -> anyhow::Result<()> {
    data_dir::create(&settings.data_dir)?;
    // A server counts its services itself; a file has room for one. Held until this process ends.
    let serving = match &settings.database {
        None => Some(data_dir::serve(&settings.data_dir)?),
        Some(_) => None,
    };
    let (signer, store) = open(&settings).await?;
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("cannot listen on {}: is another service there? choose another with `--listen`", settings.listen)
    })?;
    // Only links that `holdpoint login` prints depend on it, so a full disk does not keep the service from starting.
    // Replicas share their directory, which may be a mounted secret that nobody writes to.
    if settings.database.is_none()
        && let Err(error) = data_dir::note_address(&settings.data_dir, listener.local_addr()?)
    {
        tracing::warn!(%error, "where the service listens could not be noted: give `holdpoint login` its `--url`");
    }
    if let Some(serving) = &serving {
        serving.listens(listener.local_addr()?);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let (stop, stopping) = watch::channel(false);
    let limits = Limits {
        pending_per_principal_max: settings.pending_per_principal_max,
        arguments_keep_ms: settings.arguments_keep_ms,
    };
    let mut parts = wire(Arc::clone(&store), Arc::clone(&signer), limits, stopping.clone());
    parts.approvals.public_url = settings.public_url.as_deref().map(Arc::from);
    parts.limits = Arc::new(limits::Limits::new(settings.rates));
    let notify = Notify::new(settings.notify, settings.public_url.as_deref());
    parts.approvals.notify = notify.clone();
    parts.freezes.notify = notify;
    parts.oidc = Oidc::new(settings.issuers);
    let push = match settings.otlp {
        Some(otlp) => {
            let requests = RequestSpans::new(Arc::clone(&parts.metrics));
            parts.request_spans = Some(requests.clone());
            Some(Push::new(otlp, Arc::clone(&parts.store), requests, Arc::clone(&parts.metrics))?)
        }
        None => None,
    };
    let app = App::from(parts);
    ready(listener.local_addr()?, &signer.public());
    let mut background = begin_background(&app, settings.payloads_keep, &stopping);
    background.extend(push.map(|push| tokio::spawn(keep_pushing(&app, push, &stopping))));
    let metrics = Arc::clone(&app.metrics);
    let patience = connections::Patience::default();
    let connections_max = settings.connections_max;
    let accepting = connections::accept(listener, router(app), metrics, connections_max, patience, stopping);
    let mut accepting = tokio::spawn(accepting);
    let told = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let ended = until_told(&*store, &mut accepting, told).await;
    tracing::info!("stopping: whoever waits is answered with what there is");
    stop.send_replace(true);
    if !accepting.is_finished() {
        accepting.await?;
    }
    for task in background {
        task.await?;
    }
    ended
}

/// The key and the store.
async fn open(settings: &Settings) -> anyhow::Result<(Arc<ServiceSigner>, Arc<dyn Store>)> {
    let Some(database) = &settings.database else {
        let signer = Arc::new(ServiceSigner::load_or_create(&settings.data_dir)?);
        let file = data_dir::create_database(&settings.data_dir)?;
        let store = sqlite::open(&file, machine_clock()).await;
        let store = store.with_context(|| format!("cannot open `{}`", file.display()))?;
        return Ok((signer, Arc::new(store)));
    };
    let as_what = postgres::Use::Replica { connections_max: database.connections_max };
    let store = postgres::open(&database.server, as_what, None).await?;
    // A replica with a key of its own would sign what no gateway trusts.
    if !ServiceSigner::is_there(&settings.data_dir) && store.head().await?.frontier.size() > 0 {
        bail!(
            "`{}` has no service key, and {} has a record that another key signed: give every replica the same key \
             directory",
            settings.data_dir.display(),
            database.server
        );
    }
    Ok((Arc::new(ServiceSigner::load_or_create(&settings.data_dir)?), Arc::new(store)))
}

/// Waits until the service is told to stop, or cannot go on: what then ends is begun again only by whoever runs the
/// service, from the database as it is on the disk.
async fn until_told(
    store: &dyn Store,
    accepting: &mut JoinHandle<()>,
    told: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = told => Ok(()),
        () = store.ended() => bail!(
            "the task that writes to the database has ended, so nothing can be decided any more: see the log above, \
             and start the service again"
        ),
        ended = accepting => bail!("the task that takes connections {}: start the service again", cause(ended)),
    }
}

/// Begins the tasks that nobody waits for.
fn begin_background(app: &App, payloads_keep: PayloadsKeep, stopping: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let sweeping = (app.approvals.clone(), payloads_keep, stopping.clone());
    let signing = (app.ledger.clone(), stopping.clone());
    let keep = |name| (app.tasks.clone(), name, Pace::default(), stopping.clone());
    let (tasks, name, pace, until) = keep("sweep");
    let sweeping = tasks.keep(name, pace, until, move || sweep(sweeping.0.clone(), sweeping.1, sweeping.2.clone()));
    let (tasks, name, pace, until) = keep("checkpoints");
    let lease = Lease::new(Arc::clone(&app.store), "checkpoints", app.ledger.replica());
    let signing =
        tasks.keep(name, pace, until, move || sign_checkpoints(signing.0.clone(), lease.clone(), signing.1.clone()));
    let (tasks, name, pace, until) = keep("replicas");
    let (store, ledger, waiters) = (Arc::clone(&app.store), app.ledger.clone(), app.approvals.waiters.clone());
    let replicas = (Replicas { store, ledger, waiters }, stopping.clone());
    let replicas = tasks.keep(name, pace, until, move || replicas.0.clone().run(replicas.1.clone()));
    let notify = app.approvals.notify.clone();
    let courier = Courier::new(notify, Arc::clone(&app.store), app.ledger.clone(), Arc::clone(&app.metrics));
    let (tasks, name, pace, until) = keep("notices");
    let telling = (courier, until.clone());
    let telling = tasks.keep(name, pace, until, move || telling.0.clone().run(telling.1.clone()));
    let oidc = app.oidc.clone();
    let (tasks, name, pace, until) = keep("keys");
    let stop = stopping.clone();
    let keys = tasks.keep(name, pace, until, move || {
        let (oidc, mut stop) = (oidc.clone(), stop.clone());
        async move {
            tokio::select! {
                () = oidc.keep_keys_fresh() => {}
                _ = stop.changed() => {}
            }
        }
    });
    let looking = (app.revocations.clone(), Arc::clone(&app.store));
    let (tasks, name, pace, until) = keep("revocations");
    let stop = stopping.clone();
    let revocations = tasks.keep(name, pace, until, move || {
        let ((revocations, store), mut stop) = (looking.clone(), stop.clone());
        async move {
            tokio::select! {
                () = revocations.keep_looking(store) => {}
                _ = stop.changed() => {}
            }
        }
    });
    let (tasks, name, pace, until) = keep("index");
    let indexing = (app.trail.clone(), stopping.clone());
    let indexing = tasks.keep(name, pace, until, move || indexing.0.clone().follow(indexing.1.clone()));
    vec![
        tokio::spawn(sweeping),
        tokio::spawn(signing),
        tokio::spawn(replicas),
        tokio::spawn(telling),
        tokio::spawn(keys),
        tokio::spawn(revocations),
        tokio::spawn(indexing),
    ]
}

/// Keeps a collector told.
fn keep_pushing(app: &App, push: Push, stopping: &watch::Receiver<bool>) -> impl Future<Output = ()> + use<> {
    let stop = stopping.clone();
    let lease = Lease::new(Arc::clone(&app.store), "collector", app.ledger.replica());
    let begin = move || push.clone().run(lease.clone(), stop.clone());
    app.tasks.clone().keep("collector", Pace::default(), stopping.clone(), begin)
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
pub fn wire(
    store: Arc<dyn Store>,
    signer: Arc<ServiceSigner>,
    limits: Limits,
    stopping: watch::Receiver<bool>,
) -> Parts {
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
        notify: Notify::default(),
        remembered: Remembered::default(),
        stopping,
    };
    let delegations = Delegations::new(Arc::clone(&store), ledger.clone());
    let inventory = Inventory::new(Arc::clone(&store), ledger.clone());
    let trail = Trail::new(Arc::clone(&store));
    let limits = Arc::new(limits::Limits::new(limits::Rates::default()));
    Parts {
        store,
        approvals,
        delegations,
        freezes,
        inventory,
        ledger,
        trail,
        metrics,
        limits,
        oidc: Oidc::default(),
        revocations: Revocations::default(),
        request_spans: None,
        tasks: Tasks::default(),
    }
}

async fn sweep(approvals: Approvals, keep: PayloadsKeep, mut stopping: watch::Receiver<bool>) {
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
        if let Err(error) = approvals.end_unheard().await {
            tracing::error!(%error, "holds whose gateway is gone could not be ended; trying again");
        }
        if let Err(error) = approvals.erase().await {
            tracing::error!(%error, "old arguments could not be erased; trying again");
        }
        if let Err(error) = approvals.ledger.erase_old_payloads(&keep).await {
            tracing::error!(%error, "what stood too long beside the record could not be erased; trying again");
        }
    }
}

async fn sign_checkpoints(ledger: Ledger, lease: Lease, mut stopping: watch::Receiver<bool>) {
    let mut tick = interval(CHECKPOINT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = tick.tick() => false,
            _ = stopping.changed() => true,
        };
        ledger.refresh_keys();
        match lease.held().await {
            Ok(true) => {
                if let Err(error) = ledger.sign_checkpoint().await {
                    tracing::error!(%error, "the log's head could not be signed; trying again");
                }
            }
            // Another replica signs.
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "who signs the log's head is not known; trying again"),
        }
        if last {
            lease.end().await;
            return;
        }
    }
}
