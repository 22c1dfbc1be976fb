//! Step 3: the methods a client may send, and how each is governed.

use std::borrow::Cow;

/// What a message asks for. One that is not known here is never guessed at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    ToolsCall,
    ResourcesRead,
    /// The skills extension: the children of a directory resource.
    ResourcesDirectoryRead,
    ResourcesSubscribe,
    ResourcesUnsubscribe,
    PromptsGet,
    CompletionComplete,
    SubscriptionsListen,
    TasksGet,
    TasksResult,
    TasksList,
    TasksUpdate,
    TasksCancel,
    ToolsList,
    ResourcesList,
    ResourcesTemplatesList,
    PromptsList,
    /// The skills extension.
    SkillsList,
    /// The skills extension: one skill by its URI. What it says are instructions to the model.
    SkillsGet,
    Initialize,
    ServerDiscover,
    Ping,
    LoggingSetLevel,
    NotificationsInitialized,
    NotificationsCancelled,
    NotificationsProgress,
    NotificationsRootsListChanged,
    NotificationsTasksStatus,
    /// Not a message: a GET that opens, or resumes, the stream on which a server speaks by itself.
    StreamOpen,
    /// Not a message: a DELETE that ends a session.
    SessionEnd,
    /// What a server asks of its client: that its model writes something.
    SamplingCreateMessage,
    /// What a server asks of its client: that its user says something or opens a page.
    ElicitationCreate,
    /// What a server asks of its client: which directories it works on.
    RootsList,
    /// The message has no method: it answers a request of the server.
    Response,
    /// A method outside this list, verbatim.
    Unknown(String),
}

/// How a method is governed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MethodClass {
    /// Has an effect or gives something away: rules decide, and none deciding means the default decision.
    Governed,
    /// Lists what there is; the answer is filtered.
    List,
    /// Plumbing of the protocol.
    Lifecycle,
    /// Nobody knows what it does.
    Unknown,
}

static KNOWN: [Method; 28] = [
    Method::ToolsCall,
    Method::ResourcesRead,
    Method::ResourcesDirectoryRead,
    Method::ResourcesSubscribe,
    Method::ResourcesUnsubscribe,
    Method::PromptsGet,
    Method::CompletionComplete,
    Method::SubscriptionsListen,
    Method::TasksGet,
    Method::TasksResult,
    Method::TasksList,
    Method::TasksUpdate,
    Method::TasksCancel,
    Method::ToolsList,
    Method::ResourcesList,
    Method::ResourcesTemplatesList,
    Method::PromptsList,
    Method::SkillsList,
    Method::SkillsGet,
    Method::Initialize,
    Method::ServerDiscover,
    Method::Ping,
    Method::LoggingSetLevel,
    Method::NotificationsInitialized,
    Method::NotificationsCancelled,
    Method::NotificationsProgress,
    Method::NotificationsRootsListChanged,
    Method::NotificationsTasksStatus,
];

/// What a server may ask of its client: up to 2025-11-25 as requests of its own, later inside an answer.
static SERVER_ASKS: [Method; 4] =
    [Method::SamplingCreateMessage, Method::ElicitationCreate, Method::RootsList, Method::Ping];

impl Method {
    /// The method of a name that a client sends. Case matters. What only servers ask is unknown here.
    pub fn from_wire(name: &str) -> Self {
        let known = KNOWN.iter().find(|method| method.as_str() == name);
        known.cloned().unwrap_or_else(|| Self::Unknown(name.to_owned()))
    }

    /// The method of a name that a server asks its client by.
    pub fn asked_by_server(name: &str) -> Self {
        let known = SERVER_ASKS.iter().find(|method| method.as_str() == name);
        known.cloned().unwrap_or_else(|| Self::Unknown(name.to_owned()))
    }

    /// The name on the wire; a word in parentheses for what has none.
    pub fn as_str(&self) -> &str {
        self.spelled().unwrap_or_else(|unknown| unknown)
    }

    /// The same; nothing is copied of a name that is known.
    pub fn word(&self) -> Cow<'static, str> {
        self.spelled().map_or_else(|unknown| Cow::Owned(unknown.to_owned()), Cow::Borrowed)
    }

    /// The name that is known, or the unknown one.
    fn spelled(&self) -> Result<&'static str, &str> {
        match self {
            Self::ToolsCall => Ok("tools/call"),
            Self::ResourcesRead => Ok("resources/read"),
            Self::ResourcesDirectoryRead => Ok("resources/directory/read"),
            Self::ResourcesSubscribe => Ok("resources/subscribe"),
            Self::ResourcesUnsubscribe => Ok("resources/unsubscribe"),
            Self::PromptsGet => Ok("prompts/get"),
            Self::CompletionComplete => Ok("completion/complete"),
            Self::SubscriptionsListen => Ok("subscriptions/listen"),
            Self::TasksGet => Ok("tasks/get"),
            Self::TasksResult => Ok("tasks/result"),
            Self::TasksList => Ok("tasks/list"),
            Self::TasksUpdate => Ok("tasks/update"),
            Self::TasksCancel => Ok("tasks/cancel"),
            Self::ToolsList => Ok("tools/list"),
            Self::ResourcesList => Ok("resources/list"),
            Self::ResourcesTemplatesList => Ok("resources/templates/list"),
            Self::PromptsList => Ok("prompts/list"),
            Self::SkillsList => Ok("skills/list"),
            Self::SkillsGet => Ok("skills/get"),
            Self::Initialize => Ok("initialize"),
            Self::ServerDiscover => Ok("server/discover"),
            Self::Ping => Ok("ping"),
            Self::LoggingSetLevel => Ok("logging/setLevel"),
            Self::NotificationsInitialized => Ok("notifications/initialized"),
            Self::NotificationsCancelled => Ok("notifications/cancelled"),
            Self::NotificationsProgress => Ok("notifications/progress"),
            Self::NotificationsRootsListChanged => Ok("notifications/roots/list_changed"),
            Self::NotificationsTasksStatus => Ok("notifications/tasks/status"),
            Self::StreamOpen => Ok("(stream)"),
            Self::SessionEnd => Ok("(end of session)"),
            Self::SamplingCreateMessage => Ok("sampling/createMessage"),
            Self::ElicitationCreate => Ok("elicitation/create"),
            Self::RootsList => Ok("roots/list"),
            Self::Response => Ok("(response)"),
            Self::Unknown(name) => Err(name),
        }
    }

    /// How the method is governed. A response carries what a user or a model said, so it is governed like a call.
    pub fn class(&self) -> MethodClass {
        match self {
            Self::ToolsCall
            | Self::ResourcesRead
            | Self::ResourcesDirectoryRead
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::PromptsGet
            | Self::SkillsGet
            | Self::CompletionComplete
            | Self::SubscriptionsListen
            | Self::TasksGet
            | Self::TasksResult
            | Self::TasksList
            | Self::TasksUpdate
            | Self::TasksCancel
            | Self::SamplingCreateMessage
            | Self::ElicitationCreate
            | Self::RootsList
            | Self::Response => MethodClass::Governed,
            Self::ToolsList
            | Self::ResourcesList
            | Self::ResourcesTemplatesList
            | Self::PromptsList
            | Self::SkillsList => MethodClass::List,
            Self::Initialize
            | Self::ServerDiscover
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::NotificationsInitialized
            | Self::NotificationsCancelled
            | Self::NotificationsProgress
            | Self::NotificationsRootsListChanged
            | Self::NotificationsTasksStatus
            | Self::StreamOpen
            | Self::SessionEnd => MethodClass::Lifecycle,
            Self::Unknown(_) => MethodClass::Unknown,
        }
    }

    /// Whether the method is one that never has an answer, and so never an id.
    pub fn is_notification(&self) -> bool {
        match self {
            Self::NotificationsInitialized
            | Self::NotificationsCancelled
            | Self::NotificationsProgress
            | Self::NotificationsRootsListChanged
            | Self::NotificationsTasksStatus => true,
            Self::Unknown(name) => name.starts_with("notifications/"),
            Self::ToolsCall
            | Self::ResourcesRead
            | Self::ResourcesDirectoryRead
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::PromptsGet
            | Self::SkillsGet
            | Self::CompletionComplete
            | Self::SubscriptionsListen
            | Self::TasksGet
            | Self::TasksResult
            | Self::TasksList
            | Self::TasksUpdate
            | Self::TasksCancel
            | Self::ToolsList
            | Self::ResourcesList
            | Self::ResourcesTemplatesList
            | Self::PromptsList
            | Self::SkillsList
            | Self::Initialize
            | Self::ServerDiscover
            | Self::Ping
            | Self::LoggingSetLevel
            | Self::StreamOpen
            | Self::SessionEnd
            | Self::SamplingCreateMessage
            | Self::ElicitationCreate
            | Self::RootsList
            | Self::Response => false,
        }
    }

    /// Whether the method names something and went with the sessions that 2026-07-28 dropped.
    pub(super) fn needs_a_session(&self) -> bool {
        matches!(self, Self::ResourcesSubscribe | Self::ResourcesUnsubscribe | Self::TasksResult)
    }

    /// Whether this version of Holdpoint knows what the method does.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}
