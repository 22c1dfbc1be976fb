//! Steps 8 to 12: the rows as the rest of the service sees them, whatever database keeps them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use holdpoint_core::approval::{APPROVAL_SCHEMA, ApprovalState, ApprovalStatus, OpenApproval, RanBefore};
use holdpoint_core::audit::Outcome;
use holdpoint_core::digest::Digest;
use holdpoint_core::in_force::PolicyReport;

use crate::approvals::ReviewVerdict;
use crate::approvals::grant::Scope;
use crate::store::words;
use crate::tokens::Role;

/// One approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub id: String,
    pub status: ApprovalStatus,
    /// Counts reviews and changes of status; who waits is not part of it.
    pub version: u64,
    /// As the first hold asked.
    pub asked: OpenApproval,
    pub opened_at_ms: u64,
    /// When a pending request expires, or a grant lapses.
    pub expires_at_ms: u64,
    pub rejoin_by_ms: Option<u64>,
    pub uses_left: u32,
    pub reason: Option<String>,
    pub decided_by: Option<String>,
    pub decided_at_ms: Option<u64>,
    /// The last identical call that ran, as far as was known when this was opened.
    pub ran_before: Option<RanBefore>,
    /// When further people may decide, if its rules say so.
    pub escalates_at_ms: Option<u64>,
    /// When the call's arguments were erased.
    pub erased_at_ms: Option<u64>,
}

impl Approval {
    /// Whether further people may decide by now.
    pub fn is_escalated(&self, now_ms: u64) -> bool {
        self.escalates_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// What the filter reads of it.
    pub fn state(&self) -> ApprovalState {
        ApprovalState {
            schema: APPROVAL_SCHEMA.to_owned(),
            id: self.id.clone(),
            status: self.status,
            version: self.version,
            call_digest: self.asked.call_digest,
            reason: self.reason.clone(),
            decided_by: self.decided_by.clone(),
            expires_at_ms: self.expires_at_ms,
            ran_before: self.ran_before.clone(),
            come_back: None,
        }
    }
}

/// Which approvals to list.
#[derive(Clone, Debug, Default)]
pub struct ApprovalFilter {
    pub status: Option<ApprovalStatus>,
    pub server: Option<String>,
    pub tenant: Option<String>,
    /// Only those older than this id (ids grow with time).
    pub before_id: Option<String>,
    pub rows_max: u32,
}

/// Which approvals of the past to find. Texts are looked for whatever their case.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    pub status: Option<ApprovalStatus>,
    /// Not those that still wait.
    pub over: bool,
    pub server: Option<String>,
    pub tenant: Option<String>,
    pub method: Option<String>,
    /// Exact tool name, resource URI or prompt name.
    pub target: Option<String>,
    /// A text in the subject, the agent or the names of those who decided, from the beginning of a word on.
    pub who: Option<String>,
    /// The same in the call, its target or the reason of the decision.
    pub text: Option<String>,
    /// Whose arguments are the reader's to read: words in those of others find nothing.
    pub readable: Readable,
    /// Only those older than this id.
    pub before_id: Option<String>,
    pub rows_max: u32,
}

/// The arguments of which approvals a reader may read, of those that the rest of the filter leaves.
#[derive(Clone, Debug, Default)]
pub enum Readable {
    #[default]
    All,
    Nothing,
    Judged(Judge),
}

/// Tells of an approval whether its arguments may be read.
#[derive(Clone)]
pub struct Judge(pub Arc<dyn Fn(&Approval) -> bool + Send + Sync>);

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

impl HistoryFilter {
    /// Whether an approval is found by the texts that are looked for. Words have narrowed the choice; this decides.
    pub fn is_found(&self, approval: &Approval) -> bool {
        let may_read = || match &self.readable {
            Readable::All => true,
            Readable::Nothing => false,
            Readable::Judged(Judge(may_read)) => may_read(approval),
        };
        let is_text = |text: &String| {
            words::holds(&words::named(approval), text) || (words::holds(&approval.asked.call_text, text) && may_read())
        };
        let is_who = |who: &String| words::holds(&words::who(approval), who);
        self.text.as_ref().is_none_or(is_text) && self.who.as_ref().is_none_or(is_who)
    }
}

/// One page of the past, newest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub rows: Vec<Past>,
    /// There may be more: go on before this id.
    pub next_before_id: Option<String>,
}

/// One approval and what became of the call that used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub approval: Approval,
    /// Absent where no call used it.
    pub claimed_at_ms: Option<u64>,
    /// Absent while nobody has said.
    pub outcome: Option<Outcome>,
}

/// An approval whose clock has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub id: String,
    pub status: ApprovalStatus,
    pub version: u64,
    pub cause: DueCause,
}

/// Which of its clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueCause {
    /// Nobody decided, or nobody claimed, in time.
    Clock,
    /// The client left and no identical call came back in time.
    Rejoin,
    /// Nobody decided yet: further people may from now on.
    Escalation,
}

/// One live call that waits, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub hold_id: String,
    /// Absent when it was withdrawn before it opened anything.
    pub approval_id: Option<String>,
    pub ended_at_ms: Option<u64>,
}

/// What one person said.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    pub issuer: String,
    pub subject: String,
    /// As they were when the person spoke.
    pub groups: BTreeSet<String>,
    pub verdict: ReviewVerdict,
    pub reason: Option<String>,
    pub at_ms: u64,
    /// `issuer subject` of whoever lent the groups that counted.
    pub on_behalf_of: Option<String>,
    /// One was enough, in an emergency.
    pub break_glass: bool,
    /// How far the approval would reach.
    pub scope: Option<Scope>,
}

/// One approval with what people said and who waits, as of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Dossier {
    pub approval: Approval,
    /// In the order they came.
    pub reviews: Vec<Review>,
    /// Holds that have neither ended nor claimed.
    pub holds_waiting: u64,
    /// What became of the call that used it last. Absent where none did, and while nobody has said.
    pub outcome: Option<Outcome>,
}

/// The single use of a grant, with the answer that was signed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRow {
    pub hold_id: String,
    pub approval_id: String,
    pub nonce: String,
    pub claim: String,
    pub signature: String,
    pub claimed_at_ms: u64,
    pub outcome: Option<Outcome>,
}

/// What is known of a claim before it is decided.
#[derive(Clone, Debug)]
pub struct Claiming {
    pub approval: Approval,
    /// Of the approval, in the order they came.
    pub reviews: Vec<Review>,
    /// The hold that claims, whatever it waits for.
    pub hold: Option<Hold>,
    /// What it has claimed already.
    pub claim: Option<ClaimRow>,
    /// Sequence and snapshot id of what its process has in force for the plugin, as far as it has reported.
    pub in_force: Option<(u64, Digest)>,
    /// At which version the list of freezes stands.
    pub freeze_version: u64,
}

/// One registered policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    pub snapshot_id: Digest,
    pub canonical: String,
    pub registered_at_ms: u64,
}

/// What one process of a gateway has in force for one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForceRow {
    pub report: PolicyReport,
    /// When the last report came, by the store's clock.
    pub seen_at_ms: u64,
}

/// What was answered under a key, to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    pub id: String,
    /// Digest of what was asked.
    pub asked: Digest,
    /// JSON.
    pub answer: String,
    pub made_at_ms: u64,
}

/// A token as stored: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    /// SHA-256 of the secret.
    pub hash: Digest,
    pub role: Role,
    pub issuer: String,
    pub subject: String,
    pub groups: BTreeSet<String>,
    pub tenant: Option<String>,
    pub created_at_ms: u64,
    /// From then on it is worth nothing; `None` for as long as it is not revoked.
    pub expires_at_ms: Option<u64>,
    pub revoked_at_ms: Option<u64>,
}

/// Somebody a browser acts for. What a sign-in link grants, and what a session stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Never an enforcer: gateways have no browser.
    pub role: Role,
    pub issuer: String,
    pub subject: String,
    pub groups: BTreeSet<String>,
    /// Only what belongs to this tenant is shown; `None` for all tenants.
    pub tenant: Option<String>,
}

/// A sign-in link that nobody has used yet, or the session of a browser that used one; which of them, the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// SHA-256 of the secret: the code in the link, or the text in the cookie.
    pub hash: Digest,
    pub visitor: Visitor,
    /// Good for nothing from this time on.
    pub expires_at_ms: u64,
}

/// One leaf of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub seq: u64,
    /// The exact text that was hashed.
    pub body: String,
    pub leaf_hash: Digest,
}

/// One thing by which an entry of the log is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkRow {
    pub mark: i64,
    pub at_ms: u64,
    pub seq: u64,
}

/// Where an entry stands among those that are found, which are in the order of their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at_ms: u64,
    pub seq: u64,
}

/// Which entries of the log to find.
#[derive(Clone, Debug)]
pub struct MarkQuery {
    /// All of them; without any, nothing is found.
    pub marks: Vec<i64>,
    pub since_ms: u64,
    /// Only before then.
    pub until_ms: u64,
    /// Only what stands before.
    pub before: Option<Place>,
    pub rows_max: u32,
}

/// Some of the entries that were found, the latest first.
#[derive(Clone, Debug, Default)]
pub struct MarkPage {
    pub entries: Vec<LogEntry>,
    /// There may be more: go on before this place.
    pub next: Option<Place>,
}

/// One signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    pub size: u64,
    /// The signed note, whole.
    pub note: String,
    pub signed_at_ms: u64,
}
