-- One row that readiness writes: proves that the database takes writes, and means nothing else.
CREATE TABLE write_probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    written INTEGER NOT NULL
) STRICT;
