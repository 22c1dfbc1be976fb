-- What people are told, in the transaction of what happened; delivered by a task of the service until it arrives.
CREATE TABLE notices (
    -- Names the notice to its receiver: the same on every try.
    id            TEXT PRIMARY KEY,
    channel       TEXT NOT NULL,
    event         TEXT NOT NULL CHECK (event IN ('opened', 'escalated', 'broken_glass', 'decided', 'expired', 'freeze',
                      'test')),
    -- Absent where it is about no approval.
    approval_id   TEXT REFERENCES approvals (id),
    tenant        TEXT,
    -- JSON as a webhook sends it. No arguments of calls.
    body          TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    tries         INTEGER NOT NULL,
    next_try_ms   INTEGER NOT NULL,
    ended_at_ms   INTEGER,
    -- Why the last try failed.
    trouble       TEXT,
    -- What the receiver calls it, to change it later: JSON.
    receipt       TEXT
) STRICT;

CREATE INDEX notices_due ON notices (channel, next_try_ms) WHERE state = 'waiting';
CREATE INDEX notices_of ON notices (approval_id, channel);
CREATE INDEX notices_ended ON notices (ended_at_ms) WHERE state <> 'waiting';
