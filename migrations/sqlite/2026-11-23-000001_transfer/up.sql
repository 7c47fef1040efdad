-- The mark of a transfer: the webhooks of this file are being moved, or were moved, to a PostgreSQL database.
-- While the row exists, no process serves the file. At most one row.
CREATE TABLE transfer (
    number      INTEGER PRIMARY KEY CHECK (number = 1),
    id          BLOB NOT NULL,    -- UUID, 16 bytes; the database stores the same id
    moved_to    TEXT NOT NULL,    -- the URL of the database, without user and password
    started_at  INTEGER NOT NULL,
    finished_at INTEGER           -- null until the counts of both sides were equal
) STRICT;
