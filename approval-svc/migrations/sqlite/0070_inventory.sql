-- What filters saw of servers. Everything in it is bounded for each server; the record keeps what changed.
CREATE TABLE inventory_servers (
    server        TEXT NOT NULL PRIMARY KEY,
    -- Grows with every change below; whoever compares before writing names the one that was read.
    revision      INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL
) STRICT;

-- How a server introduced itself: JSON of the name, version, protocol and capabilities that it gave.
CREATE TABLE inventory_introductions (
    server        TEXT NOT NULL,
    body          TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    PRIMARY KEY (server, body)
) STRICT;

-- One row for each tool, resource, template or prompt, under its latest definition.
CREATE TABLE inventory_items (
    server        TEXT NOT NULL,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    digest        TEXT NOT NULL,
    -- No list has it any more.
    is_removed    INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    -- Since when the latest definition stands, where there was another one before.
    changed_at_ms INTEGER,
    last_seen_ms  INTEGER NOT NULL,
    PRIMARY KEY (server, kind, name)
) STRICT;

-- Every definition of each, as canonical JSON; the text is missing where it was too long.
CREATE TABLE inventory_definitions (
    server        TEXT NOT NULL,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    digest        TEXT NOT NULL,
    text          TEXT,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    PRIMARY KEY (server, kind, name, digest)
) STRICT;

-- What each caller's pages last held, by name: only so can an entry be missed.
CREATE TABLE inventory_pages (
    server     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    caller     TEXT NOT NULL,
    page       TEXT NOT NULL,
    names      TEXT NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    PRIMARY KEY (server, kind, caller, page)
) STRICT;

CREATE TABLE inventory_drift (
    id     INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    kind   TEXT NOT NULL,
    name   TEXT NOT NULL,
    change TEXT NOT NULL,
    before TEXT,
    after  TEXT,
    at_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX inventory_drift_server ON inventory_drift (server, id);

-- Who called what; `target` is empty for calls of what no list has.
CREATE TABLE inventory_callers (
    server        TEXT NOT NULL,
    target        TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    agent         TEXT NOT NULL,
    tenant        TEXT NOT NULL,
    calls         INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    PRIMARY KEY (server, target, issuer, subject, agent, tenant)
) STRICT;
