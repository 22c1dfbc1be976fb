//! Step 5: the topic of a message: what kind of job it asks for.

use crate::mcp::{Method, MethodClass};
use crate::policy::ActionClass;

/// The kinds of message that rules tell apart by `topics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Tool,
    Resource,
    Prompt,
    Completion,
    Subscription,
    Task,
    List,
    Lifecycle,
    /// A server asks its client's model to write, or that is answered.
    Sampling,
    /// A server asks its client's user, or that is answered.
    Elicitation,
    /// A server asks for its client's directories, or that is answered.
    Roots,
    /// A client's answer to nobody knows what.
    Response,
    /// A method this version does not know.
    Unknown,
}

impl Topic {
    pub const ALL: [Self; 13] = [
        Self::Tool,
        Self::Resource,
        Self::Prompt,
        Self::Completion,
        Self::Subscription,
        Self::Task,
        Self::List,
        Self::Lifecycle,
        Self::Sampling,
        Self::Elicitation,
        Self::Roots,
        Self::Response,
        Self::Unknown,
    ];

    /// The word used in policies, envelopes and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "job.mcp.tool",
            Self::Resource => "job.mcp.resource",
            Self::Prompt => "job.mcp.prompt",
            Self::Completion => "job.mcp.completion",
            Self::Subscription => "job.mcp.subscription",
            Self::Task => "job.mcp.task",
            Self::List => "job.mcp.list",
            Self::Lifecycle => "job.mcp.lifecycle",
            Self::Sampling => "job.mcp.sampling",
            Self::Elicitation => "job.mcp.elicitation",
            Self::Roots => "job.mcp.roots",
            Self::Response => "job.mcp.response",
            Self::Unknown => "job.mcp.unknown",
        }
    }

    /// The topic of a message with this method.
    pub fn of(method: &Method) -> Self {
        match method {
            Method::ToolsCall => Self::Tool,
            Method::ResourcesRead | Method::ResourcesDirectoryRead | Method::SkillsGet => Self::Resource,
            Method::PromptsGet => Self::Prompt,
            Method::CompletionComplete => Self::Completion,
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe | Method::SubscriptionsListen => {
                Self::Subscription
            }
            Method::TasksGet | Method::TasksResult | Method::TasksList | Method::TasksUpdate | Method::TasksCancel => {
                Self::Task
            }
            Method::SamplingCreateMessage => Self::Sampling,
            Method::ElicitationCreate => Self::Elicitation,
            Method::RootsList => Self::Roots,
            Method::Response => Self::Response,
            // Nothing answers a notification, but a server may act on one: what this version does not know is no plumbing.
            other if other.is_notification() && other.is_known() => Self::Lifecycle,
            other => match other.class() {
                MethodClass::List => Self::List,
                MethodClass::Lifecycle => Self::Lifecycle,
                MethodClass::Governed | MethodClass::Unknown => Self::Unknown,
            },
        }
    }

    /// The topic of what a server asks of its client.
    pub fn of_server_request(method: &str) -> Self {
        match method {
            "sampling/createMessage" => Self::Sampling,
            "elicitation/create" => Self::Elicitation,
            "roots/list" => Self::Roots,
            "ping" => Self::Lifecycle,
            _ => Self::Unknown,
        }
    }

    /// Lists and protocol messages, which are allowed unless a rule asks for them by topic.
    pub fn is_plumbing(self) -> bool {
        match self {
            Self::List | Self::Lifecycle => true,
            Self::Tool
            | Self::Resource
            | Self::Prompt
            | Self::Completion
            | Self::Subscription
            | Self::Task
            | Self::Sampling
            | Self::Elicitation
            | Self::Roots
            | Self::Response
            | Self::Unknown => false,
        }
    }
}

/// What a method does by itself, where no catalogue entry says it.
pub(super) fn action_of(method: &Method) -> Option<ActionClass> {
    match method {
        Method::CompletionComplete
        | Method::ResourcesSubscribe
        | Method::ResourcesUnsubscribe
        | Method::SubscriptionsListen
        | Method::TasksGet
        | Method::TasksResult
        | Method::TasksList
        | Method::ToolsList
        | Method::ResourcesList
        | Method::ResourcesTemplatesList
        | Method::PromptsList
        | Method::SkillsList
        | Method::ResourcesDirectoryRead
        | Method::SkillsGet => Some(ActionClass::Read),
        Method::TasksUpdate | Method::TasksCancel => Some(ActionClass::Write),
        Method::ToolsCall
        | Method::ResourcesRead
        | Method::PromptsGet
        | Method::Initialize
        | Method::ServerDiscover
        | Method::Ping
        | Method::LoggingSetLevel
        | Method::NotificationsInitialized
        | Method::NotificationsCancelled
        | Method::NotificationsProgress
        | Method::NotificationsRootsListChanged
        | Method::NotificationsTasksStatus
        | Method::StreamOpen
        | Method::SessionEnd
        | Method::SamplingCreateMessage
        | Method::ElicitationCreate
        | Method::RootsList
        | Method::Response
        | Method::Unknown(_) => None,
    }
}
