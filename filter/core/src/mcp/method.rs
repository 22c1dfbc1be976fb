//! Step 3: the methods a client may send, and how each is governed.

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
        match self {
            Self::ToolsCall => "tools/call",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesDirectoryRead => "resources/directory/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::PromptsGet => "prompts/get",
            Self::CompletionComplete => "completion/complete",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::TasksGet => "tasks/get",
            Self::TasksResult => "tasks/result",
            Self::TasksList => "tasks/list",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::ToolsList => "tools/list",
            Self::ResourcesList => "resources/list",
            Self::ResourcesTemplatesList => "resources/templates/list",
            Self::PromptsList => "prompts/list",
            Self::SkillsList => "skills/list",
            Self::SkillsGet => "skills/get",
            Self::Initialize => "initialize",
            Self::ServerDiscover => "server/discover",
            Self::Ping => "ping",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::NotificationsInitialized => "notifications/initialized",
            Self::NotificationsCancelled => "notifications/cancelled",
            Self::NotificationsProgress => "notifications/progress",
            Self::NotificationsRootsListChanged => "notifications/roots/list_changed",
            Self::NotificationsTasksStatus => "notifications/tasks/status",
            Self::StreamOpen => "(stream)",
            Self::SessionEnd => "(end of session)",
            Self::SamplingCreateMessage => "sampling/createMessage",
            Self::ElicitationCreate => "elicitation/create",
            Self::RootsList => "roots/list",
            Self::Response => "(response)",
            Self::Unknown(name) => name,
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
