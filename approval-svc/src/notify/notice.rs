//! Step 8: one thing that one channel is told, and where its delivery stands.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A call waits for people.
    Opened,
    /// Nobody decided in time: further people may.
    Escalated,
    /// Somebody approved alone, in an emergency.
    BrokenGlass,
    /// People approved or denied, or took an approval back.
    Decided,
    /// It ended without being decided or used: time ran out, the caller left, or the policy changed.
    Expired,
    /// An administrator stopped something, or let it go on.
    Freeze,
    /// Somebody wants to see whether notices arrive.
    Test,
}

/// Those that routes may name.
pub const EVENTS: [(&str, EventKind); 6] = [
    ("opened", EventKind::Opened),
    ("escalated", EventKind::Escalated),
    ("broken_glass", EventKind::BrokenGlass),
    ("decided", EventKind::Decided),
    ("expired", EventKind::Expired),
    ("freeze", EventKind::Freeze),
];

impl EventKind {
    /// The word used in settings, the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::BrokenGlass => "broken_glass",
            Self::Decided => "decided",
            Self::Expired => "expired",
            Self::Freeze => "freeze",
            Self::Test => "test",
        }
    }

    /// The last part of its type in a webhook's body.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Opened => "approval.opened",
            Self::Escalated => "approval.escalated",
            Self::BrokenGlass => "approval.broken_glass",
            Self::Decided => "approval.decided",
            Self::Expired => "approval.expired",
            Self::Freeze => "freeze.changed",
            Self::Test => "test",
        }
    }

    /// How often it is tried: whoever waits for a test sees its first failure.
    pub(super) fn tries_max(self, tries_max: u32) -> u32 {
        match self {
            Self::Test => 1,
            Self::Opened | Self::Escalated | Self::BrokenGlass | Self::Decided | Self::Expired | Self::Freeze => {
                tries_max
            }
        }
    }

    /// Whether nobody is asked any more.
    pub(super) fn ends(self) -> bool {
        match self {
            Self::Decided | Self::Expired => true,
            Self::Opened | Self::Escalated | Self::BrokenGlass | Self::Freeze | Self::Test => false,
        }
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeState {
    /// To be tried, or tried again.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// Given up: it was refused for good, or tried as often as is allowed.
    Dead,
}

impl NoticeState {
    /// The word used in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// One thing that one channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same on every try.
    pub id: String,
    pub channel: String,
    pub event: EventKind,
    /// Absent where it is about no approval.
    pub approval_id: Option<String>,
    pub tenant: Option<String>,
    /// JSON as a webhook sends it.
    pub body: String,
    pub created_at_ms: u64,
    pub state: NoticeState,
    pub tries: u32,
    pub next_try_ms: u64,
    pub ended_at_ms: Option<u64>,
    /// Why the last try failed.
    pub trouble: Option<String>,
    /// What the receiver calls it: JSON.
    pub receipt: Option<String>,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeTry {
    pub id: String,
    /// As it stood before: two tries at once do not both count.
    pub tries: u32,
    pub to: NoticeState,
    pub next_try_ms: u64,
    pub at_ms: u64,
    pub trouble: Option<String>,
    pub receipt: Option<String>,
}

/// Which notices to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct NoticeFilter {
    pub state: Option<NoticeState>,
    pub approval_id: Option<String>,
    pub channel: Option<String>,
    pub tenant: Option<String>,
    /// Only those older than this id (ids grow with time).
    pub before_id: Option<String>,
    pub rows_max: u32,
}

/// One notice as the API shows it: without its body.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NoticeView {
    pub id: String,
    pub channel: String,
    pub event: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    pub state: NoticeState,
    pub tries: u32,
    pub created_at_ms: u64,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl From<Notice> for NoticeView {
    fn from(notice: Notice) -> Self {
        Self {
            next_try_ms: (notice.state == NoticeState::Waiting).then_some(notice.next_try_ms),
            id: notice.id,
            channel: notice.channel,
            event: notice.event,
            approval_id: notice.approval_id,
            state: notice.state,
            tries: notice.tries,
            created_at_ms: notice.created_at_ms,
            ended_at_ms: notice.ended_at_ms,
            trouble: notice.trouble,
        }
    }
}
