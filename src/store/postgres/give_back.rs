//! Gives back jobs that a claim leased to a process, but whose response was lost.

use std::ops::RangeInclusive;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::pool::answer;
use super::queue_names;
use super::renew::columns;
use super::rows::{self, pg_time};
use super::shared::Shared;
use crate::domain::attempt::Lease;
use crate::domain::job::Status;
use crate::store::changes::Change;
use crate::store::statement::statement;

/// A job that was given back.
#[derive(Queryable)]
struct GivenBackRow {
    webhook: Uuid,
    queue: i32,
    attempts: i32,
    revision: i64,
    available_at: PgTimestamp,
}

/// Gives back the jobs that were leased to `worker` within `leased`, except those in `held`. They are pending
/// again, and the attempt is not counted. Returns how many it gave back.
///
/// Even if the statement runs late, it does not affect leases that were given after the end of `leased`.
pub(super) async fn give_back_unheld(
    shared: &Shared,
    worker: &str,
    held: &[Lease],
    leased: &RangeInclusive<Timestamp>,
) -> QueryResult<usize> {
    let now = shared.clock.now();
    let (webhooks, queues, lease_tokens) = columns(held.iter().copied());
    let giving = GiveBackUnheld {
        webhooks,
        queues,
        lease_tokens,
        worker,
        leased_from: pg_time(*leased.start()),
        leased_to: pg_time(*leased.end()),
        updated_at: pg_time(now),
        slot: shared.slot(),
    };
    let mut connection = shared.working.get().await?;
    let giving = async {
        let given = giving.load::<GivenBackRow>(&mut *connection).await?;
        let numbers = given.iter().map(|row| rows::queue(row.queue)).collect::<QueryResult<Vec<_>>>()?;
        queue_names::know(&shared.schedule, &mut connection, numbers.into_iter()).await?;
        Ok(given)
    };
    let giving = answer(giving).await;
    let given = connection.release(giving)?;
    let (mut changes, mut due) = (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
    for row in given {
        let job = rows::job_id(row.webhook, row.queue)?;
        due.push((job.queue, rows::time(row.available_at)?));
        changes.push(Change {
            job,
            route: rows::route(&shared.schedule, job.queue)?,
            status: Status::Pending,
            attempt_count: rows::count(row.attempts)?,
            updated_at: now,
            revision: row.revision.cast_unsigned(),
        });
    }
    // The jobs became due long ago, so cursors may be beyond them.
    shared.schedule.forget_cursors();
    shared.changed(&changes);
    shared.freed(changes.iter().map(|change| &change.route));
    shared.due(&due);
    Ok(changes.len())
}

// Does not decrease the lease token, so that a lease that was given back is never valid again.
statement! { Pg;
    struct GiveBackUnheld<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        worker: &'a str as Text,
        leased_from: PgTimestamp as Timestamptz,
        leased_to: PgTimestamp as Timestamptz,
        updated_at: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Integer, Integer, BigInt, Timestamptz);
    "WITH held AS MATERIALIZED (
         SELECT * FROM unnest(?, ?, ?) AS h (webhook, queue, lease_token)
     ), given AS MATERIALIZED (
         SELECT ? AS worker, ? AS leased_from, ? AS leased_to, ? AS now
     ), unheld AS MATERIALIZED (
         SELECT webhook, lane FROM jobs
         WHERE status = 1 AND worker = (SELECT worker FROM given)
           AND updated_at >= (SELECT leased_from FROM given) AND updated_at <= (SELECT leased_to FROM given)
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM held)) IS NOT TRUE
     ), free AS MATERIALIZED (
         SELECT lane FROM lanes WHERE lane = ANY (ARRAY(SELECT lane FROM unheld WHERE lane IS NOT NULL))
         ORDER BY lane FOR UPDATE SKIP LOCKED
     ), locked AS MATERIALIZED (
         SELECT webhook, queue FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM unheld))
           AND status = 1 AND worker = (SELECT worker FROM given)
           AND updated_at >= (SELECT leased_from FROM given) AND updated_at <= (SELECT leased_to FROM given)
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM held)) IS NOT TRUE
           AND (lane IS NULL OR lane = ANY (ARRAY(SELECT lane FROM free)))
         FOR UPDATE SKIP LOCKED
     ), given_back AS (
         UPDATE jobs j
         SET status = 0, updated_at = (SELECT now FROM given), attempts = j.attempts - 1, lease_until = NULL,
             worker = NULL, revision = j.revision + 1
         WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM locked))
           AND ((j.webhook, j.queue) IN (SELECT webhook, queue FROM locked)) IS TRUE
         RETURNING j.webhook, j.queue, j.attempts, j.revision, j.available_at, j.lane
     ), lanes_given_back AS (
         UPDATE lanes l
         SET state = 0, available_at = (SELECT g.available_at FROM given_back g WHERE g.lane = l.lane)
         WHERE l.lane = ANY (ARRAY(SELECT lane FROM given_back WHERE lane IS NOT NULL))
         RETURNING l.lane
     ), counted AS (
         INSERT INTO status_counts AS c (slot, queue, processing, pending)
         SELECT ?, queue, -count(*), count(*) FROM given_back
         WHERE (SELECT count(*) FROM lanes_given_back) >= 0
         GROUP BY queue ORDER BY queue
         ON CONFLICT (slot, queue) DO UPDATE
         SET processing = c.processing + excluded.processing, pending = c.pending + excluded.pending
     )
     SELECT webhook, queue, attempts, revision, available_at FROM given_back"
}
