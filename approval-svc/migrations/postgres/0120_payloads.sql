-- What stands beside the entries of the log: arguments and results, and the salts of their digests. Not part of the tree,
-- so that it can be erased.

CREATE TABLE audit_payloads (
    seq       BIGINT PRIMARY KEY,
    -- When it was taken in, by the clock of the service.
    at_ms     BIGINT NOT NULL,
    -- The most that is kept of any of it.
    level     TEXT COLLATE "C" NOT NULL CHECK (level IN ('digest', 'redacted', 'full')),
    issuer    TEXT,
    subject   TEXT COLLATE "C",
    salt      TEXT NOT NULL,
    arguments TEXT,
    result    TEXT
);

CREATE INDEX audit_payloads_by_age ON audit_payloads (level, at_ms);

-- What was erased, when and by whom, from the first to the last entry. The log says the same.
CREATE TABLE audit_erasures (
    first_seq BIGINT NOT NULL,
    last_seq  BIGINT NOT NULL,
    at_ms     BIGINT NOT NULL,
    erased_by TEXT NOT NULL
);

CREATE INDEX audit_erasures_by_seq ON audit_erasures (first_seq, last_seq);
