//! Step 12: the record as people search it, and what each kind of entry says in words.

use askama::Template;
use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::Verdict;

use super::inbox::Ask;
use super::{Choice, Frame, Shown, When, shown};
use crate::trail::{Found, Numbered};

/// What can be looked for, in the order of the list to choose from.
const CHOICES: [(&str, &str); 17] = [
    ("verdict:allow", "allowed"),
    ("verdict:require_approval", "put before people"),
    ("verdict:deny", "denied by a rule"),
    ("kind:refusal", "refused before any rule"),
    ("kind:review", "a person decided"),
    ("kind:approval_closed", "an approval ended"),
    ("kind:claim", "an approval was used"),
    ("outcome:committed", "answered with a result"),
    ("outcome:failed", "answered with an error"),
    ("outcome:refused", "never reached the server"),
    ("outcome:unknown", "nobody can tell"),
    ("kind:gap", "entries are missing"),
    ("kind:definition_changed", "a server changed"),
    ("kind:policy_in_force", "a policy came into force"),
    ("kind:freeze_changed", "something was stopped"),
    ("kind:token_changed", "a token changed"),
    ("kind:key_changed", "a key changed"),
];

/// `GET /record`
#[derive(Debug, Template)]
#[template(path = "record.html")]
pub struct RecordPage {
    pub frame: Frame,
    pub asked: Asked,
    pub choices: Vec<Choice>,
    /// Something narrows the list.
    pub narrowed: bool,
    pub rows: Vec<EntryRow>,
    /// So many of the newest entries could not be searched yet.
    pub unsearched: u64,
    /// Where the next page is.
    pub older: Option<String>,
}

/// What the form was sent with. The template escapes it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub what: String,
    pub who: String,
    pub server: String,
    pub tool: String,
    pub rule: String,
    pub since: String,
    pub until: String,
    pub trace: String,
    pub approval: String,
    pub call: String,
}

impl Asked {
    /// As they stand in an address.
    pub fn pairs(&self) -> [(&'static str, &str); 10] {
        [
            ("what", &self.what),
            ("who", &self.who),
            ("server", &self.server),
            ("tool", &self.tool),
            ("rule", &self.rule),
            ("since", &self.since),
            ("until", &self.until),
            ("trace", &self.trace),
            ("approval", &self.approval),
            ("call", &self.call),
        ]
    }
}

/// One entry in a list.
#[derive(Debug)]
pub struct EntryRow {
    pub seq: u64,
    pub tone: &'static str,
    /// What happened.
    pub words: String,
    /// Who wanted what, of an entry about a call.
    pub ask: Option<Ask>,
    pub detail: Option<Shown>,
    pub rule_id: Option<Shown>,
    pub by: Option<Shown>,
    pub at: When,
}

impl EntryRow {
    pub fn new(one: &Numbered, now_ms: u64) -> Self {
        let entry = &one.entry;
        let ask = entry.principal.as_ref().zip(entry.server.as_deref());
        let ask = ask.map(|(principal, server)| {
            Ask::of(principal, entry.method.as_deref().unwrap_or("call"), entry.target.as_deref(), server)
        });
        Self {
            seq: one.seq,
            tone: tone(entry),
            words: words(entry),
            ask,
            detail: entry.detail.as_deref().map(shown),
            rule_id: entry.rule_ids.first().map(|rule| shown(rule)),
            by: entry.by.as_deref().map(shown),
            at: When::new(entry.at_ms, now_ms),
        }
    }
}

impl RecordPage {
    pub fn new(frame: Frame, asked: Asked, found: &Found, older: Option<String>) -> Self {
        let now_ms = frame.now_ms;
        let choice = |(word, name): (&'static str, &'static str)| Choice { word, name, chosen: asked.what == word };
        Self {
            choices: CHOICES.into_iter().map(choice).collect(),
            narrowed: asked.pairs().iter().any(|(_, value)| !value.is_empty()),
            rows: found.entries.iter().map(|one| EntryRow::new(one, now_ms)).collect(),
            unsearched: found.unsearched,
            older,
            asked,
            frame,
        }
    }
}

/// What an entry reports, in words.
pub fn words(entry: &AuditEntry) -> String {
    let status = entry.status.as_deref().unwrap_or_default();
    let words = match entry.kind {
        EntryKind::Decision => match (entry.verdict, entry.outcome) {
            (Some(Verdict::Deny), _) => "Denied",
            (Some(Verdict::RequireApproval), _) => "Put before people",
            (Some(Verdict::Allow), Some(outcome)) => return format!("Allowed: {}", outcome_words(outcome)),
            (Some(Verdict::Allow), None) => "Allowed",
            (None, _) => "Decided",
        },
        EntryKind::Refusal => "Refused before any rule",
        EntryKind::ApprovalOpened => "People were asked",
        EntryKind::ApprovalJoined => "An identical call came to wait as well",
        EntryKind::Review if status == "deny" => "A person denied it",
        EntryKind::Review => "A person approved it",
        EntryKind::ApprovalClosed => closed_words(status),
        EntryKind::Claim => "The approval was used: the call was let go",
        EntryKind::HoldEnded => "The call stopped waiting and did not run",
        EntryKind::Outcome => return capital(outcome_words(entry.outcome.unwrap_or(Outcome::Unknown))),
        EntryKind::PolicyRegistered => "A policy was registered",
        EntryKind::PolicyInForce => "A gateway put a policy in force",
        EntryKind::TokenChanged => "A token or a sign-in link changed",
        EntryKind::ApprovalEscalated => "Nobody decided in time: further people may",
        EntryKind::DelegationChanged => "Authority was lent or taken back",
        EntryKind::GrantChanged => "An approval came to reach further calls, or no longer does",
        EntryKind::ArgumentsErased => "Arguments of old calls were erased",
        EntryKind::PayloadsErased => "What was kept of arguments and results was erased",
        EntryKind::FreezeChanged => "Something was stopped, or may go on",
        EntryKind::KeyChanged => "The service's key changed",
        EntryKind::SourceBegan => "A gateway's worker began to report",
        EntryKind::DefinitionChanged => match status {
            "new" => "A server offers something new",
            "removed" => "A server no longer offers something",
            "first_list" => "A server's list was seen for the first time",
            _ => "A server describes something in another way",
        },
        EntryKind::NoticeChanged => match status {
            "delivered" => "People were told",
            "given_up" => "Telling people failed, and was given up",
            "retried" => "Telling people was begun once more",
            _ => "A channel was tried out",
        },
        EntryKind::Gap => "Entries are missing",
    };
    words.to_owned()
}

/// What became of a call.
pub fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => "the server answered with a result",
        Outcome::Failed => "the server answered with an error",
        Outcome::Refused => "it never reached the server",
        Outcome::Unknown => "nobody can tell what became of it",
    }
}

/// The same as the beginning of a sentence.
pub fn capital(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn closed_words(status: &str) -> &'static str {
    match crate::store::read_word::<ApprovalStatus>(status) {
        Some(ApprovalStatus::Approved) => "Approved: everybody who was needed agreed",
        Some(ApprovalStatus::Denied) => "Denied: it does not run",
        Some(ApprovalStatus::Expired) => "Nobody decided in time",
        Some(ApprovalStatus::Withdrawn) => "Nobody waited any more",
        Some(ApprovalStatus::Superseded) => "The policy changed: asked anew",
        Some(ApprovalStatus::Lapsed) => "Approved, and not used in time",
        Some(ApprovalStatus::Revoked) => "The approval was taken back",
        Some(ApprovalStatus::Pending | ApprovalStatus::Consumed) | None => "The approval moved on",
    }
}

/// The colour that it has beside its words.
pub(super) fn tone(entry: &AuditEntry) -> &'static str {
    let status = entry.status.as_deref().unwrap_or_default();
    match (entry.kind, entry.verdict, entry.outcome) {
        (EntryKind::Gap, _, _) | (_, _, Some(Outcome::Unknown)) => "warn",
        (EntryKind::NoticeChanged, _, _) if status == "given_up" => "warn",
        (EntryKind::Refusal, _, _) | (EntryKind::Decision, Some(Verdict::Deny), _) => "bad",
        (EntryKind::Review, _, _) if status == "deny" => "bad",
        (EntryKind::ApprovalClosed, _, _) if status == "denied" || status == "revoked" => "bad",
        (_, _, Some(Outcome::Committed)) | (EntryKind::Claim, _, _) => "good",
        (_, _, Some(Outcome::Failed | Outcome::Refused)) => "bad",
        (EntryKind::Review, _, _) => "good",
        (EntryKind::ApprovalClosed, _, _) if status == "approved" => "good",
        (EntryKind::Decision, Some(Verdict::RequireApproval), _) | (EntryKind::ApprovalOpened, _, _) => "wait",
        _ => "plain",
    }
}
