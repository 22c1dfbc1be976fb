//! Every error as RFC 9457 says: a stable type, and a sentence that says what to do. One table for all of them.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use holdpoint_core::approval::{PROBLEM_POLICY_UNKNOWN, PROBLEM_ROUND};
use holdpoint_core::freeze::PROBLEM_FROZEN;
use holdpoint_core::in_force::PROBLEM_POLICY_REPLACED;
use serde::Serialize;

use crate::approvals::StuckError;
use crate::approvals::claim::ClaimError;
use crate::approvals::grant::ScopeError;
use crate::approvals::open::OpenError;
use crate::approvals::review::ReviewError;
use crate::approvals::revoke::RevokeError;
use crate::approvals::withdraw::WithdrawError;
use crate::ledger::AppendError;
use crate::limits::Exceeded;
use crate::policies::{RegisterError, ReportError};
use crate::store::{CommitError, StoreError};

pub mod types;

/// Where problem types are described.
const TYPE_BASE: &str = "https://holdpoint.dev/problems/";

/// One error as the caller sees it.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip)]
    retry_after_s: u64,
}

impl Problem {
    /// `code` is stable and names the type; `detail` is for people.
    pub fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        debug_assert!(
            types::find(code).is_some_and(|one| one.statuses.contains(&status.as_u16())),
            "`{code}` with {status} is not in the table of problem types"
        );
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: format!("{TYPE_BASE}{code}"), title, status: status.as_u16(), code, detail, retry_after_s: 1 }
    }

    /// Too many requests of one credential or address.
    pub fn limited(limit: &'static str, exceeded: Exceeded) -> Self {
        let seconds = exceeded.wait.as_secs() + 1;
        let detail = format!("too many requests of this {limit}: try again in {seconds} s, and send fewer");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail);
        Self { retry_after_s: seconds, ..problem }
    }

    /// There is nothing under this name.
    pub fn not_found(detail: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }
}

impl Problem {
    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// After how many seconds it is worth trying again.
    pub fn retry_after_s(&self) -> u64 {
        self.retry_after_s
    }

    /// What kind of trouble, in a few words.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// What happened and what to do, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.status(), self.retry_after_s);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }
}

/// Answer to a path that does not exist.
pub async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", "there is no such path: the API starts at /v1".to_owned())
}

/// Answer to a method that a path does not have.
pub async fn no_such_method() -> Problem {
    let detail = "this path does not take that method: see the `Allow` header".to_owned();
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", detail)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // Logged here, at the boundary; the caller learns no more than that it was not its fault.
        tracing::error!(%error, "the store failed");
        let detail = "the database cannot be used just now; nothing was changed: try again".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            CommitError::Conflict(conflict) => Self::new(StatusCode::CONFLICT, "conflict", conflict.to_string()),
        }
    }
}

impl From<StuckError> for Problem {
    fn from(error: StuckError) -> Self {
        match error {
            StuckError::Store(error) => error.into(),
            StuckError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string()),
        }
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        let (status, code) = match error {
            OpenError::Stuck(error) => return error.into(),
            OpenError::Field { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "field"),
            OpenError::CallDigest => (StatusCode::UNPROCESSABLE_ENTITY, "call-digest"),
            OpenError::PolicyUnknown(_) => (StatusCode::CONFLICT, PROBLEM_POLICY_UNKNOWN),
            OpenError::Round => (StatusCode::UNPROCESSABLE_ENTITY, PROBLEM_ROUND),
            OpenError::Frozen(_) => (StatusCode::CONFLICT, PROBLEM_FROZEN),
            OpenError::HoldWithdrawn => (StatusCode::CONFLICT, "hold-withdrawn"),
            OpenError::HoldMismatch => (StatusCode::CONFLICT, "hold-mismatch"),
            OpenError::TooManyPending { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-pending"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let (status, code) = match error {
            ReviewError::Stuck(error) => return error.into(),
            ReviewError::Once(error) => return error.into(),
            ReviewError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            ReviewError::NothingSeen => (StatusCode::PRECONDITION_REQUIRED, "nothing-seen"),
            ReviewError::DigestChanged => (StatusCode::CONFLICT, "digest-changed"),
            ReviewError::VersionChanged { .. } => (StatusCode::PRECONDITION_FAILED, "version-changed"),
            ReviewError::ReasonMissing => (StatusCode::UNPROCESSABLE_ENTITY, "reason-missing"),
            ReviewError::OwnCall(_) => (StatusCode::FORBIDDEN, "own-call"),
            ReviewError::NotInGroup { .. } => (StatusCode::FORBIDDEN, "not-in-group"),
            ReviewError::OneByOne => (StatusCode::CONFLICT, "one-by-one"),
            ReviewError::Scope(ScopeError::ReasonMissing) => (StatusCode::UNPROCESSABLE_ENTITY, "reason-missing"),
            ReviewError::Scope(_) => (StatusCode::UNPROCESSABLE_ENTITY, "scope"),
            ReviewError::DelegateReviewed => (StatusCode::CONFLICT, "delegate-reviewed"),
            ReviewError::BreakGlassReason => (StatusCode::UNPROCESSABLE_ENTITY, "reason-missing"),
            ReviewError::AlreadyReviewed => (StatusCode::CONFLICT, "already-reviewed"),
            ReviewError::AlreadyDecided(_) => (StatusCode::CONFLICT, "already-decided"),
            ReviewError::Gone(_) => (StatusCode::GONE, "expired"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ClaimError> for Problem {
    fn from(error: ClaimError) -> Self {
        let (status, code) = match error {
            ClaimError::Stuck(error) => return error.into(),
            ClaimError::Nonce => (StatusCode::UNPROCESSABLE_ENTITY, "field"),
            ClaimError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            ClaimError::HoldUnknown => (StatusCode::CONFLICT, "hold-unknown"),
            ClaimError::HoldWithdrawn => (StatusCode::CONFLICT, "hold-withdrawn"),
            ClaimError::AlreadyClaimed => (StatusCode::CONFLICT, "already-claimed"),
            ClaimError::Consumed => (StatusCode::CONFLICT, "consumed"),
            ClaimError::NotApproved(_) => (StatusCode::CONFLICT, "not-approved"),
            ClaimError::Gone(_) => (StatusCode::GONE, "expired"),
            ClaimError::DigestChanged => (StatusCode::CONFLICT, "digest-changed"),
            ClaimError::PolicyUnknown(_) => (StatusCode::CONFLICT, PROBLEM_POLICY_UNKNOWN),
            ClaimError::PolicyReplaced(_) => (StatusCode::CONFLICT, PROBLEM_POLICY_REPLACED),
            ClaimError::BasisChanged => (StatusCode::CONFLICT, "basis-changed"),
            ClaimError::Frozen(_) => (StatusCode::CONFLICT, PROBLEM_FROZEN),
            ClaimError::Text(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        let (status, code) = match error {
            ReportError::Store(error) => return error.into(),
            ReportError::Commit(error) => return error.into(),
            ReportError::Name(_) => (StatusCode::UNPROCESSABLE_ENTITY, "field"),
            ReportError::PolicyUnknown(_) => (StatusCode::CONFLICT, PROBLEM_POLICY_UNKNOWN),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<WithdrawError> for Problem {
    fn from(error: WithdrawError) -> Self {
        match error {
            WithdrawError::Stuck(error) => error.into(),
            WithdrawError::HoldId => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "field", error.to_string()),
        }
    }
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        let (status, code) = match error {
            RevokeError::Stuck(error) => return error.into(),
            RevokeError::VersionChanged { .. } => (StatusCode::PRECONDITION_FAILED, "version-changed"),
            RevokeError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            RevokeError::NotApproved(_) => (StatusCode::CONFLICT, "not-approved"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let (status, code) = match error {
            AppendError::Store(error) => return error.into(),
            AppendError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            AppendError::Count(_) => (StatusCode::UNPROCESSABLE_ENTITY, "batch-size"),
            AppendError::Source | AppendError::Counter | AppendError::Payload(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "field")
            }
            AppendError::Kind { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "entry-kind"),
            AppendError::Long { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "entry-too-long"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Commit(error) => error.into(),
            RegisterError::Store(error) => error.into(),
            RegisterError::Id { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "snapshot-id", error.to_string()),
        }
    }
}
