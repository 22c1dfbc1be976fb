//! Step 4: which principal a session of an MCP server belongs to, in data that all workers of one Envoy share.
//!
//! A session id proves nothing about who sends it (MCP 2025-11-25, "Session Hijacking"), so whoever was given one is
//! remembered, and to everybody else the session is as dead as one that never was. The table is bounded: a session that
//! was forgotten is answered like one that ended, and its client initializes again.

use holdpoint_core::digest::Digest;
use holdpoint_core::identity::Principal;
use holdpoint_core::json::canonical::ObjectWriter;

use crate::usage::{SharedData, Stored};

#[cfg(test)]
mod tests;

/// Parts of the table; each is one key of the shared data.
const PARTS: u16 = 256;

/// Most sessions of one part: about 16,000 in all, in less than 1 MiB.
const PART_SESSIONS_MAX: usize = 64;

/// How long a session that is not used is remembered.
pub const SESSION_IDLE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// How old a use may be before the next one is written down.
const TOUCH_MS: u64 = 60 * 60 * 1_000;

/// How often a lost race is run again.
const RACES_MAX: usize = 64;

/// The compare-and-set number of a key that is not there.
const NEW: u32 = 0;

/// One principal at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOwner {
    server: String,
    principal: Digest,
}

impl SessionOwner {
    /// The owner of what `principal` is given by `server`. Groups and scopes may change during a session; who it is may not.
    pub fn new(server: &str, principal: &Principal) -> Self {
        let writer = ObjectWriter::new()
            .string("agent", principal.agent_id.as_deref().unwrap_or_default())
            .string("issuer", &principal.issuer)
            .string("subject", &principal.subject)
            .string("tenant", principal.tenant.as_deref().unwrap_or_default());
        let principal = Digest::tagged("holdpoint/session-owner/v1", writer.finish().as_bytes());
        Self { server: server.to_owned(), principal }
    }

    /// The key of one session at this server. `session` is the digest of its id.
    fn key(&self, session: Digest) -> Key {
        let mut named = self.server.as_bytes().to_vec();
        named.push(b'\n');
        named.extend_from_slice(session.as_bytes());
        let digest = Digest::tagged("holdpoint/session/v1", &named);
        let [a, b, ..] = digest.as_bytes();
        Key { part: u16::from_le_bytes([*a, *b]) % PARTS, session: half(digest) }
    }
}

struct Key {
    part: u16,
    session: [u8; 16],
}

/// Creates the parts of the table that are missing. To be called while a configuration is taken in, as
/// [`crate::usage::prepare`] is and for the same reason.
pub fn prepare(shared: &mut dyn SharedData) {
    for part in 0..PARTS {
        let name = part_name(part);
        if let Some((_, NEW)) = shared.load(&name) {
            // A failure shows as sessions that are not remembered.
            let _ = shared.store(&name, &[], NEW);
        }
    }
}

/// Remembers that `owner` was given the session whose id has the digest `session`. The first one keeps it.
pub fn bind(shared: &mut dyn SharedData, owner: &SessionOwner, session: Digest, now_ms: u64) {
    let key = owner.key(session);
    let principal = half(owner.principal);
    change(shared, key.part, |rows| {
        rows.retain(|row| row.used_at_ms.saturating_add(SESSION_IDLE_MS_MAX) > now_ms);
        if rows.iter().any(|row| row.session == key.session) {
            return false;
        }
        if rows.len() >= PART_SESSIONS_MAX {
            make_room(rows);
        }
        rows.push(Row { session: key.session, principal, used_at_ms: now_ms });
        true
    });
}

/// Whether `owner` was given that session, and it has been used since.
pub fn is_owned(shared: &mut dyn SharedData, owner: &SessionOwner, session: Digest, now_ms: u64) -> bool {
    let key = owner.key(session);
    let principal = half(owner.principal);
    let Some((bytes, _)) = shared.load(&part_name(key.part)) else { return false };
    let rows = read(&bytes);
    let is_live = |row: &&Row| row.used_at_ms.saturating_add(SESSION_IDLE_MS_MAX) > now_ms;
    let Some(row) = rows.iter().filter(is_live).find(|row| row.session == key.session) else { return false };
    if row.principal != principal {
        return false;
    }
    if row.used_at_ms.saturating_add(TOUCH_MS) <= now_ms {
        change(shared, key.part, |rows| {
            for row in rows.iter_mut().filter(|row| row.session == key.session) {
                row.used_at_ms = now_ms;
            }
            true
        });
    }
    true
}

/// Forgets the oldest session of whoever has the most here, so that nobody pushes others out by opening many.
fn make_room(rows: &mut Vec<Row>) {
    let count = |row: &Row| rows.iter().filter(|other| other.principal == row.principal).count();
    let busiest = rows.iter().max_by_key(|row| count(row)).map(|row| row.principal);
    let of_busiest = rows.iter().enumerate().filter(|(_, row)| Some(row.principal) == busiest);
    if let Some((oldest, _)) = of_busiest.min_by_key(|(_, row)| row.used_at_ms) {
        rows.swap_remove(oldest);
    }
}

/// One session: 40 bytes.
struct Row {
    session: [u8; 16],
    principal: [u8; 16],
    used_at_ms: u64,
}

fn change(shared: &mut dyn SharedData, part: u16, mut edit: impl FnMut(&mut Vec<Row>) -> bool) {
    let name = part_name(part);
    for _ in 0..RACES_MAX {
        let Some((bytes, cas)) = shared.load(&name) else { return };
        let mut rows = read(&bytes);
        if cas == NEW || !edit(&mut rows) {
            return;
        }
        match shared.store(&name, &write(&rows), cas) {
            Stored::Raced => {}
            Stored::Done | Stored::Failed => return,
        }
    }
}

fn part_name(part: u16) -> String {
    format!("holdpoint/sessions/{part}")
}

fn half(digest: Digest) -> [u8; 16] {
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    first
}

fn read(bytes: &[u8]) -> Vec<Row> {
    let rows = bytes.as_chunks::<40>().0.iter();
    rows.filter_map(|row| {
        let (session, rest) = row.split_at_checked(16)?;
        let (principal, used_at_ms) = rest.split_at_checked(16)?;
        Some(Row {
            session: session.try_into().ok()?,
            principal: principal.try_into().ok()?,
            used_at_ms: u64::from_le_bytes(used_at_ms.try_into().ok()?),
        })
    })
    .collect()
}

fn write(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len().saturating_mul(40));
    for row in rows {
        bytes.extend_from_slice(&row.session);
        bytes.extend_from_slice(&row.principal);
        bytes.extend_from_slice(&row.used_at_ms.to_le_bytes());
    }
    bytes
}
