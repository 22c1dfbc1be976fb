-- Approvals, their holds, reviews and claims; registered policies; tokens; the log.
-- Times are Unix milliseconds. Digests are `sha256:` and 64 hex digits, except in the log, which keeps 32 bytes.

CREATE TABLE policies (
    snapshot_id      TEXT PRIMARY KEY,
    canonical        TEXT NOT NULL,
    registered_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE approvals (
    id              TEXT PRIMARY KEY,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'withdrawn',
                        'superseded', 'consumed', 'lapsed', 'revoked')),
    version         INTEGER NOT NULL,
    call_digest     TEXT NOT NULL,
    basis           TEXT NOT NULL,
    snapshot_id     TEXT NOT NULL REFERENCES policies (snapshot_id),
    issuer          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    server          TEXT NOT NULL,
    -- The request as it was opened: JSON of `OpenApproval`, the judged call included.
    asked           TEXT NOT NULL,
    opened_at_ms    INTEGER NOT NULL,
    -- Pending: when it expires. Approved: when it lapses.
    expires_at_ms   INTEGER NOT NULL,
    -- Nobody waits any more: withdrawn at this time unless an identical call comes back.
    rejoin_by_ms    INTEGER,
    uses_left       INTEGER NOT NULL CHECK (uses_left >= 0),
    reason          TEXT,
    decided_by      TEXT,
    decided_at_ms   INTEGER
) STRICT;

-- An identical call joins what is open; two that arrive at once cannot both open.
CREATE UNIQUE INDEX approvals_one_open ON approvals (call_digest, basis) WHERE status IN ('pending', 'approved');
CREATE INDEX approvals_due ON approvals (expires_at_ms) WHERE status IN ('pending', 'approved');
CREATE INDEX approvals_rejoin ON approvals (rejoin_by_ms) WHERE status = 'pending' AND rejoin_by_ms IS NOT NULL;
CREATE INDEX approvals_pending_of ON approvals (issuer, subject) WHERE status = 'pending';
CREATE INDEX approvals_by_status ON approvals (status, id);

CREATE TABLE holds (
    hold_id      TEXT PRIMARY KEY,
    -- Absent when the hold was withdrawn before it opened anything.
    approval_id  TEXT REFERENCES approvals (id),
    gateway      TEXT,
    joined_at_ms INTEGER NOT NULL,
    ended_at_ms  INTEGER,
    ended_cause  TEXT
) STRICT;

CREATE INDEX holds_of_approval ON holds (approval_id) WHERE ended_at_ms IS NULL;

CREATE TABLE reviews (
    approval_id TEXT NOT NULL REFERENCES approvals (id),
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    groups      TEXT NOT NULL,
    verdict     TEXT NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason      TEXT,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (approval_id, issuer, subject)
) STRICT;

CREATE TABLE claims (
    hold_id       TEXT PRIMARY KEY REFERENCES holds (hold_id),
    approval_id   TEXT NOT NULL REFERENCES approvals (id),
    nonce         TEXT NOT NULL,
    claim         TEXT NOT NULL,
    signature     TEXT NOT NULL,
    claimed_at_ms INTEGER NOT NULL,
    outcome       TEXT
) STRICT;

CREATE TABLE tokens (
    id            TEXT PRIMARY KEY,
    hash          BLOB NOT NULL UNIQUE,
    role          TEXT NOT NULL CHECK (role IN ('enforcer', 'approver', 'auditor', 'admin')),
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    groups        TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;

-- The log. `leaf_hash` is the RFC 6962 hash of `body`; the tree's frontier stands in the one row of `audit_head`.
CREATE TABLE audit_entries (
    seq       INTEGER PRIMARY KEY,
    body      TEXT NOT NULL,
    leaf_hash BLOB NOT NULL
) STRICT;

CREATE TABLE audit_head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    size     INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    root     BLOB NOT NULL
) STRICT;

-- The empty log: its root is the SHA-256 of nothing.
INSERT INTO audit_head (id, size, frontier, root)
VALUES (1, 0, x'', x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

-- The next counter expected of each filter VM.
CREATE TABLE audit_sources (
    source       TEXT PRIMARY KEY,
    next_counter INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    size         INTEGER PRIMARY KEY,
    note         TEXT NOT NULL,
    signed_at_ms INTEGER NOT NULL
) STRICT;
