-- What was accepted. Written once; only `payload` is removed when its retention is over.
-- Times are in whole milliseconds, by the clock of the replica that wrote them.
CREATE TABLE webhooks (
    id              uuid PRIMARY KEY,               -- UUIDv7: in the order of acceptance of each replica
    source          text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    event_type      text COLLATE "C" NOT NULL,
    payload         text,                           -- as it came
    payload_digest  bytea NOT NULL,                 -- of the JSON value, 16 bytes
    traceparent     text NOT NULL,
    accepted_at     timestamptz NOT NULL,
    UNIQUE (source, idempotency_key)                -- one webhook per source and key
) WITH (
    -- Rows come in order and few ever change: vacuum by what came in, to keep lists index-only.
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_vacuum_scale_factor = 0.05
);

-- The jobs that are not finished, and no others: however many have been, this table stays as small
-- as the backlog, and so do its indexes and the time it takes to vacuum it.
CREATE TABLE jobs (
    webhook         uuid PRIMARY KEY,
    status          smallint NOT NULL,              -- 0 pending, 1 processing, 2 retrying
    attempts        integer NOT NULL,               -- started so far
    attempts_before integer NOT NULL,               -- of them before the last retry by hand
    max_attempts    integer NOT NULL,
    available_at    timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    revision        bigint NOT NULL,                -- grows with every change
    lease_token     bigint NOT NULL,                -- counts the claims
    lease_until     timestamptz,                    -- by the clock of the database
    worker          text                            -- who holds the lease
) WITH (
    -- Renewing a lease touches no index; with room in the page it is a heap-only update.
    fillfactor = 70,
    -- Every row dies young. By number, not by share: a share of a table that is mostly empty is
    -- soon reached, and one of a large backlog never.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0,
    -- Giving pages back to the file system locks the table; it fills again soon.
    vacuum_truncate = false
);
CREATE INDEX jobs_due ON jobs (available_at) WHERE status IN (0, 2);
-- Not by `lease_until`, which every renewal changes.
CREATE INDEX jobs_leased ON jobs (webhook) WHERE status = 1;

-- The jobs that are finished, each with the attempt that ended it.
CREATE TABLE finished_jobs (
    webhook         uuid PRIMARY KEY,
    status          smallint NOT NULL,              -- 3 completed, 4 dead_lettered, 5 cancelled
    attempts        integer NOT NULL,
    max_attempts    integer NOT NULL,
    available_at    timestamptz NOT NULL,
    completed_at    timestamptz NOT NULL,           -- when it reached this status
    revision        bigint NOT NULL,
    lease_token     bigint NOT NULL,
    purged          boolean NOT NULL DEFAULT false, -- true once the payload is gone
    -- Of the last attempt; null if no attempt ended it.
    outcome         smallint,                       -- 0 completed, 1 failed, 2 interrupted
    started_at      timestamptz,
    error           text,
    result          text,                           -- what the handler returned, JSON
    worker          text
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX finished_jobs_by_end ON finished_jobs (purged, status, completed_at);

-- The attempts before that: those that did not end the job, or ended it before a retry by hand.
CREATE TABLE attempts (
    webhook     uuid NOT NULL,
    number      integer NOT NULL,
    outcome     smallint NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    error       text,
    result      text,
    worker      text NOT NULL,
    PRIMARY KEY (webhook, number)
);

-- Webhooks by status, kept in the statement that changes them: the sum over all slots. A
-- connection writes to a slot of its own choice, so that they seldom wait for each other.
CREATE TABLE status_counts (
    slot          smallint PRIMARY KEY,
    pending       bigint NOT NULL DEFAULT 0,
    processing    bigint NOT NULL DEFAULT 0,
    retrying      bigint NOT NULL DEFAULT 0,
    completed     bigint NOT NULL DEFAULT 0,
    dead_lettered bigint NOT NULL DEFAULT 0,
    cancelled     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
INSERT INTO status_counts (slot) SELECT generate_series(0, 63);

-- One row, rewritten to learn whether the store can write, and locked by whoever has to be alone
-- in accepting because the backlog is nearly full.
CREATE TABLE probe (
    id         smallint PRIMARY KEY CHECK (id = 1),
    written_at timestamptz NOT NULL
);
CREATE TABLE backlog_gate (id smallint PRIMARY KEY CHECK (id = 1));
INSERT INTO probe (id, written_at) VALUES (1, now());
INSERT INTO backlog_gate (id) VALUES (1);

-- The transfers from SQLite files into this database (`hookbox transfer`). While one of them is not
-- finished, nobody serves from here: a part of the webhooks is still in the file.
CREATE TABLE transfers (
    id          uuid PRIMARY KEY,               -- the file keeps the same
    position    bigint NOT NULL,                -- the sequence of the last webhook that was moved
    webhooks    bigint NOT NULL,                -- how many were
    started_at  timestamptz NOT NULL,
    finished_at timestamptz                     -- null until both sides were found equal
);
