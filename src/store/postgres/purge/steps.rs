//! The statements of a purge. Each step is a short transaction with a bounded number of rows, so that it does not delay
//! vacuum.

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Past, Size};
use crate::domain::job::Status;
use crate::store::fitting::fitting;
use crate::store::postgres::rows::pg_time;
use crate::store::statement::statement;

/// The values of `finished_jobs.purged` that a purge looks for: not marked, and past the retention of its
/// payload.
const UNMARKED: i16 = 0;
const WITHOUT_PAYLOAD: i16 = 1;

/// The counts of one step that drops payloads.
#[derive(Queryable, Default)]
pub(super) struct DroppedRow {
    pub(super) marked_jobs: i64,
    pub(super) webhooks: i64,
}

/// The counts of one step that deletes webhooks.
#[derive(Queryable, Default)]
pub(super) struct DeletedRow {
    pub(super) jobs: i64,
    pub(super) marked_jobs: i64,
    pub(super) webhooks: i64,
    /// The queues of lanes that a deleted dead letter had blocked.
    pub(super) freed: Vec<i32>,
}

/// Marks jobs that are past the retention of their payload, and drops their results and deliveries, and the payloads
/// that no job needs.
pub(super) async fn drop_payloads(
    connection: &mut AsyncPgConnection,
    status: Status,
    past: &Past,
    size: Size,
) -> QueryResult<DroppedRow> {
    let Past { completed, dead_lettered, .. } = *past;
    let is_completed = matches!(status, Status::Completed | Status::Filtered);
    let before = if is_completed { completed } else { dead_lettered };
    connection
        .transaction(async |connection| {
            let webhooks = lock_due(connection, UNMARKED, status, before, size).await?;
            if webhooks.is_empty() {
                return Ok(DroppedRow::default());
            }
            DropPayloads { webhooks: &webhooks, completed, dead_lettered }.get_result(connection).await
        })
        .await
}

/// Deletes webhooks whose jobs are all past the retention of keys. Of other webhooks, marks the jobs that are
/// past it.
pub(super) async fn delete_webhooks(
    connection: &mut AsyncPgConnection,
    status: Status,
    past: &Past,
    size: Size,
    slot: i16,
) -> QueryResult<DeletedRow> {
    let (before, now) = (past.keys, pg_time(past.now));
    connection
        .transaction(async |connection| {
            let webhooks = lock_due(connection, WITHOUT_PAYLOAD, status, before, size).await?;
            if webhooks.is_empty() {
                return Ok(DeletedRow::default());
            }
            DeleteWebhooks { webhooks: &webhooks, before, now, slot }.get_result(connection).await
        })
        .await
}

/// Deletes webhooks that are past the retention of quarantined ones. Returns how many it deleted.
pub(super) async fn delete_quarantined(
    connection: &mut AsyncPgConnection,
    past: &Past,
    size: Size,
    slot: i16,
) -> QueryResult<usize> {
    let before = past.quarantined;
    connection
        .transaction(async |connection| {
            let webhooks = lock_due(connection, UNMARKED, Status::Quarantined, before, size).await?;
            if webhooks.is_empty() {
                return Ok(0);
            }
            let deleting = DeleteQuarantined { webhooks: &webhooks, slot };
            let deleted = deleting.get_result::<i64>(connection).await?;
            QueryResult::Ok(usize::try_from(deleted).unwrap_or(0))
        })
        .await
}

/// Locks webhooks that have a job with this mark and status that finished at or before `before`. Operations
/// lock the webhook, too, so the finished jobs that the next statement sees do not change until the
/// transaction ends. Skips webhooks that are already locked; a later purge finds them. Leaves out those that would
/// exceed the bytes of `size`. Returns nothing if another process is purging.
async fn lock_due(
    connection: &mut AsyncPgConnection,
    mark: i16,
    status: Status,
    before: PgTimestamp,
    size: Size,
) -> QueryResult<Vec<Uuid>> {
    let locking = LockDue { mark, status: status as i16, before, limit: size.rows };
    let mut locked = locking.load::<(Uuid, i64)>(connection).await?;
    let bytes = locked.iter().map(|(_, bytes)| usize::try_from(*bytes).unwrap_or(0));
    let count = fitting(bytes, size.bytes);
    locked.truncate(count);
    Ok(locked.into_iter().map(|(webhook, _)| webhook).collect())
}

/// Removes lanes without jobs. Returns how many it removed.
pub(super) async fn delete_lanes(connection: &mut AsyncPgConnection, size: Size) -> QueryResult<usize> {
    DeleteLanes { limit: size.rows }.execute(connection).await
}

// An advisory lock lets one process purge at a time. Its number is the one of `migrations.rs` plus one.
statement! { Pg;
    struct LockDue {
        mark: i16 as SmallInt,
        status: i16 as SmallInt,
        before: PgTimestamp as Timestamptz,
        limit: i64 as BigInt,
    }
    returns (SqlUuid, BigInt);
    "SELECT id, coalesce(octet_length(payload), 0) + coalesce(octet_length(headers), 0)
         + coalesce((SELECT sum(greatest(octet_length(a.delivery), 1024)) FROM attempts a WHERE a.webhook = id), 0)
         + coalesce((SELECT sum(octet_length(f.delivery)) FROM finished_jobs f WHERE f.webhook = id), 0)
     FROM webhooks
     WHERE id = ANY (ARRAY(
         SELECT webhook FROM finished_jobs
         WHERE (SELECT pg_try_advisory_xact_lock(29395921911574393))
           AND purged = ? AND status = ? AND completed_at <= ?
         ORDER BY completed_at LIMIT ?
     ))
     FOR UPDATE SKIP LOCKED"
}

statement! { Pg;
    struct DropPayloads<'a> {
        webhooks: &'a [Uuid] as Array<SqlUuid>,
        completed: PgTimestamp as Timestamptz,
        dead_lettered: PgTimestamp as Timestamptz,
    }
    returns (BigInt, BigInt);
    "WITH given AS (
         SELECT ? AS webhooks, ? AS completed, ? AS dead_lettered
     ), kept AS MATERIALIZED (
         SELECT webhook, queue, purged,
                completed_at <= CASE WHEN status IN (3, 6) THEN completed ELSE dead_lettered END AS is_past
         FROM given, finished_jobs WHERE webhook = ANY (ARRAY(SELECT unnest(webhooks) FROM given))
     ), marked AS (
         UPDATE finished_jobs f SET purged = 1, result = NULL, delivery = NULL
         FROM kept
         WHERE f.webhook = kept.webhook AND f.queue = kept.queue AND kept.is_past AND kept.purged = 0
         RETURNING f.webhook, f.queue
     ), emptied AS (
         UPDATE attempts a SET delivery = NULL
         WHERE a.delivery IS NOT NULL AND a.webhook = ANY (ARRAY(SELECT webhook FROM marked))
           AND ((a.webhook, a.queue) IN (SELECT webhook, queue FROM marked)) IS TRUE
     ), needed AS (
         SELECT webhook FROM jobs WHERE webhook = ANY (ARRAY(SELECT unnest(webhooks) FROM given))
         UNION ALL SELECT webhook FROM kept WHERE NOT is_past
     ), dropped AS (
         UPDATE webhooks SET payload = NULL, headers = NULL
         WHERE payload IS NOT NULL AND id = ANY (ARRAY(
             SELECT unnest(webhooks) FROM given EXCEPT SELECT webhook FROM needed
         ))
         RETURNING id
     )
     SELECT (SELECT count(*) FROM marked), (SELECT count(*) FROM dropped)"
}

// Deletes a webhook with all its rows once all its jobs are past the retention of keys and are already marked
// as past that of the payload. If a deleted dead letter blocks its lane, the lane is locked first and then
// freed.
statement! { Pg;
    struct DeleteWebhooks<'a> {
        webhooks: &'a [Uuid] as Array<SqlUuid>,
        before: PgTimestamp as Timestamptz,
        now: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns (BigInt, BigInt, BigInt, Array<Integer>);
    "WITH given AS (
         SELECT ? AS webhooks, ? AS before, ? AS now
     ), kept AS MATERIALIZED (
         SELECT webhook, lane, blocks, purged > 0 AND completed_at <= before AS is_past
         FROM given, finished_jobs WHERE webhook = ANY (ARRAY(SELECT unnest(webhooks) FROM given))
     ), needed AS MATERIALIZED (
         SELECT webhook FROM jobs WHERE webhook = ANY (ARRAY(SELECT unnest(webhooks) FROM given))
         UNION ALL SELECT webhook FROM kept WHERE NOT is_past
     ), gone AS MATERIALIZED (
         SELECT unnest(webhooks) AS webhook FROM given EXCEPT SELECT webhook FROM needed
     ), locked AS MATERIALIZED (
         SELECT lane FROM lanes
         WHERE lane = ANY (ARRAY(SELECT lane FROM kept WHERE blocks AND webhook IN (SELECT webhook FROM gone)))
         ORDER BY lane FOR UPDATE
     ), finished AS (
         DELETE FROM finished_jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM gone)) AND (SELECT count(*) FROM locked) >= 0
         RETURNING queue, status, lane, blocks
     ), marked AS (
         UPDATE finished_jobs f SET purged = 2
         FROM given
         WHERE f.webhook = ANY (ARRAY(SELECT webhook FROM needed)) AND f.purged = 1 AND f.completed_at <= given.before
         RETURNING f.webhook
     ), attempts AS (
         DELETE FROM attempts WHERE webhook = ANY (ARRAY(SELECT webhook FROM gone))
     ), webhooks AS (
         DELETE FROM webhooks WHERE id = ANY (ARRAY(SELECT webhook FROM gone)) RETURNING id
     ), freed AS (
         UPDATE lanes l SET jobs = l.jobs - 1, state = 0, available_at = given.now
         FROM given WHERE l.lane = ANY (ARRAY(SELECT lane FROM finished WHERE blocks))
         RETURNING l.queue
     ), counted AS (
         INSERT INTO status_counts AS c (slot, queue, completed, dead_lettered, cancelled, filtered)
         SELECT ?, queue, -count(*) FILTER (WHERE status = 3), -count(*) FILTER (WHERE status = 4),
                -count(*) FILTER (WHERE status = 5), -count(*) FILTER (WHERE status = 6)
         FROM finished WHERE (SELECT count(*) FROM freed) >= 0
         GROUP BY queue ORDER BY queue
         ON CONFLICT (slot, queue) DO UPDATE
         SET completed = c.completed + excluded.completed, dead_lettered = c.dead_lettered + excluded.dead_lettered,
             cancelled = c.cancelled + excluded.cancelled, filtered = c.filtered + excluded.filtered
     )
     SELECT (SELECT count(*) FROM finished), (SELECT count(*) FROM marked), (SELECT count(*) FROM webhooks),
            ARRAY(SELECT queue FROM freed)"
}

// Leaves out webhooks that were released before they were locked: they have lost their row of status 7.
statement! { Pg;
    struct DeleteQuarantined<'a> {
        webhooks: &'a [Uuid] as Array<SqlUuid>,
        slot: i16 as SmallInt,
    }
    returns BigInt;
    "WITH finished AS (
         DELETE FROM finished_jobs WHERE webhook = ANY (?) AND queue = 0 AND status = 7
         RETURNING webhook, queue
     ), webhooks AS (
         DELETE FROM webhooks WHERE id = ANY (ARRAY(SELECT webhook FROM finished)) RETURNING id
     ), counted AS (
         INSERT INTO status_counts AS c (slot, queue, quarantined)
         SELECT ?, queue, -count(*) FROM finished GROUP BY queue
         ON CONFLICT (slot, queue) DO UPDATE SET quarantined = c.quarantined + excluded.quarantined
     )
     SELECT count(*) FROM webhooks"
}

statement! { Pg;
    struct DeleteLanes {
        limit: i64 as BigInt,
    }
    returns ();
    "DELETE FROM lanes WHERE jobs = 0 AND lane = ANY (ARRAY(
         SELECT lane FROM lanes WHERE jobs = 0 LIMIT ? FOR UPDATE SKIP LOCKED
     ))"
}
