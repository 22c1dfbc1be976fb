//! Step 12: sends the record to a collector as it grows, by OTLP over HTTP in JSON.
//!
//! The log is the queue: how far it was sent is kept beside it, so that a restart loses nothing and a collector that is
//! away for a while gets everything when it is back. What it misses by being away for too long is counted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::requests::RequestSpans;
use super::spans::{Gatherer, SPANS_MAX, Span};
use super::{logs, spans};
use crate::leases::Lease;
use crate::metrics::Metrics;
use crate::store::{Change, CommitError, Conflict, Store, StoreError, Write};
use crate::text::root_cause;
use crate::trail::{Numbered, numbered};

#[cfg(test)]
mod tests;

/// How often new entries are looked for.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// Entries of one request.
const ENTRIES_MAX: u32 = 256;
/// How long a collector may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Before the second try; each further one waits twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 65_536;
/// Entries that wait for a collector that is away; of more, the oldest are given up.
const BACKLOG_MAX: u64 = 100_000;
/// Entries before the first that is sent, read again so that the spans of calls that were under way are whole.
const WARM_UP: u64 = 5_000;
/// The name under which it is kept how far the record was sent.
const FOLLOWER: &str = "otlp";

/// Where to send to.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    traces: Url,
    logs: Url,
    /// Such as the collector's key. Their values are marked as not to be shown.
    headers: HeaderMap,
}

impl OtlpSettings {
    /// Reads the address of a collector, without `/v1/traces`, and a file with headers, a `name: value` a line.
    pub fn new(endpoint: &str, headers: Option<&Path>) -> anyhow::Result<Self> {
        let base = endpoint.trim_end_matches('/');
        let url = |signal: &str| -> anyhow::Result<Url> {
            let url =
                Url::parse(&format!("{base}/v1/{signal}")).with_context(|| format!("`--otlp-endpoint {endpoint}`"))?;
            ensure!(
                matches!(url.scheme(), "http" | "https") && url.query().is_none(),
                "`--otlp-endpoint {endpoint}` is no address of a collector: write `http://localhost:4318`"
            );
            ensure!(url.password().is_none(), "put the collector's key into `--otlp-headers`, not into the address");
            Ok(url)
        };
        let headers = headers.map(read_headers).transpose()?.unwrap_or_default();
        Ok(Self { traces: url("traces")?, logs: url("logs")?, headers })
    }
}

fn read_headers(file: &Path) -> anyhow::Result<HeaderMap> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let mut headers = HeaderMap::new();
    for (at, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        // What stands there is a secret: it is not repeated.
        let place = || format!("{}:{at}: no `name: value`", file.display());
        let (name, value) = line.split_once(':').with_context(place)?;
        let name: HeaderName = name.trim().parse().ok().with_context(place)?;
        let mut value = HeaderValue::from_str(value.trim()).ok().with_context(place)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Sends the record to a collector.
#[derive(Clone)]
pub struct Push {
    settings: OtlpSettings,
    client: Client,
    store: Arc<dyn Store>,
    requests: RequestSpans,
    metrics: Arc<Metrics>,
    backlog_max: u64,
}

/// What became of one request.
enum Sent {
    /// Taken, but for so many.
    Taken { rejected: u64 },
    /// It is never going to be taken.
    Never(String),
    /// Later, and not before this long.
    Later(String, Option<Duration>),
}

impl Push {
    pub fn new(
        settings: OtlpSettings,
        store: Arc<dyn Store>,
        requests: RequestSpans,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none());
        let client = client.default_headers(settings.headers.clone()).build();
        Ok(Self {
            client: client.context("no client for the collector")?,
            settings,
            store,
            requests,
            metrics,
            backlog_max: BACKLOG_MAX,
        })
    }

    /// Sends until the service stops. Of several replicas, whichever has `lease` sends the record.
    pub async fn run(self, lease: Lease, mut stopping: watch::Receiver<bool>) {
        let mut tick = interval(SEND_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gathered = None;
        loop {
            let is_last = tokio::select! {
                _ = tick.tick() => false,
                _ = stopping.changed() => true,
            };
            let done = match lease.held().await {
                Ok(true) => self.send_all(&mut gathered, &mut stopping).await,
                Ok(false) => {
                    gathered = None;
                    self.send_requests(&mut stopping).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::error!(%error, "the record could not be read for the collector; trying again");
                gathered = None;
            }
            if is_last {
                lease.end().await;
                return;
            }
        }
    }

    /// Sends the service's own requests, of which no other replica knows.
    async fn send_requests(&self, stopping: &mut watch::Receiver<bool>) {
        let told = self.requests.take(SPANS_MAX);
        if !told.is_empty() {
            let count = u64::try_from(told.len()).unwrap_or(u64::MAX);
            let _is_sent = self.send(&self.settings.traces, "traces", count, &spans::request(&told), stopping).await;
        }
    }

    /// Sends what there is.
    async fn send_all(
        &self,
        gathered: &mut Option<(u64, Gatherer)>,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        loop {
            let (next, mut gatherer) = match gathered.take() {
                Some(gathered) => gathered,
                None => self.begin().await?,
            };
            let behind = self.store.head().await?.frontier.size().saturating_sub(next);
            self.metrics.export_backlog(behind);
            if behind > self.backlog_max {
                let skipped = behind - self.backlog_max;
                tracing::error!(skipped, "the collector was away for too long: entries were not sent to it");
                self.metrics.exported("logs", "dropped", skipped);
                self.move_on(next, next + skipped).await?;
                continue;
            }
            let rows = self.store.entries(next, ENTRIES_MAX).await?;
            let read: Vec<Numbered> = rows.iter().filter_map(|row| numbered(row).ok()).collect();
            let records: Vec<Value> = read.iter().map(|one| logs::record(one.seq, &one.entry, None)).collect();
            let mut told: Vec<Span> = read.into_iter().flat_map(|one| gatherer.take(one)).collect();
            told.extend(self.requests.take(SPANS_MAX));
            for some in told.chunks(SPANS_MAX) {
                let count = u64::try_from(some.len()).unwrap_or(u64::MAX);
                if !self.send(&self.settings.traces, "traces", count, &spans::request(some), stopping).await {
                    return Ok(());
                }
            }
            if !records.is_empty() {
                let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
                if !self.send(&self.settings.logs, "logs", count, &logs::request(records), stopping).await {
                    return Ok(());
                }
            }
            let Some(last) = rows.last() else {
                *gathered = Some((next, gatherer));
                return Ok(());
            };
            let to = last.seq.saturating_add(1);
            if self.move_on(next, to).await? {
                *gathered = Some((to, gatherer));
            }
        }
    }

    /// Where to go on, and what is known of calls that are under way there.
    async fn begin(&self) -> Result<(u64, Gatherer), StoreError> {
        let next = match self.store.follower(FOLLOWER).await? {
            Some(next) => next,
            None => {
                // A collector is told from now on; the rest is there for `holdpoint audit export`.
                let head = self.store.head().await?.frontier.size();
                self.commit(None, head).await?;
                self.store.follower(FOLLOWER).await?.unwrap_or(head)
            }
        };
        let mut gatherer = Gatherer::default();
        let mut from = next.saturating_sub(WARM_UP);
        while from < next {
            let rows = self.store.entries(from, ENTRIES_MAX).await?;
            let Some(last) = rows.last() else { break };
            from = last.seq.saturating_add(1);
            for one in rows.iter().filter(|row| row.seq < next).filter_map(|row| numbered(row).ok()) {
                let _told_before = gatherer.take(one);
            }
        }
        Ok((next, gatherer))
    }

    /// Whether nobody else has moved it meanwhile.
    async fn move_on(&self, from: u64, to: u64) -> Result<bool, StoreError> {
        self.commit(Some(from), to).await
    }

    async fn commit(&self, from: Option<u64>, to: u64) -> Result<bool, StoreError> {
        let follow = Write::Follow { name: FOLLOWER, from, to };
        match self.store.commit(Change { writes: vec![follow], entries: Vec::new() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(Conflict::Counter)) => Ok(false),
            Err(CommitError::Conflict(conflict)) => Err(StoreError::Database(conflict.to_string())),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    /// Sends one request until it is taken or refused for good. Not so if the service stops before: then all of it is sent
    /// when it runs again.
    async fn send(
        &self,
        url: &Url,
        signal: &'static str,
        count: u64,
        body: &Value,
        stopping: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut pause = PAUSE_MIN;
        loop {
            match self.attempt(url, body).await {
                Sent::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    self.metrics.exported(signal, "sent", count - rejected);
                    self.metrics.exported(signal, "dropped", rejected);
                    return true;
                }
                Sent::Never(why) => {
                    tracing::error!(signal, why, "the collector refuses what it is sent");
                    self.metrics.exported(signal, "dropped", count);
                    return true;
                }
                Sent::Later(why, asked) => {
                    let wait = wait_before(pause, asked);
                    tracing::warn!(signal, why, "the collector takes nothing just now; trying again");
                    self.metrics.exported(signal, "tried_again", 1);
                    pause = (pause * 2).min(PAUSE_MAX);
                    if *stopping.borrow() {
                        return false;
                    }
                    tokio::select! {
                        () = sleep(wait) => {}
                        _ = stopping.changed() => return false,
                    }
                }
            }
        }
    }

    async fn attempt(&self, url: &Url, body: &Value) -> Sent {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_string());
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Sent::Later(root_cause(&error), None),
        };
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        let mut text = Vec::new();
        while let Ok(Some(part)) = answer.chunk().await {
            if text.len() + part.len() > ANSWER_BYTES_MAX {
                break;
            }
            text.extend_from_slice(&part);
        }
        match status.as_u16() {
            200..300 => Sent::Taken { rejected: rejected(&text) },
            // The statuses after which OTLP says to try again.
            429 | 502..=504 => Sent::Later(status.to_string(), after.map(Duration::from_secs)),
            _ => Sent::Never(format!(
                "{status} {}",
                String::from_utf8_lossy(&text).chars().take(200).collect::<String>()
            )),
        }
    }
}

/// How long to wait before the next try: as long as the collector asks, though it may not ask for ever.
fn wait_before(pause: Duration, asked: Option<Duration>) -> Duration {
    asked.unwrap_or(pause).min(PAUSE_MAX)
}

/// How many a collector says that it did not take.
fn rejected(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let count = |name: &str| match &partial[name] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    count("rejectedSpans").or_else(|| count("rejectedLogRecords")).unwrap_or(0)
}
