-- Browsers of approvers: links that sign in once, and the sessions they begin. Secrets are kept as SHA-256 only.

CREATE TABLE sign_in_codes (
    hash          BLOB PRIMARY KEY,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    groups        TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    hash          BLOB PRIMARY KEY,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    groups        TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;
