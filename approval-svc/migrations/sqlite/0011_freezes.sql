-- What administrators have stopped. The one row of `freeze_head` counts changes; filters ignore a lower version.
CREATE TABLE freezes (
    id           TEXT PRIMARY KEY,
    -- JSON of `FreezeScope`.
    scope        TEXT NOT NULL,
    reason       TEXT NOT NULL,
    by           TEXT NOT NULL,
    since_ms     INTEGER NOT NULL,
    lifted_at_ms INTEGER
) STRICT;

CREATE INDEX freezes_active ON freezes (id) WHERE lifted_at_ms IS NULL;

CREATE TABLE freeze_head (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
) STRICT;

INSERT INTO freeze_head (id, version) VALUES (1, 1);
