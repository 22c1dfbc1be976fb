-- Approvals that reach beyond one call: as far as their rule and every approver said, and no further.
CREATE TABLE grants (
    id            TEXT PRIMARY KEY,
    -- The approval whose approvers gave it.
    approval_id   TEXT NOT NULL REFERENCES approvals (id),
    call_digest   TEXT NOT NULL,
    basis         TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    tenant        TEXT,
    -- JSON of `Grant`: the call it was given for and which arguments may differ how.
    body          TEXT NOT NULL,
    uses_left     INTEGER NOT NULL CHECK (uses_left >= 0),
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;
CREATE INDEX grants_of ON grants (issuer, subject, basis) WHERE revoked_at_ms IS NULL;

-- JSON of `Scope`: how far this review would reach.
ALTER TABLE reviews ADD COLUMN scope TEXT;
