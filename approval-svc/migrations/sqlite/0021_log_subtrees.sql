-- Roots of the log's full subtrees of 256 (level 1), 65,536 (level 2), … entries: with the leaf hashes, every proof is
-- made of a few of them. Written with the entry that fills the subtree.
CREATE TABLE audit_subtrees (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;
