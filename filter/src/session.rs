//! Step 4: what an MCP server gave to one principal and nobody else: its sessions, its tasks, and what it asked of the client.
//!
//! A session id, a task id or a request id proves nothing about who sends it (MCP 2025-11-25, "Session Hijacking"), so
//! whoever was given one is remembered, and to everybody else it is as if it never was. The tables are bounded: a
//! session that was forgotten is answered like one that ended, and its client initializes again.

use holdpoint_core::digest::Digest;
use holdpoint_core::identity::Principal;
use holdpoint_core::json::Value;
use holdpoint_core::json::canonical::ObjectWriter;
use holdpoint_core::mcp::Method;

use crate::shared_table::{Fact, Table};
use crate::usage::SharedData;

#[cfg(test)]
mod tests;

const HOUR_MS: u64 = 60 * 60 * 1_000;

/// About 16,000 sessions, in less than 1 MiB.
const SESSIONS: Table = Table { name: "sessions", parts: 256, part_facts_max: 64, idle_ms_max: SESSION_IDLE_MS_MAX };

/// How long a session that is not used is remembered.
pub const SESSION_IDLE_MS_MAX: u64 = 24 * HOUR_MS;

/// About 16,000 tasks.
const TASKS: Table = Table { name: "tasks", parts: 256, part_facts_max: 64, idle_ms_max: 7 * 24 * HOUR_MS };

/// About 8,000 requests of servers that their clients have not answered.
const SERVER_ASKS: Table = Table { name: "server-asks", parts: 128, part_facts_max: 64, idle_ms_max: HOUR_MS };

/// About 16,000 events of streams.
const EVENTS: Table = Table { name: "events", parts: 256, part_facts_max: 64, idle_ms_max: HOUR_MS };

/// One principal at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOwner {
    server: String,
    /// Who it is, in canonical form. Its digest is made when it is needed: most answers hold nothing to remember.
    principal: String,
}

impl SessionOwner {
    /// The owner of what `principal` is given by `server`. Groups and scopes may change during a session; who it is may not.
    pub fn new(server: &str, principal: &Principal) -> Self {
        Self { server: server.to_owned(), principal: principal.name_text() }
    }

    fn principal(&self) -> Digest {
        Digest::tagged("holdpoint/session-owner/v1", self.principal.as_bytes())
    }

    fn session_key(&self, session: Digest) -> Digest {
        let writer = ObjectWriter::new().string("server", &self.server).string("session", &session.to_string());
        Digest::tagged("holdpoint/session/v1", writer.finish().as_bytes())
    }

    fn task_key(&self, task_id: &str) -> Digest {
        let writer = ObjectWriter::new().string("server", &self.server).string("task", task_id);
        Digest::tagged("holdpoint/task/v1", writer.finish().as_bytes())
    }

    fn event_key(&self, mcp_session_id: &str, id: &[u8]) -> Digest {
        let writer = ObjectWriter::new()
            .string("id", &Digest::of(id).to_string())
            .string("owner", &self.principal().to_string())
            .string("server", &self.server)
            .string("session", mcp_session_id);
        Digest::tagged("holdpoint/event/v1", writer.finish().as_bytes())
    }

    fn ask_key(&self, mcp_session_id: Option<&str>, id: Value<'_>) -> Digest {
        let writer = ObjectWriter::new()
            .value("id", id)
            .string("owner", &self.principal().to_string())
            .string("server", &self.server)
            .string("session", mcp_session_id.unwrap_or_default());
        Digest::tagged("holdpoint/server-ask/v1", writer.finish().as_bytes())
    }
}

/// Creates the tables; see [`Table::prepare`].
pub fn prepare(shared: &mut dyn SharedData) {
    for table in [&SESSIONS, &TASKS, &SERVER_ASKS, &EVENTS] {
        table.prepare(shared);
    }
}

/// What is known of a session beside whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its client said at its beginning that it opens URLs for its user.
    pub opens_urls: bool,
}

/// Remembers that `owner` was given the session whose id has the digest `session`. The first one keeps it.
pub fn bind(shared: &mut dyn SharedData, owner: &SessionOwner, session: Digest, opens_urls: bool, now_ms: u64) {
    SESSIONS.put(shared, owner.session_key(session), Fact::of(owner.principal(), u8::from(opens_urls)), now_ms);
}

/// The session, if `owner` was given it and it has been used since.
pub fn find(shared: &mut dyn SharedData, owner: &SessionOwner, session: Digest, now_ms: u64) -> Option<Session> {
    let found = SESSIONS.get(shared, owner.session_key(session), now_ms)?;
    found.is_owned_by(owner.principal()).then_some(Session { opens_urls: found.tag != 0 })
}

/// What the events of a stream belong to, by whose ids a client may ask for what followed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A call whose answer was under no limits.
    Free,
    /// The stream that a client opens for whatever its server has to say.
    Open,
    /// A call whose answer was under limits, and may come until then.
    Bounded { until_ms: Option<u64> },
}

/// Tags of events. The last one is of those that were said to belong to several things: nobody knows what they are.
const FREE: u8 = 0;
const OPEN: u8 = 1;
const BOUNDED: u8 = 2;
const CONTESTED: u8 = 3;

/// No end.
const NEVER_MS: u64 = u64::MAX;

/// Remembers what an event of this session belongs to. A server may give an id twice; then its strictest meaning counts.
pub fn note_event(
    shared: &mut dyn SharedData,
    owner: &SessionOwner,
    mcp_session_id: &str,
    id: &[u8],
    standing: Standing,
    now_ms: u64,
) {
    let (tag, at_ms) = match standing {
        Standing::Free => (FREE, NEVER_MS),
        Standing::Open => (OPEN, NEVER_MS),
        Standing::Bounded { until_ms } => (BOUNDED, until_ms.unwrap_or(NEVER_MS)),
    };
    let fact = Fact { at_ms, ..Fact::of(owner.principal(), tag) };
    let both = |first: Fact, second: Fact| {
        let tag = if first.tag == second.tag { first.tag } else { CONTESTED };
        Fact { tag, at_ms: first.at_ms.min(second.at_ms), ..first }
    };
    EVENTS.unite(shared, owner.event_key(mcp_session_id, id), fact, both, now_ms);
}

/// What the event of this session with that id belongs to; nothing where that is not known, or not any more.
pub fn event(
    shared: &mut dyn SharedData,
    owner: &SessionOwner,
    mcp_session_id: &str,
    id: &[u8],
    now_ms: u64,
) -> Option<Standing> {
    let found = EVENTS.get(shared, owner.event_key(mcp_session_id, id), now_ms)?;
    match found.tag {
        FREE => Some(Standing::Free),
        OPEN => Some(Standing::Open),
        BOUNDED => Some(Standing::Bounded { until_ms: Some(found.at_ms).filter(|at_ms| *at_ms != NEVER_MS) }),
        _ => None,
    }
}

/// What is known of the call that began a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOrigin {
    /// No rule asked anything of its answer.
    Unlimited,
    /// Some rule did.
    Limited,
}

const LIMITED_TAG: u8 = 1;

/// Remembers whose task it is that a server has begun, and whether its call's answer was limited. The first one keeps it.
pub fn bind_task(shared: &mut dyn SharedData, owner: &SessionOwner, task_id: &str, origin: TaskOrigin, now_ms: u64) {
    let tag = match origin {
        TaskOrigin::Unlimited => 0,
        TaskOrigin::Limited => LIMITED_TAG,
    };
    TASKS.put(shared, owner.task_key(task_id), Fact::of(owner.principal(), tag), now_ms);
}

/// The number by which a task holds what its call had taken.
pub fn task_holder(owner: &SessionOwner, task_id: &str) -> u64 {
    owner.task_key(task_id).as_bytes().first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Whether a task is known to be somebody else's. One that nobody saw begin, before a restart or through another gateway,
/// is left to the policy.
pub fn is_anothers_task(shared: &mut dyn SharedData, owner: &SessionOwner, task_id: &str, now_ms: u64) -> bool {
    let found = TASKS.get(shared, owner.task_key(task_id), now_ms);
    found.is_some_and(|fact| !fact.is_owned_by(owner.principal()))
}

/// Where a task comes from; `None` when nobody saw it begin.
pub fn task_origin(
    shared: &mut dyn SharedData,
    owner: &SessionOwner,
    task_id: &str,
    now_ms: u64,
) -> Option<TaskOrigin> {
    let fact = TASKS.get(shared, owner.task_key(task_id), now_ms)?;
    Some(if fact.tag == LIMITED_TAG { TaskOrigin::Limited } else { TaskOrigin::Unlimited })
}

/// Remembers what a server asked of its client under `id`, so that the answer can be told from one that nobody asked for.
pub fn note_ask(
    shared: &mut dyn SharedData,
    owner: &SessionOwner,
    mcp_session_id: Option<&str>,
    id: Value<'_>,
    asked: &Method,
    now_ms: u64,
) {
    if let Some(tag) = tag_of(asked) {
        SERVER_ASKS.put(shared, owner.ask_key(mcp_session_id, id), Fact::of(owner.principal(), tag), now_ms);
    }
}

/// What the server asked under `id`, once: an answer is given once.
pub fn take_ask(
    shared: &mut dyn SharedData,
    owner: &SessionOwner,
    mcp_session_id: Option<&str>,
    id: Value<'_>,
    now_ms: u64,
) -> Option<Method> {
    let fact = SERVER_ASKS.take(shared, owner.ask_key(mcp_session_id, id), now_ms)?;
    ASKED.iter().find(|method| tag_of(method) == Some(fact.tag)).cloned()
}

/// What servers ask; its place is the tag in the table.
static ASKED: [Method; 4] = [Method::Ping, Method::SamplingCreateMessage, Method::ElicitationCreate, Method::RootsList];

fn tag_of(asked: &Method) -> Option<u8> {
    ASKED.iter().position(|method| method == asked).and_then(|place| u8::try_from(place).ok())
}
