//! Steps 8 to 12: where approvals, policies, tokens and the log live. One door for every write.
//!
//! A [`Change`] is a few writes, each with its own condition, and the audit entries that report them. It happens as a
//! whole or, when a condition does not hold, not at all. Rows are the truth: whoever waits reads them again.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use holdpoint_core::approval::{ApprovalState, ApprovalStatus, RanBefore, WithdrawCause};
use holdpoint_core::audit::merkle::Frontier;
use holdpoint_core::audit::{AuditEntry, Outcome};
use holdpoint_core::candidate::CandidateReport;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use holdpoint_core::fleet::{RenewLeases, TakeLeases};
use holdpoint_core::freeze::{Freeze, FreezeList};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use tokio::sync::{broadcast, mpsc};

#[cfg(test)]
pub mod contract;
pub mod inventory;
pub mod payload;
pub mod postgres;
pub mod row;
pub mod sql;
pub mod sqlite;
pub mod words;

use crate::approvals::grant::Grant;
use crate::candidates::Trial;
use crate::delegations::Delegation;
use crate::notify::notice::{Notice, NoticeFilter, NoticeState, NoticeTry};
use inventory::{CallerRow, DefinitionRow, DriftRow, IntroductionRow, InventoryWrite, ItemRow, PageRow, ServerRow};
use payload::{EntryBeside, Erasure, PayloadErasure, PayloadFilter};
use row::{
    AnswerRow, Approval, ApprovalFilter, CheckpointRow, ClaimRow, Claiming, Dossier, Due, History, HistoryFilter, Hold,
    InForceRow, LogEntry, MarkPage, MarkQuery, MarkRow, PolicyRow, Review, SignIn, Token,
};

/// One atomic change of state with its audit entries.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub writes: Vec<Write>,
    /// Appended to the log in this order, in the same transaction.
    pub entries: Vec<AuditEntry>,
}

/// One write. Each names the condition under which it happens; where that fails, the whole change fails with a
/// [`Conflict`].
#[derive(Clone, Debug)]
pub enum Write {
    /// A new pending approval. Fails when one is open for the same call and basis, or the requester has
    /// `pending_max` pending ones.
    OpenApproval { approval: Box<Approval>, pending_max: u64 },
    /// An identical call comes to an open approval: whatever clock ran for its return stops. Fails when it is not open.
    JoinApproval { id: String },
    /// A live call waits for this approval from now on. Fails when the hold has ended.
    BindHold(Box<HoldBinding>),
    /// The hold stops waiting. Fails when it has ended already, or when it is claimed and `claimed` says otherwise.
    EndHold { hold_id: String, cause: WithdrawCause, at_ms: u64, claimed: bool },
    /// Nobody waits for a pending approval: withdraw it at `rejoin_by_ms`. Does nothing if a hold still waits.
    AwaitRejoin { id: String, rejoin_by_ms: u64 },
    /// The approval moves on. Fails unless it stands at `version` and `status` may become the new one.
    MoveApproval(Box<ApprovalMove>),
    /// One person's word. Fails when that person has spoken already.
    AddReview { approval_id: String, review: Review },
    /// The single use of a grant by a live hold. Fails when the hold has ended or has claimed.
    AddClaim(Box<ClaimRow>),
    /// What became of a claimed call; the first word stays. Does nothing for a hold that never claimed.
    SetOutcome { hold_id: String, outcome: Outcome },
    /// Registers a policy. Fails when it is registered.
    AddPolicy(PolicyRow),
    /// A gateway reports what it has in force. A report older than the one that is kept changes nothing; rows that
    /// nobody has repeated since `forget_before_ms` are forgotten.
    PutInForce { row: Box<InForceRow>, forget_before_ms: u64 },
    /// What a worker says of a candidate, unless it has said more; what nobody has repeated since `forget_before_ms` is
    /// forgotten.
    PutCandidateReport { report: Box<CandidateReport>, at_ms: u64, forget_before_ms: u64 },
    /// Fails when the id or the hash is taken.
    AddToken(Token),
    /// Ends the browser sessions and links of the same person with it. Fails when there is no such token, or it is
    /// revoked.
    RevokeToken { id: String, at_ms: u64 },
    /// A link that signs somebody in once. Links older than `at_ms` are forgotten.
    AddSignInCode { code: SignIn, at_ms: u64 },
    /// Uses a sign-in link up. Fails when it is unknown, used, or too old at `at_ms`.
    TakeSignInCode { hash: Digest, at_ms: u64 },
    /// The session of one browser. Sessions older than `at_ms` are forgotten.
    AddSession { session: SignIn, at_ms: u64 },
    /// Ends a session. Fails when there is none.
    EndSession { hash: Digest },
    /// Says that further people may decide. Fails unless the approval stands at `version`, pending, and unsaid.
    Escalate { id: String, version: u64, at_ms: u64 },
    /// Erases the arguments of these approvals, which must have ended; the rest of them stays.
    EraseArguments { ids: Vec<String>, at_ms: u64 },
    /// An approval reaches further calls.
    AddGrant(Box<Grant>),
    /// One of them. Fails when none is left, or its time is over at `at_ms`, or it was taken back.
    UseGrant { id: String, at_ms: u64 },
    /// Fails when it is not in force, or not as many uses are left as were seen.
    RevokeGrant { id: String, at_ms: u64, if_uses_left: Option<u32> },
    /// Lends somebody's authority. Fails when the id is taken.
    AddDelegation { delegation: Delegation, at_ms: u64 },
    /// Fails when it is not in force.
    EndDelegation { id: String, at_ms: u64 },
    /// Stops something. Fails when the id is taken, or `in_force_max` are in force.
    AddFreeze { freeze: Freeze, at_ms: u64, in_force_max: usize },
    /// Lets it go on. Fails when it is not in force, or the list is at another version than the one that was seen.
    LiftFreeze { id: String, at_ms: u64, if_version: Option<u64> },
    /// Makes the list of freezes newer than every one before, as it stands: gateways refuse one that is older than theirs.
    RenewFreezes { at_ms: u64 },
    /// Something that a channel is to be told. Fails when the id is taken.
    AddNotice(Box<Notice>),
    /// How a try ended. Fails unless the notice waits, after as many tries as were read.
    TryNotice(NoticeTry),
    /// Tries one that was given up once more. Fails when it was not.
    RetryNotice { id: String, at_ms: u64 },
    /// Gives up what waits for any other channel than these.
    DropNoticesBut { channels: Vec<String>, at_ms: u64 },
    /// Forgets notices that ended before then.
    ForgetNotices { ended_before_ms: u64 },
    /// Places under limits that hold for all gateways, one under each or none at all. Fails where one has none left.
    TakeFleetLeases { take: Box<TakeLeases>, at_ms: u64 },
    /// Fails when the holder has none that have not expired.
    RenewFleetLeases { holder: String, renew: RenewLeases, at_ms: u64 },
    /// Frees what the holder has; that it `ran` stays counted. Does nothing when it has none.
    EndFleetLeases { holder: String, ran: bool },
    /// Moves the counter expected next of a source. Fails unless it stands at `from`.
    AdvanceSource { source: String, from: u64, to: u64 },
    /// Erases what stands beside entries.
    ErasePayloads(Box<PayloadErasure>),
    /// What was seen of servers.
    Inventory(Box<InventoryWrite>),
    /// Keeps an answer, to be given again. Fails when one is kept under this id. Those that were made before
    /// `forget_before_ms` are forgotten.
    KeepAnswer { row: AnswerRow, forget_before_ms: u64 },
    /// A reader of the log has come so far. Fails unless it stood at `from`; `None` for one that begins.
    Follow { name: &'static str, from: Option<u64>, to: u64 },
    /// By what entries of the log are found. Again is harmless.
    AddMarks(Vec<MarkRow>),
    /// Keeps a signed checkpoint; the first one of a size stays.
    AddCheckpoint(CheckpointRow),
    /// Does something in the place of all replicas until then. Fails while another one does.
    TakeLease { name: String, holder: String, at_ms: u64, until_ms: u64 },
}

/// Which call waits for which approval, and how it may end.
#[derive(Clone, Debug)]
pub struct HoldBinding {
    pub hold_id: String,
    pub approval_id: String,
    pub gateway: String,
    pub cancel_key: Option<Digest>,
    pub at_ms: u64,
    /// It waits no longer than that, whether or not anybody says so.
    pub ends_by_ms: Option<u64>,
}

/// Where an approval goes, by compare-and-set.
#[derive(Clone, Debug)]
pub struct ApprovalMove {
    pub id: String,
    pub from: ApprovalStatus,
    /// The version read before; the row stands at one more afterwards.
    pub version: u64,
    pub to: ApprovalStatus,
    /// The clock of the new status; `None` keeps it.
    pub expires_at_ms: Option<u64>,
    pub reason: Option<String>,
    pub decided_by: Option<String>,
    pub at_ms: u64,
    /// A withdrawal for want of a rejoin: only if nobody has come back since.
    pub if_rejoin_due_at_ms: Option<u64>,
}

/// Which condition of a change did not hold. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("an approval is open for this call already")]
    Open,
    #[error("the requester has too many pending approvals")]
    TooManyPending,
    #[error("too many freezes are in force")]
    TooManyFreezes,
    #[error("the approval has moved on")]
    Moved,
    #[error("the hold has ended")]
    HoldEnded,
    #[error("this person has reviewed already")]
    Reviewed,
    #[error("the hold has claimed already")]
    Claimed,
    #[error("it was answered already")]
    Answered,
    #[error("it exists already")]
    Exists,
    #[error("limit {0} of those asked for has no place left")]
    Full(usize),
    #[error("there is no such row")]
    Missing,
    #[error("the source, or the server, stands at another counter")]
    Counter,
    #[error("another replica does it")]
    Taken,
}

/// Why a change was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The database could not do it; nothing was acknowledged that is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be used ({0}): check that its directory is writable and has space")]
    Database(String),
    #[error("{0}")]
    Server(String),
    #[error("the database holds {what} that this version cannot read: {problem}")]
    Corrupt { what: &'static str, problem: String },
    #[error("everything that reads the database is taken: too much is asked at once, ask again later")]
    Busy,
    #[error("the store has stopped")]
    Stopped,
}

/// What another replica says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    Said(String),
    /// Something may have been said that nobody heard.
    Missed,
}

/// The way to other replicas, and from them. Whatever goes this way may be lost.
#[derive(Clone, Debug)]
pub struct Hints {
    pub tell: mpsc::Sender<String>,
    pub heard: broadcast::Sender<Hint>,
}

/// The log as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub frontier: Frontier,
    pub root: Digest,
}

/// Result of a read.
pub type Read<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Where state lives. Every store passes the suite in `store/contract.rs`.
pub trait Store: Send + Sync + 'static {
    /// The one door for every write. Answers when the change is durable; with the sequence numbers (from 0) of its
    /// entries in order. Changes of many callers share a transaction, and one that fails leaves its neighbours be.
    fn commit(&self, change: Change) -> BoxFuture<'_, Result<Vec<u64>, CommitError>>;

    /// Returns when nothing will ever be committed any more, because whatever writes has ended.
    fn ended(&self) -> BoxFuture<'_, ()>;

    /// How many transactions have written so far, whatever number of changes each held.
    fn transactions(&self) -> u64;

    /// Which database it is, in which version.
    fn database(&self) -> Read<'_, String>;
    /// How replicas tell each other; `None` where no other service has the same store open.
    fn hints(&self) -> Option<&Hints>;
    /// Who does something in the place of all replicas, and until when.
    fn lease<'a>(&'a self, name: &'a str) -> Read<'a, Option<(String, u64)>>;

    /// Unix milliseconds by the clock that all expiry is measured with.
    fn now_ms(&self) -> Read<'_, u64>;
    /// Proves that a write could happen now, without one.
    fn writable(&self) -> Read<'_, ()>;

    /// What a poll answers; cheap.
    fn state<'a>(&'a self, id: &'a str) -> Read<'a, Option<ApprovalState>>;
    /// The versions of those of these approvals that there are.
    fn versions<'a>(&'a self, ids: &'a [String]) -> Read<'a, Vec<(String, u64)>>;
    /// Everything about one approval.
    fn approval<'a>(&'a self, id: &'a str) -> Read<'a, Option<Approval>>;
    /// The same with its reviews and waiting holds, all as of one moment.
    fn dossier<'a>(&'a self, id: &'a str) -> Read<'a, Option<Dossier>>;
    /// The pending request or the unused grant for this call under this basis.
    fn open_approval(&self, call_digest: Digest, basis: Digest) -> Read<'_, Option<Approval>>;
    /// Newest first.
    fn approvals(&self, filter: ApprovalFilter) -> Read<'_, Vec<Approval>>;
    /// Approvals with what became of them, by what is known of them. Looks at a bounded number of rows at a time.
    fn history(&self, filter: HistoryFilter) -> Read<'_, History>;
    /// Up to `rows_max` approvals whose clock has run out at `now_ms`.
    fn due(&self, now_ms: u64, rows_max: u32) -> Read<'_, Vec<Due>>;
    /// Up to `rows_max` approvals that ended before `ended_before_ms` and still have their arguments.
    fn with_old_arguments(&self, ended_before_ms: u64, rows_max: u32) -> Read<'_, Vec<String>>;
    /// Grants in force at `now_ms`: of one (issuer, subject), or of everybody.
    fn grants<'a>(&'a self, now_ms: u64, of: Option<(&'a str, &'a str)>) -> Read<'a, Vec<Grant>>;
    /// Delegations in force at `now_ms`.
    fn delegations(&self, now_ms: u64) -> Read<'_, Vec<Delegation>>;
    /// In the order they came.
    fn reviews<'a>(&'a self, approval_id: &'a str) -> Read<'a, Vec<Review>>;
    fn hold<'a>(&'a self, hold_id: &'a str) -> Read<'a, Option<Hold>>;
    /// Holds that have neither ended nor claimed and that this key cancels; at most `rows_max`.
    fn holds_cancelled_by(&self, cancel_key: Digest, rows_max: u32) -> Read<'_, Vec<Hold>>;
    /// Holds that should have ended by `now_ms`, and have neither ended nor claimed; at most `rows_max`.
    fn holds_unheard(&self, now_ms: u64, rows_max: u32) -> Read<'_, Vec<Hold>>;
    /// Holds of this approval that have neither ended nor claimed.
    fn holds_waiting<'a>(&'a self, approval_id: &'a str) -> Read<'a, u64>;
    fn claim<'a>(&'a self, hold_id: &'a str) -> Read<'a, Option<ClaimRow>>;
    /// What a claim of this hold on this approval is decided by, with the (instance, plugin) whose policy is in force. Two
    /// statements: when many are released at once, what each claim reads is what the service does.
    fn claiming<'a>(
        &'a self,
        id: &'a str,
        hold_id: &'a str,
        plugin: Option<(&'a str, &'a str)>,
    ) -> Read<'a, Option<Claiming>>;
    /// The last call of this digest that used a grant, and was not kept from running afterwards.
    fn last_run(&self, call_digest: Digest) -> Read<'_, Option<RanBefore>>;

    fn policy(&self, snapshot_id: Digest) -> Read<'_, Option<PolicyRow>>;
    /// Snapshot id and time of registration, the newest first, at most `rows_max`, behind one of them.
    fn policies(&self, behind: Option<(u64, Digest)>, rows_max: u32) -> Read<'_, Vec<(Digest, u64)>>;
    /// What this process has in force for this plugin, as far as it has reported.
    fn in_force<'a>(&'a self, instance: &'a str, plugin: &'a str) -> Read<'a, Option<InForceRow>>;
    /// What gateways have in force that were seen since then, by gateway, at most `rows_max`.
    fn all_in_force(&self, seen_since_ms: u64, rows_max: u32) -> Read<'_, Vec<InForceRow>>;
    /// What candidates are compared with what, the latest heard of first.
    fn candidate_trials(&self, rows_max: u32) -> Read<'_, Vec<Trial>>;
    /// What workers say of one of them, by worker, behind that one.
    fn candidate_reports<'a>(
        &'a self,
        trial: &'a Trial,
        after_source: &'a str,
        rows_max: u32,
    ) -> Read<'a, Vec<CandidateReport>>;
    fn token(&self, hash: Digest) -> Read<'_, Option<Token>>;
    fn tokens(&self) -> Read<'_, Vec<Token>>;
    /// How many tokens have been revoked; cheap.
    fn tokens_revoked(&self) -> Read<'_, u64>;
    /// The answer that is kept under this id.
    fn answer<'a>(&'a self, id: &'a str) -> Read<'a, Option<AnswerRow>>;
    /// A sign-in link that has not been used, though it may be too old.
    fn sign_in_code(&self, hash: Digest) -> Read<'_, Option<SignIn>>;
    /// A session that has not been ended, though it may be too old.
    fn session(&self, hash: Digest) -> Read<'_, Option<SignIn>>;

    /// Notices of this channel to be tried at `now_ms`, the oldest first and at most `rows_max`: of each approval only the
    /// first that waits.
    fn notices_due<'a>(&'a self, channel: &'a str, now_ms: u64, rows_max: u32) -> Read<'a, Vec<Notice>>;
    /// Newest first.
    fn notices(&self, filter: NoticeFilter) -> Read<'_, Vec<Notice>>;
    fn notice<'a>(&'a self, id: &'a str) -> Read<'a, Option<Notice>>;
    /// How many notices stand in each state.
    fn notice_counts(&self) -> Read<'_, BTreeMap<NoticeState, u64>>;
    /// Up to `rows_max` pending approvals of which nobody was told: nothing was delivered, and what waits to be was
    /// written before `told_before_ms`.
    fn untold(&self, told_before_ms: u64, rows_max: u32) -> Read<'_, Vec<String>>;

    /// What is stopped now, the newest last.
    fn freezes(&self) -> Read<'_, FreezeList>;
    /// The version of that list.
    fn freeze_version(&self) -> Read<'_, u64>;

    /// Every server that was seen, by name.
    fn inventory_servers(&self) -> Read<'_, Vec<ServerRow>>;
    fn inventory_server<'a>(&'a self, server: &'a str) -> Read<'a, Option<ServerRow>>;
    /// How it introduced itself, the latest first.
    fn inventory_introductions<'a>(&'a self, server: &'a str) -> Read<'a, Vec<IntroductionRow>>;
    /// What it offers or offered, tools first.
    fn inventory_items<'a>(&'a self, server: &'a str) -> Read<'a, Vec<ItemRow>>;
    /// Every definition of one of them, the latest first.
    fn inventory_definitions<'a>(
        &'a self,
        server: &'a str,
        kind: DefinitionKind,
        name: &'a str,
    ) -> Read<'a, Vec<DefinitionRow>>;
    /// What callers' pages of a list last held.
    fn inventory_pages<'a>(&'a self, server: &'a str, kind: DefinitionKind) -> Read<'a, Vec<PageRow>>;
    /// How it came to differ, the latest first.
    fn inventory_drift<'a>(&'a self, server: &'a str, rows_max: u32) -> Read<'a, Vec<DriftRow>>;
    /// Who called what, the latest first.
    fn inventory_callers<'a>(&'a self, server: &'a str, rows_max: u32) -> Read<'a, Vec<CallerRow>>;

    fn head(&self) -> Read<'_, Head>;
    /// Entries from sequence number `from` on, at most `rows_max`.
    fn entries(&self, from: u64, rows_max: u32) -> Read<'_, Vec<LogEntry>>;
    /// The same, with what stands beside them.
    fn entries_beside(&self, from: u64, rows_max: u32) -> Read<'_, Vec<EntryBeside>>;
    /// The last time that something beside entry `seq` was erased.
    fn erasure(&self, seq: u64) -> Read<'_, Option<Erasure>>;
    /// Numbers of up to `rows_max` entries beside which stands what the filter names.
    fn find_payloads(&self, filter: PayloadFilter, rows_max: u32) -> Read<'_, Vec<u64>>;
    /// Hashes of a level of the log's tree from number `from` on, at most `rows_max`: the leaves (level 0), or the roots
    /// of the full subtrees of 256^`level` entries.
    fn hashes(&self, level: u32, from: u64, rows_max: u32) -> Read<'_, Vec<Digest>>;
    /// The counter expected next of a source; `None` for one never seen.
    fn source_counter<'a>(&'a self, source: &'a str) -> Read<'a, Option<u64>>;
    /// How far a reader of the log has come; `None` for one that never began.
    fn follower<'a>(&'a self, name: &'a str) -> Read<'a, Option<u64>>;
    /// Entries that bear all of these marks, the latest first. Looks at a bounded number of them.
    fn marked(&self, query: MarkQuery) -> Read<'_, MarkPage>;
    /// The newest signed checkpoint.
    fn checkpoint(&self) -> Read<'_, Option<CheckpointRow>>;
    /// Signed checkpoints with a size above `size`, at most `rows_max`, the smallest first.
    fn checkpoints(&self, size: u64, rows_max: u32) -> Read<'_, Vec<CheckpointRow>>;

    /// How many approvals stand in each status.
    fn status_counts(&self) -> Read<'_, BTreeMap<ApprovalStatus, u64>>;
    /// How many holds wait on open approvals.
    fn holds_waiting_total(&self) -> Read<'_, u64>;
}

/// Reads back the word that a unit enum writes in JSON and in the database.
pub fn read_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    let text: StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
    T::deserialize(text).ok()
}
