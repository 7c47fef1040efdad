//! Retention: first the payload goes, later the key and all the rest. A bounded number of rows in a
//! statement of its own each time, so that none holds back vacuum.
//!
//! A job that is past its retention is marked, which takes it out of what the next step reads. The payload
//! goes with the first job that finds all jobs of the webhook finished and past theirs.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::pool::answer;
use super::rows::{self, pg_time};
use super::shared::Shared;
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::store::Purged;
use crate::store::statement::statement;

/// Jobs in one statement. Of one status there can be as many payloads and as many keys in a call.
const PURGE_ROWS: i64 = 500;

const FINAL: [Status; 4] = [Status::Completed, Status::DeadLettered, Status::Cancelled, Status::Filtered];

/// What dropping payloads came to.
#[derive(Queryable)]
struct DroppedRow {
    marked_jobs: i64,
    webhooks: i64,
}

/// What deleting webhooks came to.
#[derive(Queryable)]
struct DeletedRow {
    jobs: i64,
    marked_jobs: i64,
    webhooks: i64,
    /// The queues of lanes that a dead letter blocked.
    freed: Vec<i32>,
}

/// Removes what is past its retention.
pub(super) async fn purge(shared: &Shared, retention: &Retention) -> QueryResult<Purged> {
    let now = shared.clock.now();
    let before = |kept: Duration| pg_time(now.saturating_sub(kept).unwrap_or(jiff::Timestamp::MIN));
    let (completed, dead_lettered) = (before(retention.completed), before(retention.dead_lettered));
    let mut connection = shared.asking.get().await?;
    let purging = answer(async {
        let (mut purged, mut freed) = (Purged::default(), BTreeSet::new());
        for status in FINAL {
            let is_completed = matches!(status, Status::Completed | Status::Filtered);
            let payloads = DropPayloads {
                completed,
                dead_lettered,
                status: status as i16,
                before: if is_completed { completed } else { dead_lettered },
                limit: PURGE_ROWS,
            };
            let payloads = payloads.get_result::<DroppedRow>(&mut *connection).await?;
            let webhooks = DeleteWebhooks {
                before: before(retention.keys),
                now: pg_time(now),
                status: status as i16,
                limit: PURGE_ROWS,
                slot: shared.slot(),
            };
            let webhooks = webhooks.get_result::<DeletedRow>(&mut *connection).await?;
            purged.payloads += usize::try_from(payloads.webhooks).unwrap_or(0);
            purged.webhooks += usize::try_from(webhooks.webhooks).unwrap_or(0);
            purged.more |= payloads.marked_jobs + webhooks.jobs + webhooks.marked_jobs > 0;
            freed.extend(webhooks.freed);
        }
        purged.more |= delete_lanes(&mut connection).await? > 0;
        Ok((purged, freed))
    });
    let purging = purging.await;
    let (purged, freed) = connection.release(purging)?;
    let due = freed.into_iter().map(|queue| Ok((rows::queue(queue)?, now)));
    shared.due(&due.collect::<QueryResult<Vec<_>>>()?);
    Ok(purged)
}

/// Removes lanes without jobs; answers how many.
async fn delete_lanes(connection: &mut AsyncPgConnection) -> QueryResult<usize> {
    DeleteLanes { limit: PURGE_ROWS }.execute(connection).await
}

// One process purges at a time: the number of the lock is the one of migrations and one. `due` is a look
// without locks; a job that was retried by hand meanwhile is not marked, and then the payload stays.
statement! { Pg;
    struct DropPayloads {
        completed: PgTimestamp as Timestamptz,
        dead_lettered: PgTimestamp as Timestamptz,
        status: i16 as SmallInt,
        before: PgTimestamp as Timestamptz,
        limit: i64 as BigInt,
    }
    returns (BigInt, BigInt);
    "WITH given AS (
         SELECT ? AS completed, ? AS dead_lettered
     ), due AS MATERIALIZED (
         SELECT webhook FROM finished_jobs
         WHERE (SELECT pg_try_advisory_xact_lock(29395921911574393))
           AND purged = 0 AND status = ? AND completed_at <= ?
         ORDER BY completed_at LIMIT ?
     ), kept AS MATERIALIZED (
         SELECT webhook, queue, purged,
                completed_at <= CASE WHEN status IN (3, 6) THEN completed ELSE dead_lettered END AS is_past
         FROM finished_jobs, given WHERE webhook = ANY (ARRAY(SELECT webhook FROM due))
     ), marked AS (
         UPDATE finished_jobs f SET purged = 1, result = NULL
         FROM given
         WHERE f.webhook = ANY (ARRAY(SELECT webhook FROM due)) AND f.purged = 0
           AND f.completed_at <= CASE WHEN f.status IN (3, 6) THEN completed ELSE dead_lettered END
         RETURNING f.webhook, f.queue
     ), needed AS (
         SELECT webhook FROM jobs WHERE webhook = ANY (ARRAY(SELECT webhook FROM due))
         UNION ALL
         SELECT webhook FROM kept
         WHERE NOT is_past OR purged = 0 AND ((webhook, queue) IN (SELECT webhook, queue FROM marked)) IS NOT TRUE
     ), dropped AS (
         UPDATE webhooks SET payload = NULL
         WHERE payload IS NOT NULL AND id = ANY (ARRAY(
             SELECT webhook FROM due WHERE (webhook IN (SELECT webhook FROM needed)) IS NOT TRUE
         ))
         RETURNING id
     )
     SELECT (SELECT count(*) FROM marked), (SELECT count(*) FROM dropped)"
}

// A webhook goes with all its rows once all its jobs are past the retention of keys, and were past that of
// the payload before; not if one of them was retried meanwhile. The lane of a dead letter that blocks it is
// locked first, and freed.
statement! { Pg;
    struct DeleteWebhooks {
        before: PgTimestamp as Timestamptz,
        now: PgTimestamp as Timestamptz,
        status: i16 as SmallInt,
        limit: i64 as BigInt,
        slot: i16 as SmallInt,
    }
    returns (BigInt, BigInt, BigInt, Array<Integer>);
    "WITH given AS (
         SELECT ? AS before, ? AS now
     ), due AS MATERIALIZED (
         SELECT f.webhook FROM given CROSS JOIN LATERAL (
             SELECT webhook FROM finished_jobs
             WHERE (SELECT pg_try_advisory_xact_lock(29395921911574393))
               AND purged = 1 AND status = ? AND completed_at <= given.before
             ORDER BY completed_at LIMIT ?
         ) AS f
     ), kept AS MATERIALIZED (
         SELECT webhook, queue, lane, blocks, purged > 0 AND completed_at <= before AS is_past
         FROM finished_jobs, given WHERE webhook = ANY (ARRAY(SELECT webhook FROM due))
     ), needed AS MATERIALIZED (
         SELECT webhook FROM jobs WHERE webhook = ANY (ARRAY(SELECT webhook FROM due))
         UNION ALL SELECT webhook FROM kept WHERE NOT is_past
     ), gone AS MATERIALIZED (
         SELECT webhook FROM due WHERE (webhook IN (SELECT webhook FROM needed)) IS NOT TRUE
     ), locked AS MATERIALIZED (
         SELECT lane FROM lanes
         WHERE lane = ANY (ARRAY(SELECT lane FROM kept WHERE blocks AND (webhook IN (SELECT webhook FROM gone)) IS TRUE))
         ORDER BY lane FOR UPDATE
     ), finished AS (
         DELETE FROM finished_jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM gone)) AND (SELECT count(*) FROM locked) >= 0
         RETURNING webhook, queue, status, lane, blocks
     ), marked AS (
         UPDATE finished_jobs f SET purged = 2
         FROM given
         WHERE f.webhook = ANY (ARRAY(SELECT webhook FROM needed)) AND f.purged = 1 AND f.completed_at <= given.before
         RETURNING f.webhook
     ), retried AS MATERIALIZED (
         SELECT webhook FROM kept WHERE ((webhook, queue) IN (SELECT webhook, queue FROM finished)) IS NOT TRUE
     ), attempts AS (
         DELETE FROM attempts WHERE webhook = ANY (ARRAY(
             SELECT webhook FROM gone WHERE (webhook IN (SELECT webhook FROM retried)) IS NOT TRUE
         ))
     ), webhooks AS (
         DELETE FROM webhooks WHERE id = ANY (ARRAY(
             SELECT webhook FROM gone WHERE (webhook IN (SELECT webhook FROM retried)) IS NOT TRUE
         ))
         RETURNING id
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

statement! { Pg;
    struct DeleteLanes {
        limit: i64 as BigInt,
    }
    returns ();
    "DELETE FROM lanes WHERE jobs = 0 AND lane = ANY (ARRAY(
         SELECT lane FROM lanes WHERE jobs = 0 LIMIT ? FOR UPDATE SKIP LOCKED
     ))"
}
