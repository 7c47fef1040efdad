//! The statements that end leases: they change the jobs and record the attempts.
//!
//! Jobs are looked up by key, and `width_bucket` finds the place of each job in the sorted arrays of the
//! batch. With a join instead, PostgreSQL would compare each job with each outcome.

use std::collections::{BTreeSet, HashMap};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::lanes;
use super::renew::{columns, places};
use super::rows::{self, pg_time, storable};
use crate::store::statement::statement;
use crate::store::{Finish, delivery};

/// A job whose lease was still held, and was ended.
#[derive(Queryable)]
pub(super) struct EndedRow {
    /// The job's place in the batch, from 1.
    place: i32,
    pub(super) revision: i64,
    /// Whether the job's lane has other jobs, of which the first may start now. Always false for jobs without a lane.
    pub(super) is_followed: bool,
}

/// Ends those leases of a batch that are still held. Returns the jobs of these leases, by their index in the
/// batch.
///
/// The batch must be sorted by job and have each job once. With `worker`, only leases of that worker are ended, and
/// the history names it. Without one, the history names the process that holds the lease. Locks the lanes of ordered
/// jobs first, in the order of their keys.
pub(super) async fn end_leases(
    connection: &mut AsyncPgConnection,
    batch: &[&Finish],
    worker: Option<&str>,
    slot: i16,
) -> QueryResult<HashMap<usize, EndedRow>> {
    debug_assert!(batch.is_sorted_by(|one, next| one.lease.job < next.lease.job));
    let ending = Ending::of(batch, worker, slot);
    let lanes =
        batch.iter().filter_map(|finish| Some(lanes::key(finish.lease.job.queue, finish.order.as_ref()?)));
    let lanes = lanes.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let ended = match lanes.as_slice() {
        [] => ending.unordered().load::<EndedRow>(connection).await?,
        _ => ending.ordered(lanes).load(connection).await?,
    };
    let by_place = |row: EndedRow| Ok((usize::try_from(row.place - 1).map_err(rows::unreadable)?, row));
    ended.into_iter().map(by_place).collect()
}

/// The columns of a batch, as the statements need them.
struct Ending<'a> {
    /// Where [`places`] has the jobs.
    webhooks: Vec<Uuid>,
    ranks: Vec<i64>,
    batch: &'a [&'a Finish],
    worker: Option<&'a str>,
    slot: i16,
}

impl<'a> Ending<'a> {
    fn of(batch: &'a [&'a Finish], worker: Option<&'a str>, slot: i16) -> Self {
        let (webhooks, ranks) = places(batch.iter().map(|finish| finish.lease.job));
        Self { webhooks, ranks, batch, worker, slot }
    }

    /// The leases whose job is finished afterwards, or those whose job is not.
    fn leases(&self, is_final: bool) -> (Vec<Uuid>, Vec<i32>, Vec<i64>) {
        let of_them = self.batch.iter().filter(|finish| finish.next.is_final() == is_final);
        columns(of_them.map(|finish| finish.lease))
    }

    fn each<T>(&self, of: impl Fn(&&'a Finish) -> T) -> Vec<T> {
        self.batch.iter().map(of).collect()
    }
}

macro_rules! ending {
    ($name:ident, $from:expr $(, $lanes:ident)?) => {{
        let ending = $from;
        let (final_webhooks, final_queues, final_tokens) = ending.leases(true);
        let (waiting_webhooks, waiting_queues, waiting_tokens) = ending.leases(false);
        $name {
            final_webhooks,
            final_queues,
            final_tokens,
            waiting_webhooks,
            waiting_queues,
            waiting_tokens,
            numbers: ending.each(|finish| i32::try_from(finish.attempt).unwrap_or(i32::MAX)),
            statuses: ending.each(|finish| finish.next as i16),
            uncounted: ending.each(|finish| i32::from(!finish.counts)),
            outcomes: ending.each(|finish| finish.outcome as i16),
            started_at: ending.each(|finish| pg_time(finish.started_at)),
            finished_at: ending.each(|finish| pg_time(finish.finished_at)),
            available_at: ending.each(|finish| pg_time(finish.available_at)),
            errors: ending.each(|finish| finish.error.as_deref().map(storable)),
            results: ending.each(|finish| finish.result.as_deref().map(storable)),
            deliveries: ending.each(|finish| finish.delivery.as_deref().map(delivery::to_text)),
            blocks: ending.each(|finish| finish.blocks),
            worker: ending.worker,
            $($lanes,)?
            slot: ending.slot,
            webhooks: ending.webhooks,
            ranks: ending.ranks,
        }
    }};
}

impl<'a> Ending<'a> {
    fn unordered(self) -> EndLeases<'a> {
        ending!(EndLeases, self)
    }

    fn ordered(self, lanes: Vec<String>) -> EndOrderedLeases<'a> {
        ending!(EndOrderedLeases, self, lanes)
    }
}

macro_rules! given {
    () => {
        "SELECT ? AS webhooks, ? AS ranks, ? AS final_webhooks, ? AS final_queues, ? AS final_tokens,
                ? AS waiting_webhooks, ? AS waiting_queues, ? AS waiting_tokens, ? AS numbers, ? AS statuses, ? AS uncounted, ? AS outcomes, ? AS started_at, ? AS finished_at,
                ? AS available_at, ? AS errors, ? AS results, ? AS deliveries, ? AS blocks, ? AS worker"
    };
}

/// The place of a job in the batch.
macro_rules! place {
    () => {
        "width_bucket(width_bucket(j.webhook, e.webhooks)::bigint << 32 | j.queue, e.ranks)"
    };
}

/// The condition that one of these leases is held. Compares the worker as well: after a failover to a standby that
/// lagged, another process can have the same token. A job is leased if `lease_until` is not null. `IS TRUE` prevents
/// PostgreSQL from turning the subquery into a join; it looks up each job in a hash table instead.
macro_rules! held {
    ($webhooks:literal, $queues:literal, $tokens:literal) => {
        concat!(
            "j.webhook = ANY ((SELECT ",
            $webhooks,
            " FROM e)::uuid[]) AND j.lease_until IS NOT NULL
             AND ((j.webhook, j.queue, j.lease_token) IN (
                 SELECT l.webhook, l.queue, l.token
                 FROM e CROSS JOIN LATERAL unnest(e.",
            $webhooks,
            ", e.",
            $queues,
            ", e.",
            $tokens,
            ") AS l (webhook, queue, token)
             )) IS TRUE AND (e.worker IS NULL OR j.worker = e.worker)"
        )
    };
}

macro_rules! ended {
    ($condition:literal) => {
        concat!(
            "finished AS (
                 DELETE FROM jobs j USING e WHERE ", held!("final_webhooks", "final_queues", "final_tokens"), $condition, "
                 RETURNING ", place!(), " AS place, j.webhook, j.queue, j.run, j.attempts, j.uncounted_attempts,
                           j.revision + 1 AS revision, j.lease_token, j.worker, j.lane, j.position, j.replay
             ), kept AS (
                 INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at,
                                            completed_at, revision, lease_token, lane, position, blocks, outcome,
                                            started_at, error, result, worker, delivery, replay)
                 SELECT webhook, queue, e.statuses[place], run, attempts, uncounted_attempts + e.uncounted[place],
                        e.available_at[place], e.finished_at[place], revision, lease_token, lane, position,
                        e.blocks[place] AND lane IS NOT NULL, e.outcomes[place], e.started_at[place],
                        e.errors[place], e.results[place], coalesce(e.worker, finished.worker), e.deliveries[place],
                        replay
                 FROM finished, e
             ), waiting AS (
                 UPDATE jobs j
                 SET status = e.statuses[", place!(), "], available_at = e.available_at[", place!(), "],
                     updated_at = e.finished_at[", place!(), "], lease_until = NULL, revision = j.revision + 1,
                     uncounted_attempts = j.uncounted_attempts + e.uncounted[", place!(), "]
                 FROM e WHERE ", held!("waiting_webhooks", "waiting_queues", "waiting_tokens"), $condition, "
                 RETURNING ", place!(), " AS place, j.webhook, j.queue, j.run, j.revision, j.worker, j.lane
             ), told AS (
                 INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, error, worker,
                                       delivery)
                 SELECT webhook, queue, e.numbers[place], run, e.outcomes[place], e.started_at[place],
                        e.finished_at[place], e.errors[place], coalesce(e.worker, waiting.worker), e.deliveries[place]
                 FROM waiting, e
             ), ended AS (
                 SELECT place, queue, lane, revision FROM finished
                 UNION ALL SELECT place, queue, lane, revision FROM waiting
             ), "
        )
    };
}

macro_rules! counted {
    ($condition:literal, $is_followed:literal) => {
        concat!(
            "counted AS (
                 INSERT INTO status_counts AS c (slot, queue, processing, pending, retrying, completed, dead_lettered,
                                                 cancelled)
                 SELECT ?, queue, -count(*), count(*) FILTER (WHERE status = 0), count(*) FILTER (WHERE status = 2),
                        count(*) FILTER (WHERE status = 3), count(*) FILTER (WHERE status = 4),
                        count(*) FILTER (WHERE status = 5)
                 FROM (SELECT queue, e.statuses[place] AS status FROM ended, e", $condition, " OFFSET 0) AS s
                 GROUP BY queue ORDER BY queue
                 ON CONFLICT (slot, queue) DO UPDATE
                 SET processing = c.processing + excluded.processing, pending = c.pending + excluded.pending,
                     retrying = c.retrying + excluded.retrying, completed = c.completed + excluded.completed,
                     dead_lettered = c.dead_lettered + excluded.dead_lettered,
                     cancelled = c.cancelled + excluded.cancelled
             )
             SELECT place, revision, ",
            $is_followed,
            " FROM ended"
        )
    };
}

statement! { Pg;
    struct EndLeases<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        ranks: Vec<i64> as Array<BigInt>,
        final_webhooks: Vec<Uuid> as Array<SqlUuid>,
        final_queues: Vec<i32> as Array<Integer>,
        final_tokens: Vec<i64> as Array<BigInt>,
        waiting_webhooks: Vec<Uuid> as Array<SqlUuid>,
        waiting_queues: Vec<i32> as Array<Integer>,
        waiting_tokens: Vec<i64> as Array<BigInt>,
        numbers: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
        uncounted: Vec<i32> as Array<Integer>,
        outcomes: Vec<i16> as Array<SmallInt>,
        started_at: Vec<PgTimestamp> as Array<Timestamptz>,
        finished_at: Vec<PgTimestamp> as Array<Timestamptz>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        deliveries: Vec<Option<String>> as Array<Nullable<Text>>,
        blocks: Vec<bool> as Array<Bool>,
        worker: Option<&'a str> as Nullable<Text>,
        slot: i16 as SmallInt,
    }
    returns (Integer, BigInt, Bool);
    concat!("WITH e AS MATERIALIZED (", given!(), "), ", ended!(""), counted!("", "false"))
}

// Locks the lanes before it changes the jobs, and changes the lanes before the counts.
//
// A lane whose job waits for its next attempt is due with the job that is first now: an earlier one may have been retried by
// hand meanwhile. The snapshot shows which one it is, unless another transaction has changed the lane since (`xmin`). Then
// the lane is due at once, and the claim corrects it if its first job is not due.
statement! { Pg;
    struct EndOrderedLeases<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        ranks: Vec<i64> as Array<BigInt>,
        final_webhooks: Vec<Uuid> as Array<SqlUuid>,
        final_queues: Vec<i32> as Array<Integer>,
        final_tokens: Vec<i64> as Array<BigInt>,
        waiting_webhooks: Vec<Uuid> as Array<SqlUuid>,
        waiting_queues: Vec<i32> as Array<Integer>,
        waiting_tokens: Vec<i64> as Array<BigInt>,
        numbers: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
        uncounted: Vec<i32> as Array<Integer>,
        outcomes: Vec<i16> as Array<SmallInt>,
        started_at: Vec<PgTimestamp> as Array<Timestamptz>,
        finished_at: Vec<PgTimestamp> as Array<Timestamptz>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        deliveries: Vec<Option<String>> as Array<Nullable<Text>>,
        blocks: Vec<bool> as Array<Bool>,
        worker: Option<&'a str> as Nullable<Text>,
        lanes: Vec<String> as Array<Text>,
        slot: i16 as SmallInt,
    }
    returns (Integer, BigInt, Bool);
    concat!(
        "WITH e AS MATERIALIZED (", given!(), "), locked AS MATERIALIZED (
             SELECT lane FROM lanes WHERE lane = ANY (?) ORDER BY lane FOR UPDATE
         ), ",
        ended!(" AND (SELECT count(*) FROM locked) >= 0"),
        "passed AS MATERIALIZED (
             SELECT array_agg(lane ORDER BY lane) AS lanes, array_agg(place ORDER BY lane) AS places
             FROM ended WHERE lane IS NOT NULL
         ), moved_on AS (
             UPDATE lanes l
             SET jobs = l.jobs - (e.statuses[p.places[width_bucket(l.lane, p.lanes)]] > 2
                                  AND NOT e.blocks[p.places[width_bucket(l.lane, p.lanes)]])::int,
                 state = CASE WHEN e.blocks[p.places[width_bucket(l.lane, p.lanes)]] THEN 2 ELSE 0 END,
                 available_at = CASE WHEN e.statuses[p.places[width_bucket(l.lane, p.lanes)]] > 2
                                THEN e.finished_at[p.places[width_bucket(l.lane, p.lanes)]]
                                WHEN l.jobs = 1
                                THEN e.available_at[p.places[width_bucket(l.lane, p.lanes)]]
                                WHEN l.xmin = (SELECT s.xmin FROM lanes s WHERE s.lane = l.lane)
                                THEN coalesce((
                                    SELECT CASE WHEN j.status = 1
                                           THEN e.available_at[p.places[width_bucket(l.lane, p.lanes)]]
                                           ELSE greatest(j.available_at,
                                                         e.finished_at[p.places[width_bucket(l.lane, p.lanes)]]) END
                                    FROM jobs j WHERE j.lane = l.lane ORDER BY j.position LIMIT 1
                                ), e.available_at[p.places[width_bucket(l.lane, p.lanes)]])
                                ELSE least(e.finished_at[p.places[width_bucket(l.lane, p.lanes)]],
                                           e.available_at[p.places[width_bucket(l.lane, p.lanes)]]) END
             FROM e, passed p WHERE l.lane = ANY ((SELECT lanes FROM passed)::text[])
             RETURNING l.lane,
                       l.state = 0 AND l.jobs > (e.statuses[p.places[width_bucket(l.lane, p.lanes)]] <= 2)::int
                           AND l.available_at <= e.finished_at[p.places[width_bucket(l.lane, p.lanes)]] AS is_due
         ), ",
        counted!(
            " WHERE (SELECT count(*) FROM moved_on) >= 0",
            "(lane IN (SELECT lane FROM moved_on WHERE is_due)) IS TRUE"
        )
    )
}
