//! Step 8: delivers notices, each channel by itself, until the receiver has taken them or they are given up.
//!
//! A notice is marked only after its receiver has answered, so whatever dies in between delivers it again under the same
//! id. To one channel, notices of one approval go one after the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use holdpoint_core::audit::EntryKind;
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Notify;
use super::guard::{Guard, Lookup, system_lookup};
use super::notice::{Notice, NoticeFilter, NoticeState, NoticeTry};
use super::record;
use super::settings::{Channel, Delivery};
use super::webhook::Sent;
use crate::leases::Lease;
use crate::ledger::{Event, Ledger, News};
use crate::metrics::Metrics;
use crate::store::{Change, CommitError, Store, StoreError, Write};

/// Notices looked for at once, and deliveries to one channel at once.
const ROUND_MAX: u32 = 32;
const AT_ONCE_MAX: usize = 4;
/// How often each channel looks when nothing wakes it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause before a courier that ended against all plans starts anew.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// What is on its way when the service stops gets this long.
const FINISH_MAX: Duration = Duration::from_secs(3);
/// How long ended notices are kept: 30 days.
const KEEP_MS: u64 = 30 * 86_400_000;
/// Messages of one approval that are changed when it is decided.
const POSTED_MAX: u32 = 16;
/// Longest trouble that is kept.
const TROUBLE_CHARS_MAX: usize = 300;

/// What every channel's courier works with.
#[derive(Clone)]
pub struct Courier {
    pub notify: Notify,
    pub store: Arc<dyn Store>,
    pub ledger: Ledger,
    pub metrics: Arc<Metrics>,
    pub lookup: Lookup,
}

impl Courier {
    pub fn new(notify: Notify, store: Arc<dyn Store>, ledger: Ledger, metrics: Arc<Metrics>) -> Self {
        Self { notify, store, ledger, metrics, lookup: system_lookup() }
    }

    /// Runs until told to stop. A channel whose courier panics gets a new one.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        self.forget().await;
        let mut running = JoinSet::new();
        for name in self.notify.settings().channels.keys() {
            running.spawn(self.clone().supervise(name.clone(), stopping.clone()));
        }
        while running.join_next().await.is_some() {}
        // Nobody to tell is no reason to end. A sender that is gone is one.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    async fn supervise(self, name: String, mut stopping: watch::Receiver<bool>) {
        loop {
            let (courier, channel, until) = (self.clone(), name.clone(), stopping.clone());
            match tokio::spawn(async move { courier.serve(&channel, until).await }).await {
                Ok(()) => return,
                Err(error) => tracing::error!(channel = name, %error, "a courier of notices ended; it starts anew"),
            }
            tokio::select! {
                () = sleep(RESTART_AFTER) => {}
                _ = stopping.changed() => return,
            }
        }
    }

    /// What waits for channels that are gone is given up, and what ended long ago is forgotten.
    async fn forget(&self) {
        let Ok(at_ms) = self.store.now_ms().await else { return };
        let channels = self.notify.settings().channels.keys().cloned().collect();
        let writes = vec![
            Write::DropNoticesBut { channels, at_ms },
            Write::ForgetNotices { ended_before_ms: at_ms.saturating_sub(KEEP_MS) },
        ];
        if let Err(error) = self.store.commit(Change { writes, entries: Vec::new() }).await {
            tracing::error!(%error, "old notices could not be put away");
        }
    }

    async fn serve(&self, name: &str, mut stopping: watch::Receiver<bool>) {
        let Some(channel) = self.notify.settings().channels.get(name) else { return };
        let http = match client(channel, &self.notify.settings().delivery, &self.lookup) {
            Ok(http) => http,
            Err(error) => {
                tracing::error!(channel = name, %error, "notices cannot be sent");
                return;
            }
        };
        let mut events = self.ledger.listen();
        // One replica delivers to a channel at a time: notices of one approval stay in order, and come once.
        let lease = Lease::new(Arc::clone(&self.store), format!("notices {name}"), self.ledger.replica());
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopping.borrow() {
            let round = self.round(name, channel, &http, &lease);
            tokio::pin!(round);
            let done = tokio::select! {
                done = round.as_mut() => done,
                _ = stopping.changed() => {
                    // What does not end in time is delivered again by the next start.
                    let _ = timeout(FINISH_MAX, round).await;
                    lease.end().await;
                    return;
                }
            };
            match done {
                // There may be more.
                Ok(full) if full => continue,
                Ok(_) => {}
                Err(error) => tracing::error!(channel = name, %error, "notices could not be read; trying again"),
            }
            tokio::select! {
                _ = tick.tick() => {}
                () = told(&mut events) => {}
                _ = stopping.changed() => {}
            }
        }
        lease.end().await;
    }

    /// Delivers what is due; whether there was as much as one round takes.
    async fn round(&self, name: &str, channel: &Channel, http: &Client, lease: &Lease) -> Result<bool, StoreError> {
        if !lease.held().await? {
            return Ok(false);
        }
        let due = self.store.notices_due(name, self.store.now_ms().await?, ROUND_MAX).await?;
        let is_full = due.len() >= ROUND_MAX as usize;
        let mut delivering = stream::iter(due.into_iter().map(|notice| self.deliver(channel, http, notice, lease)))
            .buffer_unordered(AT_ONCE_MAX);
        while let Some(done) = delivering.next().await {
            done?;
        }
        Ok(is_full)
    }

    async fn deliver(&self, channel: &Channel, http: &Client, notice: Notice, lease: &Lease) -> Result<(), StoreError> {
        // A round may take long: by now another replica may have taken over.
        if !lease.held().await? {
            return Ok(());
        }
        let approval = match &notice.approval_id {
            Some(id) => self.store.approval(id).await?,
            None => None,
        };
        let sent = match channel {
            Channel::Webhook(webhook) => webhook.send(http, &notice, self.store.now_ms().await?).await,
            Channel::Slack(slack) => {
                let posted = self.posted(&notice).await?;
                slack.send(http, &notice, approval.as_ref(), &posted).await
            }
        };
        self.metrics.notice_tried(matches!(sent, Sent::Delivered { .. }));
        let now_ms = self.store.now_ms().await?;
        let done = after(&notice, sent, &self.notify.settings().delivery, now_ms, jitter());
        let told = match done.to {
            NoticeState::Delivered => Some("delivered"),
            NoticeState::Dead => Some("given_up"),
            // It is tried again by itself: nothing has come of it yet.
            NoticeState::Waiting => None,
        };
        let tried = Notice { trouble: done.trouble.clone(), ..notice };
        let entries = told.map(|status| record::entry(&tried, approval.as_ref(), status, None, now_ms));
        let entries = entries.into_iter().collect();
        match self.store.commit(Change { writes: vec![Write::TryNotice(done)], entries }).await {
            // Somebody else has marked it: as good.
            Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    /// What the receiver calls earlier notices of the same approval, the oldest first.
    async fn posted(&self, notice: &Notice) -> Result<Vec<String>, StoreError> {
        let Some(approval_id) = notice.approval_id.clone() else { return Ok(Vec::new()) };
        let filter = NoticeFilter {
            state: Some(NoticeState::Delivered),
            approval_id: Some(approval_id),
            channel: Some(notice.channel.clone()),
            rows_max: POSTED_MAX,
            ..NoticeFilter::default()
        };
        let mut receipts: Vec<String> =
            self.store.notices(filter).await?.into_iter().filter_map(|earlier| earlier.receipt).collect();
        receipts.reverse();
        // A message that was changed keeps its name.
        receipts.dedup();
        Ok(receipts)
    }
}

/// Returns when something may have been told.
async fn told(events: &mut broadcast::Receiver<News>) {
    loop {
        match events.recv().await {
            Ok(News::Event(Event {
                kind: EntryKind::ApprovalJoined | EntryKind::HoldEnded | EntryKind::Outcome,
                ..
            })) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// A client that goes only where its channel may, follows nobody elsewhere, and waits so long.
pub fn client(channel: &Channel, delivery: &Delivery, lookup: &Lookup) -> reqwest::Result<Client> {
    let allow_private = match channel {
        Channel::Webhook(webhook) => webhook.allow_private,
        Channel::Slack(slack) => slack.allow_private,
    };
    Client::builder()
        .redirect(Policy::none())
        // A proxy would look the name up itself, and nobody could check what it found.
        .no_proxy()
        .timeout(Duration::from_millis(delivery.answer_ms_max))
        .dns_resolver(Guard { allow_private, lookup: Arc::clone(lookup) })
        .build()
}

/// What a try makes of a notice. `jitter` is between 0 and 1.
fn after(notice: &Notice, sent: Sent, delivery: &Delivery, at_ms: u64, jitter: f64) -> NoticeTry {
    let done = |to, next_try_ms, trouble, receipt| NoticeTry {
        id: notice.id.clone(),
        tries: notice.tries,
        to,
        next_try_ms,
        at_ms,
        trouble,
        receipt,
    };
    match sent {
        Sent::Delivered { receipt } => done(NoticeState::Delivered, at_ms, None, receipt),
        Sent::Failed { why, retry_after_ms, for_good } => {
            let tries = notice.tries.saturating_add(1);
            let is_last = for_good || tries >= notice.event.tries_max(delivery.tries_max);
            let pause_ms = pause_ms(delivery, notice.tries, jitter).max(retry_after_ms.unwrap_or(0));
            let to = if is_last { NoticeState::Dead } else { NoticeState::Waiting };
            if is_last {
                tracing::warn!(notice = notice.id, channel = notice.channel, tries, why, "a notice was given up");
            }
            let why: String = why.chars().take(TROUBLE_CHARS_MAX).collect();
            done(to, at_ms.saturating_add(pause_ms), Some(why), None)
        }
    }
}

/// Four times as long each time, up to the longest, and a quarter more or less, so that receivers which come back are not
/// met by everything at once.
fn pause_ms(delivery: &Delivery, tries_before: u32, jitter: f64) -> u64 {
    let factor = 4_u64.saturating_pow(tries_before);
    let pause_ms = delivery.pause_ms_first.saturating_mul(factor).min(delivery.pause_ms_max);
    // Days of milliseconds are far below where floats lose whole numbers.
    (pause_ms as f64 * (0.75 + 0.5 * jitter.clamp(0.0, 1.0))) as u64
}

fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes the pauses are even, which is no harm.
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests;
