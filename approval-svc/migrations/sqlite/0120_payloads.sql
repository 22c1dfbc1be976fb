-- What stands beside the entries of the log: arguments and results, and the salts of their digests. Not part of the tree,
-- so that it can be erased.

CREATE TABLE audit_payloads (
    seq       INTEGER PRIMARY KEY,
    -- When it was taken in, by the clock of the service.
    at_ms     INTEGER NOT NULL,
    -- The most that is kept of any of it.
    level     TEXT NOT NULL CHECK (level IN ('digest', 'redacted', 'full')),
    issuer    TEXT,
    subject   TEXT,
    salt      TEXT NOT NULL,
    arguments TEXT,
    result    TEXT
) STRICT;

CREATE INDEX audit_payloads_by_age ON audit_payloads (level, at_ms);

-- What was erased, when and by whom, from the first to the last entry. The log says the same.
CREATE TABLE audit_erasures (
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    erased_by TEXT NOT NULL
) STRICT;

CREATE INDEX audit_erasures_by_seq ON audit_erasures (first_seq, last_seq);
