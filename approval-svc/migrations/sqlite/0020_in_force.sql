-- Which policy each gateway has in force: one row for each life of an Envoy process and each plugin in it.
CREATE TABLE policies_in_force (
    instance    TEXT NOT NULL,
    plugin      TEXT NOT NULL,
    gateway     TEXT NOT NULL,
    snapshot_id TEXT NOT NULL REFERENCES policies (snapshot_id),
    -- Grows with every policy that the process puts in force; an older report changes nothing.
    sequence    INTEGER NOT NULL,
    since_ms    INTEGER NOT NULL,
    -- When the last report came, by this service's clock.
    seen_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (instance, plugin)
) STRICT;

CREATE INDEX policies_in_force_seen ON policies_in_force (seen_at_ms);
