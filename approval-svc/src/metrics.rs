//! Step 12: what the service counts. Every label has a fixed set of values, so the number of series is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::notify::notice::NoticeState;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabel {
    task: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExportLabel {
    signal: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What is counted of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    kind: EntryKind,
    /// Of a review.
    verdict: Option<&'static str>,
}

impl Counted {
    pub fn of(entry: &AuditEntry) -> Self {
        let verdict = match (entry.kind, entry.status.as_deref()) {
            (EntryKind::Review, Some("approve")) => Some("approve"),
            (EntryKind::Review, Some("deny")) => Some("deny"),
            _ => None,
        };
        Self { kind: entry.kind, verdict }
    }
}

/// Every metric of the service.
pub struct Metrics {
    registry: Registry,
    approvals: Family<StatusLabel, Gauge>,
    holds_waiting: Gauge,
    reviews: Family<VerdictLabel, Counter>,
    claims: Counter,
    audit_entries: Family<KindLabel, Counter>,
    commit_seconds: Histogram,
    transactions: Counter,
    /// Open now.
    pub connections: Gauge,
    refused: Family<LimitLabel, Counter>,
    task_restarts: Family<TaskLabel, Gauge>,
    notices: Family<StateLabel, Gauge>,
    notice_tries: Family<ResultLabel, Counter>,
    approvals_untold: Gauge,
    exported: Family<ExportLabel, Counter>,
    export_backlog: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("holdpoint");
        let approvals = Family::default();
        registry.register("approvals", "Approvals by status", approvals.clone());
        let holds_waiting = Gauge::default();
        registry.register("holds_waiting", "Live calls that wait on an open approval", holds_waiting.clone());
        // Known from the beginning: what has never happened reads as zero and not as missing.
        let reviews = Family::<VerdictLabel, Counter>::default();
        for verdict in ["approve", "deny"] {
            drop(reviews.get_or_create(&VerdictLabel { verdict }));
        }
        registry.register("reviews", "Reviews by verdict", reviews.clone());
        let claims = Counter::default();
        registry.register("claims", "Grants used", claims.clone());
        let audit_entries = Family::<KindLabel, Counter>::default();
        for kind in EntryKind::ALL {
            drop(audit_entries.get_or_create(&KindLabel { kind: kind.as_str() }));
        }
        registry.register("audit_entries", "Audit entries appended, by kind", audit_entries.clone());
        // 0.5 ms to 8 s.
        let commit_seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 15));
        let help = "Time until a change was durable, in seconds";
        registry.register("commit_seconds", help, commit_seconds.clone());
        let transactions = Counter::default();
        let help = "Transactions that have written; many changes share one";
        registry.register("write_transactions", help, transactions.clone());
        let connections = Gauge::default();
        registry.register("connections", "Connections that are open", connections.clone());
        let refused = Family::<LimitLabel, Counter>::default();
        for limit in ["connections", "credential", "address"] {
            drop(refused.get_or_create(&LimitLabel { limit }));
        }
        registry.register("limited", "Requests and connections refused, by the limit", refused.clone());
        let task_restarts = Family::default();
        let help = "How often a task of the service had to be begun again";
        registry.register("task_restarts", help, task_restarts.clone());
        let notices = Family::default();
        registry.register("notices", "Notices by where their delivery stands", notices.clone());
        let notice_tries = Family::default();
        registry.register("notice_tries", "Tries to deliver a notice, by how they ended", notice_tries.clone());
        let approvals_untold = Gauge::default();
        let help = "Pending approvals of which nobody was notified";
        registry.register("approvals_untold", help, approvals_untold.clone());
        let exported = Family::<ExportLabel, Counter>::default();
        for signal in ["logs", "traces"] {
            for result in ["sent", "dropped", "tried_again"] {
                drop(exported.get_or_create(&ExportLabel { signal, result }));
            }
        }
        let help = "Spans and log records for the collector, by what became of them";
        registry.register("otlp_records", help, exported.clone());
        let export_backlog = Gauge::default();
        let help = "Entries of the record that the collector has not been sent yet";
        registry.register("otlp_backlog", help, export_backlog.clone());
        Self {
            registry,
            approvals,
            holds_waiting,
            reviews,
            claims,
            audit_entries,
            commit_seconds,
            transactions,
            connections,
            refused,
            task_restarts,
            notices,
            notice_tries,
            approvals_untold,
            exported,
            export_backlog,
        }
    }
}

impl Metrics {
    /// Counts one durable change by the entries that report it.
    pub fn committed(&self, took: Duration, entries: &[Counted]) {
        self.commit_seconds.observe(took.as_secs_f64());
        let mut by_kind = BTreeMap::<&'static str, u64>::new();
        for entry in entries {
            *by_kind.entry(entry.kind.as_str()).or_default() += 1;
            if let Some(verdict) = entry.verdict {
                self.reviews.get_or_create(&VerdictLabel { verdict }).inc();
            }
            if entry.kind == EntryKind::Claim {
                self.claims.inc();
            }
        }
        for (kind, count) in by_kind {
            self.audit_entries.get_or_create(&KindLabel { kind }).inc_by(count);
        }
    }

    /// Counts what a limit kept out: `connections`, `credential` or `address`.
    pub fn refused(&self, limit: &'static str) {
        self.refused.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Counts what a collector was sent: `traces` or `logs`, of which so many were `sent` or `dropped`; or requests that
    /// had to be `tried_again`.
    pub fn exported(&self, signal: &'static str, result: &'static str, count: u64) {
        self.exported.get_or_create(&ExportLabel { signal, result }).inc_by(count);
    }

    /// Takes over how far the collector is behind the record.
    pub fn export_backlog(&self, entries: u64) {
        self.export_backlog.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Counts one try to deliver a notice.
    pub fn notice_tried(&self, delivered: bool) {
        let result = if delivered { "delivered" } else { "failed" };
        self.notice_tries.get_or_create(&ResultLabel { result }).inc();
    }

    /// Takes over how notices stand in the database, and of how many pending approvals nobody was told.
    pub fn told(&self, by_state: &BTreeMap<NoticeState, u64>, untold: usize) {
        for state in [NoticeState::Waiting, NoticeState::Delivered, NoticeState::Dead] {
            let count = by_state.get(&state).copied().unwrap_or(0);
            let gauge = self.notices.get_or_create(&StateLabel { state: state.as_str() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.approvals_untold.set(i64::try_from(untold).unwrap_or(i64::MAX));
    }

    /// Everything in the OpenMetrics text format. What is counted in the database comes as arguments.
    pub fn text(
        &self,
        by_status: &BTreeMap<ApprovalStatus, u64>,
        holds_waiting: u64,
        task_restarts: &[(&'static str, u64)],
        transactions: u64,
    ) -> Result<String, std::fmt::Error> {
        self.transactions.inner().store(transactions, Ordering::Relaxed);
        self.approvals.clear();
        for (status, count) in by_status {
            let gauge = self.approvals.get_or_create(&StatusLabel { status: status.as_str() });
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.holds_waiting.set(i64::try_from(holds_waiting).unwrap_or(i64::MAX));
        for (task, restarts) in task_restarts {
            let gauge = self.task_restarts.get_or_create(&TaskLabel { task });
            gauge.set(i64::try_from(*restarts).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
