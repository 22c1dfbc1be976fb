-- Who may decide in whose place, break-glass tokens, tenants, escalation, and arguments that are erased in time.
CREATE TABLE tokens_2 (
    id            TEXT PRIMARY KEY,
    hash          BLOB NOT NULL UNIQUE,
    role          TEXT NOT NULL CHECK (role IN ('enforcer', 'approver', 'break_glass', 'auditor', 'admin')),
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    groups        TEXT NOT NULL,
    -- Only what belongs to this tenant is shown; null for all tenants.
    tenant        TEXT,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;
INSERT INTO tokens_2 (id, hash, role, issuer, subject, groups, created_at_ms, revoked_at_ms)
SELECT id, hash, role, issuer, subject, groups, created_at_ms, revoked_at_ms FROM tokens;
DROP TABLE tokens;
ALTER TABLE tokens_2 RENAME TO tokens;

CREATE TABLE delegations (
    id            TEXT PRIMARY KEY,
    from_issuer   TEXT NOT NULL,
    from_subject  TEXT NOT NULL,
    to_issuer     TEXT NOT NULL,
    to_subject    TEXT NOT NULL,
    groups        TEXT NOT NULL,
    reason        TEXT NOT NULL,
    until_ms      INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER
) STRICT;
CREATE INDEX delegations_to ON delegations (to_issuer, to_subject) WHERE ended_at_ms IS NULL;

-- `issuer subject` of whose authority counted.
ALTER TABLE reviews ADD COLUMN on_behalf_of TEXT;
ALTER TABLE reviews ADD COLUMN break_glass INTEGER NOT NULL DEFAULT 0;

ALTER TABLE approvals ADD COLUMN tenant TEXT;
UPDATE approvals SET tenant = asked ->> '$.principal.tenant';
-- When further people may decide, and when that was said.
ALTER TABLE approvals ADD COLUMN escalates_at_ms INTEGER;
ALTER TABLE approvals ADD COLUMN escalated_at_ms INTEGER;
CREATE INDEX approvals_escalate ON approvals (escalates_at_ms)
    WHERE status = 'pending' AND escalates_at_ms IS NOT NULL AND escalated_at_ms IS NULL;
ALTER TABLE approvals ADD COLUMN erased_at_ms INTEGER;
CREATE INDEX approvals_erase ON approvals (decided_at_ms)
    WHERE erased_at_ms IS NULL AND status NOT IN ('pending', 'approved');
