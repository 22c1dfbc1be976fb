//! Step 8: what the filter asks the approval service, and how its answers are read.

use holdpoint_core::approval::{
    APPROVAL_SCHEMA, ApprovalState, CancelHolds, ClaimRequest, OpenApproval, PROBLEM_POLICY_UNKNOWN, SignedClaim,
    WithdrawHold,
};
use holdpoint_core::candidate::CandidateReport;
use holdpoint_core::digest::Digest;
use holdpoint_core::fleet::{EndLeases, LeasesTaken, RenewLeases, SignedLeases, TakeLeases};
use holdpoint_core::freeze::PROBLEM_FROZEN;
use holdpoint_core::in_force::{PROBLEM_POLICY_REPLACED, PolicyReport};
use holdpoint_core::wire::{PROBLEM_WIRE, WIRE, WIRE_HEADER, WireVersion};
use serde::{Deserialize, Serialize};

use holdpoint_core::config::{ApprovalSettings, FilterConfig};

/// One HTTP request to the approval service, or to an MCP server beside a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// Names this callout within its exchange; 0 when nobody waits for the answer.
    pub ask: u32,
    /// The Envoy cluster it goes to; `None`: where the request of this exchange goes.
    pub cluster: Option<String>,
    pub authority: String,
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub timeout_ms: u32,
}

/// What came back from a callout. Envoy's own 503 and 504 look like answers too: only a body that is one of the
/// service's records counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalloutAnswer {
    /// `None` when there was no answer at all.
    pub status: Option<u16>,
    pub body: Vec<u8>,
}

/// How the service answers to open and poll.
#[derive(Debug)]
pub(super) enum StateAnswer {
    State(Box<ApprovalState>),
    Unchanged,
    PolicyUnknown,
    TooManyPending,
    /// The service refuses for good; the text is its problem code.
    Refused(String),
    /// No usable answer: unreachable, overloaded, or not the service at all.
    Unusable,
}

/// How the service answers to a claim.
#[derive(Debug)]
pub(super) enum ClaimAnswer {
    Signed(SignedClaim),
    /// The grant is not to be had for this hold any more (used by another call, revoked, basis changed).
    Gone,
    Refused(String),
    /// This gateway has put a later policy in force than the one that the claim cites.
    Replaced,
    Unusable,
}

/// How the service answers to who asks for places.
#[derive(Debug)]
pub(super) enum LeaseAnswer {
    Taken,
    /// The rule that lets no more calls run now.
    Full {
        rule_id: String,
    },
    /// Nobody said that there is a place, and why not.
    Unusable {
        why: &'static str,
    },
}

/// RFC 9457 problem, as far as the filter reads it.
#[derive(Deserialize)]
struct Problem {
    code: String,
}

/// Beyond the wait that was asked for, what network and service may take.
const MARGIN_MS: u64 = 3_000;

/// Longest time for an answer that waits for nobody.
const PROMPT_MS: u64 = 5_000;

impl Callout {
    fn new(settings: &ApprovalSettings, method: &'static str, path: String, body: Vec<u8>) -> Self {
        Self {
            ask: 0,
            cluster: Some(settings.cluster.clone()),
            authority: settings.authority.clone(),
            method,
            path,
            headers: vec![(WIRE_HEADER, WIRE.to_string()), ("content-type", "application/json".to_owned())],
            body,
            timeout_ms: timeout(PROMPT_MS),
        }
    }

    /// Opens or joins an approval. It is answered at once, so that its id is known before this client's time is over.
    pub(super) fn open(settings: &ApprovalSettings, record: &OpenApproval, ask: u32) -> Self {
        Self { ask, ..Self::new(settings, "POST", "/v1/approvals".to_owned(), json(record)) }
    }

    /// Waits until the approval is no longer at `version`.
    pub(super) fn poll(settings: &ApprovalSettings, approval: &ApprovalState, wait_ms: u64, ask: u32) -> Self {
        let path = format!("/v1/approvals/{}", approval.id);
        let mut callout = Self { ask, ..Self::new(settings, "GET", path, Vec::new()) };
        callout.timeout_ms = timeout(wait_ms.saturating_add(MARGIN_MS));
        // `Prefer: wait` counts whole seconds (RFC 7240 §4.3).
        callout.headers = vec![
            (WIRE_HEADER, WIRE.to_string()),
            ("prefer", format!("wait={}", wait_ms.div_ceil(1_000))),
            ("if-none-match", format!("\"{}\"", approval.version)),
        ];
        callout
    }

    /// Registers the policy in force by its snapshot id.
    pub fn register(config: &FilterConfig, ask: u32) -> Self {
        let path = format!("/v1/policies/{}", config.policy.id());
        Self { ask, ..Self::new(&config.approval, "PUT", path, config.policy.canonical().as_bytes().to_vec()) }
    }

    /// Claims a grant for one live call.
    pub(super) fn claim(settings: &ApprovalSettings, approval_id: &str, record: &ClaimRequest, ask: u32) -> Self {
        let path = format!("/v1/approvals/{}/claim", approval_id);
        Self { ask, ..Self::new(settings, "POST", path, json(record)) }
    }

    /// Says that a hold ended without its call running.
    pub(super) fn withdraw(settings: &ApprovalSettings, hold_id: &str, record: &WithdrawHold) -> Self {
        Self::new(settings, "POST", format!("/v1/holds/{hold_id}/withdraw"), json(record))
    }

    /// Says what a candidate would have decided otherwise.
    pub fn candidates(settings: &ApprovalSettings, report: &CandidateReport) -> Self {
        Self::new(settings, "POST", "/v1/policies/candidates".to_owned(), json(report))
    }

    /// Asks what is frozen, unless nothing has changed since `version`.
    pub fn freezes(settings: &ApprovalSettings, version: u64) -> Self {
        let mut callout = Self::new(settings, "GET", "/v1/freezes".to_owned(), Vec::new());
        callout.headers = vec![(WIRE_HEADER, WIRE.to_string()), ("if-none-match", format!("\"{version}\""))];
        callout
    }

    /// Says that a client cancelled a call of its own, wherever that is held.
    pub(super) fn cancel(settings: &ApprovalSettings, cancel_key: Digest) -> Self {
        Self::new(settings, "POST", "/v1/cancellations".to_owned(), json(&CancelHolds { cancel_key }))
    }

    /// Asks for places under limits that hold for all gateways.
    pub(super) fn take_leases(settings: &ApprovalSettings, record: &TakeLeases, ask: u32) -> Self {
        Self { ask, ..Self::new(settings, "POST", "/v1/leases".to_owned(), json(record)) }
    }

    /// Says that the call of this holder still runs.
    pub(super) fn renew_leases(settings: &ApprovalSettings, holder: &str, record: &RenewLeases) -> Self {
        Self::new(settings, "POST", format!("/v1/leases/{holder}/renew"), json(record))
    }

    /// Says that it has ended.
    pub(super) fn end_leases(settings: &ApprovalSettings, holder: &str, record: &EndLeases) -> Self {
        Self::new(settings, "POST", format!("/v1/leases/{holder}/end"), json(record))
    }

    /// Tells the MCP server of this exchange something beside the call that it is answering.
    pub(super) fn to_server(
        authority: String,
        path: String,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    ) -> Self {
        let mut all = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
        ];
        all.extend(headers);
        let timeout_ms = timeout(PROMPT_MS);
        Self { ask: 0, cluster: None, authority, method: "POST", path, headers: all, body, timeout_ms }
    }

    /// Says which policy this gateway has in force.
    pub fn report(settings: &ApprovalSettings, report: &PolicyReport) -> Self {
        Self::new(settings, "POST", "/v1/policies/in-force".to_owned(), json(report))
    }

    /// Hands over what was seen of servers, a JSON text already.
    pub fn observe(settings: &ApprovalSettings, batch: Vec<u8>) -> Self {
        Self::new(settings, "POST", "/v1/inventory/observations".to_owned(), batch)
    }

    /// Hands audit entries over.
    pub fn record(settings: &ApprovalSettings, batch: String) -> Self {
        Self::new(settings, "POST", "/v1/audit/entries".to_owned(), batch.into_bytes())
    }
}

impl CalloutAnswer {
    /// What came, from a service that said `wire` of itself. Of one that is too far from this filter nothing else is believed
    /// to be understood: it counts as the service's own refusal.
    pub fn received(status: Option<u16>, wire: Option<&[u8]>, body: Vec<u8>) -> Self {
        let is_understood = wire.is_none_or(|said| WireVersion::read(said).is_some_and(|it| WIRE.understands(it)));
        if is_understood {
            return Self { status, body };
        }
        Self { status: Some(409), body: format!(r#"{{"code":"{PROBLEM_WIRE}"}}"#).into_bytes() }
    }

    /// The service knows no policy by the id that it was sent.
    pub fn is_policy_unknown(&self) -> bool {
        self.status == Some(409) && problem(409, self).is_some_and(|code| code == PROBLEM_POLICY_UNKNOWN)
    }

    /// The service's own word that it does not answer as long as nobody mends this; `None` for any other answer.
    pub fn refusal(&self) -> Option<String> {
        self.status.filter(|status| (400..500).contains(status)).and_then(|status| problem(status, self))
    }

    /// The service's own word that it will never take what it was sent; `None` for any other answer.
    pub fn rejection(&self) -> Option<String> {
        match self.status {
            Some(status @ (400 | 413 | 422)) => problem(status, self),
            Some(_) | None => None,
        }
    }
}

impl StateAnswer {
    /// Reads an answer to open or poll; a state of another call than `call_digest` counts as unusable.
    pub(super) fn read(answer: &CalloutAnswer, call_digest: Digest) -> Self {
        match answer.status {
            Some(200..=202) => match serde_json::from_slice::<ApprovalState>(&answer.body) {
                Ok(state)
                    if state.schema == APPROVAL_SCHEMA && state.call_digest == call_digest && is_plain(&state.id) =>
                {
                    Self::State(Box::new(state))
                }
                Ok(_) | Err(_) => Self::Unusable,
            },
            Some(304) => Self::Unchanged,
            Some(status) => match problem(status, answer) {
                Some(code) if code == PROBLEM_POLICY_UNKNOWN => Self::PolicyUnknown,
                Some(code) if code == "too-many-pending" => Self::TooManyPending,
                Some(code) => Self::Refused(code),
                None => Self::Unusable,
            },
            None => Self::Unusable,
        }
    }
}

impl ClaimAnswer {
    /// Reads an answer to a claim. The signature is checked later, by `approval::verify`.
    pub(super) fn read(answer: &CalloutAnswer) -> Self {
        match answer.status {
            Some(200..=201) => serde_json::from_slice(&answer.body).map_or(Self::Unusable, Self::Signed),
            Some(409) if problem(409, answer).is_some_and(|code| code == PROBLEM_POLICY_REPLACED) => Self::Replaced,
            Some(404 | 409 | 410)
                if problem(409, answer).is_some_and(|code| code != PROBLEM_FROZEN && code != PROBLEM_WIRE) =>
            {
                Self::Gone
            }
            Some(status) => problem(status, answer).map_or(Self::Unusable, Self::Refused),
            None => Self::Unusable,
        }
    }
}

impl LeaseAnswer {
    /// Reads the answer to `asked`. Only the service's own word for it counts.
    pub(super) fn read(answer: &CalloutAnswer, settings: &ApprovalSettings, asked: &TakeLeases) -> Self {
        let signed = match answer.status {
            Some(200) => serde_json::from_slice::<SignedLeases>(&answer.body).ok(),
            Some(_) | None => None,
        };
        let Some(signed) = signed else {
            let why = match answer.refusal() {
                Some(code) if code == PROBLEM_WIRE => {
                    "the filter and the approval service speak wire versions that are too far apart: upgrade the older of the two"
                }
                Some(_) | None => "the approval service did not answer",
            };
            return Self::Unusable { why };
        };
        match signed.verify(&settings.service_keys, asked) {
            Some(LeasesTaken { full: None, .. }) => Self::Taken,
            Some(LeasesTaken { full: Some(rule_id), .. }) => Self::Full { rule_id },
            None => Self::Unusable {
                why: "the answer is not signed by the configured service key for this call: check `approval.service_key` \
                      against `holdpoint keys show`",
            },
        }
    }
}

/// The problem code of a final refusal; `None` for what may pass by itself (5xx, 429 of a proxy) or is no problem
/// document of the service.
fn problem(status: u16, answer: &CalloutAnswer) -> Option<String> {
    if status >= 500 {
        return None;
    }
    serde_json::from_slice::<Problem>(&answer.body).ok().map(|problem| problem.code).filter(|code| is_plain(code))
}

fn json(record: &impl Serialize) -> Vec<u8> {
    // Records are plain structs with string keys: writing them to memory cannot fail.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Whether an id or a code from whoever answered may stand in a path, a log line or a sentence.
fn is_plain(text: &str) -> bool {
    const CHARS_MAX: usize = 64;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= CHARS_MAX && text.bytes().all(is_word)
}

fn timeout(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
