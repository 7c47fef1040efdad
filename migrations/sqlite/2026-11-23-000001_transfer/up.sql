-- That the webhooks of this file are being moved, or were moved, to a PostgreSQL database: while the
-- row is there, no process serves the file. At most one row.
CREATE TABLE transfer (
    number      INTEGER PRIMARY KEY CHECK (number = 1),
    id          BLOB NOT NULL,    -- UUID, 16 bytes: the database keeps the same
    moved_to    TEXT NOT NULL,    -- the database, without user and password
    started_at  INTEGER NOT NULL,
    finished_at INTEGER           -- null until both sides were found equal
) STRICT;
