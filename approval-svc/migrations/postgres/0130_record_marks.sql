-- By what entries of the record are found: one row for each thing that an entry says. Made after the log and from it
-- alone; nothing in it is evidence. A mark is the beginning of a digest, and whoever finds by it looks at the entry again.
CREATE TABLE record_marks (
    mark  BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    PRIMARY KEY (mark, at_ms, seq)
);

-- How far those have come that read the log behind it, entry by entry.
CREATE TABLE record_followers (
    name     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    next_seq BIGINT NOT NULL
);
