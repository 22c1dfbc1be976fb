-- From here on every migration stands here and in the folder of PostgreSQL, which begins with the same number.
-- What the history looks for stands in columns of its own, so that both databases find it by the same statement.
ALTER TABLE approvals ADD COLUMN method TEXT;
ALTER TABLE approvals ADD COLUMN target TEXT;
UPDATE approvals SET method = json_extract(asked, '$.method'), target = substr(json_extract(asked, '$.target'), 1, 500);
DROP INDEX approvals_by_target;
CREATE INDEX approvals_by_target ON approvals (target, id);

-- Who does what only one process at a time should.
CREATE TABLE leases (
    name     TEXT PRIMARY KEY,
    holder   TEXT NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;
