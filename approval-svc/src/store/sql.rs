//! Steps 8 to 12: the store on SQL. One task writes, a few connections read; what is acknowledged is on the disk.
//!
//! The statements stand here once, for every database that `db` knows; how each is opened, its own file says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdpoint_core::approval::{ApprovalState, ApprovalStatus, RanBefore};
use holdpoint_core::candidate::CandidateReport;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use holdpoint_core::freeze::FreezeList;
use tokio::sync::{mpsc, oneshot};

use super::inventory::{CallerRow, DefinitionRow, DriftRow, IntroductionRow, ItemRow, PageRow, ServerRow};
use super::payload::{EntryBeside, Erasure, PayloadFilter};
use super::row::{
    AnswerRow, Approval, ApprovalFilter, CheckpointRow, ClaimRow, Claiming, Dossier, Due, History, HistoryFilter, Hold,
    InForceRow, LogEntry, MarkPage, MarkQuery, PolicyRow, Review, SignIn, Token,
};
use super::sqlite::readers::Taken;
use super::{Change, CommitError, Head, Hints, Read, Store, StoreError};
use crate::approvals::grant::Grant;
use crate::candidates::Trial;
use crate::delegations::Delegation;
use crate::notify::notice::{Notice, NoticeFilter, NoticeState};

pub(super) mod db;
pub(super) mod writer;

mod append;
mod candidates;
mod column;
mod fleet;
pub(super) mod history;
mod in_force;
mod inventory;
pub(super) mod marks;
mod notices;
mod payloads;
pub(super) mod reads;
mod words;
mod writes;

/// Changes that wait for the writer; more wait at the door.
const JOBS_MAX: usize = 4_096;

/// Tells Unix milliseconds. A test brings its own.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of this machine.
pub fn machine_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The store in one database. Several processes may have it open: each write transaction starts from the log's head as
/// it stands there, and no two run at once.
pub struct SqlStore {
    jobs: mpsc::Sender<writer::Job>,
    transactions: Arc<AtomicU64>,
    readers: db::Pool,
    /// `None` for the database's own.
    clock: Option<Clock>,
    hints: Option<Hints>,
    #[cfg(test)]
    writing: tokio::task::AbortHandle,
}

impl SqlStore {
    /// Over connections to a database whose schema is up to date.
    pub(super) fn new(readers: db::Pool, writer: writer::Writer, clock: Option<Clock>) -> Self {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let transactions = Arc::new(AtomicU64::new(0));
        let _writing = tokio::spawn(writer.run(inbox, Arc::clone(&transactions)));
        Self {
            jobs,
            transactions,
            readers,
            clock,
            hints: None,
            #[cfg(test)]
            writing: _writing.abort_handle(),
        }
    }

    /// The same, with a way to other replicas.
    pub(super) fn with_hints(self, hints: Hints) -> Self {
        Self { hints: Some(hints), ..self }
    }

    /// Ends whatever writes, as a panic in it would.
    #[cfg(test)]
    pub fn stop_writing(&self) {
        self.writing.abort();
    }

    async fn send(&self, change: Change, dry: bool) -> Result<Vec<u64>, CommitError> {
        let leaves = append::leaves_of(&change.entries)?;
        let (answer, answered) = oneshot::channel();
        self.jobs.send(writer::Job { change, leaves, dry, answer }).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(&error, sqlx::Error::AnyDriverError(why) if why.is::<Taken>()) {
            return Self::Busy;
        }
        // What only a server on a network does.
        let is_server = match &error {
            sqlx::Error::Database(error) => error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some(),
            error => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut),
        };
        if is_server {
            return Self::Server(format!("the PostgreSQL server cannot be used ({error})"));
        }
        Self::Database(error.to_string())
    }
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store for SqlStore {
    fn commit(&self, change: Change) -> BoxFuture<'_, Result<Vec<u64>, CommitError>> {
        self.send(change, false).boxed()
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        self.jobs.closed().boxed()
    }

    fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    fn database(&self) -> Read<'_, String> {
        reads::database(&self.readers).boxed()
    }

    fn hints(&self) -> Option<&Hints> {
        self.hints.as_ref()
    }

    fn lease<'a>(&'a self, name: &'a str) -> Read<'a, Option<(String, u64)>> {
        reads::lease(&self.readers, name).boxed()
    }

    fn now_ms(&self) -> Read<'_, u64> {
        match &self.clock {
            Some(clock) => std::future::ready(Ok(clock())).boxed(),
            None => reads::now_ms(&self.readers).boxed(),
        }
    }

    fn writable(&self) -> Read<'_, ()> {
        async move {
            match self.send(Change::default(), true).await {
                Ok(_) => Ok(()),
                Err(CommitError::Store(error)) => Err(error),
                Err(CommitError::Conflict(conflict)) => Err(StoreError::Database(conflict.to_string())),
            }
        }
        .boxed()
    }

    fn state<'a>(&'a self, id: &'a str) -> Read<'a, Option<ApprovalState>> {
        reads::state(&self.readers, id).boxed()
    }

    fn versions<'a>(&'a self, ids: &'a [String]) -> Read<'a, Vec<(String, u64)>> {
        reads::versions(&self.readers, ids).boxed()
    }

    fn approval<'a>(&'a self, id: &'a str) -> Read<'a, Option<Approval>> {
        reads::approval(&self.readers, id).boxed()
    }

    fn dossier<'a>(&'a self, id: &'a str) -> Read<'a, Option<Dossier>> {
        reads::dossier(&self.readers, id).boxed()
    }

    fn open_approval(&self, call_digest: Digest, basis: Digest) -> Read<'_, Option<Approval>> {
        reads::open_approval(&self.readers, call_digest, basis).boxed()
    }

    fn approvals(&self, filter: ApprovalFilter) -> Read<'_, Vec<Approval>> {
        reads::approvals(&self.readers, filter).boxed()
    }

    fn history(&self, filter: HistoryFilter) -> Read<'_, History> {
        history::history(&self.readers, filter).boxed()
    }

    fn due(&self, now_ms: u64, rows_max: u32) -> Read<'_, Vec<Due>> {
        reads::due(&self.readers, now_ms, rows_max).boxed()
    }

    fn with_old_arguments(&self, ended_before_ms: u64, rows_max: u32) -> Read<'_, Vec<String>> {
        reads::with_old_arguments(&self.readers, ended_before_ms, rows_max).boxed()
    }

    fn grants<'a>(&'a self, now_ms: u64, of: Option<(&'a str, &'a str)>) -> Read<'a, Vec<Grant>> {
        reads::grants(&self.readers, now_ms, of).boxed()
    }

    fn delegations(&self, now_ms: u64) -> Read<'_, Vec<Delegation>> {
        reads::delegations(&self.readers, now_ms).boxed()
    }

    fn reviews<'a>(&'a self, approval_id: &'a str) -> Read<'a, Vec<Review>> {
        reads::reviews(&self.readers, approval_id).boxed()
    }

    fn hold<'a>(&'a self, hold_id: &'a str) -> Read<'a, Option<Hold>> {
        reads::hold(&self.readers, hold_id).boxed()
    }

    fn holds_cancelled_by(&self, cancel_key: Digest, rows_max: u32) -> Read<'_, Vec<Hold>> {
        reads::holds_cancelled_by(&self.readers, cancel_key, rows_max).boxed()
    }

    fn holds_unheard(&self, now_ms: u64, rows_max: u32) -> Read<'_, Vec<Hold>> {
        reads::holds_unheard(&self.readers, now_ms, rows_max).boxed()
    }

    fn holds_waiting<'a>(&'a self, approval_id: &'a str) -> Read<'a, u64> {
        reads::holds_waiting(&self.readers, approval_id).boxed()
    }

    fn claim<'a>(&'a self, hold_id: &'a str) -> Read<'a, Option<ClaimRow>> {
        reads::claim(&self.readers, hold_id).boxed()
    }

    fn claiming<'a>(
        &'a self,
        id: &'a str,
        hold_id: &'a str,
        plugin: Option<(&'a str, &'a str)>,
    ) -> Read<'a, Option<Claiming>> {
        reads::claiming(&self.readers, id, hold_id, plugin).boxed()
    }

    fn last_run(&self, call_digest: Digest) -> Read<'_, Option<RanBefore>> {
        reads::last_run(&self.readers, call_digest).boxed()
    }

    fn policies(&self, behind: Option<(u64, Digest)>, rows_max: u32) -> Read<'_, Vec<(Digest, u64)>> {
        in_force::policies(&self.readers, behind, rows_max).boxed()
    }

    fn in_force<'a>(&'a self, instance: &'a str, plugin: &'a str) -> Read<'a, Option<InForceRow>> {
        in_force::of(&self.readers, instance, plugin).boxed()
    }

    fn all_in_force(&self, seen_since_ms: u64, rows_max: u32) -> Read<'_, Vec<InForceRow>> {
        in_force::all(&self.readers, seen_since_ms, rows_max).boxed()
    }

    fn candidate_trials(&self, rows_max: u32) -> Read<'_, Vec<Trial>> {
        candidates::trials(&self.readers, rows_max).boxed()
    }

    fn candidate_reports<'a>(
        &'a self,
        trial: &'a Trial,
        after_source: &'a str,
        rows_max: u32,
    ) -> Read<'a, Vec<CandidateReport>> {
        candidates::reports(&self.readers, trial, after_source, rows_max).boxed()
    }

    fn policy(&self, snapshot_id: Digest) -> Read<'_, Option<PolicyRow>> {
        reads::policy(&self.readers, snapshot_id).boxed()
    }

    fn token(&self, hash: Digest) -> Read<'_, Option<Token>> {
        reads::token(&self.readers, hash).boxed()
    }

    fn tokens(&self) -> Read<'_, Vec<Token>> {
        reads::tokens(&self.readers).boxed()
    }

    fn tokens_revoked(&self) -> Read<'_, u64> {
        reads::tokens_revoked(&self.readers).boxed()
    }

    fn answer<'a>(&'a self, id: &'a str) -> Read<'a, Option<AnswerRow>> {
        reads::answer(&self.readers, id).boxed()
    }

    fn sign_in_code(&self, hash: Digest) -> Read<'_, Option<SignIn>> {
        reads::sign_in_code(&self.readers, hash).boxed()
    }

    fn session(&self, hash: Digest) -> Read<'_, Option<SignIn>> {
        reads::session(&self.readers, hash).boxed()
    }

    fn notices_due<'a>(&'a self, channel: &'a str, now_ms: u64, rows_max: u32) -> Read<'a, Vec<Notice>> {
        notices::due(&self.readers, channel, now_ms, rows_max).boxed()
    }

    fn notices(&self, filter: NoticeFilter) -> Read<'_, Vec<Notice>> {
        notices::list(&self.readers, filter).boxed()
    }

    fn notice<'a>(&'a self, id: &'a str) -> Read<'a, Option<Notice>> {
        notices::one(&self.readers, id).boxed()
    }

    fn notice_counts(&self) -> Read<'_, BTreeMap<NoticeState, u64>> {
        notices::counts(&self.readers).boxed()
    }

    fn untold(&self, told_before_ms: u64, rows_max: u32) -> Read<'_, Vec<String>> {
        notices::untold(&self.readers, told_before_ms, rows_max).boxed()
    }

    fn freezes(&self) -> Read<'_, FreezeList> {
        reads::freezes(&self.readers).boxed()
    }

    fn freeze_version(&self) -> Read<'_, u64> {
        reads::freeze_version(&self.readers).boxed()
    }

    fn inventory_servers(&self) -> Read<'_, Vec<ServerRow>> {
        inventory::servers(&self.readers).boxed()
    }

    fn inventory_server<'a>(&'a self, server: &'a str) -> Read<'a, Option<ServerRow>> {
        inventory::server(&self.readers, server).boxed()
    }

    fn inventory_introductions<'a>(&'a self, server: &'a str) -> Read<'a, Vec<IntroductionRow>> {
        inventory::introductions(&self.readers, server).boxed()
    }

    fn inventory_items<'a>(&'a self, server: &'a str) -> Read<'a, Vec<ItemRow>> {
        inventory::items(&self.readers, server).boxed()
    }

    fn inventory_definitions<'a>(
        &'a self,
        server: &'a str,
        kind: DefinitionKind,
        name: &'a str,
    ) -> Read<'a, Vec<DefinitionRow>> {
        inventory::definitions(&self.readers, server, kind, name).boxed()
    }

    fn inventory_pages<'a>(&'a self, server: &'a str, kind: DefinitionKind) -> Read<'a, Vec<PageRow>> {
        inventory::pages(&self.readers, server, kind).boxed()
    }

    fn inventory_drift<'a>(&'a self, server: &'a str, rows_max: u32) -> Read<'a, Vec<DriftRow>> {
        inventory::drift(&self.readers, server, rows_max).boxed()
    }

    fn inventory_callers<'a>(&'a self, server: &'a str, rows_max: u32) -> Read<'a, Vec<CallerRow>> {
        inventory::callers(&self.readers, server, rows_max).boxed()
    }

    fn head(&self) -> Read<'_, Head> {
        reads::head(&self.readers).boxed()
    }

    fn entries(&self, from: u64, rows_max: u32) -> Read<'_, Vec<LogEntry>> {
        reads::entries(&self.readers, from, rows_max).boxed()
    }

    fn entries_beside(&self, from: u64, rows_max: u32) -> Read<'_, Vec<EntryBeside>> {
        payloads::entries(&self.readers, from, rows_max).boxed()
    }

    fn erasure(&self, seq: u64) -> Read<'_, Option<Erasure>> {
        payloads::erasure(&self.readers, seq).boxed()
    }

    fn find_payloads(&self, filter: PayloadFilter, rows_max: u32) -> Read<'_, Vec<u64>> {
        payloads::find(&self.readers, filter, rows_max).boxed()
    }

    fn hashes(&self, level: u32, from: u64, rows_max: u32) -> Read<'_, Vec<Digest>> {
        reads::hashes(&self.readers, level, from, rows_max).boxed()
    }

    fn source_counter<'a>(&'a self, source: &'a str) -> Read<'a, Option<u64>> {
        reads::source_counter(&self.readers, source).boxed()
    }

    fn follower<'a>(&'a self, name: &'a str) -> Read<'a, Option<u64>> {
        marks::follower(&self.readers, name).boxed()
    }

    fn marked(&self, query: MarkQuery) -> Read<'_, MarkPage> {
        marks::marked(&self.readers, query).boxed()
    }

    fn checkpoint(&self) -> Read<'_, Option<CheckpointRow>> {
        reads::checkpoint(&self.readers).boxed()
    }

    fn checkpoints(&self, size: u64, rows_max: u32) -> Read<'_, Vec<CheckpointRow>> {
        reads::checkpoints(&self.readers, size, rows_max).boxed()
    }

    fn status_counts(&self) -> Read<'_, BTreeMap<ApprovalStatus, u64>> {
        reads::status_counts(&self.readers).boxed()
    }

    fn holds_waiting_total(&self) -> Read<'_, u64> {
        reads::holds_waiting_total(&self.readers).boxed()
    }
}
