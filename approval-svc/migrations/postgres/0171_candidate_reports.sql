-- What policies that are tried would have decided otherwise: the latest report of each worker on each pair of policies.
CREATE TABLE candidate_reports (
    -- Gateway and boot id of the worker.
    source       TEXT COLLATE "C" NOT NULL,
    plugin       TEXT COLLATE "C" NOT NULL,
    snapshot_id  TEXT COLLATE "C" NOT NULL,
    candidate_id TEXT COLLATE "C" NOT NULL,
    -- Calls that it has judged by both: a report with fewer is an older one.
    compared     BIGINT NOT NULL,
    report       TEXT COLLATE "C" NOT NULL,
    seen_at_ms   BIGINT NOT NULL,
    PRIMARY KEY (source, plugin, snapshot_id, candidate_id)
);
CREATE INDEX candidate_reports_by_time ON candidate_reports (seen_at_ms);
