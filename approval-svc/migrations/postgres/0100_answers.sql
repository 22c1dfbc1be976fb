-- What was answered under an `Idempotency-Key`, written with what it answers for; given again for a day.
CREATE TABLE answers (
    -- Names the key, who sent it and where.
    id         TEXT COLLATE "C" PRIMARY KEY,
    -- Digest of what was asked under it.
    asked      TEXT COLLATE "C" NOT NULL,
    -- JSON. No arguments of calls.
    answer     TEXT COLLATE "C" NOT NULL,
    made_at_ms BIGINT NOT NULL
);
CREATE INDEX answers_old ON answers (made_at_ms);

-- How many tokens were revoked is asked often, to notice the next one.
CREATE INDEX tokens_revoked ON tokens (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;
