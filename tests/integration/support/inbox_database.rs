//! Databases for one hookbox that an earlier test may have used.

use super::postgres::{Database, DatabaseClock, server};

/// Leaves a database as the migrations of hookbox left it: to migrate it anew would take more time than many a test. Fails
/// after a test that stored so much that what is deleted would slow the next test down.
pub(crate) const EMPTY: &str = "
    DO $$
    DECLARE
        name text;
        deleted bigint;
        total bigint := 0;
    BEGIN
        FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'hookbox'::regnamespace AND relkind = 'r'
            AND relname NOT IN ('__diesel_schema_migrations', 'probe', 'clock', 'backlog_gate')
        LOOP
            EXECUTE format('DELETE FROM hookbox.%I', name) || CASE name WHEN 'queues' THEN ' WHERE id <> 0' ELSE '' END;
            GET DIAGNOSTICS deleted = ROW_COUNT;
            total := total + deleted;
        END LOOP;
        IF total > 2000 THEN RAISE 'the test stored % rows', total; END IF;
        FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'hookbox'::regnamespace AND relkind = 'S'
        LOOP PERFORM setval(format('hookbox.%I', name), 1, false); END LOOP;
        -- A later time would mean that the clock was set back.
        UPDATE hookbox.probe SET written_at = timestamptz 'epoch';
        UPDATE hookbox.clock SET steps_forward = 0;
    END $$";

/// A database with nothing but the tables of hookbox, or with nothing at all, and a clock that stands still at 1970. For
/// tests that change tables through hookbox, or only rows that [`EMPTY`] removes: what they do to the tables themselves
/// stays.
pub(crate) fn inbox_database() -> (Database, DatabaseClock) {
    let (database, clock) = server().database_emptied_by(EMPTY, 1);
    clock.set(0);
    (database, clock)
}

/// The same for so many processes, with the real time.
pub(crate) fn inbox_database_for(processes: usize) -> Database {
    let (database, clock) = server().database_emptied_by(EMPTY, processes);
    clock.follow_real_time();
    database
}
