-- What is due is looked for twice a second. SQLite takes an index by its first columns and not by its condition: without the
-- status in front it read every request that waits.
DROP INDEX approvals_due;
DROP INDEX approvals_rejoin;
DROP INDEX approvals_escalate;
CREATE INDEX approvals_due ON approvals (status, expires_at_ms) WHERE status IN ('pending', 'approved');
CREATE INDEX approvals_rejoin ON approvals (status, rejoin_by_ms) WHERE status = 'pending' AND rejoin_by_ms IS NOT NULL;
CREATE INDEX approvals_escalate ON approvals (status, escalates_at_ms)
    WHERE status = 'pending' AND escalates_at_ms IS NOT NULL AND escalated_at_ms IS NULL;
