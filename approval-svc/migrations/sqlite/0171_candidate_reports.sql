-- What policies that are tried would have decided otherwise: the latest report of each worker on each pair of policies.
CREATE TABLE candidate_reports (
    -- Gateway and boot id of the worker.
    source       TEXT NOT NULL,
    plugin       TEXT NOT NULL,
    snapshot_id  TEXT NOT NULL,
    candidate_id TEXT NOT NULL,
    -- Calls that it has judged by both: a report with fewer is an older one.
    compared     INTEGER NOT NULL,
    report       TEXT NOT NULL,
    seen_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (source, plugin, snapshot_id, candidate_id)
) STRICT;
CREATE INDEX candidate_reports_by_time ON candidate_reports (seen_at_ms);
