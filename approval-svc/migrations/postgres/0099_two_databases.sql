-- Everything that the service keeps, as it stood when PostgreSQL came: what the files of `migrations/sqlite` up to this
-- number make. Later migrations stand in both folders under the same names.
-- Text is compared by its bytes, as SQLite does, whatever the database's own order is.

CREATE TABLE policies (
    snapshot_id      TEXT COLLATE "C" PRIMARY KEY,
    canonical        TEXT COLLATE "C" NOT NULL,
    registered_at_ms BIGINT NOT NULL
);

CREATE TABLE approvals (
    id              TEXT COLLATE "C" PRIMARY KEY,
    status          TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'withdrawn',
                        'superseded', 'consumed', 'lapsed', 'revoked')),
    version         BIGINT NOT NULL,
    call_digest     TEXT COLLATE "C" NOT NULL,
    basis           TEXT COLLATE "C" NOT NULL,
    snapshot_id     TEXT COLLATE "C" NOT NULL REFERENCES policies (snapshot_id),
    issuer          TEXT COLLATE "C" NOT NULL,
    subject         TEXT COLLATE "C" NOT NULL,
    server          TEXT COLLATE "C" NOT NULL,
    -- The request as it was opened: JSON of `OpenApproval`, the judged call included.
    asked           TEXT COLLATE "C" NOT NULL,
    opened_at_ms    BIGINT NOT NULL,
    -- Pending: when it expires. Approved: when it lapses.
    expires_at_ms   BIGINT NOT NULL,
    -- Nobody waits any more: withdrawn at this time unless an identical call comes back.
    rejoin_by_ms    BIGINT,
    uses_left       BIGINT NOT NULL CHECK (uses_left >= 0),
    reason          TEXT COLLATE "C",
    decided_by      TEXT COLLATE "C",
    decided_at_ms   BIGINT,
    ran_before      TEXT COLLATE "C",
    tenant          TEXT COLLATE "C",
    escalates_at_ms BIGINT,
    escalated_at_ms BIGINT,
    erased_at_ms    BIGINT,
    method          TEXT COLLATE "C",
    target          TEXT COLLATE "C"
);

CREATE UNIQUE INDEX approvals_one_open ON approvals (call_digest, basis) WHERE status IN ('pending', 'approved');

CREATE INDEX approvals_due ON approvals (expires_at_ms) WHERE status IN ('pending', 'approved');

CREATE INDEX approvals_rejoin ON approvals (rejoin_by_ms) WHERE status = 'pending' AND rejoin_by_ms IS NOT NULL;
CREATE INDEX approvals_pending_of ON approvals (issuer, subject) WHERE status = 'pending';
CREATE INDEX approvals_by_status ON approvals (status, id);

CREATE TABLE holds (
    hold_id      TEXT COLLATE "C" PRIMARY KEY,
    -- Absent when the hold was withdrawn before it opened anything.
    approval_id  TEXT COLLATE "C" REFERENCES approvals (id),
    gateway      TEXT COLLATE "C",
    joined_at_ms BIGINT NOT NULL,
    ended_at_ms  BIGINT,
    ended_cause  TEXT COLLATE "C",
    cancel_key   TEXT COLLATE "C"
);

CREATE INDEX holds_of_approval ON holds (approval_id) WHERE ended_at_ms IS NULL;

CREATE TABLE reviews (
    approval_id  TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
    issuer       TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    groups       TEXT COLLATE "C" NOT NULL,
    verdict      TEXT COLLATE "C" NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason       TEXT COLLATE "C",
    at_ms        BIGINT NOT NULL,
    on_behalf_of TEXT COLLATE "C",
    break_glass  BOOLEAN NOT NULL DEFAULT false,
    scope        TEXT COLLATE "C",
    PRIMARY KEY (approval_id, issuer, subject)
);

CREATE TABLE claims (
    hold_id       TEXT COLLATE "C" PRIMARY KEY REFERENCES holds (hold_id),
    approval_id   TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
    nonce         TEXT COLLATE "C" NOT NULL,
    claim         TEXT COLLATE "C" NOT NULL,
    signature     TEXT COLLATE "C" NOT NULL,
    claimed_at_ms BIGINT NOT NULL,
    outcome       TEXT COLLATE "C"
);
-- The log. `leaf_hash` is the RFC 6962 hash of `body`; the tree's frontier stands in the one row of `audit_head`.
CREATE TABLE audit_entries (
    seq       BIGINT PRIMARY KEY,
    body      TEXT COLLATE "C" NOT NULL,
    leaf_hash BYTEA NOT NULL
);

CREATE TABLE audit_head (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    size     BIGINT NOT NULL,
    frontier BYTEA NOT NULL,
    root     BYTEA NOT NULL
);

CREATE TABLE audit_sources (
    source       TEXT COLLATE "C" PRIMARY KEY,
    next_counter BIGINT NOT NULL
);

CREATE TABLE checkpoints (
    size         BIGINT PRIMARY KEY,
    note         TEXT COLLATE "C" NOT NULL,
    signed_at_ms BIGINT NOT NULL
);

CREATE TABLE sign_in_codes (
    hash          BYTEA PRIMARY KEY,
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    groups        TEXT COLLATE "C" NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    tenant        TEXT COLLATE "C",
    role          TEXT COLLATE "C" NOT NULL DEFAULT 'approver'
);

CREATE TABLE sessions (
    hash          BYTEA PRIMARY KEY,
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    groups        TEXT COLLATE "C" NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    tenant        TEXT COLLATE "C",
    role          TEXT COLLATE "C" NOT NULL DEFAULT 'approver'
);

CREATE TABLE write_probe (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    written BIGINT NOT NULL
);

CREATE INDEX approvals_of_call ON approvals (call_digest, id);

CREATE INDEX claims_of_approval ON claims (approval_id, claimed_at_ms);

CREATE TABLE freezes (
    id           TEXT COLLATE "C" PRIMARY KEY,
    -- JSON of `FreezeScope`.
    scope        TEXT COLLATE "C" NOT NULL,
    reason       TEXT COLLATE "C" NOT NULL,
    by           TEXT COLLATE "C" NOT NULL,
    since_ms     BIGINT NOT NULL,
    lifted_at_ms BIGINT
);

CREATE INDEX freezes_active ON freezes (id) WHERE lifted_at_ms IS NULL;

CREATE TABLE freeze_head (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);

CREATE TABLE tokens (
    id            TEXT COLLATE "C" PRIMARY KEY,
    hash          BYTEA NOT NULL UNIQUE,
    role          TEXT COLLATE "C" NOT NULL CHECK (role IN ('enforcer', 'approver', 'break_glass', 'auditor', 'admin')),
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    groups        TEXT COLLATE "C" NOT NULL,
    -- Only what belongs to this tenant is shown; null for all tenants.
    tenant        TEXT COLLATE "C",
    created_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT
);

CREATE TABLE delegations (
    id            TEXT COLLATE "C" PRIMARY KEY,
    from_issuer   TEXT COLLATE "C" NOT NULL,
    from_subject  TEXT COLLATE "C" NOT NULL,
    to_issuer     TEXT COLLATE "C" NOT NULL,
    to_subject    TEXT COLLATE "C" NOT NULL,
    groups        TEXT COLLATE "C" NOT NULL,
    reason        TEXT COLLATE "C" NOT NULL,
    until_ms      BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    ended_at_ms   BIGINT,
    tenant        TEXT COLLATE "C"
);

CREATE INDEX delegations_to ON delegations (to_issuer, to_subject) WHERE ended_at_ms IS NULL;
CREATE INDEX approvals_escalate ON approvals (escalates_at_ms)
    WHERE status = 'pending' AND escalates_at_ms IS NOT NULL AND escalated_at_ms IS NULL;
CREATE INDEX approvals_erase ON approvals (decided_at_ms)
    WHERE erased_at_ms IS NULL AND status NOT IN ('pending', 'approved');

CREATE TABLE grants (
    id            TEXT COLLATE "C" PRIMARY KEY,
    -- The approval whose approvers gave it.
    approval_id   TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
    call_digest   TEXT COLLATE "C" NOT NULL,
    basis         TEXT COLLATE "C" NOT NULL,
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    tenant        TEXT COLLATE "C",
    -- JSON of `Grant`: the call it was given for and which arguments may differ how.
    body          TEXT COLLATE "C" NOT NULL,
    uses_left     BIGINT NOT NULL CHECK (uses_left >= 0),
    expires_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT
);

CREATE INDEX grants_of ON grants (issuer, subject, basis) WHERE revoked_at_ms IS NULL;
CREATE INDEX holds_by_cancel_key ON holds (cancel_key) WHERE ended_at_ms IS NULL AND cancel_key IS NOT NULL;

CREATE TABLE policies_in_force (
    instance    TEXT COLLATE "C" NOT NULL,
    plugin      TEXT COLLATE "C" NOT NULL,
    gateway     TEXT COLLATE "C" NOT NULL,
    snapshot_id TEXT COLLATE "C" NOT NULL REFERENCES policies (snapshot_id),
    -- Grows with every policy that the process puts in force; an older report changes nothing.
    sequence    BIGINT NOT NULL,
    since_ms    BIGINT NOT NULL,
    -- When the last report came, by this service's clock.
    seen_at_ms  BIGINT NOT NULL,
    PRIMARY KEY (instance, plugin)
);

CREATE INDEX policies_in_force_seen ON policies_in_force (seen_at_ms);

CREATE TABLE audit_subtrees (
    level BIGINT NOT NULL,
    idx   BIGINT NOT NULL,
    hash  BYTEA NOT NULL,
    PRIMARY KEY (level, idx)
);

CREATE TABLE notices (
    -- Names the notice to its receiver: the same on every try.
    id            TEXT COLLATE "C" PRIMARY KEY,
    channel       TEXT COLLATE "C" NOT NULL,
    event         TEXT COLLATE "C" NOT NULL CHECK (event IN ('opened', 'escalated', 'broken_glass', 'decided', 'expired', 'freeze',
                      'test')),
    -- Absent where it is about no approval.
    approval_id   TEXT COLLATE "C" REFERENCES approvals (id),
    tenant        TEXT COLLATE "C",
    -- JSON as a webhook sends it. No arguments of calls.
    body          TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT NOT NULL,
    state         TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    tries         BIGINT NOT NULL,
    next_try_ms   BIGINT NOT NULL,
    ended_at_ms   BIGINT,
    -- Why the last try failed.
    trouble       TEXT COLLATE "C",
    -- What the receiver calls it, to change it later: JSON.
    receipt       TEXT COLLATE "C"
);

CREATE INDEX notices_due ON notices (channel, next_try_ms) WHERE state = 'waiting';
CREATE INDEX notices_of ON notices (approval_id, channel);

CREATE INDEX notices_ended ON notices (ended_at_ms) WHERE state <> 'waiting';
CREATE INDEX approvals_by_server ON approvals (server, id);

CREATE INDEX approvals_by_tenant ON approvals (tenant, id);

CREATE TABLE inventory_servers (
    server        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Grows with every change below; whoever compares before writing names the one that was read.
    revision      BIGINT NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms  BIGINT NOT NULL
);

CREATE TABLE inventory_introductions (
    server        TEXT COLLATE "C" NOT NULL,
    body          TEXT COLLATE "C" NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms  BIGINT NOT NULL
);
-- No key of both: a body may be longer than an index takes. Nobody else writes between the look and the insert.
CREATE INDEX inventory_introductions_server ON inventory_introductions (server);

CREATE TABLE inventory_items (
    server        TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    -- No list has it any more.
    is_removed    BOOLEAN NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    -- Since when the latest definition stands, where there was another one before.
    changed_at_ms BIGINT,
    last_seen_ms  BIGINT NOT NULL,
    PRIMARY KEY (server, kind, name)
);

CREATE TABLE inventory_definitions (
    server        TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    text          TEXT COLLATE "C",
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms  BIGINT NOT NULL,
    PRIMARY KEY (server, kind, name, digest)
);

CREATE TABLE inventory_pages (
    server     TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    caller     TEXT COLLATE "C" NOT NULL,
    page       TEXT COLLATE "C" NOT NULL,
    names      TEXT COLLATE "C" NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (server, kind, caller, page)
);

CREATE TABLE inventory_drift (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server TEXT COLLATE "C" NOT NULL,
    kind   TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    change TEXT COLLATE "C" NOT NULL,
    before TEXT COLLATE "C",
    after  TEXT COLLATE "C",
    at_ms  BIGINT NOT NULL
);

CREATE INDEX inventory_drift_server ON inventory_drift (server, id);

CREATE TABLE inventory_callers (
    server        TEXT COLLATE "C" NOT NULL,
    target        TEXT COLLATE "C" NOT NULL,
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    agent         TEXT COLLATE "C" NOT NULL,
    tenant        TEXT COLLATE "C" NOT NULL,
    calls         BIGINT NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms  BIGINT NOT NULL,
    PRIMARY KEY (server, target, issuer, subject, agent, tenant)
);

CREATE INDEX approvals_by_target ON approvals (target, id);

-- The empty log: its root is the SHA-256 of nothing.
INSERT INTO audit_head (id, size, frontier, root)
VALUES (1, 0, '\x', '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
INSERT INTO freeze_head (id, version) VALUES (1, 1);

-- Who does what only one process at a time should.
CREATE TABLE leases (
    name     TEXT COLLATE "C" PRIMARY KEY,
    holder   TEXT COLLATE "C" NOT NULL,
    until_ms BIGINT NOT NULL
);
